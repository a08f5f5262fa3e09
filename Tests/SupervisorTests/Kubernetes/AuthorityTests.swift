import Curl
import Foundation
import Kubernetes
import SessionModel
import Support
import Testing

@testable import Supervisor

/// The supervisor's authority, and the real sidecar behind one of its certificates.
@Suite(.timeLimit(.minutes(2))) struct AuthorityTests {
    private func pod(_ key: String = "pr:github.com/acme/widgets#12", epoch: UInt32 = 2, uid: String = "u1") throws -> SessionPod
    {
        let key = try SessionKey(parsing: key)
        let now = Timestamp(milliseconds: 1_795_000_000_000)
        let session = SessionResource(
            kind: "Session", metadata: Metadata(name: key.name, uid: uid, resourceVersion: "1", creationTimestamp: now),
            spec: SessionSpec(
                key: key, scope: ScopeSpec(kind: key.kind), worker: AgentDescription(driver: .acp, command: ["x"])),
            status: SessionResourceStatus(since: now))
        return SessionPod(session, epoch: epoch, namespace: "team-a", settings: .init(sidecarImage: "x"))
    }

    /// A sidecar of the pod, as its Secret makes it.
    private func with(_ authority: Authority, _ pod: SessionPod, _ test: (_ url: String) async throws -> Void) async throws {
        let credentials = try authority.credentials(for: pod)
        let home = try SidecarHome()
        let arguments = [
            "--listen", "[127.0.0.1]:0", "--token-file", try home.write("token", credentials.token),
            "--tls-certificate", try home.write("tls.crt", credentials.certificate),
            "--tls-key", try home.write("tls.key", credentials.key),
        ]
        let sidecar = try await SidecarProcess.start(in: home, arguments: arguments)
        defer { sidecar.kill(SIGKILL) }
        try await sidecar.until { home.log.contains("port=") }
        let port = try #require(home.log.firstMatch(of: /port=([0-9]+)/)).output.1
        try await test("https://127.0.0.1:\(port)")
        sidecar.kill(SIGKILL)
        await home.remove()
    }

    private func activity(_ url: String, _ token: String, _ tls: CurlTLS) async throws -> Activity {
        try await SidecarClient(.https(url: url, token: token, tls: tls)).activity()
    }

    @Test func aClientTrustsThisEpochsSidecarOnly() async throws {
        let authority = try Authority()
        let pod = try pod()
        let (token, tls) = (authority.token(for: pod), authority.tls(for: pod))
        try await with(authority, pod) { url in
            #expect(try await activity(url, token, tls).epoch == 1)
            func isRefused(_ token: String, _ tls: CurlTLS, _ url: String) async -> String {
                do {
                    _ = try await activity(url, token, tls)
                    return "it was not"
                } catch { return "\(error)" }
            }
            // Another pod has got the address.
            let others = authority.tls(for: try self.pod(epoch: 3))
            #expect(await isRefused(token, others, url).contains("certificate"))
            // Another supervisor has made it.
            #expect(await isRefused(token, try Authority().tls(for: pod), url).contains("certificate"))
            // The world's authorities do not count, and neither does plain HTTP.
            #expect(await isRefused(token, CurlTLS(), url).contains("certificate"))
            #expect(await isRefused(token, tls, url.replacingOccurrences(of: "https", with: "http")) != "it was not")
            #expect(await isRefused(authority.token(for: try self.pod(epoch: 3)), tls, url).contains("Send the token"))
        }
    }

    /// A long-poll and a stream go on over TLS as they do without.
    @Test func streamsAndLongPollsWork() async throws {
        let authority = try Authority()
        let pod = try pod()
        try await with(authority, pod) { url in
            let client = SidecarClient(.https(url: url, token: authority.token(for: pod), tls: authority.tls(for: pod)))
            let version = try await client.activity().version
            let (changes, change) = AsyncStream.makeStream(of: SidecarClient.Unread<Activity>.self)
            _ = client.activity(after: version, wait: .seconds(30)) { change.yield($0) }
            let stream = try await client.stream("/v1/transcript", headers: [("Accept", "text/event-stream")])
            _ = try await client.enqueue(TurnRequest(prompt: "hello"), key: "k")
            var iterator = changes.makeAsyncIterator()
            #expect(try await iterator.next()?.get().version != version)
            var text = ""
            for try await part in stream.body {
                text += String(decoding: part, as: UTF8.self)
                if text.contains("turn.queued") { break }
            }
            #expect(text.contains("hello"))
        }
    }

    /// Another replica, which did not start the sidecar, talks with it.
    @Test func aSidecarIsKnownToWhoeverHasTheSecret() async throws {
        let authority = try Authority()
        let pod = try pod()
        try await with(authority, pod) { url in
            let other = try Authority(authority.secret(namespace: "x"))
            #expect(try await activity(url, other.token(for: pod), other.tls(for: pod)).epoch == 1)
        }
    }

    @Test func tokensDifferWhereverTheyMust() throws {
        let authority = try Authority()
        let pods = try [
            pod(), pod(epoch: 3), pod(uid: "u2"), pod("pr:github.com/acme/widgets#13"),
        ]
        var tokens = Set(pods.map { authority.token(for: $0) })
        tokens.insert(try Authority().token(for: pods[0]))
        #expect(tokens.count == 5 && tokens.allSatisfy { $0.utf8.count == 64 })
    }

    @Test func aSecretThatIsDamagedIsRefused() throws {
        let (one, other) = (try Authority().secret(namespace: "x"), try Authority().secret(namespace: "x"))
        for file in ["tls.crt", "tls.key", "token.key"] {
            var damaged = one
            damaged["data"] = .object((one["data"]?.object ?? [:]).filter { $0.key != file })
            #expect { try Authority(damaged) } throws: { "\($0)".contains("has no \(file); delete it") }
        }
        var mixed = one
        mixed["data"] = .object((one["data"]?.object ?? [:]).merging(["tls.crt": other["data"]?["tls.crt"] ?? ""]) { $1 })
        #expect { try Authority(mixed) } throws: { "\($0)".contains("another one's") }
    }
}
