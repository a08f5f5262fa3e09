import Curl
import Support
import Testing

/// Many requests at once, and the connections they leave behind.
@Suite(.timeLimit(.minutes(1)))
struct ConnectionTests {
    @Test func connectionsAreReusedAndOnlySoManyAreKept() async throws {
        let together = Counter()
        let all = Gate()
        let server = try LoopbackServer { request, connection in
            if request.path == "/together" {
                together.add(1)
                if together.value == 20 { all.open() }
                all.wait()
            }
            try connection.respond()
        }
        defer { server.stop() }
        let client = CurlClient(maxIdleConnections: 4)
        let url = server.url
        for _ in 0..<50 { _ = try await client.execute(CurlRequest("GET", url)) }
        #expect(server.accepted == 1)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<20 {
                group.addTask { _ = try await client.execute(CurlRequest("GET", url + "/together")) }
            }
            try await group.waitForAll()
        }
        #expect(server.accepted == 20)
        // Every request closes one of those that the burst has left over; the server's threads notice a little later.
        for _ in 0..<20 { _ = try await client.execute(CurlRequest("GET", url)) }
        #expect(server.accepted == 20)
        try await eventually { server.open <= 4 }
        await client.shutdown()
        try await eventually { server.open == 0 }
    }

    @Test func manyLongPollsWaitAndAllAnswer() async throws {
        let count = 200
        let waiting = Counter()
        let all = Gate()
        let release = Gate()
        let server = try LoopbackServer { request, connection in
            if request.path == "/poll" {
                waiting.add(1)
                if waiting.value == count { all.open() }
                release.wait()
            }
            try connection.respond(200, request.query)
        }
        defer { server.stop() }
        let client = CurlClient()
        let url = server.url
        let answers = try await withThrowingTaskGroup(of: String.self) { group in
            for index in 0..<count {
                group.addTask {
                    var request = CurlRequest("GET", "\(url)/poll?\(index)", timeout: nil)
                    request.idleTimeout = .seconds(60)
                    return String(decoding: try await client.execute(request).body, as: UTF8.self)
                }
            }
            await offThread { all.wait() }
            // Others are served beside them.
            #expect(try await client.execute(CurlRequest("GET", url + "/quick?q")).status == 200)
            release.open()
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(answers == Set((0..<count).map(String.init)))
        await client.shutdown()
    }

    @Test func beyondTheLimitRequestsWaitForAConnection() async throws {
        let release = Gate()
        let arrived = Counter()
        let first = Gate()
        let server = try LoopbackServer { _, connection in
            arrived.add(1)
            if arrived.value == 2 { first.open() }
            release.wait()
            try connection.respond()
        }
        defer { server.stop() }
        let client = CurlClient(maxConnections: 2)
        let url = server.url
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask { _ = try await client.execute(CurlRequest("GET", url)) }
            }
            await offThread { first.wait() }
            release.open()
            try await group.waitForAll()
        }
        #expect(arrived.value == 8)
        #expect(server.accepted == 2)
        await client.shutdown()
    }

    @Test func shutdownEndsWhatRunsAndRefusesWhatComesLater() async throws {
        let arrived = Gate()
        let server = try LoopbackServer { _, connection in
            arrived.open()
            connection.waitForClientToLeave()
        }
        defer { server.stop() }
        let client = CurlClient()
        let url = server.url
        async let running = failure { try await client.execute(CurlRequest("GET", url)) }
        await offThread { arrived.wait() }
        await client.shutdown()
        await client.shutdown()
        #expect(await running?.code == .aborted)
        #expect(await failure { try await client.execute(CurlRequest("GET", url)) }?.code == .aborted)
    }

    private func eventually(_ condition: () -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(20)
        while !condition(), ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(5)) }
        #expect(condition())
    }
}
