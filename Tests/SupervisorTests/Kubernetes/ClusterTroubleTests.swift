import Foundation
import Glibc
import Kubernetes
import KubernetesDouble
import SessionModel
import Support
import Testing

@testable import Supervisor

/// What goes wrong with pods and nodes, and what becomes of the turns meanwhile.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ClusterTroubleTests {
    @Test func aSidecarThatCrashesIsStartedAgainInItsPod() async throws {
        try await StoryCluster.run { cluster in
            try cluster.startSupervisor()
            try await cluster.ask("zero", "Remember the plum.")
            #expect(try await cluster.end(of: "zero").phase == .succeeded)
            try await cluster.ask("one", "run: sleep 60")
            _ = try await cluster.task("one") { $0.phase == .running }
            await cluster.kubelet.kill(StoryCluster.pod(1), "sidecar")
            #expect(try await cluster.end(of: "one").phase == .interrupted)
            try await cluster.ask("two", "What do you remember?")
            let two = try await cluster.end(of: "two")
            #expect(two.phase == .succeeded, "\(two)")
            #expect(two.results?.answer?.contains("“Remember the plum.") == true, "\(two)")
        }
    }

    @Test func anAgentThatRunsOutOfMemoryFailsItsTurnAndIsToldOf() async throws {
        try await StoryCluster.run { cluster in
            try cluster.startSupervisor()
            try await cluster.ask("one", "run: sleep 60")
            _ = try await cluster.task("one") { $0.phase == .running }
            await cluster.kubelet.kill(StoryCluster.pod(1), "agent", outOfMemory: true)
            #expect(try await cluster.end(of: "one").phase.isTerminal)
            let trouble = try await cluster.until("the trouble") { try await cluster.condition("PodTrouble") }
            #expect(trouble.reason == "OutOfMemory")
            #expect(trouble.message.contains("memory"))
            try await cluster.ask("two", "say: hello")
            #expect(try await cluster.end(of: "two").phase == .succeeded)
            // At work it keeps its node; at rest it does not.
            func isSafe() async throws -> String? {
                try await cluster.pods.get(StoryCluster.pod(1)).metadata.annotations?[PodLabels.safeToEvict]
            }
            try await cluster.until("safe to evict") { try await isSafe() == "true" ? true : nil }
            try await cluster.ask("three", "run: sleep 60")
            _ = try await cluster.task("three") { $0.phase == .running }
            try await cluster.until("not safe to evict") { try await isSafe() == "false" ? true : nil }
        }
    }

    @Test func anEvictedSessionGoesOnInAnotherPod() async throws {
        try await StoryCluster.run { cluster in
            try cluster.startSupervisor()
            try await cluster.ask("zero", "Remember the plum.")
            #expect(try await cluster.end(of: "zero").phase == .succeeded)
            try await cluster.ask("one", "run: sleep 60")
            _ = try await cluster.task("one") { $0.phase == .running }
            await cluster.kubelet.evict(StoryCluster.pod(1))
            try await cluster.ask("two", "What do you remember?")
            #expect(try await cluster.end(of: "one").phase == .interrupted)
            let two = try await cluster.end(of: "two")
            #expect(two.results?.answer?.contains("“Remember the plum.") == true, "\(two)")
            #expect(try await cluster.session { $0.phase == .ready }.epoch == 2)
        }
    }

    @Test func whatKeepsAPodFromStartingIsSaidUntilItIsMended() async throws {
        try await StoryCluster.run { cluster in
            cluster.kubelet.setScheduling(false)
            try cluster.startSupervisor()
            try await cluster.ask("one", "say: hello")
            let trouble = try await cluster.until("the trouble") { try await cluster.condition("PodTrouble") }
            #expect(trouble.reason == "Unschedulable")
            #expect(trouble.message.contains("Insufficient memory"))
            _ = try await cluster.task("one") { $0.message?.contains("Insufficient memory") == true }
            cluster.kubelet.setScheduling(true)
            #expect(try await cluster.end(of: "one").phase == .succeeded)
            try await cluster.until("the end of the trouble") {
                try await cluster.condition("PodTrouble") == nil ? true : nil
            }
        }
    }

    /// While its volumes are missing, a pod says nothing itself: its events do.
    @Test func whatAPodsEventsSayIsSaid() async throws {
        try await StoryCluster.run { cluster in
            try cluster.startSupervisor()
            let template: JSONValue = [
                "spec": [
                    "volumes": [["name": "more", "secret": ["secretName": "more"]]],
                    "containers": [["name": "agent", "volumeMounts": [["name": "more", "mountPath": "/more"]]]],
                ]
            ]
            try await cluster.ask("one", "say: hello", podTemplate: template)
            let trouble = try await cluster.until("the trouble") { try await cluster.condition("PodTrouble") }
            #expect(trouble.reason == "VolumeNotReady")
            #expect(trouble.message.contains("secret \"more\" not found"))
            _ = try await cluster.task("one") { $0.message?.contains("secret \"more\" not found") == true }
            try await cluster.client.objects(.secrets, in: cluster.namespace).create(
                GenericObject(.secrets, metadata: ObjectMeta(name: "more"), members: ["data": [:]]))
            #expect(try await cluster.end(of: "one").phase == .succeeded)
            try await cluster.until("the end of the trouble") {
                try await cluster.condition("PodTrouble") == nil ? true : nil
            }
        }
    }

    @Test func aPodThatTheServerRefusesFailsItsSessionAtOnce() async throws {
        try await StoryCluster.run { cluster in
            let words = "Pod is invalid: spec.containers[0].resources.requests: must be less than or equal to memory limit of 1Gi"
            cluster.double.inject(
                Fault(.answer(422, reason: "Invalid", message: words), count: 1000) {
                    $0.method == "POST" && $0.path.hasSuffix("/pods")
                })
            try cluster.startSupervisor()
            try await cluster.ask("one", "say: hello")
            let one = try await cluster.end(of: "one")
            #expect(one.phase == .failed)
            #expect(one.message?.contains(words) == true, "\(one)")
            let failed = try await cluster.session { $0.phase == .failed }
            #expect(failed.epoch == 1)
            #expect(failed.message?.contains("mended worker") == true, "\(failed)")
            #expect(cluster.double.requests.filter { $0.method == "POST" && $0.path.hasSuffix("/pods") }.count == 1)
        }
    }

    @Test func aSessionWaitsForRoomInTheNamespacesQuota() async throws {
        try await StoryCluster.run { cluster in
            let words = #"pods "x" is forbidden: exceeded quota: team, requested: pods=1, used: pods=9, limited: pods=9"#
            cluster.double.inject(
                Fault(.answer(403, reason: "Forbidden", message: words), count: 1) {
                    $0.method == "POST" && $0.path.hasSuffix("/pods")
                })
            try cluster.startSupervisor()
            try await cluster.ask("one", "say: hello")
            let waits = try await cluster.task("one") { $0.message?.contains("exceeded quota: team") == true }
            #expect(waits.phase == .pending && waits.message?.contains("raise that ResourceQuota") == true, "\(waits)")
            #expect(try await cluster.end(of: "one").phase == .succeeded)
        }
    }

    @Test func aSessionThatIsDeletedWhileItCannotStartGoesAtOnce() async throws {
        try await StoryCluster.run { cluster in
            cluster.kubelet.setScheduling(false)
            try cluster.startSupervisor()
            var lifetime = Lifetime()
            lifetime.startTimeout = .minutes(30)
            try await cluster.ask("one", "say: hello", lifetime)
            _ = try await cluster.until("the trouble") { try await cluster.condition("PodTrouble") }
            try await cluster.sessions.delete(StoryCluster.key.name)
            try await cluster.until("the end of the session") {
                let next = try await cluster.sessions.list().items.first
                return next == nil || next?.metadata.deletionTimestamp == nil ? true : nil
            }
        }
    }

    /// A supervisor may be there before what it needs.
    @Test func whatIsMissingAtTheStartIsWaitedFor() async throws {
        try await StoryCluster.run { cluster in
            let definitions = cluster.client.objects(.definitions)
            for definition in try CustomResources.definitions() {
                try await definitions.delete(definition.metadata.name ?? "")
            }
            cluster.double.inject(Fault(.drop, count: 3))
            let pid = try cluster.startSupervisor()
            try await cluster.until("its words") {
                cluster.log.contains("kubectl apply -k deploy/crds") ? true : nil
            }
            for definition in try CustomResources.definitions() { _ = try await definitions.create(definition) }
            try await cluster.ask("one", "say: hello")
            #expect(try await cluster.end(of: "one").phase == .succeeded)
            #expect(kill(pid, 0) == 0)
        }
    }

    /// A node that does not answer never leads to two writers, not even when somebody deletes the pod by force.
    @Test func nothingIsStartedBesideAPodOnASilentNode() async throws {
        try await StoryCluster.run { cluster in
            var lifetime = Lifetime()
            lifetime.startTimeout = .seconds(2)
            try cluster.startSupervisor()
            try await cluster.ask("one", "Remember the plum.\nrun: sleep 120", lifetime)
            _ = try await cluster.task("one") { $0.phase == .running }
            cluster.kubelet.loseNode()
            try await cluster.pods.delete(StoryCluster.pod(1), gracePeriodSeconds: 0)
            let lost = try await cluster.until("the condition") { try await cluster.condition("NodeLost") }
            #expect(lost.message.contains("out-of-service"))
            #expect(try await cluster.pods.list().items.map(\.metadata.name) == [StoryCluster.pod(1)])
            #expect(await cluster.kubelet.livingPods == 1)
            // The administrator vouches for it.
            cluster.double.with { $0.removeNode(FakeKubelet.node) }
            try await cluster.until("the next epoch") {
                try await cluster.pods.list().items.map(\.metadata.name) == [StoryCluster.pod(2)] ? true : nil
            }
            #expect(try await cluster.session { $0.epoch == 2 }.phase == .starting)
        }
    }
}
