import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOSSL
import SwiftASN1
import X509

/// The answer to one request. Everything may be called from any thread.
public final class TLSExchange: Sendable {
    private let channel: any Channel
    private let connection: Connection
    private let isHTTP2: Bool
    private let state = NIOLockedValueBox(State())

    private struct State {
        var hasLeft = false
        var onLeaving: [@Sendable () -> Void] = []
    }

    init(_ channel: any Channel, _ connection: Connection, isHTTP2: Bool) {
        self.channel = channel
        self.connection = connection
        self.isHTTP2 = isHTTP2
    }

    /// A whole answer.
    public func respond(_ status: Int = 200, _ body: [UInt8] = [], headers: [(name: String, value: String)] = []) {
        begin(status, headers: headers + [("Content-Length", "\(body.count)")])
        if !body.isEmpty { send(body) }
        end()
    }

    public func respond(_ status: Int = 200, _ body: String, headers: [(name: String, value: String)] = []) {
        respond(status, Array(body.utf8), headers: headers)
    }

    /// The head of an answer whose body follows.
    public func begin(_ status: Int = 200, headers: [(name: String, value: String)] = []) {
        let head = HTTPResponseHead(
            version: .http1_1, status: .init(statusCode: status), headers: HTTPHeaders(headers.map { ($0.name, $0.value) }))
        write(.head(head))
    }

    public func send(_ bytes: [UInt8]) { write(.body(.byteBuffer(ByteBuffer(bytes: bytes)))) }
    public func send(_ text: String) { send(Array(text.utf8)) }

    /// Sends, and returns when the bytes are with the kernel. Blocks: not for the server's own thread.
    public func sendAndWait(_ bytes: [UInt8]) throws {
        try channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: bytes)))).wait()
    }

    public func end() { write(.end(nil)) }

    /// Breaks off in the middle, with the connection.
    public func drop() { connection.close() }

    /// Is called when the client has ended the request or the connection has broken, at once if that has happened.
    public func onLeaving(_ action: @escaping @Sendable () -> Void) {
        let hasLeft = state.withLockedValue { state in
            if !state.hasLeft { state.onLeaving.append(action) }
            return state.hasLeft
        }
        if hasLeft { action() }
    }

    func clientLeft() {
        let actions = state.withLockedValue { state in
            state.hasLeft = true
            defer { state.onLeaving = [] }
            return state.onLeaving
        }
        actions.forEach { $0() }
    }

    private func write(_ part: HTTPServerResponsePart) {
        guard !connection.isFrozen else { return }
        channel.writeAndFlush(part, promise: nil)
    }
}

enum CommonNames {
    static func of(_ certificate: NIOSSLCertificate) throws -> String? {
        let subject = try Certificate(derEncoded: certificate.toDERBytes()).subject
        // `CN=name`
        return subject.flatMap(Array.init).first { $0.description.hasPrefix("CN=") }.map { String($0.description.dropFirst(3)) }
    }
}
