import Foundation
import Glibc
import SessionModel

@testable import Supervisor

/// What the connection to one living sidecar costs beside what the supervisor knows of it: a long-poll that waits on a Unix socket.
struct ConnectionBenchmark {
    let directory: String
    let count = 1000

    /// - Returns: bytes of anonymous memory for each.
    func run() async throws -> Double {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = min(limit.rlim_max, 16_384)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        guard limit.rlim_cur > 2 * count + 100 else { throw Failure("\(limit.rlim_cur) open files are too few") }

        let path = "\(directory)/c.sock"
        let listener = try Self.listen(path)
        defer { close(listener) }
        let client = SidecarClient(.unix(path: path))
        // The client's thread and whatever else there is once.
        let warm = client.activity(after: 1, wait: .minutes(1)) { _ in }
        try Self.accept(1, listener)
        Memory.giveBackFree()
        let before = try Memory.resident()
        let ends = (0..<count).map { _ in client.activity(after: 1, wait: .minutes(1)) { _ in } }
        try Self.accept(count, listener)
        try await Task.sleep(for: .seconds(1))
        Memory.giveBackFree()
        let after = try Memory.resident()
        for end in ends + [warm] { end() }
        return (after - before) / Double(count)
    }

    private static func listen(_ path: String) throws -> Int32 {
        unlink(path)
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw Failure("\(path) is too long for a socket")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, Glibc.listen(listener, 4096) == 0 else { throw Failure("cannot listen on \(path)") }
        return listener
    }

    /// Takes so many connections, and never answers. They end with this process.
    private static func accept(_ count: Int, _ listener: Int32) throws {
        for _ in 0..<count where Glibc.accept(listener, nil, nil) < 0 { throw Failure("a connection could not be taken") }
    }
}
