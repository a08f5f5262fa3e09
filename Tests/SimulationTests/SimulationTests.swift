import Foundation
import Simulation
import Testing

@Suite struct SimulationTests {
    private static let last: UInt64 = ProcessInfo.processInfo.environment["HOLDFAST_LONG"] == nil ? 10_000 : 200_000

    @Test(arguments: [false, true])
    func noRuleIsBroken(dense: Bool) {
        // A dense run takes ten times as long.
        let last = dense ? Self.last / 10 : Self.last
        var steps = 0
        for seed in 1...last {
            let result = Simulation.run(seed: seed, dense: dense)
            steps += result.steps
            if let failure = result.failure {
                Issue.record("\(failure.report)")
                return
            }
        }
        // A simulation in which little happens would show little.
        #expect(steps > last * 50)
    }

    @Test func aSeedRepeatsItsRun() {
        for seed in UInt64(1)...50 {
            #expect(Simulation.run(seed: seed).steps == Simulation.run(seed: seed).steps)
        }
    }
}
