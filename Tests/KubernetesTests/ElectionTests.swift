import Foundation
import KubernetesDouble
import NIOConcurrencyHelpers
import SessionModel
import Testing

@testable import Kubernetes

/// The election and the Events through a server.
@Suite(.timeLimit(.minutes(5)))
struct ElectionTests {
    private let timing = LeaderElector.Timing(
        leaseDuration: .seconds(3), renewDeadline: .seconds(2), retryPeriod: .milliseconds(200))

    /// Who acts, as seen by all of them.
    private final class Stage: Sendable {
        private let state = NIOLockedValueBox((acting: Set<String>(), most: 0, terms: [Int]()))
        var acting: Set<String> { state.withLockedValue { $0.acting } }
        var most: Int { state.withLockedValue { $0.most } }
        var terms: [Int] { state.withLockedValue { $0.terms } }

        func enter(_ name: String, _ leadership: Leadership) {
            state.withLockedValue {
                $0.acting.insert(name)
                $0.most = max($0.most, $0.acting.count)
                $0.terms.append(leadership.term)
            }
        }
        func leave(_ name: String) { state.withLockedValue { _ = $0.acting.remove(name) } }
    }

    private func candidate(_ name: String, _ client: KubernetesClient, _ namespace: String, _ stage: Stage) -> Task<Void, Never> {
        let elector = LeaderElector(client, namespace: namespace, lease: "supervisor", identity: name, timing: timing)
        return Task {
            await elector.run { leadership in
                stage.enter(name, leadership)
                while !Task.isCancelled, (try? leadership.check()) != nil { try? await Task.sleep(for: .milliseconds(20)) }
                stage.leave(name)
            }
        }
    }

    @Test func oneLeadsAndAnotherFollowsAtOnceWhenItResigns() async throws {
        try await TestCluster.with { cluster async throws in
            let stage = Stage()
            let candidates = ["a", "b"].map { ($0, candidate($0, cluster.client, cluster.namespace, stage)) }
            try await until { stage.acting.count == 1 }
            let first = stage.acting.first!
            let resigning = candidates.first { $0.0 == first }!.1
            resigning.cancel()
            await resigning.value
            try await until { stage.acting.count == 1 && stage.acting.first != first }
            #expect(stage.most == 1)
            #expect(stage.terms == stage.terms.sorted() && Set(stage.terms).count == 2, "\(stage.terms)")
            for (_, task) in candidates {
                task.cancel()
                await task.value
            }
            let lease = try await cluster.client.objects(.leases, as: Lease.self, in: cluster.namespace).get("supervisor")
            #expect(lease.spec.holderIdentity == "" || lease.spec.holderIdentity == nil, "it is let go of")
        }
    }

    @Test func aLeaderThatIsCutOffStopsBeforeAnotherBegins() async throws {
        try await TestCluster.withDouble { cluster, double async throws in
            let stage = Stage()
            var tasks: [Task<Void, Never>] = []
            let cutOff = candidate("a", cluster.client, cluster.namespace, stage)
            tasks.append(cutOff)
            try await until { stage.acting == ["a"] }
            // Its writes never arrive again; another one's do.
            double.inject(
                Fault(.silence, count: 1000) { call in
                    call.method == "PUT" && String(decoding: call.body, as: UTF8.self).contains("\"holderIdentity\":\"a\"")
                })
            let other = KubernetesClient(cluster.configuration)
            tasks.append(candidate("b", other, cluster.namespace, stage))
            try await until { stage.acting == ["b"] }
            #expect(stage.most == 1)
            for task in tasks {
                task.cancel()
                await task.value
            }
            await other.shutdown()
        }
    }

    @Test func whatIsSaidOftenIsOneEventWithACount() async throws {
        try await TestCluster.with { cluster async throws in
            let gadget = try await cluster.gadgetObjects.create(TestCluster.gadget("talkative"))
            var limits = EventSeries.Limits()
            limits.pause = .milliseconds(300)
            let problems = NIOLockedValueBox<[KubernetesError]>([])
            let recorder = EventRecorder(
                cluster.client,
                series: EventSeries(controller: "holdfast.dev/supervisor", instance: "test", limits: limits),
                onProblem: { error in problems.withLockedValue { $0.append(error) } })
            let running = Task { await recorder.run() }
            for _ in 0..<10 {
                recorder.record(
                    EventDraft(
                        .warning, "Evicted", action: "Wait", note: "the node is short of memory",
                        regarding: .init(TestCluster.gadgets, gadget.metadata)))
            }
            let events = cluster.client.objects(.events, as: Kubernetes.Event.self, in: cluster.namespace)
            try await until { try await events.list().items.contains { $0.series?.count == 10 } }
            let about = try await events.list().items.filter { $0.regarding?.name == "talkative" }
            #expect(about.count == 1)
            #expect(about.first?.reason == "Evicted" && about.first?.type == "Warning")
            #expect(problems.withLockedValue { $0 } == [])
            running.cancel()
            await running.value
        }
    }
}
