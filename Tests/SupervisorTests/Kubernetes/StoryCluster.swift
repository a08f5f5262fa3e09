import Curl
import Foundation
import Glibc
import Kubernetes
import KubernetesDouble
import NIOConcurrencyHelpers
import Processes
import SessionModel
import Support
import TLSServer
import Testing

@testable import Supervisor

/// A cluster for a whole story: the API server's double with a kubelet that runs real sidecars, a repository, and real
/// `holdfast-supervisor` processes.
final class StoryCluster: Sendable {
    let double: KubernetesDouble
    let kubelet: FakeKubelet
    let client: KubernetesClient
    let git: GitFixture
    let home: TemporaryDirectory
    let namespace = "team-a"
    static let key = try! SessionKey(parsing: "pr:acme/widgets#12")
    private let supervisors = NIOLockedValueBox<[Int32]>([])

    private init() async throws {
        double = try KubernetesDouble()
        kubelet = try FakeKubelet(double)
        client = TestNamespace.client(of: double)
        git = try GitFixture()
        home = try TemporaryDirectory()
        try git.commit("greet.txt", "hello\n")
        try git.git("push", "--quiet", "origin", "HEAD:main", in: git.author)
        try git.setPullRequest(12)
        try await client.objects(.namespaces).create(
            GenericObject(.namespaces, metadata: ObjectMeta(name: namespace)))
        for definition in try CustomResources.definitions() { try await client.objects(.definitions).create(definition) }
        try "a-token-of-at-least-thirty-two-characters\n".write(toFile: home.path + "/token", atomically: true, encoding: .utf8)
        try double.authority.certificate.write(toFile: home.path + "/ca.crt", atomically: true, encoding: .utf8)
        let kubeconfig = """
            apiVersion: v1
            kind: Config
            current-context: double
            clusters: [{name: double, cluster: {server: "\(double.url)", certificate-authority: \(home.path)/ca.crt}}]
            contexts: [{name: double, context: {cluster: double, user: nobody, namespace: \(namespace)}}]
            users: [{name: nobody, user: {token: nothing}}]
            """
        try kubeconfig.write(toFile: home.path + "/kubeconfig", atomically: true, encoding: .utf8)
    }

    static func run(_ story: (StoryCluster) async throws -> Void) async throws {
        let cluster = try await StoryCluster()
        do {
            try await story(cluster)
        } catch {
            Issue.record("\(error)\n\(await cluster.evidence)")
        }
        for pid in cluster.supervisors.withLockedValue({ $0 }) { cluster.kill(pid) }
        await cluster.kubelet.stop()
        await cluster.client.shutdown()
        cluster.double.stop()
    }

    // MARK: Supervisors

    /// Starts a replica.
    @discardableResult
    func startSupervisor(_ arguments: [String] = []) throws -> Int32 {
        var spawn = Spawn(
            [
                Products.path("holdfast-supervisor"), "serve", "--kubernetes", "--kubeconfig", home.path + "/kubeconfig",
                "--listen", "127.0.0.1:0", "--token-file", home.path + "/token", "--sidecar-image", "holdfast-sidecar:dev",
                "--agent-image", "holdfast-agent-demo:dev", "--lease-duration", "3s", "--log-level", "debug",
            ] + arguments, environment: ["PATH": "/usr/bin:/bin", "HOME": home.path])
        let log = open(logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(log) }
        spawn.descriptors = [nil, log, log]
        let pid = try spawn.start()
        supervisors.withLockedValue { $0.append(pid) }
        return pid
    }

    /// Starts a git gateway at this port of loopback, with what a supervisor has made for it.
    func startGateway(port: Int, _ arguments: [String] = []) async throws {
        let secrets: Objects<GenericObject> = client.objects(.secrets, in: namespace)
        let secret = try await until("the gateway's Secret") { try await secrets.get(Authority.gatewaySecretName) }
        for (file, value) in secret["data"]?.object ?? [:] {
            try (value.string.flatMap { Data(base64Encoded: $0) } ?? Data()).write(
                to: URL(filePath: "\(home.path)/gateway-\(file)"))
        }
        var spawn = Spawn(
            [
                Products.path("holdfast-supervisor"), "git-gateway", "--kubernetes", "--kubeconfig", home.path + "/kubeconfig",
                "--listen", "127.0.0.1:\(port)", "--tls-certificate", home.path + "/gateway-tls.crt",
                "--tls-key", home.path + "/gateway-tls.key", "--supervisor", try await api(),
                "--supervisor-token-file", home.path + "/gateway-token",
            ] + arguments, environment: ["PATH": "/usr/bin:/bin", "HOME": home.path])
        let log = open(home.path + "/gateway.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(log) }
        spawn.descriptors = [nil, log, log]
        let pid = try spawn.start()
        supervisors.withLockedValue { $0.append(pid) }
        try await until("the gateway") { self.gatewayLog.contains("serving") ? true : nil }
    }

    var gatewayLog: String { (try? String(contentsOfFile: home.path + "/gateway.log", encoding: .utf8)) ?? "" }

    func kill(_ pid: Int32) {
        guard
            supervisors.withLockedValue({ all in
                defer { all.removeAll { $0 == pid } }
                return all.contains(pid)
            })
        else { return }
        Glibc.kill(pid, SIGKILL)
        _ = Child.wait(pid)
    }

    /// The address of the first supervisor's API.
    func api() async throws -> String {
        let port = try await until("the API's port") { self.log.firstMatch(of: /port=(\d+).*serving/)?.output.1 }
        return "http://127.0.0.1:\(port)"
    }

    /// Of all supervisors so far, the latest first.
    var apis: [String] { log.matches(of: /port=(\d+).*serving/).map { "http://127.0.0.1:\($0.output.1)" }.reversed() }

    /// What the supervisor's API answers.
    func ask(_ path: String, accept: String = "application/json") async throws -> CurlResponse {
        let headers = [("Authorization", "Bearer a-token-of-at-least-thirty-two-characters"), ("Accept", accept)]
        return try await CurlClient.shared.execute(
            CurlRequest("GET", try await api() + path, headers: headers.map { (name: $0.0, value: $0.1) }, timeout: .seconds(60)))
    }

    private var logFile: String { home.path + "/supervisor.log" }
    var log: String { (try? String(contentsOfFile: logFile, encoding: .utf8)) ?? "" }

    /// The identity of the present leader.
    func leader() async throws -> String? {
        try? await client.objects(.leases, as: GenericObject.self, in: namespace).get("holdfast-supervisor")["spec"]?[
            "holderIdentity"]?.string
    }

    // MARK: Tasks and sessions

    var tasks: Objects<TaskObject> { client.objects(.tasks, as: TaskObject.self, in: namespace) }
    var sessions: Objects<SessionObject> { client.objects(.sessions, as: SessionObject.self, in: namespace) }
    var pods: Objects<GenericObject> { client.objects(.pods, in: namespace) }

    static func pod(_ epoch: UInt32) -> String { SessionPod.name(session: key.name, epoch: epoch) }

    @discardableResult
    func ask(
        _ name: String, _ prompt: String, _ lifetime: Lifetime = Lifetime(), podTemplate: JSONValue? = nil
    ) async throws -> String {
        var worker = AgentDescription(driver: .acp, command: ["holdfast-demo-agent"])
        worker.podTemplate = podTemplate
        let spec = TaskSpec(
            prompt: prompt, scope: ScopeSpec(kind: .pullRequest, repository: "acme/widgets", number: 12), worker: worker,
            workspace: WorkspaceSpec(repository: git.remote), lifetime: lifetime)
        _ = try await tasks.create(TaskObject(metadata: ObjectMeta(name: name), spec: spec, status: nil))
        return name
    }

    func task(_ name: String, _ condition: (TaskStatus) -> Bool) async throws -> TaskStatus {
        try await self.until("Task \(name)") {
            guard let status = try await self.tasks.get(name).status, condition(status) else { return nil }
            return status
        }
    }

    func end(of name: String) async throws -> TaskStatus { try await task(name) { $0.phase.isTerminal } }

    func session(_ condition: (SessionResourceStatus) -> Bool) async throws -> SessionResourceStatus {
        try await until("the session") {
            guard let status = try await self.sessions.get(Self.key.name).status, condition(status) else { return nil }
            return status
        }
    }

    @discardableResult
    func until<Value>(_ what: String, _ look: () async throws -> Value?) async throws -> Value {
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            // What goes wrong on purpose may meet this too.
            if let value = try? await look() { return value }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw SidecarFailure("waited for \(what) in vain")
    }

    /// A file of the session's working directory, on its disk.
    func file(_ name: String) -> String? {
        let disks = kubelet.directory + "/disks"
        return FileManager.default.subpaths(atPath: disks)?.first { $0.hasSuffix("/\(name)") }.map { "\(disks)/\($0)" }
    }

    func condition(_ type: String) async throws -> Condition? {
        try await sessions.get(Self.key.name).status?.conditions.first { $0.type == type && $0.status == .true }
    }

    var evidence: String {
        get async {
            let objects = double.with { cluster in
                cluster.describe(["tasks.holdfast.dev", "sessions.holdfast.dev", "pods"])
            }
            var text = "supervisors:\n\(log.suffix(8000))\ngateway:\n\(gatewayLog.suffix(4000))\nobjects:\n\(objects)"
            for epoch in UInt32(1)...3 { text += "\nepoch \(epoch):\n" + (await kubelet.log(Self.pod(epoch))) }
            return text
        }
    }
}
