import FoundationEssentials
import Glibc
import SessionModel

/// The inspector's way to the sidecar: one HTTP/1.1 request over its Unix socket, read as it comes.
///
/// The sidecar is one static file without libcurl, and this is all that it needs of a client.
struct InspectorClient {
    let socket: String

    struct Answer {
        var status: Int
        var body: [UInt8]
    }

    /// Sends a request and returns its whole answer.
    /// - Throws: `Problem`, in words for the person at the terminal.
    func request(
        _ method: String, _ path: String, headers: [(String, String)] = [], body: [UInt8] = []
    ) throws -> Answer {
        var collected: [UInt8] = []
        let status = try exchange(method, path, headers: headers, body: body) { _, part in collected += part }
        return Answer(status: status, body: collected)
    }

    /// Reads a body line by line, as it comes; empty lines are left out.
    /// - Throws: `Problem`, also for an answer that is one.
    func lines(_ path: String, headers: [(String, String)], _ each: (ArraySlice<UInt8>) -> Void) throws {
        var pending: [UInt8] = []
        let status = try exchange("GET", path, headers: headers, body: []) { status, part in
            pending += part
            guard status < 300 else { return }
            var start = 0
            while let end = pending[start...].firstIndex(of: UInt8(ascii: "\n")) {
                if end > start { each(pending[start..<end]) }
                start = end + 1
            }
            pending.removeFirst(start)
        }
        guard status < 300 else { throw Self.problem(Answer(status: status, body: pending)) }
    }

    private func exchange(
        _ method: String, _ path: String, headers: [(String, String)], body: [UInt8], _ take: (Int, [UInt8]) -> Void
    ) throws -> Int {
        let descriptor = try connect()
        defer { close(descriptor) }
        var head = "\(method) \(path) HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\nContent-Length: \(body.count)\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        try send(Array((head + "\r\n").utf8) + body, to: descriptor)

        var reader = ResponseReader(descriptor: descriptor)
        let (status, chunked) = try reader.head()
        while let part = try reader.body(chunked: chunked) { take(status, part) }
        return status
    }

    /// A request whose answer is JSON.
    func json<Value: Decodable>(
        _ type: Value.Type = Value.self, _ method: String, _ path: String, headers: [(String, String)] = [], body: [UInt8] = []
    ) throws -> Value {
        let answer = try request(method, path, headers: headers, body: body)
        guard answer.status < 300 else { throw Self.problem(answer) }
        return try JSON.decode(type, from: Data(answer.body))
    }

    static func problem(_ answer: Answer) -> Problem {
        (try? JSON.decode(Problem.self, from: Data(answer.body)))
            ?? Problem(
                .internal, "The sidecar answered \(answer.status): \(String(decoding: answer.body.prefix(500), as: UTF8.self))")
    }

    private func connect() throws(Problem) -> Int32 {
        let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw unreachable() }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array(socket.utf8)
        guard path.count < MemoryLayout.size(ofValue: address.sun_path) else {
            close(descriptor)
            throw Problem(.invalidRequest, "The socket's path \(socket) is longer than 107 bytes, the most that Linux takes.")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            let error = unreachable()
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private func unreachable() -> Problem {
        Problem(
            .notReady,
            "No sidecar answers at \(socket) (\(String(cString: strerror(errno)))); `transcript --offline --state-dir DIR` reads the files without one."
        )
    }

    private func send(_ bytes: [UInt8], to descriptor: Int32) throws(Problem) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + done, $0.count - done, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            // The server may refuse a large body before it has read all of it: its answer says why.
            guard count > 0 else { return }
            done += count
        }
    }
}

/// Reads a response of HTTP/1.1: its head, then its body in chunks or to the end of the connection.
private struct ResponseReader {
    let descriptor: Int32
    var buffer: [UInt8] = []
    var chunkLeft = 0

    private mutating func fill() throws -> Bool {
        var part = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(descriptor, &part, part.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw Problem(.notReady, "The connection to the sidecar broke: \(String(cString: strerror(errno))).")
            }
            buffer += part.prefix(count)
            return count > 0
        }
    }

    private mutating func line() throws -> String? {
        while true {
            if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                var text = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeFirst(end + 1)
                if text.hasSuffix("\r") { text.removeLast() }
                return text
            }
            guard try fill() else { return nil }
        }
    }

    mutating func head() throws -> (status: Int, chunked: Bool) {
        guard let first = try line(), let status = first.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
            throw Problem(.notReady, "The sidecar closed the connection without an answer; it may be ending.")
        }
        var chunked = false
        while let field = try line(), !field.isEmpty {
            if field.lowercased().hasPrefix("transfer-encoding:"), field.lowercased().hasSuffix("chunked") { chunked = true }
        }
        return (status, chunked)
    }

    mutating func body(chunked: Bool) throws -> [UInt8]? {
        if chunked, chunkLeft == 0 {
            guard var size = try line() else { return nil }
            if size.isEmpty { size = try line() ?? "0" }  // the end of the chunk before
            chunkLeft = Int(size.split(separator: ";").first ?? "0", radix: 16) ?? 0
            if chunkLeft == 0 { return nil }
        }
        if buffer.isEmpty { guard try fill() else { return nil } }
        let part = Array(chunked ? buffer.prefix(chunkLeft) : buffer[...])
        buffer.removeFirst(part.count)
        if chunked { chunkLeft -= part.count }
        return part
    }
}
