import Foundation
import Glibc
import Support

/// A client that speaks bytes, so that it can break every rule. Its calls block, each for `patience` at most.
final class RawConnection: @unchecked Sendable {
    private let descriptor: Int32

    init(socket path: String, patience: Int = 20, receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var limit = timeval(tv_sec: patience, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw SidecarFailure("connect: \(String(cString: strerror(errno)))") }
    }

    deinit { close(descriptor) }

    /// - Returns: false when the server has closed the connection.
    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + done, $0.count - done, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    /// Says that nothing more will be sent.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// What comes until the text `end` has come, or until the server closes the connection.
    /// - Throws: when neither happens in time.
    func read(until end: String? = nil, atMost limit: Int = 64 << 20) throws -> String {
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count < limit {
            let count = recv(descriptor, &part, part.count, 0)
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                throw SidecarFailure("nothing came; before: \(String(decoding: bytes.suffix(500), as: UTF8.self))")
            }
            guard count > 0 else { break }
            bytes += part.prefix(count)
            if let end, String(decoding: bytes.suffix(count + end.utf8.count), as: UTF8.self).contains(end) { break }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// True when the server has closed the connection, without having read anything more.
    func isHungUp(within seconds: Int) -> Bool {
        var poll = pollfd(fd: descriptor, events: 0, revents: 0)
        return Glibc.poll(&poll, 1, Int32(seconds * 1000)) == 1
    }
}
