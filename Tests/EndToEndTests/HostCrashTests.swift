import Foundation
import Processes
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// kill -9 of what works for the sidecar costs the turn that ran, and no more.
    @Suite struct HostCrashTests {
        @Test(.timeLimit(.minutes(30))) func anAgentHostIsKilledAtRandomMoments() async throws {
            let seed = Chance.seed()
            try await CrashBench.run(seed: seed) { bench in
                let rounds = Chance.rounds(60)
                let clients = try await killing(rounds, bench) { $0.host }
                let history = try await bench.finish()
                bench.expectNoFaults(history, clients)
                let odd = history.endings(otherThan: [(.succeeded, .completed), (.interrupted, .hostLost)])
                #expect(odd.isEmpty, "seed \(seed)")
                let cut = history.count(.interrupted, .hostLost)
                #expect(cut > 0 && cut <= rounds, "seed \(seed): each death of a host costs one turn at the most")
                #expect(history.rescued > 0, "seed \(seed)")
                // Fewer where a host was killed before it had connected.
                let hosts = history.events.count { $0.body.type == "host.connected" }
                #expect(hosts > rounds / 2 && hosts <= rounds + 1, "seed \(seed)")
            }
        }

        @Test(.timeLimit(.minutes(30))) func anAgentIsKilledAtRandomMoments() async throws {
            let seed = Chance.seed()
            try await CrashBench.run(seed: seed) { bench in
                let rounds = Chance.rounds(60)
                let clients = try await killing(rounds, bench) { $0.agent }
                let sidecar = try bench.current
                try await bench.waitUntilDone(sidecar)
                let last = try await sidecar.end(of: try await sidecar.enqueue(bench.evidence.prompt("last")).id)
                #expect(last.state == .succeeded)
                let turn = try await sidecar.end(of: try await sidecar.enqueue(bench.evidence.prompt("probe")).id)
                let history = try await bench.finish()
                bench.expectNoFaults(history, clients)
                // One that is killed while it starts never began: that is a failed start.
                let odd = history.endings(
                    otherThan: [(.succeeded, .completed), (.failed, .agentExited), (.failed, .agentStart)])
                #expect(odd.isEmpty, "seed \(seed)")
                let cut = history.count(.failed, .agentExited) + history.count(.failed, .agentStart)
                #expect(cut > 0 && cut <= rounds, "seed \(seed): each death of an agent costs one turn at the most")
                #expect(history.events.count { $0.body.type == "host.connected" } == 1, "seed \(seed)")
                // The conversation has outlived every one of these agents.
                #expect(turn.results?.answer?.contains("“turn last") == true, "seed \(seed)")
                #expect(history.events.count { $0.body.type == "conversation.started" } == 1, "seed \(seed)")
            }
        }

        /// Kills what `victim` finds below the working sidecar, again and again.
        private func killing(
            _ rounds: Int, _ bench: CrashBench, _ victim: @escaping @Sendable (SidecarProcess) -> ProcessEntry?
        ) async throws -> [[Acknowledgement]] {
            let sidecar = try bench.start()
            return try await bench.clients.run(4) {
                var random = SeededRandom(seed: bench.seed)
                var last: ProcessEntry.Identity?
                for _ in 1...rounds {
                    var found: ProcessEntry?
                    try await sidecar.until {
                        found = victim(sidecar)
                        return found != nil && found?.identity != last
                    }
                    // One in four while it starts, the others while it works.
                    if !random.oneIn(4) { try await bench.waitUntilWorking(sidecar) }
                    try await Task.sleep(for: random.milliseconds(0...80))
                    found = victim(sidecar) ?? found
                    last = found?.identity
                    found?.signal(SIGKILL)
                }
            }
        }
    }
}
