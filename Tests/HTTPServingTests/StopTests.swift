import Curl
import Glibc
import HTTPServing
import HTTPTypes
import Logging
import Support
import Testing

/// A server is stopped while clients go on connecting to it.
@Suite struct StopTests {
    /// NIO ends the process when it lets go of a connection that nobody took over: see `HeldConnections`.
    @Test func aConnectionThatComesWhileTheServerStopsIsClosed() async throws {
        var root = Array("/tmp/stop.XXXXXX".utf8CString)
        let directory = String(cString: try #require(mkdtemp(&root)))
        defer { rmdir(directory) }
        var logger = Logger(label: "stop")
        logger.logLevel = .critical
        var routes = Routes()
        routes.on(.get, "/") { _ in try .json(["hello": "there"]) }
        for round in 0..<200 {
            let path = "\(directory)/\(round)"
            let service = HTTPService(.unix(path: path), routes: routes, logger: logger)
            let (listening, announce) = AsyncStream.makeStream(of: Void.self)
            let server = Task { try await service.run { _ in announce.yield() } }
            for await _ in listening { break }
            let clients = (0..<4).map { _ in
                Task {
                    let client = CurlClient(maxIdleConnections: 0)
                    while !Task.isCancelled {
                        // What it answers, or whether at all, is no matter here.
                        _ = try? await client.execute(CurlRequest("GET", "http://server/", unixSocket: path))
                    }
                }
            }
            for _ in 0..<(round % 40) { await Task.yield() }
            server.cancel()
            // To end when it is told to is no failure, whichever of its parts is the first to notice.
            await #expect(throws: Never.self) { try await server.value }
            for client in clients { client.cancel() }
            for client in clients { await client.value }
            unlink(path)
        }
    }
}
