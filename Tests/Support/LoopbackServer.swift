import Glibc
import NIOConcurrencyHelpers

/// A small HTTP/1.1 server on loopback or a Unix socket for tests that need to misbehave on the wire.
///
/// Every connection has a thread of its own and the handler blocks as it likes. It answers what the test says, byte by byte.
public final class LoopbackServer: Sendable {
    public struct Request: Sendable {
        public var method: String
        public var path: String
        /// Percent-encoded, without the question mark.
        public var query: String
        /// Names in lower case.
        public var headers: [String: String]
        /// Empty when the server streams bodies: the handler then takes it from ``Connection/readBody()``.
        public var body: [UInt8]
    }

    public typealias Handler = @Sendable (Request, Connection) throws -> Void

    public struct Failure: Error {
        public var message: String
    }

    /// `http://127.0.0.1:PORT`, or `http://localhost` behind a Unix socket.
    public let url: String
    private let listener: Int32
    private let handler: Handler
    private let streamsBodies: Bool
    private let state = NIOLockedValueBox(State())

    private struct State {
        var accepted = 0
        var open: Set<Int32> = []
        var isStopped = false
    }

    /// - Parameter port: 0 for any that is free.
    public init(unixSocket: String? = nil, port: UInt16 = 0, streamsBodies: Bool = false, handler: @escaping Handler) throws {
        self.handler = handler
        self.streamsBodies = streamsBodies
        let listener: Int32
        var bound = port
        if let unixSocket {
            listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let path = Array(unixSocket.utf8)
            guard path.count < MemoryLayout.size(ofValue: address.sun_path) else {
                throw Failure(message: "\(unixSocket) is too long")
            }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
            try Self.check("bind", withAddress(&address) { bind(listener, $0, $1) })
        } else {
            listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var yes: Int32 = 1
            setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout.size(ofValue: yes)))
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            try Self.check("bind", withAddress(&address) { bind(listener, $0, $1) })
            var length = socklen_t(MemoryLayout.size(ofValue: address))
            try Self.check(
                "getsockname",
                withUnsafeMutablePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &length) }
                })
            bound = UInt16(bigEndian: address.sin_port)
        }
        self.listener = listener
        url = unixSocket == nil ? "http://127.0.0.1:\(bound)" : "http://localhost"
        try Self.check("listen", listen(listener, 1024))
        Thread.start { [self] in acceptAll() }
    }

    /// How many connections there have been.
    public var accepted: Int { state.withLockedValue { $0.accepted } }
    /// How many are open at this moment.
    public var open: Int { state.withLockedValue { $0.open.count } }

    /// Closes the listener and every connection.
    public func stop() {
        state.withLockedValue { state in
            guard !state.isStopped else { return }
            state.isStopped = true
            shutdown(listener, Int32(SHUT_RDWR))
            for descriptor in state.open { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }
    }

    private func acceptAll() {
        while true {
            let descriptor = accept(listener, nil, nil)
            guard descriptor >= 0 else {
                if errno == EINTR || errno == ECONNABORTED { continue }
                break
            }
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            let isWelcome = state.withLockedValue { state in
                guard !state.isStopped else { return false }
                state.accepted += 1
                state.open.insert(descriptor)
                return true
            }
            guard isWelcome else {
                close(descriptor)
                continue
            }
            Thread.start { [self] in
                let connection = Connection(descriptor, streamsBodies: streamsBodies)
                while let request = connection.readRequest() {
                    do { try handler(request, connection) } catch { break }
                    if connection.isClosing { break }
                }
                state.withLockedValue { state in
                    state.open.remove(descriptor)
                    close(descriptor)
                }
            }
        }
        close(listener)
    }

    fileprivate static func check(_ call: String, _ result: Int32) throws {
        guard result == 0 else { throw Failure(message: "\(call): \(String(cString: strerror(errno)))") }
    }

    /// One client's connection, for its handler's thread only, but for ``reset()`` and ``close()``.
    public final class Connection: Sendable {
        private let descriptor: Int32
        private let streamsBodies: Bool
        private let state = NIOLockedValueBox((input: [UInt8](), isClosing: false))
        private let body = NIOLockedValueBox(Body.length(0))

        /// What is still to come of the request's body.
        private enum Body: Equatable { case length(Int), chunk(Int), chunks }

        fileprivate init(_ descriptor: Int32, streamsBodies: Bool) {
            self.descriptor = descriptor
            self.streamsBodies = streamsBodies
        }

        fileprivate var isClosing: Bool { state.withLockedValue { $0.isClosing } }

        /// A whole response with a Content-Length.
        public func respond(
            _ status: Int = 200, _ body: String = "", type: String = "application/json", headers: [String: String] = [:]
        ) throws {
            let extra = headers.map { "\($0): \($1)\r\n" }.joined()
            try send(
                "HTTP/1.1 \(status) Status\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n\(extra)\r\n\(body)")
        }

        /// The head of a response whose chunks follow by ``chunk(_:)`` and ``endChunks()``.
        public func beginChunks(_ status: Int = 200, type: String = "application/octet-stream") throws {
            try send("HTTP/1.1 \(status) Status\r\nContent-Type: \(type)\r\nTransfer-Encoding: chunked\r\n\r\n")
        }
        public func chunk(_ text: String) throws {
            try send("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n")
        }
        public func endChunks() throws { try send("0\r\n\r\n") }

        public func send(_ text: String) throws { try send(Array(text.utf8)) }

        /// - Throws: when the client has gone.
        public func send(_ bytes: [UInt8]) throws {
            var sent = 0
            while sent < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
                }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw Failure(message: "send: \(String(cString: strerror(errno)))") }
                sent += count
            }
        }

        /// Ends the connection after this response.
        public func close() {
            state.withLockedValue { $0.isClosing = true }
            shutdown(descriptor, Int32(SHUT_RDWR))
        }

        /// Ends the connection with a TCP reset.
        public func reset() {
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout.size(ofValue: option)))
            state.withLockedValue { $0.isClosing = true }
        }

        /// Waits until the client has closed its end.
        public func waitForClientToLeave() {
            var byte: UInt8 = 0
            while true {
                let count = recv(descriptor, &byte, 1, 0)
                if count < 0, errno == EINTR { continue }
                if count <= 0 { return }
            }
        }

        /// The next bytes of the request's body, never none; nil at its end.
        /// - Throws: when the client broke off.
        public func readBody() throws -> [UInt8]? {
            while true {
                switch body.withLockedValue({ $0 }) {
                case .length(0): return nil
                case .length(let left):
                    let bytes = try take(upTo: left)
                    body.withLockedValue { $0 = .length(left - bytes.count) }
                    return bytes
                case .chunk(let left):
                    let bytes = try take(upTo: left)
                    if bytes.count == left { _ = try takeLine() }
                    body.withLockedValue { $0 = bytes.count == left ? .chunks : .chunk(left - bytes.count) }
                    return bytes
                case .chunks:
                    let size = try takeLine().prefix { $0 != UInt8(ascii: ";") }
                    guard let count = Int(String(decoding: size, as: UTF8.self), radix: 16) else {
                        throw Failure(message: "a chunk has no size")
                    }
                    if count == 0 { _ = try takeLine() }
                    body.withLockedValue { $0 = count == 0 ? .length(0) : .chunk(count) }
                }
            }
        }

        private func take(upTo most: Int) throws -> [UInt8] {
            var input = state.withLockedValue { $0.input }
            if input.isEmpty, !receive(into: &input) { throw Failure(message: "the client has left in the middle of a body") }
            let bytes = Array(input.prefix(most))
            input.removeFirst(bytes.count)
            state.withLockedValue { [input] in $0.input = input }
            return bytes
        }

        private func takeLine() throws -> [UInt8] {
            var input = state.withLockedValue { $0.input }
            while true {
                if let end = input.firstIndex(of: UInt8(ascii: "\n")) {
                    let line = input[..<end].filter { $0 != UInt8(ascii: "\r") }
                    input.removeFirst(end + 1)
                    state.withLockedValue { [input] in $0.input = input }
                    return Array(line)
                }
                guard receive(into: &input) else { throw Failure(message: "the client has left in the middle of a line") }
            }
        }

        private func receive(into input: inout [UInt8]) -> Bool {
            var chunk = [UInt8](repeating: 0, count: 64 << 10)
            while true {
                let count = recv(descriptor, &chunk, chunk.count, 0)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return false }
                input.append(contentsOf: chunk[..<count])
                return true
            }
        }

        fileprivate func readRequest() -> Request? {
            // What the handler has left of the last body is in the way of the next request.
            guard (try? drain()) != nil else { return nil }
            var input = state.withLockedValue { $0.input }
            func more() -> Bool { receive(into: &input) }
            let blank = Array("\r\n\r\n".utf8)
            var end: Int?
            while end == nil {
                end = input.indices.first { input[$0...].starts(with: blank) }
                if end == nil, !more() { return nil }
            }
            let lines = String(decoding: input[..<end!], as: UTF8.self).split(separator: "\r\n")
            input.removeFirst(end! + 4)
            let words = lines[0].split(separator: " ")
            var headers: [String: String] = [:]
            for line in lines.dropFirst() {
                let parts = line.split(separator: ":", maxSplits: 1)
                headers[parts[0].lowercased()] = parts.count > 1 ? String(parts[1].drop { $0 == " " }) : ""
            }
            let length = headers["content-length"].flatMap { Int($0) } ?? 0
            let isChunked = headers["transfer-encoding"]?.lowercased() == "chunked"
            body.withLockedValue { $0 = isChunked ? .chunks : .length(length) }
            state.withLockedValue { [input] in $0.input = input }
            var whole: [UInt8] = []
            if !streamsBodies {
                do { while let bytes = try readBody() { whole += bytes } } catch { return nil }
            }
            let target = words[1].split(separator: "?", maxSplits: 1)
            return Request(
                method: String(words[0]), path: String(target[0]), query: target.count > 1 ? String(target[1]) : "",
                headers: headers, body: whole)
        }

        private func drain() throws { while try readBody() != nil {} }
    }
}

private func withAddress<Address>(
    _ address: inout Address, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
    withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<Address>.size)) }
    }
}

private enum Thread {
    private final class Box: Sendable {
        let work: @Sendable () -> Void
        init(_ work: @escaping @Sendable () -> Void) { self.work = work }
    }

    static func start(_ work: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<Box>.fromOpaque(context!).takeRetainedValue().work()
                return nil
            }, Unmanaged.passRetained(Box(work)).toOpaque())
        pthread_detach(thread)
        precondition(code == 0, "no thread: \(String(cString: strerror(code)))")
    }
}
