import FoundationEssentials
import Glibc

/// Where a server listens.
enum Endpoint: Sendable {
    case unix(String)
    case tcp(port: UInt16, token: String)

    /// The header lines that every request carries.
    var headers: String {
        switch self {
        case .unix: "Host: localhost\r\n"
        case .tcp(_, let token): "Host: 127.0.0.1\r\nAuthorization: Bearer \(token)\r\n"
        }
    }

    /// A connected socket; nil while nobody listens.
    func connect() throws -> Int32? {
        let fd: Int32
        let result: Int32
        switch self {
        case .unix(let path):
            fd = try check(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0), "socket")
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else { throw Failure("\(path) is too long") }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        case .tcp(let port, _):
            fd = try check(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0), "socket")
            var one: Int32 = 1
            setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        if result == 0 { return fd }
        close(fd)
        return nil
    }

    func request(_ method: String, _ path: String, headers more: String = "", body: String? = nil) -> [UInt8] {
        let length = body.map { "Content-Type: application/json\r\nContent-Length: \($0.utf8.count)\r\n" } ?? ""
        return Array("\(method) \(path) HTTP/1.1\r\n\(headers)\(more)\(length)\r\n\(body ?? "")".utf8)
    }

    /// One request on a connection of its own; nil while nobody listens.
    func call(_ method: String, _ path: String, headers: String = "", body: String? = nil) throws -> (status: Int, body: [UInt8])?
    {
        guard let fd = try connect() else { return nil }
        defer { close(fd) }
        let bytes = request(method, path, headers: headers, body: body)
        guard write(fd, bytes, bytes.count) == bytes.count else { return nil }
        var response: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(fd, &chunk, chunk.count)
            guard count > 0 else { return nil }
            response += chunk[..<count]
            if let head = response.withUnsafeBytes({ Head($0) }), response.count >= head.end + head.length {
                return (head.status, Array(response[head.end..<(head.end + head.length)]))
            }
        }
    }
}

/// The head of a response that has a Content-Length.
struct Head {
    var status: Int
    /// Where the body begins, and how long it is.
    var end: Int
    var length = 0

    /// Nil while it is not complete.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 12, let end = Self.find("\r\n\r\n", in: bytes) else { return nil }
        self.end = end
        status = Self.number(bytes, at: 9)
        if let length = Self.find("ength: ", in: UnsafeRawBufferPointer(rebasing: bytes[..<end])) {
            self.length = Self.number(bytes, at: length)
        }
    }

    /// Where the bytes after the text begin.
    private static func find(_ text: StaticString, in bytes: UnsafeRawBufferPointer) -> Int? {
        let count = text.utf8CodeUnitCount
        var position = 0
        while let base = bytes.baseAddress, position + count <= bytes.count,
            let found = memchr(base + position, Int32(text.utf8Start[0]), bytes.count - count + 1 - position)
        {
            position = found - UnsafeMutableRawPointer(mutating: base)
            if memcmp(base + position, text.utf8Start, count) == 0 { return position + count }
            position += 1
        }
        return nil
    }

    private static func number(_ bytes: UnsafeRawBufferPointer, at start: Int) -> Int {
        var value = 0
        var index = start
        while index < bytes.count, (48...57).contains(bytes[index]) {
            value = value * 10 + Int(bytes[index] - 48)
            index += 1
        }
        return value
    }
}
