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
        /// How often a session has entered a phase.
        var transitions: [SessionPhase: Int] = [:]
    }
    private let counters = NIOLockedValueBox(Counters())

    func count(_ change: (inout Counters) -> Void) { counters.withLockedValue { change(&$0) } }
    var values: Counters { counters.withLockedValue(\.self) }
}
