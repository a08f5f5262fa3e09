import Foundation
import SessionModel
import Support
import Testing

/// Holdfast in a real cluster, installed in a namespace of its own as docs/operations.md says, beside a repository that pods reach.
///
/// `HOLDFAST_TEST_KUBECONFIG` names the cluster, which must be one for tests: definitions and roles of the cluster are replaced, and
/// stay. Its nodes have the images of `make images`, and it has a default storage class. kubectl is in PATH, or `HOLDFAST_KUBECTL`
/// names it.
final class RealCluster: Sendable {
    static let kubeconfig = ProcessInfo.processInfo.environment["HOLDFAST_TEST_KUBECONFIG"]
    static let key = "pr:acme/widgets#12"
    let namespace: String
    private let overlay: URL
    /// The address of the repository.
    let repository: String

    static func run(_ story: (RealCluster) async throws -> Void) async throws {
        let cluster = try await RealCluster()
        do { try await story(cluster) } catch {
            Issue.record("\(error)\n\(cluster.evidence)")
        }
        // Sessions first: their supervisor drains them.
        _ = try? cluster.kubectl("delete", "sessions,tasks", "--all", "--timeout=2m")
        _ = try? cluster.kubectl("delete", "namespace", cluster.namespace, "--wait=false")
        try? FileManager.default.removeItem(at: cluster.overlay)
    }

    private init() async throws {
        namespace = "hf-\(UUID().uuidString.lowercased().prefix(8))"
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        overlay = root.appending(path: ".build/\(namespace)")
        try FileManager.default.createDirectory(at: overlay, withIntermediateDirectories: true)
        try "namespace: \(namespace)\nresources: [../../deploy/overlays/cluster]\n".write(
            to: overlay.appending(path: "kustomization.yaml"), atomically: true, encoding: .utf8)
        try Self.kubectl(in: nil, "create", "namespace", namespace)
        let token = "\(UUID())\(UUID())"
        try Self.kubectl(
            in: namespace, "create", "secret", "generic", "holdfast-api", "--from-literal=token=\(token)")
        try Self.kubectl(in: nil, "apply", "--server-side", "--force-conflicts", "-k", overlay.path)
        try Self.kubectl(in: namespace, input: Self.forge, "apply", "-f", "-")
        try Self.kubectl(in: namespace, "wait", "pod/forge", "--for=condition=Ready", "--timeout=2m")
        repository = "git://\(try Self.kubectl(in: namespace, "get", "pod", "forge", "-o", "jsonpath={.status.podIP}"))/widgets"
        for deployment in ["holdfast-supervisor", "holdfast-git-gateway"] {
            try Self.kubectl(in: namespace, "rollout", "status", "deployment/\(deployment)", "--timeout=3m")
        }
    }

    /// A repository with a pull request, and the policy by which sessions reach it.
    private static let forge = """
        apiVersion: v1
        kind: Pod
        metadata: {name: forge, labels: {app: forge}}
        spec:
          terminationGracePeriodSeconds: 0
          securityContext: {runAsNonRoot: true, runAsUser: 61100, seccompProfile: {type: RuntimeDefault}}
          containers:
          - name: git
            image: holdfast-agent-demo:dev
            imagePullPolicy: IfNotPresent
            securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
            readinessProbe: {tcpSocket: {port: 9418}, periodSeconds: 1}
            env: [{name: HOME, value: /tmp}]
            command: [sh, -ec]
            args:
            - |
              git init -q -b main /tmp/widgets && cd /tmp/widgets
              git -c user.name=a -c user.email=a@b.c commit -q --allow-empty -m first
              git update-ref refs/pull/12/head HEAD
              exec git daemon --export-all --base-path=/tmp --reuseaddr
        ---
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: forge}
        spec:
          podSelector: {matchLabels: {holdfast.dev/component: session}}
          policyTypes: [Egress]
          egress: [{to: [{podSelector: {matchLabels: {app: forge}}}]}]
        """

    // MARK: Tasks

    /// - Parameter idleTimeout: of the session, if this is its first Task.
    func ask(_ name: String, _ prompt: String, idleTimeout: TimeSpan = .minutes(30)) throws {
        try create(
            name,
            [
                "prompt": .string(prompt), "scope": ["kind": "PullRequest", "repository": "acme/widgets", "number": 12],
                "workspace": ["repository": .string(repository)],
                "worker": ["driver": "acp", "command": ["holdfast-demo-agent"]],
                "lifetime": ["idleTimeout": .string(idleTimeout.description)],
            ])
    }

    func askAlone(_ name: String, _ worker: JSONValue) throws {
        try create(name, ["prompt": "append: notes.txt | hello\n", "worker": worker])
    }

    private func create(_ name: String, _ spec: JSONValue) throws {
        let task: JSONValue = [
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "Task", "metadata": ["name": .string(name)], "spec": spec,
        ]
        try Self.kubectl(in: namespace, input: String(decoding: JSON.encode(task), as: UTF8.self), "create", "-f", "-")
    }

    func task(_ name: String) throws -> TaskStatus? {
        let text = try kubectl("get", "task", name, "-o", "jsonpath={.status}")
        return text.isEmpty ? nil : try JSON.decode(TaskStatus.self, from: text)
    }

    func end(of name: String) async throws -> TaskStatus {
        try await until("the end of \(name)") { try self.task(name).flatMap { $0.phase.isTerminal ? $0 : nil } }
    }

    func running(_ name: String) async throws {
        try await until("\(name) at work") { try self.task(name)?.phase == .running ? true : nil }
    }

    /// The session's name and status.
    func session() throws -> (name: String, status: SessionResourceStatus)? {
        let name = try SessionKey(parsing: Self.key).name
        let text = try kubectl("get", "session", name, "-o", "jsonpath={.status}")
        return try (name, JSON.decode(SessionResourceStatus.self, from: text))
    }

    /// The pods of sessions that have not ended.
    func pods() throws -> [String] {
        try kubectl(
            "get", "pods", "-l", "holdfast.dev/component=session",
            "--field-selector=status.phase!=Succeeded,status.phase!=Failed",
            "-o", "jsonpath={.items[*].metadata.name}"
        ).split(separator: " ").map(String.init)
    }

    @discardableResult
    func until<Value>(_ what: String, _ look: () throws -> Value?) async throws -> Value {
        let deadline = ContinuousClock.now + .seconds(180)
        while ContinuousClock.now < deadline {
            if let value = try? look() { return value }
            try await Task.sleep(for: .milliseconds(200))
        }
        throw Problem(.internal, "waited for \(what) in vain")
    }

    var evidence: String {
        let parts = [
            ["get", "tasks,sessions,pods", "-o", "wide"], ["get", "events", "--sort-by=.lastTimestamp"],
            ["logs", "deploy/holdfast-supervisor", "--tail=50"],
        ]
        return parts.map { (try? Self.kubectl(in: namespace, input: nil, $0)) ?? "" }.joined(separator: "\n")
    }

    // MARK: Programs

    /// The command line, as `kubectl holdfast`.
    func holdfast(_ arguments: String...) throws -> String {
        var environment = Self.environment
        environment["HOLDFAST_KUBECTL"] = Self.program
        return try Self.run(
            Products.path("holdfast"), arguments + ["--namespace", namespace], input: nil, environment: environment)
    }

    @discardableResult
    func kubectl(_ arguments: String...) throws -> String { try Self.kubectl(in: namespace, input: nil, arguments) }

    @discardableResult
    private static func kubectl(in namespace: String?, input: String? = nil, _ arguments: String...) throws -> String {
        try kubectl(in: namespace, input: input, arguments)
    }

    private static func kubectl(in namespace: String?, input: String?, _ arguments: [String]) throws -> String {
        try run(program, (namespace.map { ["-n", $0] } ?? []) + arguments, input: input, environment: environment)
    }

    private static let program = ProcessInfo.processInfo.environment["HOLDFAST_KUBECTL"] ?? "kubectl"
    private static let environment = ProcessInfo.processInfo.environment.merging(["KUBECONFIG": kubeconfig ?? ""]) { $1 }

    private static func run(
        _ program: String, _ arguments: [String], input: String?, environment: [String: String]
    ) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.environment = environment
        let (stdin, stdout, stderr) = (Pipe(), Pipe(), Pipe())
        (process.standardInput, process.standardOutput, process.standardError) = (stdin, stdout, stderr)
        try process.run()
        try stdin.fileHandleForWriting.write(contentsOf: Data((input ?? "").utf8))
        try stdin.fileHandleForWriting.close()
        let output = String(decoding: try stdout.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        let errors = String(decoding: try stderr.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Problem(.internal, "\(program) \(arguments.joined(separator: " ")): \(errors)")
        }
        return output
    }
}
