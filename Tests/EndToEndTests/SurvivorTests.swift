import Foundation
import Processes
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// Sidecar and host are killed together, so that nobody ends the agent: the next sidecar does, before it dispatches anything.
    @Suite struct SurvivorTests {
        @Test(.timeLimit(.minutes(20))) func survivorsAreEndedBeforeTheNextDispatch() async throws {
            let seed = Chance.seed()
            try await CrashBench.run(seed: seed) { bench in
                let clients = try await bench.clients.run(4) {
                    var random = SeededRandom(seed: seed)
                    for _ in 1...Chance.rounds(40) {
                        let sidecar = try bench.start()
                        try await bench.waitUntilWorking(sidecar)
                        try await Task.sleep(for: random.milliseconds(0...80))
                        let host = sidecar.host
                        // In either order, and with nothing in between.
                        if random.oneIn(2) {
                            sidecar.kill(SIGKILL)
                            host?.signal(SIGKILL)
                        } else {
                            host?.signal(SIGKILL)
                            sidecar.kill(SIGKILL)
                        }
                        try await sidecar.waitForExit()
                    }
                    try bench.start()
                }
                let history = try await bench.finish()
                bench.expectNoFaults(history, clients)
                let odd = history.endings(
                    otherThan: [(.succeeded, .completed), (.interrupted, .sidecarLost), (.interrupted, .hostLost)])
                #expect(odd.isEmpty, "seed \(seed)")
            }
        }

        /// What a working turn has started, in every way to hide: in sessions of its own, deaf to SIGTERM, without the marker.
        @Test(
            .timeLimit(.minutes(2)),
            arguments: [
                ("setsid sleep 600 & wait", 1),
                ("setsid sh -c 'setsid sleep 600 & sleep 600' & wait", 2),
                // Its parent has ended: only the marker tells whose it is.
                ("(setsid sleep 600 &) ; sleep 600", 2),
                // Without the marker: only the living parent tells whose it is.
                ("setsid sh -c 'env -i setsid sleep 600 & wait' & wait", 1),
                // … which SIGTERM ends first.
                ("setsid sh -c 'env -i --ignore-signal=TERM setsid sleep 600 & wait' & wait", 1),
            ])
        func noChildOfAnAgentSurvives(_ command: String, sleeping: Int) async throws {
            try await CrashBench.run(seed: 0) { bench in
                let sidecar = try bench.start()
                try await sidecar.waitUntilLive()
                try await sidecar.waitUntilReady()
                let host = try #require(sidecar.host)
                let script = try bench.home.write("work.sh", command)
                let cut = try await sidecar.enqueue(bench.evidence.prompt("cut", work: "sh \(script)"))
                var workers: [ProcessEntry] = []
                try await sidecar.until {
                    workers = ProcessEntry.descendants(of: host.pid)
                    return workers.count { $0.name == "sleep" } == sleeping
                }
                // Together: a host that is killed while it ends processes may have ended those that tell whose the others are.
                host.signal(SIGSTOP)
                sidecar.kill(SIGKILL)
                host.signal(SIGKILL)
                defer { for worker in workers { worker.signal(SIGKILL) } }
                try await sidecar.waitForExit()

                let next = try bench.start()
                try await next.waitUntilLive()
                let turn = try await next.end(of: try await next.enqueue(bench.evidence.prompt("next")).id)
                #expect(turn.state == .succeeded)
                #expect(workers.filter { $0.isSame && ProcessEntry($0.pid)?.isAlive == true }.map(\.command) == [])
                #expect([.sidecarLost, .hostLost].contains(try await next.turn(cut.id).reason))
                let history = try await bench.finish()
                #expect(history.faults(against: bench.evidence).isEmpty)
            }
        }
    }
}
