import Glibc

/// A closed loop of HTTP clients on one thread: each sends its next request when it has the answer to the last.
///
/// Raw sockets and poll(2), so that on a machine of few cores the clients take little from the server.
enum Load {
    /// - Parameter request: the bytes of the n-th request.
    /// - Returns: durations from the first byte of a request to the last of its response.
    /// - Throws: ``Failure`` for any answer but the expected one.
    static func run(
        _ endpoint: Endpoint, clients: Int, seconds: Double, expecting status: Int, request: (Int) -> [UInt8]
    ) throws -> Run {
        var connections: [Connection] = []
        defer { for connection in connections { close(connection.fd) } }
        for _ in 0..<clients {
            guard let fd = try endpoint.connect() else { throw Failure("nobody listens at \(endpoint)") }
            _ = fcntl(fd, F_SETFL, O_NONBLOCK)
            connections.append(Connection(fd: fd))
        }
        var latencies: [UInt64] = []
        latencies.reserveCapacity(1 << 18)
        var sent = 0
        var open = clients
        let start = monotonic()
        let end = start + UInt64(seconds * 1e9)
        for connection in connections {
            try connection.send(request(sent))
            sent += 1
        }
        var waits = connections.map { pollfd(fd: $0.fd, events: Int16(POLLIN), revents: 0) }
        while open > 0 {
            guard try check(poll(&waits, nfds_t(clients), 10_000), "poll") > 0 else { throw Failure("no answer for ten seconds") }
            for (index, connection) in connections.enumerated() where waits[index].revents != 0 {
                guard let answer = try connection.receive() else { continue }
                guard answer.status == status else { throw Failure("the server answered \(answer.status): \(answer.text)") }
                let now = monotonic()
                latencies.append(now - connection.sentAt)
                if now < end {
                    try connection.send(request(sent))
                    sent += 1
                } else {
                    open -= 1
                }
            }
        }
        return Run(latencies: latencies, seconds: Double(monotonic() - start) / 1e9)
    }

    private final class Connection {
        let fd: Int32
        private(set) var sentAt: UInt64 = 0
        private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
        private var filled = 0

        init(fd: Int32) { self.fd = fd }
        deinit { buffer.deallocate() }

        func send(_ bytes: [UInt8]) throws {
            sentAt = monotonic()
            guard write(fd, bytes, bytes.count) == bytes.count else { throw Failure("a request could not be written at once") }
        }

        /// The response, once it is there.
        func receive() throws -> (status: Int, text: String)? {
            let count = read(fd, buffer.baseAddress! + filled, buffer.count - filled)
            guard count > 0 else { throw Failure("the server closed a connection") }
            filled += count
            let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<filled])
            guard let head = Head(bytes), filled >= head.end + head.length else { return nil }
            filled = 0
            return (head.status, head.status < 300 ? "" : String(decoding: bytes[head.end...], as: UTF8.self))
        }
    }
}
