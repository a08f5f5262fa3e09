import FoundationEssentials
import HTTPTypes
public import Hummingbird
public import NIOCore
public import SessionModel

/// One request on its way through a handler.
public struct Call: Sendable {
    public let request: Request
    let parameters: [Substring: String]
    let channel: any Channel
    let timeout: TimeAmount

    /// The whole path, decoded; nil when an escape in it is none, or what it stands for is not UTF-8.
    public var path: String? { Routes.percentDecoded(request.uri.path[...]) }

    public func parameter(_ name: Substring) -> String { parameters[name] ?? "" }

    /// A query parameter; nil when it is absent.
    public func query(_ name: Substring) -> String? {
        request.uri.queryParameters[name].map(String.init)
    }

    /// - Throws: `Problem` 400 for a value that is not of the type.
    public func query<Value: LosslessStringConvertible>(_ name: Substring, as type: Value.Type) throws(Problem) -> Value? {
        guard let text = query(name) else { return nil }
        guard let value = Value(text) else {
            throw Problem(.invalidRequest, "The query parameter \(name) cannot be “\(text.prefix(bytes: 100))”.")
        }
        return value
    }

    /// A duration such as `30s`, at most `limit`.
    public func span(_ name: Substring, atMost limit: TimeSpan) throws(Problem) -> TimeSpan? {
        guard let text = query(name) else { return nil }
        do {
            return min(try TimeSpan(parsing: text), limit)
        } catch {
            throw Problem(.invalidRequest, "The query parameter \(name): \(error).")
        }
    }

    public func header(_ name: String) -> String? {
        HTTPField.Name(name).flatMap { request.headers[$0] }
    }

    /// The request's body. It is never longer than `limit`, and has to arrive within the service's client timeout.
    /// - Throws: `Problem` 413; the connection then ends after the answer.
    public func body(upTo limit: Int) async throws -> ByteBuffer {
        // A client that sends its body a byte at a time may not hold a connection for ever. One whose body is too large may send
        // the rest, which is dropped, so that it gets to read why; but no longer than that.
        let deadline = channel.eventLoop.scheduleTask(in: timeout) { [channel] in channel.close(promise: nil) }
        var isTaken = false
        defer { if isTaken { deadline.cancel() } }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit { throw tooLarge(limit) }
        var whole = ByteBuffer()
        do {
            for try await part in request.body {
                guard whole.readableBytes + part.readableBytes <= limit else { throw tooLarge(limit) }
                whole.writeImmutableBuffer(part)
            }
        } catch  where !(error is Problem || error is CancellationError) {
            // It is not HTTP, or the client has gone in the middle of it.
            throw Problem(.invalidRequest, "The body could not be read to its end: \(error).")
        }
        isTaken = true
        return whole
    }

    /// The request's body as JSON.
    /// - Throws: `Problem` 400, saying which field is wrong, or 413.
    public func json<Value: Decodable>(_ type: Value.Type, upTo limit: Int = 1 << 20) async throws -> Value {
        let bytes = try await body(upTo: limit)
        func decode() throws -> Value { try bytes.withUnsafeReadableBytes { try JSONDecoder().decode(type, from: Data($0)) } }
        do {
            return bytes.readableBytes > 64 << 10 ? try await offLoop(decode) : try decode()
        } catch let error as DecodingError {
            throw Problem(.invalidRequest, "The body is not what is expected here: \(error.clause).")
        }
    }

    /// Runs a wait that is given up when the client goes away.
    public func whileConnected<Value: Sendable>(_ wait: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let presence = try await channel.pipeline.handler(type: ClientPresence.self).get()
        return try await withThrowingTaskGroup(of: Value.self) { group in
            group.addTask { try await wait() }
            group.addTask {
                await presence.gone()
                throw CancellationError()
            }
            defer { group.cancelAll() }
            guard let value = try await group.next() else { throw CancellationError() }
            return value
        }
    }

    /// True when the client asks for this media type.
    public func accepts(_ mediaType: String) -> Bool {
        request.headers[.accept]?.split(separator: ",").contains { $0.split(separator: ";")[0].trimmed == mediaType } ?? false
    }

    private func tooLarge(_ limit: Int) -> Problem {
        Problem(.tooLarge, "The body is longer than \(limit) bytes, the most that is taken here.")
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}

/// What a handler knows of its connection.
struct CallContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
    }
}
