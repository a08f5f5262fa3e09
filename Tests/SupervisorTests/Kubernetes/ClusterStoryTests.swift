import Foundation
import Kubernetes
import KubernetesDouble
import SessionModel
import Support
import Testing

@testable import Supervisor

/// The main job in a cluster, as its user meets it: real supervisors, real sidecars, a real repository, and a double of the API
/// server.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ClusterStoryTests {
    @Test func twoTasksShareAPodAndAThirdWakesTheSessionWithItsMemory() async throws {
        try await StoryCluster.run { cluster in
            var lifetime = Lifetime()
            lifetime.idleTimeout = .seconds(2)
            try cluster.startSupervisor()
            try await cluster.ask("first", "Remember the plum.\nappend: notes.txt | one\\n", lifetime)
            try await cluster.ask("second", "append: notes.txt | two\\n\nrun: cat notes.txt", lifetime)
            let first = try await cluster.end(of: "first")
            let second = try await cluster.end(of: "second")
            #expect(first.phase == .succeeded, "\(first)")
            #expect(second.phase == .succeeded, "\(second)")
            #expect(second.results?.answer?.contains("“Remember the plum.") == true, "\(second)")
            #expect([first.turn, second.turn] == [TurnID(1), TurnID(2)])
            #expect(try await cluster.sessions.list().items.map(\.spec.key) == [StoryCluster.key])
            #expect(try await cluster.pods.list().items.map(\.metadata.name) == [StoryCluster.pod(1)])

            // Nobody asks for anything: the pod goes, and the volume stays.
            let asleep = try await cluster.session { $0.phase == .suspended }
            #expect(asleep.epoch == 1)
            try await cluster.until("the end of the pod") { try await cluster.pods.list().items.isEmpty ? true : nil }
            #expect(await cluster.kubelet.livingPods == 0)
            let claims: Objects<GenericObject> = cluster.client.objects(.volumeClaims, in: cluster.namespace)
            let claim = try await claims.list().items.first
            #expect(claim?.metadata.ownerReferences?.map(\.kind) == ["Session"])

            try await cluster.ask("third", "run: cat notes.txt", lifetime)
            let third = try await cluster.end(of: "third")
            #expect(third.phase == .succeeded, "\(third)")
            #expect(third.results?.answer?.contains("I remember 2 earlier prompts: “Remember the plum.") == true, "\(third)")
            #expect(try await cluster.session { $0.phase == .ready }.epoch == 2)
            #expect(try await claims.list().items.map(\.metadata.uid) == [claim?.metadata.uid])
        }
    }
}
