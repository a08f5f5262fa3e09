import Seeds
import SessionModel

/// One simulated machine: clocks, a store, supervisors, sidecars, disks and users. Nothing in it runs by itself, and everything
/// that is left to chance comes from one generator, so that a seed and a plan repeat a run exactly.
final class World {
    let seed: UInt64
    private(set) var random: SeededRandom
    /// Milliseconds since the beginning, on a clock that never jumps.
    private(set) var clock: Int64 = 0
    /// How far the wall clock is off.
    private(set) var skew: Int64 = 0
    private(set) var steps = 0
    private var schedule = Schedule()
    private(set) var store: SimulatedStore!
    private(set) var ledger: Ledger!
    var supervisors: [SimulatedSupervisor] = []
    var sidecars: [SimulatedSidecar] = []
    /// By the session's uid.
    var disks: [String: Disk] = [:]
    var weather = Weather()
    /// Sidecars of these sessions fail to start so many times more.
    var startsToFail: [String: Int] = [:]
    private(set) var violation: Violation?
    /// Lines of what happened; nil when nobody wants them.
    private var trace: [String]?
    private var stepsAtThisMoment = 0
    /// Nothing goes wrong in this world but what users and agents do, and a start now and then.
    var isFair = false
    /// Two supervisors have acted at the same time.
    var wasContested = false
    /// Two supervisors act at present.
    var isContested: Bool { supervisors.count { $0.isAlive && !$0.isPartitioned } > 1 }

    /// How unreliable everything is: once in so many times; 0 is never.
    struct Weather {
        var storeFails = 0
        var watchLoses = 0
        /// The longest that lost news of the store take to be noticed, milliseconds.
        var watchDelay: Int64 = 30_000
        var callFails = 0
        /// The longest that a message takes, milliseconds.
        var latency: Int64 = 20
        /// The longest that a process takes to begin once it was asked for, milliseconds.
        var startLatency: Int64 = 0
    }

    init(seed: UInt64, tracing: Bool) {
        self.seed = seed
        random = SeededRandom(seed: seed)
        trace = tracing ? [] : nil
        store = SimulatedStore(self)
        ledger = Ledger(self)
    }

    static let epoch: Int64 = 1_800_000_000_000
    var now: Timestamp { Timestamp(milliseconds: Self.epoch + clock + skew) }

    /// True once in so many times.
    func chance(_ count: Int) -> Bool { count > 0 && random.oneIn(count) }
    func number(_ range: ClosedRange<Int64>) -> Int64 { Int64.random(in: range, using: &random) }
    func pick<Element>(_ elements: [Element]) -> Element { random.pick(elements) }

    func after(_ milliseconds: Int64, _ action: @escaping () -> Void) { schedule.add(at: clock + max(0, milliseconds), action) }
    /// After as long as a message takes.
    func soon(_ action: @escaping () -> Void) { after(number(0...weather.latency), action) }

    func note(_ line: @autoclosure () -> String) {
        guard trace != nil else { return }
        trace?.append("\(Timestamp(milliseconds: Self.epoch + clock).description.dropFirst(8))  \(line())")
    }
    var lines: [String] { trace ?? [] }

    func violate(_ rule: String, _ what: @autoclosure () -> String) {
        guard violation == nil else { return }
        violation = Violation(rule: rule, what: what())
        note("VIOLATION of \(rule): \(what())")
    }

    /// Runs what is due until then, or until a rule is broken.
    func run(until end: Int64) {
        while violation == nil, let next = schedule.next, next <= end {
            stepsAtThisMoment = next > clock ? 0 : stepsAtThisMoment + 1
            clock = next
            steps += 1
            schedule.removeFirst()()
            if stepsAtThisMoment > 5000 { violate("progress", "5000 steps, and time stands still") }
        }
        if violation == nil { clock = max(clock, end) }
    }

    /// Lets go of everything, so that what refers to each other is freed.
    func dismantle() {
        schedule = Schedule()
        supervisors = []
        for sidecar in sidecars {
            sidecar.watchers = []
            sidecar.mourners = []
        }
        sidecars = []
    }

    /// The wall clock is set. Supervisors look at it once a minute at least.
    func jump(_ span: TimeSpan) {
        skew += span.milliseconds
        after(number(0...60_000)) { [unowned self] in
            for supervisor in supervisors where supervisor.isAlive { supervisor.lookAtClock() }
        }
    }

    /// The session was written: every supervisor hears of it, late, twice, or only when it lists all again.
    func watch(_ name: String) {
        for supervisor in supervisors where supervisor.isAlive {
            if chance(weather.watchLoses) {
                after(number(1000...max(1000, weather.watchDelay))) { supervisor.hear(of: name) }
                if chance(2) { continue }
            }
            for _ in 0..<(weather.watchLoses > 0 && chance(3) ? 2 : 1) { soon { supervisor.hear(of: name) } }
        }
    }

    func disk(of session: SessionResource) -> Disk {
        if let disk = disks[session.metadata.uid] { return disk }
        let disk = Disk(id: journalID())
        disks[session.metadata.uid] = disk
        return disk
    }

    func journalID() -> String {
        let digits = String(UInt64.random(in: .min ... .max, using: &random), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    func uid() -> String { journalID() }

    /// The living sidecar of a session.
    func sidecar(of session: String) -> SimulatedSidecar? { sidecars.last { $0.session == session && $0.isAlive } }
    func sidecar(of session: String, epoch: UInt32) -> SimulatedSidecar? {
        sidecars.last { $0.session == session && $0.epoch == epoch }
    }
}

/// A rule that did not hold.
public struct Violation: Sendable, Hashable {
    public var rule: String
    public var what: String
}
