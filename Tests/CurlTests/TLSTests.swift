import Curl
import Foundation
import NIOConcurrencyHelpers
import Support
import TLSServer
import Testing

/// Whom a connection trusts and what it shows of itself, over HTTP/1.1 and HTTP/2.
@Suite(.timeLimit(.minutes(2)))
struct TLSTests {
    @Test(arguments: [true, false])
    func theServerIsTrustedByAnAuthorityInMemory(http2: Bool) async throws {
        var options = TLSServer.Options()
        options.http2 = http2
        let server = try TLSServer(authority: TestAuthority(), options: options) { request, exchange in
            exchange.respond(200, "\(request.method) \(request.path) \(request.isHTTP2) \(request.body.count)")
        }
        defer { server.stop() }
        let client = CurlClient()
        var request = request(server.url + "/x", trusting: server.authority)
        request.method = "POST"
        request.body = [UInt8](repeating: 1, count: 3 << 20)
        #expect(String(decoding: try await client.execute(request).body, as: UTF8.self) == "POST /x \(http2) \(3 << 20)")
        await client.shutdown()
    }

    @Test func anAuthorityInAFileIsReadAtEveryNewConnection() async throws {
        let server = try TLSServer(authority: TestAuthority()) { _, exchange in exchange.respond(200, "") }
        defer { server.stop() }
        let file = NSTemporaryDirectory() + "/hf-ca-\(UUID().uuidString).pem"
        defer { try? FileManager.default.removeItem(atPath: file) }
        var request = CurlRequest("GET", server.url)
        request.tls.authorities = .file(file)
        try TestAuthority("another").certificate.write(toFile: file, atomically: true, encoding: .utf8)
        let client = CurlClient()
        let sent = request
        #expect(await failure { try await client.execute(sent) }?.code == .tls)
        try server.authority.certificate.write(toFile: file, atomically: true, encoding: .utf8)
        #expect(try await client.execute(request).status == 200)
        try FileManager.default.removeItem(atPath: file)
        // The connection stands.
        #expect(try await client.execute(request).status == 200)
        await client.shutdown()
        let missing = await failure { try await CurlClient().execute(sent) }
        #expect(missing?.code == .tls)
        #expect(missing?.message.contains(file) == true, "\(String(describing: missing))")
    }

    @Test func nobodyIsTrustedWithoutReason() async throws {
        let server = try TLSServer(authority: TestAuthority()) { _, exchange in exchange.respond(200, "") }
        defer { server.stop() }
        let client = CurlClient()
        let url = server.url
        for authority in [nil, try TestAuthority("another")] {
            let request = request(url, trusting: authority)
            let error = await failure { try await client.execute(request) }
            #expect(error?.code == .tls)
            #expect(error?.message.contains("certificate") == true, "\(String(describing: error))")
        }
        // Its name is not in the certificate.
        let other = request("https://127.0.0.2:\(server.port)", trusting: server.authority)
        #expect(await failure { try await client.execute(other) }?.code == .connect)
        var renamed = request(url, trusting: server.authority)
        renamed.tls.serverName = "kubernetes.test"
        let sent = renamed
        #expect(await failure { try await client.execute(sent) }?.code == .tls)
        // Garbage is no authority.
        var garbage = CurlRequest("GET", url)
        garbage.tls.authorities = .pem(Array("not a certificate".utf8))
        let wrong = garbage
        #expect(await failure { try await client.execute(wrong) }?.code == .tls)
        // Only who says so trusts anyone.
        var careless = CurlRequest("GET", url)
        careless.tls.verifiesServer = false
        #expect(try await client.execute(careless).status == 200)
        // And that connection is nobody else's.
        let careful = request(url, trusting: try TestAuthority())
        #expect(await failure { try await client.execute(careful) }?.code == .tls)
        await client.shutdown()
    }

    @Test func theServersNameMayBeAnotherThanTheAddress() async throws {
        var options = TLSServer.Options()
        options.names = ["kubernetes.test"]
        let server = try TLSServer(authority: TestAuthority(), options: options) { request, exchange in
            exchange.respond(200, request.header("host") ?? request.header(":authority") ?? "")
        }
        defer { server.stop() }
        var request = request("https://localhost:\(server.port)/", trusting: server.authority)
        let client = CurlClient()
        let plain = request
        #expect(await failure { try await client.execute(plain) }?.code == .tls)
        request.tls.serverName = "kubernetes.test"
        #expect(String(decoding: try await client.execute(request).body, as: UTF8.self) == "localhost:\(server.port)")
        await client.shutdown()
    }

    @Test func aClientCertificateFromMemoryIsShown() async throws {
        var options = TLSServer.Options()
        options.clientCertificates = .optional
        let server = try TLSServer(authority: TestAuthority(), options: options) { request, exchange in
            exchange.respond(200, request.client ?? "nobody")
        }
        defer { server.stop() }
        let client = CurlClient()
        func who(_ name: String?) async throws -> String {
            var request = request(server.url, trusting: server.authority)
            if let name {
                let identity = try server.authority.client(name)
                request.tls.certificate = .pem(Array(identity.certificate.utf8))
                request.tls.key = .pem(Array(identity.key.utf8))
            }
            return String(decoding: try await client.execute(request).body, as: UTF8.self)
        }
        // Each on its own connection: one identity's is never used for another.
        for name in ["alice", nil, "bob", "alice"] { #expect(try await who(name) == name ?? "nobody") }
        var broken = request(server.url, trusting: server.authority)
        broken.tls.certificate = .pem(Array("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".utf8))
        broken.tls.key = .pem(Array("nonsense".utf8))
        let sent = broken
        let error = await failure { try await client.execute(sent) }
        #expect(error?.code == .tls)
        #expect(error?.message.contains("AAAA") == false)
        await client.shutdown()
    }

    @Test func aServerThatInsistsOnACertificateRefusesWhoHasNone() async throws {
        var options = TLSServer.Options()
        options.clientCertificates = .required
        let server = try TLSServer(authority: TestAuthority(), options: options) { _, exchange in exchange.respond(200, "") }
        defer { server.stop() }
        let request = request(server.url, trusting: server.authority)
        let error = await failure { try await CurlClient().execute(request) }
        // With TLS 1.3 the refusal comes after the client's handshake: as an alert on the first read.
        #expect(error?.code == .tls || error?.code == .lost, "\(String(describing: error))")
    }

    @Test func requestsShareOneConnectionWithHTTP2() async throws {
        let arrived = Counter()
        let all = Gate()
        let waiting = NIOLockedValueBox<[TLSExchange]>([])
        let server = try TLSServer(authority: TestAuthority()) { request, exchange in
            waiting.withLockedValue { $0.append(exchange) }
            arrived.add(1)
            if arrived.value == 50 { all.open() }
        }
        defer { server.stop() }
        let client = CurlClient()
        let request = request(server.url, trusting: server.authority)
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<50 { group.addTask { try await client.execute(request).status } }
            await offThread { all.wait() }
            for exchange in waiting.withLockedValue({ $0 }) { exchange.respond(204) }
            for try await status in group { #expect(status == 204) }
        }
        #expect(server.accepted == 1)
        await client.shutdown()
    }

    @Test(arguments: [true, false])
    func cancellingOneRequestLeavesTheOthers(http2: Bool) async throws {
        let opened = Gate()
        let left = Gate()
        let server = try TLSServer(authority: TestAuthority()) { request, exchange in
            guard request.path == "/long" else { return exchange.respond(200, "x") }
            exchange.begin(200)
            exchange.send("first")
            exchange.onLeaving { left.open() }
            opened.open()
        }
        defer { server.stop() }
        let client = CurlClient()
        var long = request(server.url + "/long", trusting: server.authority)
        long.timeout = nil
        long.http2 = http2
        let sent = long
        let work = Task {
            for try await _ in try await client.stream(sent).body {}
        }
        await offThread { opened.wait() }
        work.cancel()
        _ = await work.result
        // With HTTP/1.1 the server hears of it at once; with HTTP/2 together with the next request.
        if !http2 { #expect(await offThread { left.isOpen(within: 30) }) }
        #expect(try await client.execute(request(server.url, trusting: server.authority)).status == 200)
        #expect(await offThread { left.isOpen(within: 30) })
        #expect(server.accepted == (http2 ? 1 : 2))
        await client.shutdown()
    }

    @Test func aProxyIsAskedForATunnel() async throws {
        let server = try TLSServer(authority: TestAuthority()) { _, exchange in exchange.respond(200, "through") }
        defer { server.stop() }
        let proxy = try TunnelProxy(to: server.port)
        defer { proxy.stop() }
        let client = CurlClient()
        // The name is the proxy's to resolve; nobody here could.
        var request = request("https://kube.invalid:6443/version", trusting: server.authority)
        request.proxy = proxy.url
        request.tls.serverName = nil
        let misnamed = request
        #expect(await failure { try await client.execute(misnamed) }?.code == .tls)
        request.url = "https://localhost:6443/version"
        #expect(String(decoding: try await client.execute(request).body, as: UTF8.self) == "through")
        #expect(proxy.targets == ["kube.invalid:6443", "localhost:6443"])
        request.proxy = "http://127.0.0.1:9"
        let nobody = request
        #expect(await failure { try await CurlClient().execute(nobody) }?.code == .connect)
        await client.shutdown()
    }
}
