import Foundation
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// kill -9 of the sidecar at any moment loses nothing that it acknowledged, and does nothing twice.
    @Suite struct SidecarCrashTests {
        @Test(.timeLimit(.minutes(30))) func killedAtRandomMoments() async throws {
            let seed = Chance.seed()
            try await CrashBench.run(seed: seed) { bench in
                let clients = try await bench.clients.run(4) {
                    var random = SeededRandom(seed: seed)
                    for round in 1...Chance.rounds(200) {
                        let sidecar = try bench.start()
                        switch Int.random(in: 1...4, using: &random) {
                        case 1: break  // while it starts
                        case 2: try await sidecar.waitUntilLive()  // while it recovers
                        default: try await bench.waitUntilWorking(sidecar)
                        }
                        try await Task.sleep(for: random.milliseconds(0...120))
                        try #require(sidecar.end == nil, "seed \(seed), round \(round): it ended by itself")
                        sidecar.kill(SIGKILL)
                        try await sidecar.waitForExit()
                    }
                    try bench.start()
                }
                let history = try await bench.finish()
                bench.expectNoFaults(history, clients)
                let odd = history.endings(otherThan: [(.succeeded, .completed), (.interrupted, .sidecarLost)])
                #expect(odd.isEmpty, "seed \(seed)")
                #expect(history.count(.succeeded, .completed) > 0)
                #expect(history.rescued > 0, "no turn was taken up again: the test tests nothing")
                #expect(history.count(.interrupted, .sidecarLost) > 5, "hardly a turn was cut off: the test tests nothing")
            }
        }
    }
}
