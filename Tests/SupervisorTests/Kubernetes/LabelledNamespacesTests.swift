import Curl
import Foundation
import Kubernetes
import KubernetesDouble
import SessionModel
import Support
import Testing

@testable import Supervisor

/// One supervisor for the namespaces that have its label, with real processes.
@Suite(.serialized, .timeLimit(.minutes(5))) struct LabelledNamespacesTests {
    /// The supervisor's own; the story's.
    private static let own = "team-a"
    private static let token = "ghp_theForgesOwnSecret42"

    private static func label(_ namespace: String, _ isServed: Bool, in cluster: StoryCluster) async throws {
        let labels: JSONValue = [LabelledNamespaces.label: isServed ? .string(own) : .null]
        let namespaces: Objects<GenericObject> = cluster.client.objects(.namespaces)
        _ = try await namespaces.patch(namespace, ["metadata": ["labels": labels]])
    }

    private static func ask(_ name: String, _ prompt: String, in namespace: String, _ cluster: StoryCluster) async throws {
        let spec = TaskSpec(
            prompt: prompt, scope: ScopeSpec(kind: .pullRequest, repository: "acme/widgets", number: 12),
            worker: AgentDescription(driver: .acp, command: ["holdfast-demo-agent"]),
            workspace: WorkspaceSpec(repository: cluster.git.remote))
        _ = try await cluster.tasks.in(namespace).create(
            TaskObject(metadata: ObjectMeta(name: name), spec: spec, status: nil))
    }

    private static func end(of name: String, in namespace: String, _ cluster: StoryCluster) async throws -> TaskStatus {
        try await cluster.until("Task \(namespace)/\(name)") {
            guard let status = try await cluster.tasks.in(namespace).get(name).status, status.phase.isTerminal else { return nil }
            return status
        }
    }

    @Test func eachHasSessionsOfItsOwnAndNoOtherIsTouched() async throws {
        try await StoryCluster.run { cluster in
            for namespace in ["team-b", "team-c", "team-d"] {
                let metadata = ObjectMeta(
                    name: namespace, labels: namespace == "team-d" ? nil : [LabelledNamespaces.label: Self.own])
                try await cluster.client.objects(.namespaces).create(GenericObject(.namespaces, metadata: metadata))
            }
            let first = try cluster.startSupervisor(["--labelled-namespaces"])
            // The same pull request in three namespaces: three sessions, of which one is nobody's.
            for namespace in ["team-b", "team-c", "team-d"] {
                try await Self.ask("one", "append: notes.txt | \(namespace)\n", in: namespace, cluster)
            }
            for namespace in ["team-b", "team-c"] {
                let one = try await Self.end(of: "one", in: namespace, cluster)
                #expect(one.phase == .succeeded, "\(one)")
            }
            try await Self.ask("two", "run: cat notes.txt", in: "team-b", cluster)
            let two = try await Self.end(of: "two", in: "team-b", cluster)
            #expect(two.results?.answer?.contains("team-b") == true, "\(two)")
            for namespace in ["team-b", "team-c"] {
                let pods = try await cluster.pods.in(namespace).list().items
                #expect(pods.map(\.metadata.name) == [StoryCluster.pod(1)])
            }
            #expect(try await cluster.tasks.in("team-d").get("one").status == nil)
            #expect(try await cluster.sessions.in("team-d").list().items.isEmpty)

            // Each has an API of its own.
            let listed = try await cluster.ask("/namespaces/team-c/v1/tasks")
            let tasks = try JSON.decode(ResourceListOfNames.self, from: Data(listed.body))
            #expect(tasks.items.map(\.metadata.name) == ["one"])
            let transcript = try await cluster.ask(
                "/namespaces/team-b/v1/sessions/\(StoryCluster.key.name)/transcript", accept: "application/x-ndjson")
            #expect(String(decoding: transcript.body, as: UTF8.self).contains("cat notes.txt"))
            let unserved = try await cluster.ask("/namespaces/team-d/v1/tasks")
            #expect(unserved.status == 404)
            #expect(String(decoding: unserved.body, as: UTF8.self).contains("kubectl label namespace team-d"))
            let metrics = String(decoding: try await cluster.ask("/metrics").body, as: UTF8.self)
            #expect(metrics.contains(#"holdfast_sessions{namespace="team-b",phase="Ready"} 1"#))
            #expect(!metrics.contains("team-d"))

            // A label is enough; without it nothing more is done, and what runs is left alone.
            try await Self.label("team-d", true, in: cluster)
            #expect(try await Self.end(of: "one", in: "team-d", cluster).phase == .succeeded)
            try await Self.label("team-b", false, in: cluster)
            try await cluster.until("the end of its API") {
                try await cluster.ask("/namespaces/team-b/v1/tasks").status == 404 ? true : nil
            }
            try await Self.ask("three", "run: true", in: "team-b", cluster)

            // Another replica takes over all that have it.
            cluster.kill(first)
            try cluster.startSupervisor(["--labelled-namespaces"])
            for namespace in ["team-c", "team-d"] {
                try await Self.ask("three", "run: cat notes.txt", in: namespace, cluster)
                let three = try await Self.end(of: "three", in: namespace, cluster)
                #expect(three.results?.answer?.contains(namespace) == true && three.turn == TurnID(2), "\(three)")
            }
            #expect(try await cluster.tasks.in("team-b").get("three").status == nil)
            #expect(try await cluster.pods.in("team-b").get(StoryCluster.pod(1))["status"]?["phase"] == "Running")
        }
    }

    /// One git gateway, too: a session's credential is good for its own namespace only.
    @Test func theirSessionsPushThroughOneGateway() async throws {
        try await StoryCluster.run { cluster in
            let git = cluster.git
            try FileManager.default.createDirectory(atPath: git.root + "/forge/acme", withIntermediateDirectories: true)
            let bare = git.root + "/forge/acme/widgets.git"
            _ = try await blocking { try git.git("clone", "--quiet", "--bare", git.remote, bare, in: git.root) }
            let forge = try GitBackend(root: git.root + "/forge", token: Self.token)
            defer { forge.stop() }
            for namespace in ["team-b", "team-c"] {
                let metadata = ObjectMeta(name: namespace, labels: [LabelledNamespaces.label: Self.own])
                try await cluster.client.objects(.namespaces).create(GenericObject(.namespaces, metadata: metadata))
            }
            // Only one of the two has the forge's token.
            let secrets: Objects<GenericObject> = cluster.client.objects(.secrets, in: "team-b")
            try await secrets.create(
                GenericObject(
                    .secrets, metadata: ObjectMeta(name: "github"),
                    members: ["data": ["GITHUB_TOKEN": .string(Data(Self.token.utf8).base64EncodedString())]]))
            let port = try ClusterGatewayTests.freePort()
            try cluster.startSupervisor(["--labelled-namespaces", "--git-gateway", "https://127.0.0.1:\(port)"])
            try await cluster.startGateway(port: port, ["--labelled-namespaces"])
            func push(_ namespace: String) async throws -> TaskStatus {
                let spec = TaskSpec(
                    prompt: "run: echo \(namespace) > work.txt && git add -A && git commit -qm work && git push -q",
                    scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7),
                    worker: AgentDescription(driver: .acp, command: ["holdfast-demo-agent"]),
                    workspace: WorkspaceSpec(
                        repository: forge.url + "/acme/widgets.git",
                        credentials: WorkspaceCredentials(secretRef: SecretReference(name: "github"))))
                _ = try await cluster.tasks.in(namespace).create(
                    TaskObject(metadata: ObjectMeta(name: "push"), spec: spec, status: nil))
                return try await Self.end(of: "push", in: namespace, cluster)
            }
            let pushed = try await push("team-b")
            #expect(pushed.phase == .succeeded, "\(pushed) \(cluster.gatewayLog)")
            #expect(try git.git("show", "holdfast/issue-7:work.txt", in: bare).contains("team-b"))
            // What the gateway reports reaches the transcript of the right one.
            let key = try SessionKey(parsing: "issue:acme/widgets#7")
            try await cluster.until("the push in the transcript") {
                let read = try await cluster.ask(
                    "/namespaces/team-b/v1/sessions/\(key.name)/transcript", accept: "application/x-ndjson")
                return String(decoding: read.body, as: UTF8.self).contains(#""operation":"push""#) ? true : nil
            }
            let refused = try await push("team-c")
            #expect(refused.phase == .failed, "\(refused)")
            #expect(cluster.gatewayLog.contains("the Secret github of namespace team-c cannot be read"), "\(cluster.gatewayLog)")
        }
    }
}

private struct ResourceListOfNames: Decodable {
    struct Item: Decodable {
        struct Metadata: Decodable { var name: String }
        var metadata: Metadata
    }
    var items: [Item]
}
