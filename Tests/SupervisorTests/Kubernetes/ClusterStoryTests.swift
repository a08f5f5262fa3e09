import Curl
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

            // It can be read while it sleeps, from a pod that is there for that only and goes when the session wakes.
            let read = try await cluster.ask("/v1/sessions/\(StoryCluster.key.name)/transcript?limit=10000")
            #expect(read.status == 200, "\(String(decoding: read.body, as: UTF8.self))")
            #expect(String(decoding: read.body, as: UTF8.self).contains("Remember the plum."))
            let again = try await cluster.ask(
                "/v1/sessions/\(StoryCluster.key.name)/transcript", accept: "application/x-ndjson")
            #expect(String(decoding: again.body, as: UTF8.self).contains("Remember the plum."))
            let readers = try await cluster.pods.list().items
            #expect(readers.map { $0.metadata.labels?[PodLabels.reader] } == ["true"])
            #expect(try await cluster.session { _ in true }.epoch == 1)

            try await cluster.ask("third", "run: cat notes.txt", lifetime)
            let third = try await cluster.end(of: "third")
            #expect(third.phase == .succeeded, "\(third)")
            #expect(third.results?.answer?.contains("I remember 2 earlier prompts: “Remember the plum.") == true, "\(third)")
            #expect(try await cluster.session { $0.phase == .ready }.epoch == 2)
            #expect(try await claims.list().items.map(\.metadata.uid) == [claim?.metadata.uid])
            #expect(try await cluster.pods.list().items.map(\.metadata.name) == [StoryCluster.pod(2)])

            // What became of it can be read with kubectl.
            let events: Objects<GenericObject> = cluster.client.objects(.events, in: cluster.namespace)
            let reasons = try await cluster.until("the events") {
                let reasons = Set(try await events.list().items.compactMap { $0["reason"]?.string })
                return reasons.isSuperset(of: ["Starting", "Ready", "Draining", "Suspended"]) ? reasons : nil
            }
            #expect(!reasons.contains("Failed"))

            // Whoever deletes the Session ends it: what belongs to it goes, and its Tasks stay.
            try await cluster.sessions.delete(StoryCluster.key.name)
            try await cluster.until("the end of the session") { try await cluster.sessions.list().items.isEmpty ? true : nil }
            try await cluster.until("the end of pod and volume") {
                let left = try await (cluster.pods.list().items + claims.list().items)
                return left.isEmpty ? true : nil
            }
            #expect(await cluster.kubelet.livingPods == 0)
            #expect(try await cluster.tasks.list().items.count == 3)
        }
    }

    @Test func aChangedWorkerIsTakenUpAtTheNextIdleMoment() async throws {
        try await StoryCluster.run { cluster in
            try cluster.startSupervisor()
            try await cluster.ask("first", "Remember the plum.\nrun: sleep 2")
            _ = try await cluster.task("first") { $0.phase == .running }
            // kubectl edit session
            try await cluster.until("the edit") {
                var session = try await cluster.sessions.get(StoryCluster.key.name)
                session.spec.worker.podTemplate = [
                    "spec": ["containers": [["name": "agent", "env": [["name": "FLAVOUR", "value": "cherry"]]]]]
                ]
                return try await cluster.sessions.replace(session)
            }
            #expect(try await cluster.end(of: "first").phase == .succeeded, "what runs is not cut off")
            let asleep = try await cluster.session { $0.phase == .suspended }
            #expect(asleep.message?.contains("was changed") == true, "\(asleep)")
            let spec = TaskSpec(
                prompt: "run: echo $FLAVOUR > flavour.txt",
                scope: ScopeSpec(kind: .pullRequest, repository: "acme/widgets", number: 12))
            _ = try await cluster.tasks.create(TaskObject(metadata: ObjectMeta(name: "second"), spec: spec, status: nil))
            let second = try await cluster.end(of: "second")
            #expect(try String(contentsOfFile: cluster.file("flavour.txt") ?? "", encoding: .utf8) == "cherry\n")
            #expect(second.results?.answer?.contains("“Remember the plum.") == true, "\(second)")
            #expect(try await cluster.session { $0.phase == .ready }.epoch == 2)
        }
    }

    /// A Task without a scope costs nothing any more when its time is up, although nobody is there to end its pod.
    @Test func thePodOfATaskAloneEndsWithoutASupervisor() async throws {
        try await StoryCluster.run { cluster in
            let supervisor = try cluster.startSupervisor()
            var lifetime = Lifetime()
            lifetime.resultHold = .seconds(2)
            let spec = TaskSpec(
                prompt: "run: sleep 3", worker: AgentDescription(driver: .acp, command: ["holdfast-demo-agent"]),
                lifetime: lifetime)
            _ = try await cluster.tasks.create(TaskObject(metadata: ObjectMeta(name: "alone"), spec: spec, status: nil))
            _ = try await cluster.task("alone") { $0.phase == .running }
            cluster.kill(supervisor)
            let pod = try await cluster.until("the end of the pod") {
                try await cluster.pods.list().items.first { $0["status"]?["phase"]?.string == "Succeeded" }
            }
            #expect(pod.metadata.deletionTimestamp == nil, "nobody has deleted it")
            #expect(await cluster.kubelet.livingPods == 0)
            // What it did went with its pod, and the next supervisor says so.
            try cluster.startSupervisor()
            let end = try await cluster.end(of: "alone")
            #expect(end.phase == .interrupted && end.reason == .journalLost, "\(end)")
            try await cluster.until("that nothing is left") { try await cluster.pods.list().items.isEmpty ? true : nil }
        }
    }

    @Test func aLeaderThatDiesInTheMiddleOfATurnIsReplaced() async throws {
        try await StoryCluster.run { cluster in
            let first = try cluster.startSupervisor()
            let leader = try await cluster.until("a leader") { try await cluster.leader() }
            try cluster.startSupervisor()
            try await cluster.ask("one", "run: sleep 6\nsay: done")
            _ = try await cluster.task("one") { $0.phase == .running }
            #expect(try await cluster.leader() == leader)
            cluster.kill(first)
            try await cluster.until("another leader") { try await cluster.leader() == leader ? nil : true }
            let one = try await cluster.end(of: "one")
            #expect(one.phase == .succeeded, "\(one)")
            #expect(one.attempts == 1)
            try await cluster.ask("two", "What do you remember?")
            #expect(try await cluster.end(of: "two").results?.answer?.contains("run: sleep 6") == true)
            #expect(try await cluster.session { $0.phase == .ready }.epoch == 1)
            // Whoever acted, acted once.
            let made = cluster.double.requests.filter { $0.method == "POST" && $0.path.contains(cluster.namespace) }
            #expect(made.filter { $0.path.hasSuffix("/pods") }.count == 1)
            #expect(made.filter { $0.path.hasSuffix("/sessions") }.count == 1)
        }
    }

    @Test func aPodThatIsDeletedUnderARunningTurnInterruptsIt() async throws {
        try await StoryCluster.run { cluster in
            var lifetime = Lifetime()
            lifetime.drainTimeout = .seconds(1)
            try cluster.startSupervisor()
            try await cluster.ask("one", "Remember the plum.\nrun: sleep 60", lifetime)
            _ = try await cluster.task("one") { $0.phase == .running }
            try await cluster.pods.delete(StoryCluster.pod(1))
            try await cluster.ask("two", "What do you remember?", lifetime)
            let one = try await cluster.end(of: "one")
            #expect(one.phase == .interrupted, "\(one)")
            let two = try await cluster.end(of: "two")
            #expect(two.phase == .succeeded, "\(two)")
            #expect(two.results?.answer?.contains("“Remember the plum.") == true, "\(two)")
            #expect(try await cluster.session { $0.phase == .ready }.epoch == 2)
            try await cluster.until("the end of the first pod") {
                try await cluster.pods.list().items.map(\.metadata.name) == [StoryCluster.pod(2)] ? true : nil
            }
        }
    }

    /// The next session of the name begins anew, on a volume of its own.
    @Test func theVolumeOfAnEndedSessionIsKeptAsideForAnother() async throws {
        try await StoryCluster.run { cluster in
            var lifetime = Lifetime()
            lifetime.idleTimeout = .seconds(1)
            lifetime.onIdle = .end
            try cluster.startSupervisor()
            try await cluster.ask("one", "Remember the plum.", lifetime)
            #expect(try await cluster.end(of: "one").phase == .succeeded)
            _ = try await cluster.session { $0.phase == .ended }
            let claims: Objects<GenericObject> = cluster.client.objects(.volumeClaims, in: cluster.namespace)
            let old = try #require(try await claims.list().items.first)

            try await cluster.ask("two", "What do you remember?", lifetime)
            let two = try await cluster.end(of: "two")
            #expect(two.phase == .succeeded, "\(two)")
            #expect(two.results?.answer?.contains("plum") == false, "\(two)")
            let kept = try await claims.list().items
            #expect(kept.count == 2)
            #expect(kept.first { $0.metadata.uid == old.metadata.uid }?.metadata.ownerReferences ?? [] == [])
            #expect(kept.first { $0.metadata.uid != old.metadata.uid }?.metadata.ownerReferences?.map(\.kind) == ["Session"])
        }
    }

    /// An API server that drops watches, forgets its history, answers with 429, 500 and 409, and loses answers.
    @Test func anAPIServerAtItsWorstLosesNothingAndDoesNothingTwice() async throws {
        try await StoryCluster.run { cluster in
            try cluster.startSupervisor()
            try await cluster.until("a leader") { try await cluster.leader() }
            let storm = Task {
                @Sendable func isOurs(_ request: APIRequest) -> Bool {
                    // What this test itself asks for is spared.
                    request.path.contains(cluster.namespace) && !(request.method == "POST" && request.path.hasSuffix("/tasks"))
                }
                var round = 0
                while !Task.isCancelled {
                    let actions: [Fault.Action] = [
                        .answer(500, reason: "InternalError", message: "no"),
                        .answer(429, reason: "TooManyRequests", message: "later", retryAfter: 1), .drop, .dropAfter,
                        .answer(409, reason: "Conflict", message: "the object has been modified"),
                        .answer(503, reason: "ServiceUnavailable", message: "no leader"),
                    ]
                    let action = actions[round % actions.count]
                    // At its worst it still lets some requests pass.
                    cluster.double.clearFaults()
                    cluster.double.inject(Fault(action, count: 3) { isOurs($0) && $0.method != "GET" })
                    cluster.double.inject(Fault(actions[round % 4], count: 1) { isOurs($0) && $0.method == "GET" })
                    if round % 3 == 0 { cluster.double.with { $0.compact() } }
                    if round % 3 == 1 { cluster.double.endWatches() }
                    if round % 5 == 2 { cluster.double.dropConnections() }
                    round += 1
                    try? await Task.sleep(for: .milliseconds(300))
                }
                return round
            }
            let names = (1...6).map { "task-\($0)" }
            for name in names {
                try await cluster.until("the creation of \(name)") {
                    try await cluster.ask(name, "append: notes.txt | \(name)\\n")
                }
            }
            for name in names { _ = try await cluster.task(name) { $0.session != nil } }
            try await Task.sleep(for: .seconds(3))
            storm.cancel()
            #expect(await storm.value > 5)
            cluster.double.clearFaults()
            for (index, name) in names.enumerated() {
                let task = try await cluster.end(of: name)
                #expect(task.phase == .succeeded, "\(name): \(task)")
                #expect(task.turn == TurnID(UInt64(index + 1)))
                #expect(task.attempts == 1)
            }
            try await cluster.ask("last", "run: cat notes.txt")
            #expect(try await cluster.end(of: "last").phase == .succeeded)
            let notes = try FileManager.default.contents(atPath: #require(cluster.file("notes.txt")))
            #expect(notes.map { String(decoding: $0, as: UTF8.self) } == names.map { $0 + "\n" }.joined())
            #expect(try await cluster.sessions.list().items.count == 1)
        }
    }
}
