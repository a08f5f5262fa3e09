public import HTTPTypes
public import Hummingbird
import NIOConcurrencyHelpers
public import NIOCore
public import SessionModel

extension Response {
    public static func json(
        _ value: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) throws -> Response {
        bytes(try JSON.encode(value), type: "application/json", status: status, headers: headers)
    }

    public static func json(_ turn: Turn, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) throws -> Response {
        bytes(try turn.json(), type: "application/json", status: status, headers: headers)
    }

    public static func text(_ text: String, type: String = "text/plain; charset=utf-8", status: HTTPResponse.Status = .ok)
        -> Response
    {
        bytes(text.utf8, type: type, status: status)
    }

    public static func bytes(
        _ bytes: some Sequence<UInt8>, type: String, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) -> Response {
        var headers = headers
        headers[.contentType] = type
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    public static func problem(_ problem: Problem) -> Response {
        var headers: HTTPFields = [:]
        if let seconds = problem.retryAfter { headers[.retryAfter] = String(seconds) }
        if problem.status == 401 { headers[.wwwAuthenticate] = "Bearer" }
        do {
            return bytes(
                try JSON.encode(problem), type: "application/problem+json", status: .init(code: problem.status), headers: headers)
        } catch {
            return Response(status: .internalServerError)
        }
    }
}

extension Call {
    /// A body that is written as it comes. `produce` ends when it returns, when the client goes away, or when the client takes
    /// nothing for 30 seconds: then it is disconnected, so that no reader can hold memory for ever.
    public func stream(
        type: String, _ produce: @escaping @Sendable (inout StreamWriter) async throws -> Void
    ) -> Response {
        let channel = channel
        let inbound = request.body
        return Response(
            status: .ok, headers: [.contentType: type, .cacheControl: "no-store"],
            body: ResponseBody { body in
                let stall = StallWatch(channel: channel, limit: .seconds(30))
                var writer = StreamWriter(body: body, stall: stall)
                do {
                    defer { stall.end() }
                    // The writer is a local of this closure; the wait for the client's end only ever cancels it.
                    writer = try await inbound.consumeWithCancellationOnInboundClose { [writer] _ in
                        var writer = writer
                        try await produce(&writer)
                        return writer
                    }
                }
                try await writer.body.finish(nil)
            })
    }
}

/// Writes the parts of a streamed body, each as soon as the client can take it.
public struct StreamWriter: Sendable {
    fileprivate var body: any ResponseBodyWriter & Sendable
    fileprivate let stall: StallWatch

    fileprivate init(body: any ResponseBodyWriter, stall: StallWatch) {
        self.body = SendableBodyWriter(writer: body)
        self.stall = stall
    }

    public mutating func write(_ buffer: ByteBuffer) async throws {
        stall.begin()
        try await body.write(buffer)
        stall.done()
    }

    public mutating func write(_ bytes: some Sequence<UInt8> & Sendable) async throws {
        try await write(ByteBuffer(bytes: bytes))
    }
}

/// Hummingbird's root writer is a `Sendable` struct behind a protocol that does not say so; only one task ever uses it here.
private struct SendableBodyWriter: ResponseBodyWriter, @unchecked Sendable {
    var writer: any ResponseBodyWriter

    mutating func write(_ buffer: ByteBuffer) async throws { try await writer.write(buffer) }
    consuming func finish(_ trailingHeaders: HTTPFields?) async throws { try await writer.finish(trailingHeaders) }
}

/// Closes a connection whose client has taken nothing of a pending write for too long.
private final class StallWatch: Sendable {
    private struct State {
        var writing = false
        /// Counts completed writes: a check that finds the count it left knows that nothing moved.
        var writes: UInt64 = 0
        var checked: UInt64?
        var timer: RepeatedTask?
    }

    private let state = NIOLockedValueBox(State())

    init(channel: any Channel, limit: TimeAmount) {
        let timer = channel.eventLoop.scheduleRepeatedTask(initialDelay: limit, delay: limit) { [state] _ in
            let stalled = state.withLockedValue { state in
                defer { state.checked = state.writing ? state.writes : nil }
                return state.writing && state.checked == state.writes
            }
            if stalled { channel.close(promise: nil) }
        }
        state.withLockedValue { $0.timer = timer }
    }

    func begin() { state.withLockedValue { $0.writing = true } }
    func done() {
        state.withLockedValue {
            $0.writing = false
            $0.writes += 1
        }
    }
    func end() { state.withLockedValue { $0.timer }?.cancel() }
}
