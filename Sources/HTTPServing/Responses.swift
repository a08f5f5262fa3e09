public import HTTPTypes
public import Hummingbird
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

    public static func problem(_ problem: Problem, allow: String? = nil) -> Response {
        var headers: HTTPFields = [:]
        headers[.allow] = allow
        if problem.kind == .tooLarge { headers[.connection] = "close" }
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
    /// A body that is written as it comes. Writing waits for a client that is slow; one that takes nothing is disconnected.
    /// - Parameter follows: the body has no end of its own: it ends when the client closes its side. Otherwise it ends when
    ///   `produce` returns or a write fails, so that a client that has only finished sending still gets the whole.
    public func stream(
        type: String, follows: Bool = true, _ produce: @escaping @Sendable (inout StreamWriter) async throws -> Void
    ) -> Response {
        let inbound = request.body
        return Response(
            status: .ok, headers: [.contentType: type, .cacheControl: "no-store"],
            body: ResponseBody { body in
                var writer = StreamWriter(body: body)
                if follows {
                    // The writer is a local of this closure; the wait for the client's end only ever cancels it.
                    writer = try await inbound.consumeWithCancellationOnInboundClose { [writer] _ in
                        var writer = writer
                        try await produce(&writer)
                        return writer
                    }
                } else {
                    try await produce(&writer)
                }
                try await writer.body.finish(nil)
            })
    }
}

/// Writes the parts of a streamed body, each as soon as the client can take it.
public struct StreamWriter: Sendable {
    fileprivate var body: any ResponseBodyWriter & Sendable

    fileprivate init(body: any ResponseBodyWriter) { self.body = SendableBodyWriter(writer: body) }

    public mutating func write(_ buffer: ByteBuffer) async throws { try await body.write(buffer) }

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
