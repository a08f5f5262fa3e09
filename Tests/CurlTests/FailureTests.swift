import Curl
import Glibc
import Support
import Testing

/// What goes wrong, and what the error says.
@Suite(.timeLimit(.minutes(1)))
struct FailureTests {
    @Test func timeoutsHaveAnEndAndSaySo() async throws {
        let server = try LoopbackServer { request, connection in
            if request.path == "/body" {
                try connection.beginChunks()
                try connection.chunk("x")
            }
            connection.waitForClientToLeave()
        }
        defer { server.stop() }
        let whole = CurlRequest("GET", server.url + "/head?token=secret", timeout: .milliseconds(150))
        let late = await failure { try await CurlClient.shared.execute(whole) }
        #expect(late?.code == .timeout)
        #expect(late?.message.hasPrefix("GET \(server.url)/head: ") == true)
        #expect(late?.message.contains("secret") == false)

        var quiet = CurlRequest("GET", server.url + "/body", timeout: nil)
        quiet.idleTimeout = .milliseconds(150)
        let idle = await failure { try await CurlClient.shared.execute(quiet) }
        #expect(idle?.code == .timeout)
        #expect(idle?.message == "GET \(server.url)/body: nothing was received for 0.15 seconds")
    }

    @Test func aRefusedConnectionSaysWhatWasTried() async throws {
        let server = try LoopbackServer { _, _ in }
        let url = server.url
        server.stop()
        // The listener closes on its own thread.
        var error: CurlError?
        while error?.code != .connect {
            error = await failure { try await CurlClient.shared.execute(CurlRequest("GET", url + "/v1/tasks")) }
        }
        #expect(error?.message.hasPrefix("GET \(url)/v1/tasks: ") == true)
        #expect(error?.message.contains("Connection refused") == true)

        let socket = "/tmp/hf-none-\(getpid()).sock"
        let missing = await failure {
            try await CurlClient.shared.execute(CurlRequest("GET", "http://localhost/livez", unixSocket: socket))
        }
        #expect(missing?.code == .connect)
        #expect(missing?.message.contains(socket) == true)
        #expect(missing?.message.contains("No such file or directory") == true, "\(String(describing: missing))")
    }

    @Test func aConnectionThatEndsInTheBodyIsALostOne() async throws {
        let server = try LoopbackServer { request, connection in
            if request.path == "/chunked" {
                try connection.beginChunks()
                try connection.chunk("half")
            } else if request.path == "/length" {
                try connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            }
            if request.query == "reset" { connection.reset() } else { connection.close() }
        }
        defer { server.stop() }
        for end in ["reset", "close"] {
            for path in ["/chunked", "/length", "/nothing"] {
                let request = CurlRequest("GET", "\(server.url)\(path)?\(end)")
                let error = await failure { try await CurlClient.shared.execute(request) }
                #expect(error?.code == .lost, "\(path) \(end): \(String(describing: error))")
            }
        }
        // What came before the end can be read.
        var body = try await CurlClient.shared.stream(CurlRequest("GET", server.url + "/length")).body.makeAsyncIterator()
        #expect(try await body.next() == Array("half".utf8))
        #expect(await failure { try await body.next() }?.code == .lost)
    }

    @Test func nonsenseIsAProtocolError() async throws {
        let server = try LoopbackServer { request, connection in
            if request.path == "/headers" {
                try connection.send("HTTP/1.1 200 OK\r\n")
                let line = "X-A: \(String(repeating: "a", count: 1000))\r\n"
                while true { try connection.send(line) }
            }
            try connection.send("SSH-2.0-OpenSSH_9.2\r\n\r\n")
            connection.close()
        }
        defer { server.stop() }
        for path in ["/", "/headers"] {
            let error = await failure { try await CurlClient.shared.execute(CurlRequest("GET", server.url + path)) }
            #expect(error?.code == .protocol, "\(String(describing: error))")
        }
    }

    @Test func aLongerBodyThanAllowedIsRefused() async throws {
        let server = try LoopbackServer { _, connection in try connection.respond(200, String(repeating: "x", count: 1000)) }
        defer { server.stop() }
        let url = server.url
        #expect(try await CurlClient.shared.execute(CurlRequest("GET", url), maxBody: 1000).body.count == 1000)
        let error = await failure { try await CurlClient.shared.execute(CurlRequest("GET", url), maxBody: 999) }
        #expect(error?.code == .tooLarge)
        #expect(error?.message == "GET \(url)/: the response has more than the 999 bytes that are accepted")
    }
}
