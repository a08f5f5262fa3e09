import Curl
import Foundation
import Glibc
import Kubernetes
import KubernetesDouble
import SessionModel
import Support
import Testing

@testable import Supervisor

/// Sessions of a cluster reach their repository, and push, without holding the forge's token.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ClusterGatewayTests {
    private static let token = "ghp_theForgesOwnSecret42"

    /// A port that nobody listens at. Whoever takes it next may be faster: then the gateway says so, and the test fails.
    static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) + getsockname(descriptor, $0, &length)
            }
        }
        guard result == 0 else { throw SidecarFailure("there is no free port") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    @Test func anAgentPushesItsBranchThroughTheGateway() async throws {
        try await StoryCluster.run { cluster in
            let git = cluster.git
            try FileManager.default.createDirectory(atPath: git.root + "/forge/acme", withIntermediateDirectories: true)
            _ = try await blocking {
                try git.git("clone", "--quiet", "--bare", git.remote, git.root + "/forge/acme/widgets.git", in: git.root)
            }
            let bare = git.root + "/forge/acme/widgets.git"
            let forge = try GitBackend(root: git.root + "/forge", token: Self.token)
            defer { forge.stop() }
            let secrets: Objects<GenericObject> = cluster.client.objects(.secrets, in: cluster.namespace)
            func secret(_ token: String) -> GenericObject {
                GenericObject(
                    .secrets, metadata: ObjectMeta(name: "github", namespace: cluster.namespace),
                    members: ["data": ["GITHUB_TOKEN": .string(Data(token.utf8).base64EncodedString())]])
            }
            try await secrets.create(secret(Self.token))
            let port = try Self.freePort()
            try cluster.startSupervisor(["--git-gateway", "https://127.0.0.1:\(port)"])
            try await cluster.startGateway(port: port)

            let worker = AgentDescription(driver: .acp, command: ["holdfast-demo-agent"])
            func ask(_ name: String, _ prompt: String) async throws -> TaskStatus {
                var lifetime = Lifetime()
                lifetime.idleTimeout = .minutes(10)
                let spec = TaskSpec(
                    prompt: prompt, scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7), worker: worker,
                    workspace: WorkspaceSpec(
                        repository: forge.url + "/acme/widgets.git",
                        credentials: WorkspaceCredentials(secretRef: SecretReference(name: "github"))), lifetime: lifetime)
                _ = try await cluster.tasks.create(TaskObject(metadata: ObjectMeta(name: name), spec: spec, status: nil))
                return try await cluster.end(of: name)
            }
            let first = try await ask(
                "first",
                """
                run: echo done > work.txt && git add -A && git commit -qm work && git push -q && git rev-parse HEAD
                run: git push origin HEAD:main
                run: git remote -v; git config --list --show-origin; env
                run: ! cat /proc/self/environ /proc/$PPID/environ | grep -q \(Self.token.prefix(10))
                """)
            let key = try SessionKey(parsing: "issue:acme/widgets#7")
            let pushed = try git.git("rev-parse", "holdfast/issue-7", in: bare)
            #expect(first.results?.workspace?.commit == pushed, "\(first) \(cluster.gatewayLog)")
            #expect(try git.git("rev-parse", "main", in: bare) == git.git("rev-parse", "main", in: git.remote))

            // The transcript tells of it.
            func transfers() async throws -> [GitTransfer] {
                let read = try await cluster.ask(
                    "/v1/sessions/\(key.name)/transcript", accept: "application/x-ndjson")
                return String(decoding: read.body, as: UTF8.self).split(separator: "\n").compactMap { line in
                    guard let event = try? JSON.decode(SessionModel.Event.self, from: Data(line.utf8)),
                        case .git(let transfer) = event.body
                    else { return nil }
                    return transfer
                }
            }
            let pushes = try await transfers().filter { $0.operation == .push }
            #expect(pushes.map(\.outcome) == [.ok, .refused], "\(pushes) \(cluster.gatewayLog)")
            #expect(pushes.first?.refs?.first?.new == pushed)

            // A new token is used at once.
            forge.token = "ghp_another"
            let locked = try await ask("locked", "run: git fetch origin")
            #expect(locked.phase == .failed, "\(locked)")
            var changed = secret("ghp_another")
            changed.metadata.resourceVersion = try await secrets.get("github").metadata.resourceVersion
            try await secrets.replace(changed)
            let second = try await ask("second", "run: echo more > work.txt && git commit -qam more && git push -q")
            #expect(second.phase == .succeeded, "\(second) \(cluster.gatewayLog)")
            #expect(try git.git("rev-parse", "holdfast/issue-7", in: bare) != pushed)

            // Nothing that the session can reach has the token.
            let files = FileManager.default.enumerator(atPath: cluster.kubelet.directory)!.compactMap { $0 as? String }
            #expect(files.contains { $0.hasSuffix("/git.config") })
            for file in files {
                let bytes = FileManager.default.contents(atPath: "\(cluster.kubelet.directory)/\(file)") ?? Data()
                for token in [Self.token, "ghp_another"] {
                    #expect(bytes.firstRange(of: Data(token.utf8)) == nil, "\(file)")
                }
            }
            // Of the pod's secrets the agent's container has what git needs, and no more.
            let pod = try await cluster.pods.get(SessionPod.name(session: key.name, epoch: 1))
            let agent = pod["spec"]?["containers"]?.array?.first { $0["name"] == "agent" }
            #expect(agent?["volumeMounts"]?.array?.filter { $0["mountPath"]?.string?.hasPrefix("/etc/") == true }.count == 1)

            // The credential is good for the epoch: a session that sleeps has none.
            let configuration = try #require(files.first { $0.hasSuffix("/git/git.config") })
            let copy = cluster.home.path + "/git.config"
            try FileManager.default.copyItem(atPath: "\(cluster.kubelet.directory)/\(configuration)", toPath: copy)
            let authority = cluster.home.path + "/git-ca.crt"
            try FileManager.default.copyItem(
                atPath: "\(cluster.kubelet.directory)/\(configuration.dropLast("git.config".count))ca.crt", toPath: authority)
            func look() async throws -> String {
                try await blocking {
                    do {
                        return try git.git(
                            "-c", "include.path=\(copy)", "-c", "http.https://127.0.0.1:\(port)/.sslCAInfo=\(authority)",
                            "ls-remote", forge.url + "/acme/widgets.git", in: git.root)
                    } catch let error as GitFixtureError {
                        return error.output
                    }
                }
            }
            #expect(try await look().contains("refs/heads/holdfast/issue-7"))
            var session = try await cluster.sessions.get(key.name)
            session.spec.suspend = true
            _ = try await cluster.sessions.replace(session)
            try await cluster.until("its sleep") {
                try await cluster.sessions.get(key.name).status?.phase == .suspended ? true : nil
            }
            let answer = try await look()
            #expect(answer.contains("Authentication failed") || answer.contains("could not read Username"), "\(answer)")
        }
    }

    /// What is asked for and cannot be is said, and nothing starts.
    @Test func withoutAGatewayARepositoryWithATokenIsRefused() async throws {
        try await StoryCluster.run { cluster in
            try cluster.startSupervisor()
            let spec = TaskSpec(
                prompt: "run: true", scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7),
                worker: AgentDescription(driver: .acp, command: ["holdfast-demo-agent"]),
                workspace: WorkspaceSpec(
                    repository: "https://github.com/acme/widgets.git",
                    credentials: WorkspaceCredentials(secretRef: SecretReference(name: "github"))))
            _ = try await cluster.tasks.create(TaskObject(metadata: ObjectMeta(name: "first"), spec: spec, status: nil))
            let ended = try await cluster.end(of: "first")
            #expect(ended.phase == .failed && ended.message?.contains("--git-gateway URL") == true, "\(ended)")
        }
    }
}
