import Foundation
import GitHub
import Kubernetes
import KubernetesDouble
import SessionModel
import Support
import Testing

@testable import Supervisor

/// What becomes of events in a cluster when single writes fail: nothing is one transaction there. No pod runs here.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ClusterWebhookTests {
    /// A leader's router and worker, with a double of GitHub.
    private final class Leader {
        let namespace: TestNamespace
        let forge: GitHubDouble
        let worker: Task<Void, Never>
        private let router: Task<Void, Never>
        private let directory: TemporaryDirectory

        init(_ namespace: TestNamespace) async throws {
            self.namespace = namespace
            directory = try TemporaryDirectory()
            forge = try GitHubDouble()
            forge.change { $0.permissions = ["ada": "write"] }
            try Data("ghp_double".utf8).write(to: URL(filePath: directory.path + "/token"))
            let facts = ForgeFacts(
                github: GitHubClient(
                    host: "github.com", tokenFile: directory.path + "/token", api: forge.url, pause: .milliseconds(1)))
            let agents = try AgentPresets(directory: nil, demo: "/bin/true", fallback: "demo")
            let webhooks = WebhookWorker(
                store: namespace.store, agents: agents, forge: facts, logger: TestNamespace.quiet)
            let routing = TaskRouter(store: namespace.store, fallback: agents.fallback, logger: TestNamespace.quiet)
            worker = Task { await webhooks.run() }
            router = Task { await routing.run() }
            let spec = SpawnerSpec(
                when: SpawnerTrigger(
                    githubWebhook: GitHubWebhook(repository: "acme/*", events: ["issues", "issue_comment"])))
            let spawners = namespace.client.objects(.spawners, as: SpawnerObject.self, in: namespace.namespace)
            _ = try await spawners.create(SpawnerObject(metadata: ObjectMeta(name: "fixer"), spec: spec, status: nil))
            let deadline = ContinuousClock.now + .seconds(60)
            while try await namespace.store.access({ try $0.spawners() }).isEmpty {
                try #require(ContinuousClock.now < deadline)
                try await Task.sleep(for: .milliseconds(5))
            }
        }

        func deliver(_ id: String, _ event: String, _ members: [String: JSONValue]) async throws {
            var members = members
            members["sender"] = ["login": "ada"]
            members["repository"] = ["id": 1, "full_name": "acme/widgets"]
            let payload = try JSON.encode(JSONValue.object(members))
            var delivery = WebhookDelivery(id: id, event: event, payload: payload, received: .now)
            delivery.parsed = try delivery.read()
            let (stored, subject) = (delivery, delivery.parsed?.place ?? "")
            _ = try await namespace.store.access { try $0.keep(stored, subject: subject) }
        }

        func comment(_ id: Int64, _ text: String, on number: Int64) async throws {
            try await deliver(
                "d\(id)", "issue_comment",
                [
                    "action": "created", "issue": ["number": .integer(number)],
                    "comment": ["id": .integer(id), "body": .string(text), "user": ["login": "ada"]],
                ])
        }

        /// Waits for what became of a delivery.
        func outcome(of id: String, isSo: (DeliveryReport) -> Bool = { $0.handled != nil }) async throws -> String {
            let deadline = ContinuousClock.now + .seconds(100)
            while true {
                let reports = try await namespace.store.access { try $0.deliveries(after: nil, limit: 100).items }
                if let report = reports.first(where: { $0.id == id }), isSo(report) { return report.outcome ?? "" }
                try #require(ContinuousClock.now < deadline, "\(reports)")
                try await Task.sleep(for: .milliseconds(10))
            }
        }

        func tasks() async throws -> [TaskObject] { try await namespace.tasks.list().items }

        func end() async {
            worker.cancel()
            router.cancel()
            await worker.value
            await router.value
            forge.stop()
        }
    }

    private func with(_ body: (Leader) async throws -> Void) async throws {
        try await TestNamespace.with(hearsForge: true) { namespace in
            let leader = try await Leader(namespace)
            do { try await body(leader) } catch {
                namespace.double.clearFaults()
                await leader.end()
                throw error
            }
            namespace.double.clearFaults()
            await leader.end()
        }
    }

    @Test(
        arguments: [
            Fault.Action.answer(409, reason: "Conflict", message: "changed"),
            .answer(500, reason: "InternalError", message: "no"), .drop, .dropAfter,
        ])
    func aCommandThatMeetsATroubleIsCarriedOut(trouble: Fault.Action) async throws {
        try await with { leader in
            try await leader.comment(1, "please", on: 7)
            let made = try await leader.outcome(of: "d1")
            #expect(made.contains("made"))
            #expect(try await leader.tasks().map(\.status?.phase) == [.pending])

            leader.namespace.double.inject(
                Fault(trouble) { $0.method == "PUT" && $0.path.contains("/tasks/") && $0.path.hasSuffix("/status") })
            try await leader.comment(2, "/stop", on: 7)
            #expect(try await leader.outcome(of: "d2").contains("fixer: stop"))
            #expect(leader.namespace.double.openFaults == 0)
            #expect(try await leader.tasks().map(\.status?.phase) == [.cancelled])

            leader.namespace.double.inject(
                Fault(trouble) { $0.method == "PUT" && $0.path.contains("/sessions/") && !$0.path.hasSuffix("/status") })
            try await leader.deliver("d3", "issues", ["action": "closed", "issue": ["number": 7, "state": "closed"]])
            _ = try await leader.outcome(of: "d3")
            #expect(leader.namespace.double.openFaults == 0)
            #expect(try await leader.namespace.sessions.list().items.map(\.spec.scopeClosed) == [true])
        }
    }

    /// A quota, or a policy: nobody knows for how long.
    @Test func aTaskThatGetsNoSessionSaysWhyAndHoldsNobodyUp() async throws {
        try await with { leader in
            leader.namespace.double.inject(
                Fault(
                    .answer(403, reason: "Forbidden", message: "exceeded quota: count/sessions.holdfast.dev=1"), count: 100_000
                ) { $0.method == "POST" && $0.path.hasSuffix("/sessions") })
            try await leader.comment(1, "please", on: 7)
            try await leader.comment(2, "/status", on: 8)
            _ = try await leader.outcome(of: "d2")
            let task = try #require(try await leader.tasks().first)
            #expect(task.status?.phase == .pending)
            #expect(task.status?.message?.contains("exceeded quota") == true, "\(task.status?.message ?? "")")
            #expect(try await leader.outcome(of: "d1") { $0.outcome != nil }.contains("has no session yet"))

            leader.namespace.double.clearFaults()
            let name = try #require(task.metadata.name)
            try await leader.namespace.until { try $0.task(named: name)?.status.session != nil }
            #expect(try await leader.namespace.tasks.get(name).status?.message?.contains("quota") != true)
        }
    }

    /// It would hold the lease, and do nothing.
    @Test func aLeaderThatIsToStopDoesNotWaitForASession() async throws {
        try await with { leader in
            leader.namespace.double.inject(
                Fault(.answer(403, reason: "Forbidden", message: "no"), count: 100_000) {
                    $0.method == "POST" && $0.path.hasSuffix("/sessions")
                })
            try await leader.comment(1, "please", on: 7)
            _ = try await leader.outcome(of: "d1") { _ in true }
            leader.worker.cancel()
            await leader.worker.value
        }
    }
}
