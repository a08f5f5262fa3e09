import NIOConcurrencyHelpers
import SessionModel

/// What the supervisor counts since it started. Phases are counted in the store when somebody asks.
final class Metrics: Sendable {
    struct Counters: Sendable {
        /// Inputs that session controllers have worked on.
        var reconciles = 0
        /// Sidecars that were started, and those found again after a restart.
        var starts = 0
        var adoptions = 0
        var crashes = 0
        /// Turns that sidecars have accepted, and Tasks that had to wait because one refused for now.
        var turnsAccepted = 0
        var turnsDeferred = 0
        /// Drains for idleness: agreed to and refused.
        var drainsAccepted = 0
        var drainsRefused = 0
        /// How often sessions have entered a phase, and why.
        var transitions: [Transition: Int] = [:]
        var lateness = Lateness()
        /// Sessions that have a controller now, or are to get one.
        var attended = 0
    }

    struct Transition: Hashable {
        var phase: SessionPhase
        var cause: PhaseCause?
    }

    /// How much later than due sessions were looked at.
    struct Lateness {
        /// Upper bounds, seconds.
        static let bounds: [(label: String, milliseconds: Int64)] = [
            ("0.01", 10), ("0.1", 100), ("1", 1000), ("10", 10_000), ("60", 60_000),
        ]
        /// As many as bounds: how many were at most so late.
        private(set) var counts = Array(repeating: 0, count: bounds.count)
        private(set) var count = 0
        private(set) var milliseconds: Int64 = 0

        mutating func add(_ span: TimeSpan) {
            let late = max(0, span.milliseconds)
            for (index, bound) in Self.bounds.enumerated() where late <= bound.milliseconds { counts[index] += 1 }
            count += 1
            milliseconds += late
        }
    }

    private let counters = NIOLockedValueBox(Counters())

    func count(_ change: (inout Counters) -> Void) { counters.withLockedValue { change(&$0) } }
    var values: Counters { counters.withLockedValue(\.self) }
}
