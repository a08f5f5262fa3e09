import Foundation
import Support

/// The random choices of a test run. `HOLDFAST_SEED` repeats one, as far as the machine's timing allows.
enum Chance {
    static func seed() -> UInt64 {
        ProcessInfo.processInfo.environment["HOLDFAST_SEED"].flatMap { UInt64($0) } ?? .random(in: 1...999_999)
    }

    /// How often to repeat: with `HOLDFAST_LONG` ten times as often.
    static func rounds(_ count: Int) -> Int {
        ProcessInfo.processInfo.environment["HOLDFAST_LONG"].map { !$0.isEmpty } == true ? 10 * count : count
    }
}

extension SeededRandom {
    mutating func milliseconds(_ range: ClosedRange<Int>) -> Duration { .milliseconds(Int.random(in: range, using: &self)) }
}
