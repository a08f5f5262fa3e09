import Foundation
import Glibc
import NIOConcurrencyHelpers

/// An HTTP proxy on loopback that answers CONNECT and tunnels everything to one port.
final class TunnelProxy: Sendable {
    let url: String
    private let listener: Int32
    private let destination: Int
    private let seen = NIOLockedValueBox<[String]>([])

    init(to port: Int) throws {
        destination = port
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = Self.loopback(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { [listener] in
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && getsockname(listener, $0, &length) == 0 && listen(listener, 16) == 0
            }
        }
        guard isBound else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
        Thread.detachNewThread { [self] in
            while case let client = accept(listener, nil, nil), client >= 0 {
                Thread.detachNewThread { self.serve(client) }
            }
            close(listener)
        }
    }

    /// What was asked for, in order.
    var targets: [String] { seen.withLockedValue { $0 } }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    private func serve(_ client: Int32) {
        var head = ""
        var byte: UInt8 = 0
        while !head.hasSuffix("\r\n\r\n"), recv(client, &byte, 1, 0) == 1 { head.unicodeScalars.append(UnicodeScalar(byte)) }
        let words = head.split(separator: " ")
        guard words.count > 1, words[0] == "CONNECT" else {
            close(client)
            return
        }
        seen.withLockedValue { $0.append(String(words[1])) }
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = Self.loopback(port: UInt16(destination))
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        let answer = isConnected ? "HTTP/1.1 200 Connected\r\n\r\n" : "HTTP/1.1 502 No\r\n\r\n"
        _ = Glibc.send(client, answer, answer.utf8.count, Int32(MSG_NOSIGNAL))
        let back = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            Self.pump(server, client)
            back.signal()
        }
        Self.pump(client, server)
        back.wait()
        close(client)
        close(server)
    }

    private static func pump(_ from: Int32, _ to: Int32) {
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while case let count = recv(from, &chunk, chunk.count, 0), count > 0 {
            guard Glibc.send(to, chunk, count, Int32(MSG_NOSIGNAL)) == count else { break }
        }
        shutdown(to, Int32(SHUT_WR))
        shutdown(from, Int32(SHUT_RD))
    }

    private static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }
}
