import Glibc

/// The few calls on Unix stream sockets that host and sidecar make.
enum UnixSocket {
    /// A non-blocking socket, closed on exec.
    static func make() throws(HostError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_UNIX, type, 0)
        guard descriptor >= 0 else { throw HostError(.refused, "cannot make a socket: \(words(errno))") }
        return descriptor
    }

    /// - Returns: 0 or an errno.
    static func connect(_ descriptor: Int32, to path: String) throws(HostError) -> Int32 {
        try withAddress(path) { Glibc.connect(descriptor, $0, $1) == 0 ? 0 : errno }
    }

    /// - Returns: 0 or an errno.
    static func bind(_ descriptor: Int32, to path: String) throws(HostError) -> Int32 {
        try withAddress(path) { Glibc.bind(descriptor, $0, $1) == 0 ? 0 : errno }
    }

    private static func withAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(HostError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard bytes.count < room else {
            throw HostError(.refused, "the path of the socket \(path) is longer than \(room - 1) bytes; use a shorter directory")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }
}
