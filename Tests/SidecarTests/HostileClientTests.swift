import Curl
import Foundation
import SessionModel
import Support
import Testing

/// Clients that break the rules, knowingly or not: the sidecar goes on, in bounded memory, and everyone else is served.
@Suite(.serialized) struct HostileClientTests {
    private let impatient = ["--client-timeout", "1s"]

    @Test func aBodyOf100MBIsRefusedInBoundedMemory() async throws {
        try await SidecarProcess.with { sidecar in
            let before = sidecar.memory.peak
            let socket = sidecar.home.socket
            for head in ["Content-Length: \(100 << 20)", "Transfer-Encoding: chunked"] {
                let answer = try await blocking {
                    let connection = try RawConnection(socket: socket)
                    connection.send("POST /v1/turns HTTP/1.1\r\nHost: s\r\n\(head)\r\n\r\n")
                    let part = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
                    for _ in 0..<100 {
                        if head.hasPrefix("T") { connection.send("100000\r\n") }
                        guard connection.send(part) else { break }
                        if head.hasPrefix("T") { connection.send("\r\n") }
                    }
                    return try connection.read(until: "too-large")
                }
                #expect(answer.hasPrefix("HTTP/1.1 413 "), "\(answer.prefix(200))")
                #expect(answer.lowercased().contains("connection: close"))
            }
            #expect(sidecar.memory.peak - before < 32 << 20)
            #expect(try await sidecar.send("GET", "/livez").status == 200)
        }
    }

    @Test func aFloodOfHeadersIsRefused() async throws {
        try await SidecarProcess.with(arguments: impatient) { sidecar in
            let socket = sidecar.home.socket
            let before = sidecar.memory.peak
            let floods = [
                String(repeating: "X-Flood: x\r\n", count: 100_000),
                "X-Long: " + String(repeating: "x", count: 10 << 20),
            ]
            for flood in floods {
                let answer = try await blocking {
                    let connection = try RawConnection(socket: socket)
                    connection.send("GET /livez HTTP/1.1\r\nHost: s\r\n")
                    connection.send(flood)
                    connection.send("\r\n\r\n")
                    return (try? connection.read()) ?? ""
                }
                #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"), "\(answer.prefix(200))")
            }
            #expect(sidecar.memory.peak - before < 16 << 20)
            #expect(try await sidecar.send("GET", "/livez").status == 200)
        }
    }

    @Test(arguments: ["GET /livez HTTP/1.1\r\nX: ", "POST /v1/turns HTTP/1.1\r\nHost: s\r\nContent-Length: 1000\r\n\r\n", ""])
    func aClientThatSendsAByteAtATimeIsDisconnected(start: String) async throws {
        try await SidecarProcess.with(arguments: impatient) { sidecar in
            let socket = sidecar.home.socket
            let duration = try await blocking {
                let connection = try RawConnection(socket: socket)
                connection.send(start)
                let begin = ContinuousClock.now
                // A byte every 100 ms, until the server has had enough.
                while ContinuousClock.now - begin < .seconds(20) {
                    if start.isEmpty { _ = connection.isHungUp(within: 1) } else { usleep(100_000) }
                    guard connection.send(start.isEmpty ? "" : "x"), !connection.isHungUp(within: 0) else { break }
                }
                return ContinuousClock.now - begin
            }
            #expect(duration < .seconds(10))
            #expect(try await sidecar.send("GET", "/livez").status == 200)
        }
    }

    @Test func notHTTP() async throws {
        try await SidecarProcess.with { sidecar in
            let socket = sidecar.home.socket
            let nonsense: [[UInt8]] = [
                Array("nonsense\r\n\r\n".utf8), [0x16, 0x03, 0x01, 0x02, 0x00, 0x01], Array("GET / HTTP/9.9\r\n\r\n".utf8),
                Array("GET /livez HTTP/1.1\r\nContent-Length: -1\r\n\r\n".utf8),
                Array("GET /livez HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".utf8),
                Array("POST /v1/turns HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".utf8),
                [UInt8](repeating: 0, count: 4096), [UInt8](repeating: 0xff, count: 200_000),
            ]
            for bytes in nonsense {
                let answer = try await blocking {
                    let connection = try RawConnection(socket: socket)
                    connection.send(bytes)
                    connection.finishSending()
                    return (try? connection.read()) ?? ""
                }
                #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"), "\(answer.prefix(100))")
            }
            #expect(try await sidecar.json(TurnList.self, "GET", "/v1/turns").total == 0)
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        try await SidecarProcess.with { sidecar in
            let socket = sidecar.home.socket
            let text = try await blocking {
                let connection = try RawConnection(socket: socket)
                var requests = ""
                for number in 1...20 {
                    let body = #"{"prompt":"\#(number)"}"#
                    requests += "POST /v1/turns HTTP/1.1\r\nHost: s\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                }
                connection.send(requests + "GET /v1/activity HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n")
                return try connection.read()
            }
            let ids = text.components(separatedBy: "\"id\":\"").dropFirst().map { $0.prefix { $0 != "\"" } }
            #expect(ids == (1...20).map { "t\($0)" })
            #expect(text.contains("\"queued\":20"))
        }
    }

    @Test func aClientThatLeavesItsLongPollEndsTheWait() async throws {
        try await SidecarProcess.with { sidecar in
            let version = try await sidecar.json(Activity.self, "GET", "/v1/activity").version
            for _ in 0..<50 {
                let request = sidecar.request("GET", "/v1/activity?after=\(version)&wait=5m")
                let waiting = Task { try await CurlClient.shared.execute(request) }
                waiting.cancel()
                _ = try? await waiting.value
            }
            // Followers that leave are counted out.
            let follower = Task {
                let stream = try await CurlClient.shared.stream(
                    sidecar.request("GET", "/v1/transcript", headers: ["Accept": "text/event-stream"], timeout: nil))
                for try await _ in stream.body {}
            }
            func followers() async throws -> Bool {
                String(decoding: try await sidecar.send("GET", "/metrics").body, as: UTF8.self)
                    .contains("holdfast_sidecar_followers 1\n")
            }
            try await sidecar.until { try await followers() }
            follower.cancel()
            try await sidecar.until { try await !followers() }
        }
    }

    /// 200 followers, half of which never read, while the agent produces much: it is not slowed down, memory stays bounded, those
    /// who read get everything, and those who do not are disconnected.
    @Test func followersThatNeverReadAreDisconnected() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: impatient) { sidecar in
            try await sidecar.waitUntilReady()
            let socket = sidecar.home.socket
            let sleepers = try (0..<100).map { _ in
                let connection = try RawConnection(socket: socket)
                connection.send("GET /v1/transcript HTTP/1.1\r\nHost: s\r\nAccept: text/event-stream\r\n\r\n")
                return connection
            }
            let readers = (0..<100).map { _ in
                Task {
                    var size = 0
                    var tail: ArraySlice<UInt8> = []
                    let request = sidecar.request(
                        "GET", "/v1/transcript", headers: ["Accept": "text/event-stream"], timeout: .seconds(240))
                    for try await part in try await CurlClient.shared.stream(request).body {
                        size += part.count
                        tail = (tail + part).suffix(4096)
                        if String(decoding: tail, as: UTF8.self).contains("event: turn.ended") { break }
                    }
                    return size
                }
            }
            defer { for reader in readers { reader.cancel() } }
            try await sidecar.until {
                String(decoding: try await sidecar.send("GET", "/metrics").body, as: UTF8.self)
                    .contains("holdfast_sidecar_followers 200\n")
            }
            // 500 kB in events of 100 kB: more than a socket's buffer and a channel's buffer hold.
            let output = "run: head -c 100000 /dev/zero | tr '\\0' x\n"
            try await sidecar.enqueue(String(repeating: output, count: 5))
            #expect(try await sidecar.end(of: TurnID(1), within: .seconds(240)).state == .succeeded)
            let sizes = try await withThrowingTaskGroup(of: Int.self) { group in
                for reader in readers { group.addTask { try await reader.value } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(sizes.allSatisfy { $0 > 500_000 })
            #expect(sidecar.memory.peak < 200 << 20)
            for sleeper in sleepers { #expect(try await blocking { sleeper.isHungUp(within: 20) }) }
            try await sidecar.until {
                String(decoding: try await sidecar.send("GET", "/metrics").body, as: UTF8.self)
                    .contains("holdfast_sidecar_followers 0\n")
            }
        }
    }

    @Test func aPageThatIsNeverReadIsGivenUp() async throws {
        try await SidecarProcess.with(arguments: impatient) { sidecar in
            for _ in 0..<30 { try await sidecar.enqueue(String(repeating: "x", count: 100_000)) }
            let socket = sidecar.home.socket
            let gone = try await blocking {
                let connection = try RawConnection(socket: socket)
                connection.send("GET /v1/transcript?limit=1000 HTTP/1.1\r\nHost: s\r\n\r\n")
                return connection.isHungUp(within: 20)
            }
            #expect(gone)
        }
    }
}
