import Curl
import Glibc
import Support
import Testing

/// What goes out, and what comes back whole.
@Suite(.timeLimit(.minutes(1)))
struct RequestTests {
    @Test func sendsMethodHeadersAndBodyAndReturnsTheWholeResponse() async throws {
        let server = try LoopbackServer { request, connection in
            let seen = [
                request.method, request.path, request.query, request.headers["x-one"] ?? "-", request.headers["x-empty"] ?? "-",
                request.headers["content-type"] ?? "none", request.headers["expect"] ?? "none",
                request.headers["content-length"] ?? "-", String(decoding: request.body, as: UTF8.self),
            ]
            try connection.respond(201, seen.joined(separator: "|"), headers: ["X-Answer": "  spaced  "])
        }
        defer { server.stop() }
        let response = try await CurlClient.shared.execute(
            CurlRequest(
                "POST", server.url + "/a/b?c=d%20e", headers: [("X-One", "1"), ("X-Empty", "")], body: Array("hello".utf8)))
        #expect(response.status == 201)
        #expect(response.header("x-answer") == "spaced")
        #expect(String(decoding: response.body, as: UTF8.self) == "POST|/a/b|c=d%20e|1||none|none|5|hello")
    }

    @Test(arguments: ["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"])
    func everyMethodWorksWithoutABody(method: String) async throws {
        let server = try LoopbackServer { request, connection in
            let saw = "\(request.method) \(request.headers["content-length"] ?? "-")"
            try connection.respond(200, method == "HEAD" ? "" : "x", headers: ["X-Saw": saw])
        }
        defer { server.stop() }
        let response = try await CurlClient.shared.execute(CurlRequest(method, server.url))
        #expect(response.header("X-Saw") == "\(method) \(["POST", "PUT", "PATCH"].contains(method) ? "0" : "-")")
    }

    @Test func aLargeBodyIsSentWithoutWaitingForContinue() async throws {
        let server = try LoopbackServer { request, connection in try connection.respond(200, "\(request.body.count)") }
        defer { server.stop() }
        let response = try await CurlClient.shared.execute(
            CurlRequest("PUT", server.url, body: [UInt8](repeating: 7, count: 5 << 20)))
        #expect(String(decoding: response.body, as: UTF8.self) == "\(5 << 20)")
    }

    @Test func statusesAreAnswersAndRedirectsAreNotFollowed() async throws {
        let server = try LoopbackServer { request, connection in
            try connection.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            try connection.respond(request.path == "/gone" ? 302 : 404, "no", headers: ["Location": "/elsewhere"])
        }
        defer { server.stop() }
        let missing = try await CurlClient.shared.execute(CurlRequest("GET", server.url))
        #expect(missing.status == 404)
        #expect(missing.header("Link") == nil, "headers of an interim response are not the response's")
        #expect(try await CurlClient.shared.execute(CurlRequest("GET", server.url + "/gone")).status == 302)
    }

    @Test func unixSocketsWork() async throws {
        let path = "/tmp/hf-curl-\(getpid()).sock"
        unlink(path)
        let server = try LoopbackServer(unixSocket: path) { request, connection in try connection.respond(200, request.path) }
        defer {
            server.stop()
            unlink(path)
        }
        let response = try await CurlClient.shared.execute(CurlRequest("GET", "http://holdfast/v1/session", unixSocket: path))
        #expect(String(decoding: response.body, as: UTF8.self) == "/v1/session")
    }

    @Test func aRequestThatCannotBeSentIsRefusedBeforeItIs() async throws {
        let requests = [
            CurlRequest("GET", "ftp://127.0.0.1/"), CurlRequest("GET", "not a url"), CurlRequest("G T", "http://127.0.0.1/"),
            CurlRequest("GET", "http://127.0.0.1/", headers: [("X", "a\r\nY: b")]),
            CurlRequest("GET", "http://127.0.0.1/", headers: [("X:", "a")]), CurlRequest("GET", "http://127.0.0.1/\0"),
        ]
        for request in requests {
            #expect(await failure { try await CurlClient.shared.execute(request) }?.code == .invalidRequest, "\(request.url)")
        }
        let withPassword = await failure {
            try await CurlClient.shared.execute(CurlRequest("GET", "http://user:hunter2@127.0.0.1:1/x?token=t"))
        }
        #expect(withPassword?.message.hasPrefix("GET http://127.0.0.1:1/x: ") == true)
    }

    @Test func loopbackNeverGoesThroughAProxy() async throws {
        // Nobody listens at this proxy.
        setenv("http_proxy", "http://127.0.0.1:9", 1)
        defer { unsetenv("http_proxy") }
        let server = try LoopbackServer { _, connection in try connection.respond() }
        defer { server.stop() }
        #expect(try await CurlClient.shared.execute(CurlRequest("GET", server.url)).status == 200)
        let proxied = await failure { try await CurlClient.shared.execute(CurlRequest("GET", "http://192.0.2.1/")) }
        #expect(proxied?.code == .connect)
        #expect(proxied?.message.contains("Connection refused") == true, "\(String(describing: proxied))")
    }
}
