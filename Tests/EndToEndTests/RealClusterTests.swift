import Foundation
import SessionModel
import Testing

/// The user story on a real API server with real kubelets and images.
@Suite(
    .serialized, .timeLimit(.minutes(20)),
    .enabled(if: RealCluster.kubeconfig != nil, "HOLDFAST_TEST_KUBECONFIG names no cluster"))
struct RealClusterTests {
    @Test func aPullRequestHasOneSessionThatLasts() async throws {
        try await RealCluster.run { cluster in
            // Two Tasks, one session, one pod.
            try cluster.ask("one", "append: notes.txt | hello\n", idleTimeout: .seconds(15))
            #expect(try await cluster.end(of: "one").phase == .succeeded)
            try cluster.ask("two", "run: cat notes.txt")
            let two = try await cluster.end(of: "two")
            #expect(two.phase == .succeeded && two.turn == TurnID(2))
            #expect(two.results?.answer?.contains("I remember 1 earlier prompt") == true, "\(two)")
            let first = try cluster.pods()
            #expect(first.count == 1)

            // People look into the pod.
            let transcript = try cluster.kubectl("exec", first[0], "-c", "sidecar", "--", "holdfast-sidecar", "transcript")
            #expect(transcript.contains("cat notes.txt"))
            #expect(try cluster.kubectl("get", "tasks").contains("Succeeded"))

            // Idle, it sleeps: its pod goes, its volume stays, and its transcript can be read.
            try await cluster.until("its sleep") { try cluster.session()?.status.phase == .suspended ? true : nil }
            try await cluster.until("the end of its pod") { try cluster.pods().isEmpty ? true : nil }
            let claims = try cluster.kubectl("get", "pvc", "-o", "name")
            #expect(claims.split(separator: "\n").count == 1)
            #expect(try cluster.holdfast("transcript", RealCluster.key).contains("cat notes.txt"))

            // A third Task wakes it, and it remembers.
            try cluster.ask("three", "run: cat notes.txt")
            let three = try await cluster.end(of: "three")
            #expect(three.results?.answer?.contains("I remember 2 earlier prompts") == true, "\(three)")
            #expect(try cluster.session()?.status.epoch == 2)
            try cluster.holdfastSet("30m")

            // The leader goes in the middle of a turn, and the turn does not notice.
            let holder = try cluster.kubectl("get", "lease", "holdfast-supervisor", "-o", "jsonpath={.spec.holderIdentity}")
            try cluster.ask("four", "think: 10\nappend: notes.txt | four\n")
            try await cluster.running("four")
            try cluster.kubectl("delete", "pod", String(holder.split(separator: "_")[0]), "--grace-period=0", "--force")
            let four = try await cluster.end(of: "four")
            #expect(four.phase == .succeeded && four.turn == TurnID(4))

            // Its pod is deleted in the middle of a turn: the turn has its time to end.
            try cluster.ask("five", "think: 10\nappend: notes.txt | five\n")
            try await cluster.running("five")
            try cluster.kubectl("delete", "pod", try #require(try cluster.pods().first), "--wait=false")
            try cluster.ask("six", "run: cat notes.txt")
            #expect(try await cluster.end(of: "five").phase == .succeeded)
            #expect(try await cluster.end(of: "six").phase == .succeeded)
            #expect(try cluster.session()?.status.epoch == 3)

            // Its pod is lost in the middle of a turn: that turn is interrupted, never run twice, and the next one goes on.
            try cluster.ask("seven", "think: 60\nappend: notes.txt | seven\n")
            try await cluster.running("seven")
            let lost = try #require(try cluster.pods().first)
            try cluster.kubectl("delete", "pod", lost, "--grace-period=0", "--force")
            try cluster.ask("eight", "run: cat notes.txt && ! grep -q seven notes.txt")
            #expect(try await cluster.end(of: "seven").phase == .interrupted)
            let eight = try await cluster.end(of: "eight")
            #expect(eight.phase == .succeeded && eight.results?.answer?.contains("failed") == false, "\(eight)")
            #expect(try cluster.session()?.status.epoch == 4)

            // A deleted session goes with its pod and its volume.
            let name = try #require(try cluster.session()?.name)
            try cluster.kubectl("delete", "session", name, "--timeout=2m")
            try await cluster.until("the end of its volume") {
                try cluster.kubectl("get", "pvc", "-o", "name").isEmpty && cluster.pods().isEmpty ? true : nil
            }
        }
    }

    @Test func aTaskWithoutAScopeRunsAlone() async throws {
        try await RealCluster.run { cluster in
            try cluster.askAlone("good", ["driver": "acp", "command": ["holdfast-demo-agent"]])
            try cluster.askAlone("bad", ["driver": "acp", "command": ["x"], "image": "nowhere.invalid/x:1"])
            let good = try await cluster.end(of: "good")
            #expect(good.phase == .succeeded, "\(good)")
            // What keeps the other from starting is said, with what to do.
            try await cluster.until("what is wrong with its image") {
                let message = try cluster.task("bad")?.message
                return message?.contains("cannot be pulled") == true && message?.contains("imagePullSecrets") == true ? true : nil
            }
            try await cluster.until("the end of the first one's pod") { try cluster.pods().count == 1 ? true : nil }
            try cluster.kubectl("delete", "task", "bad", "--timeout=2m")
            try await cluster.until("the end of the other's pod") { try cluster.pods().isEmpty ? true : nil }
        }
    }
}

extension RealCluster {
    /// Gives the session another idle timeout.
    fileprivate func holdfastSet(_ idleTimeout: String) throws {
        _ = try holdfast("set", Self.key, "--idle-timeout", idleTimeout)
    }
}
