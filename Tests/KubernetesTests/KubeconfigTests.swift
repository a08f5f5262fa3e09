import Curl
import Foundation
import SessionModel
import TLSServer
import Testing

@testable import Kubernetes

/// Files of a kubeconfig's user, and what they mean or what is wrong with them.
@Suite(.timeLimit(.minutes(2)))
final class KubeconfigTests {
    private let folder = NSTemporaryDirectory() + "/hf-kc-\(UUID().uuidString.prefix(8))"
    private let pem = Data("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n".utf8)

    init() throws {
        try FileManager.default.createDirectory(atPath: folder + "/sub", withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    @discardableResult
    private func write(_ name: String, _ text: String) throws -> String {
        try text.write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8)
        return "\(folder)/\(name)"
    }

    private func config(user: String, cluster: String = "server: https://k.test:6443") -> String {
        """
        apiVersion: v1
        kind: Config
        current-context: main
        clusters:
        - name: c
          cluster: {\(cluster)}
        users:
        - name: u
          user: {\(user)}
        contexts:
        - name: main
          context: {cluster: c, user: u, namespace: work}
        """
    }

    private func resolve(user: String, cluster: String = "server: https://k.test:6443", environment: [String: String] = [:])
        throws -> ClusterConfiguration
    {
        return try Kubeconfig.load([write("config", config(user: user, cluster: cluster))]).resolve(environment: environment)
    }

    @Test func aContextIsResolved() throws {
        let data = pem.base64EncodedString()
        let configuration = try resolve(
            user: "token: abc",
            cluster:
                "server: 'https://k.test:6443/', certificate-authority-data: \(data), tls-server-name: kube, proxy-url: 'http://p:1'"
        )
        #expect(configuration.server == "https://k.test:6443")
        #expect(configuration.authorities == .pem(Array(pem)))
        #expect(configuration.namespace == "work")
        #expect(configuration.identity == .token("abc"))
        #expect(configuration.serverName == "kube" && configuration.proxy == "http://p:1")
        #expect(configuration.verifiesServer)
    }

    @Test func verificationIsOffOnlyWhereItIsWritten() throws {
        #expect(try resolve(user: "token: x").verifiesServer)
        #expect(try resolve(user: "token: x", cluster: "server: https://k, insecure-skip-tls-verify: false").verifiesServer)
        #expect(try !resolve(user: "token: x", cluster: "server: https://k, insecure-skip-tls-verify: true").verifiesServer)
    }

    @Test func credentialsComeInTheOrderOfKubectl() throws {
        let data = pem.base64EncodedString()
        try write("t", "secret")
        #expect(
            try resolve(user: "client-certificate-data: \(data), client-key-data: \(data), token: x").identity
                == .certificate(.pem(Array(pem)), key: .pem(Array(pem))))
        #expect(try resolve(user: "tokenFile: sub/t, token: old").identity == .tokenFile(folder + "/sub/t", initial: "old"))
        #expect(try resolve(user: "username: me, password: pw").identity == .basic(user: "me", password: "pw"))
        #expect(try resolve(user: "").identity == .anonymous)
        let impersonating = try resolve(user: "token: x, as: boss, as-groups: [a, b], as-user-extra: {k: [v]}").impersonation
        #expect(impersonating.user == "boss" && impersonating.groups == ["a", "b"] && impersonating.extra == ["k": ["v"]])
    }

    @Test func severalFilesAreMerged() throws {
        let first = try write("one", config(user: "token: first").replacingOccurrences(of: "current-context: main\n", with: ""))
        let second = try write(
            "sub/two",
            config(user: "token: second").replacingOccurrences(of: "name: main", with: "name: other")
                .replacingOccurrences(of: "current-context: main", with: "current-context: other"))
        let environment = ["KUBECONFIG": "\(first):\(folder)/missing:\(second)"]
        let configuration = try ClusterConfiguration.load(environment: environment)
        #expect(configuration.identity == .token("first"), "of two users of one name the first counts")
        #expect(configuration.origin.hasSuffix("context other"))
        #expect(try ClusterConfiguration.load(context: "main", environment: environment).origin.hasSuffix("context main"))
    }

    @Test func pathsAreRelativeToTheirFile() throws {
        try write("sub/ca.pem", String(decoding: pem, as: UTF8.self))
        let file = try write("sub/config", config(user: "token: x", cluster: "server: https://k, certificate-authority: ca.pem"))
        #expect(try ClusterConfiguration.load(kubeconfig: file, environment: [:]).authorities == .file(folder + "/sub/ca.pem"))
    }

    /// Each mistake, and what of it the message names.
    @Test(arguments: [
        ("token: x", "server: k.test", "https://"), ("token: x", "", "no server"),
        ("client-certificate-data: '###'", "server: https://k", "client-certificate-data is not base64"),
        ("client-certificate-data: QUJD", "server: https://k", "not PEM"),
        ("client-certificate: /nope.pem", "server: https://k", "/nope.pem cannot be read: there is no such file"),
        ("token: x", "server: https://k, certificate-authority: /nope", "certificate-authority /nope cannot be read"),
        (
            "token: x",
            "server: https://k, insecure-skip-tls-verify: true, certificate-authority-data: \(Data("-----BEGIN X".utf8).base64EncodedString())",
            "remove one"
        ),
        ("exec: {command: x}", "server: https://k", "apiVersion"),
        ("exec: {apiVersion: client.authentication.k8s.io/v1}", "server: https://k", "has no command"),
        ("exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}", "server: https://k", "v1alpha1"),
        (
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}", "server: https://k",
            "terminal"
        ),
        ("auth-provider: {name: gcp}", "server: https://k", "exec plugin"),
    ])
    func mistakesAreExplained(user: String, cluster: String, expected: String) throws {
        let error = #expect(throws: KubernetesError.self) { try resolve(user: user, cluster: cluster) }
        #expect(error?.code == .configuration)
        #expect(error?.message.contains(expected) == true, "\(String(describing: error))")
        #expect(
            error?.message.contains(folder + "/config") == true || expected.contains("nope"),
            "it names the file: \(String(describing: error))")
    }

    @Test func missingThingsAreExplained() throws {
        let file = try write("config", config(user: "token: x"))
        func message(_ load: () throws -> ClusterConfiguration) -> String {
            do { return "\(try load())" } catch { return "\(error)" }
        }
        #expect(
            message { try .load(kubeconfig: file, context: "nope", environment: [:]) }.contains("no context “nope”; it has main"))
        #expect(
            message { try .load(kubeconfig: "/nope", environment: [:]) }
                == "the kubeconfig /nope cannot be read: there is no such file")
        #expect(message { try .load(environment: ["KUBECONFIG": "/a:/b"]) }.contains("/a, /b"))
        #expect(message { try .load(environment: ["HOME": folder]) }.contains("no cluster is configured"))
        #expect(message { try .load(context: "x", environment: [:]) }.contains("no kubeconfig"))
        let list = try write("list", "- a\n- b\n")
        #expect(message { try .load(kubeconfig: list, environment: [:]) }.contains("is not one"))
        let broken = try write("broken", "clusters: [\n  {name: ")
        #expect(message { try .load(kubeconfig: broken, environment: [:]) }.contains(broken))
        let dangling = try write("dangling", config(user: "token: x").replacingOccurrences(of: "user: u", with: "user: other"))
        #expect(message { try .load(kubeconfig: dangling, environment: [:]) }.contains("“other”, which is not there"))
    }

    @Test func inAPodTheServiceAccountIsUsed() throws {
        let environment = ["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"]
        func load() throws -> ClusterConfiguration { try .load(environment: environment, serviceAccount: folder) }
        let missing = #expect(throws: KubernetesError.self) { try load() }
        #expect(missing?.message.contains("automountServiceAccountToken") == true)
        try write("token", "t\n")
        try write("ca.crt", "x")
        try write("namespace", "team\n")
        let configuration = try load()
        #expect(configuration.server == "https://[fd00::1]:443")
        #expect(configuration.namespace == "team")
        #expect(configuration.authorities == .file(folder + "/ca.crt"))
        #expect(configuration.identity == .tokenFile(folder + "/token", initial: nil))
    }

    // MARK: Plugins

    private func plugin(_ script: String, extra: String = "") throws -> CredentialPlugin {
        let path = try write("plugin", "#!/bin/sh\n" + script)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        let text = config(
            user:
                "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, installHint: 'get it at x', args: [a], env: [{name: WHO, value: me}]\(extra)}"
        )
        guard
            case .plugin(let plugin) = try Kubeconfig.load([write("config", text)]).resolve(environment: ["PATH": "/usr/bin:/bin"]
            ).identity
        else { throw Waited(limit: .zero) }
        return plugin
    }

    private func answer(_ status: String) -> String {
        "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\(status)}}'\n"
    }

    @Test func aPluginsAnswerIsUsedUntilItExpires() async throws {
        // It counts its runs, and says who asks.
        let plugin = try plugin(
            "echo x >> \(folder)/runs\nn=$(wc -l < \(folder)/runs)\n"
                + "case \"$KUBERNETES_EXEC_INFO\" in *'\"server\":\"https://k.test:6443\"'*) c=seen;; esac\n"
                + "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"expirationTimestamp\":\"2026-01-01T00:01:00Z\",\"token\":\"'$WHO-$1-$c-$n'\"}}'",
            extra: ", provideClusterInfo: true")
        let clock = Moment(Timestamp("2026-01-01T00:00:00Z")!)
        let credentials = Credentials(.plugin(plugin)) { clock.now }
        // All who ask at once share one run.
        let tickets = try await withThrowingTaskGroup(of: Credentials.Ticket.self) { group in
            for _ in 0..<5 { group.addTask { try await credentials.ticket() } }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(tickets == [Credentials.Ticket(authorization: "Bearer me-a-seen-1")])
        clock.now = Timestamp("2026-01-01T00:00:49Z")!
        #expect(try await credentials.ticket().authorization == "Bearer me-a-seen-1")
        clock.now = Timestamp("2026-01-01T00:00:51Z")!
        let second = try await credentials.ticket()
        #expect(second.authorization == "Bearer me-a-seen-2")
        // The server does not want it: a new one.
        clock.now = Timestamp("2026-01-01T00:00:00Z")!
        #expect(await credentials.reject(second))
        #expect(try await credentials.ticket().authorization == "Bearer me-a-seen-3")
        #expect(await credentials.reject(second), "of an older one: the newer one may do")
        #expect(try await credentials.ticket().authorization == "Bearer me-a-seen-3")
    }

    @Test func aPluginMayGiveACertificate() async throws {
        let plugin = try plugin(answer("\"clientCertificateData\":\"CERT\",\"clientKeyData\":\"KEY\""))
        let ticket = try await Credentials(.plugin(plugin)).ticket()
        #expect(ticket.certificate == .pem(Array("CERT".utf8)) && ticket.key == .pem(Array("KEY".utf8)))
        #expect(ticket.authorization == nil)
    }

    @Test(arguments: [
        ("echo oops >&2; exit 3", "oops"), ("exit 1", "get it at x"), ("echo nonsense", "not an ExecCredential"),
        ("echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\"}'", "v1beta1"),
        (
            "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{}}'",
            "neither a token nor"
        ),
        ("yes | head -c 3000000", "1048576 bytes"),
    ])
    func aPluginsFailureIsExplained(script: String, expected: String) async throws {
        let plugin = try plugin(script)
        let error = await failure { try await plugin.run() }
        #expect(error?.code == .configuration)
        #expect(error?.message.contains(expected) == true, "\(String(describing: error))")
        #expect(error?.message.contains("the user “u” of \(folder)/config") == true)
    }

    @Test func aPluginThatHangsOrIsMissingIsExplained() async throws {
        let hanging = try plugin("sleep 100")
        #expect(
            await failure { try await hanging.run(within: .milliseconds(300)) }?.message.contains("did not end within") == true)
        try FileManager.default.removeItem(atPath: folder + "/plugin")
        let missing = await failure { try await hanging.run() }
        #expect(missing?.message.contains("get it at x") == true)
    }
}

private final class Moment: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Timestamp
    init(_ value: Timestamp) { self.value = value }
    var now: Timestamp {
        get { lock.withLock { value } }
        set { lock.withLock { value = newValue } }
    }
}
