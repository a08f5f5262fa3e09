/// The supervisor's view of one session: a pure state machine that decides when its process starts, drains and stops.
///
/// `Pending → Starting → Ready → Draining → Suspended → Starting …`, `Ended`, `Failed`
///
/// ```swift
/// var machine = SessionMachine(scope: .pullRequest, lifetime: nil, createdAt: now)
/// let effects = machine.handle(.tasks(open: 1), at: now)   // [.start(epoch: 1)]
/// ```
/// It is level-triggered: an input changes what is known, and every decision is made again from all that is known. So a late, a
/// repeated or a lost input does no harm, and after a restart of the supervisor the machine goes on from the stored phase and
/// epoch alone. The caller stores ``phase``, ``epoch`` and ``message`` before it performs an effect.
///
/// The rules it keeps:
/// - epoch n+1 is started only when epoch n is known to have ended;
/// - a session is never stopped for idleness unless its sidecar itself has agreed to drain;
/// - every phase has a deadline (``nextDeadline``) or needs none, and a way out.
public struct SessionMachine: Sendable, Hashable {
    public private(set) var phase: SessionPhase
    /// The incarnation that is alive, or the last one that was asked to start; 0 before the first.
    public private(set) var epoch: UInt32
    /// When the phase was entered.
    public private(set) var since: Timestamp
    /// Why it is in this phase, as a sentence.
    public private(set) var message: String?
    /// The same, as one of a few; nil where nothing but work to do is the reason.
    public private(set) var cause: PhaseCause?
    /// When the present incarnation became ready.
    public private(set) var startedAt: Timestamp?
    /// What the living sidecar last said.
    public private(set) var activity: Activity?

    public private(set) var lifetime: Lifetime.Resolved
    private let scope: ScopeKind
    private let createdAt: Timestamp

    // What is known of the world.
    private var runtime: Runtime
    private var openTasks: Int?
    /// The journal of a Task that has not ended has been told of it.
    private var hasSent = false
    private var wishes = Wishes()

    // What was asked and when, so that it is asked again if no answer comes.
    private var crashes = 0
    private var retryAt: Timestamp?
    /// Since when it should become ready.
    private var startingSince: Timestamp?
    private var checkAgainAt: Timestamp?
    private var stopAgainAt: Timestamp?
    private var drainAgainAt: Timestamp?
    /// The deadline that its sidecar was given for the drain.
    private var drainBy: Timestamp?
    private var unreachableSince: Timestamp? { didSet { if unreachableSince == nil { isGivenUp = false } } }
    /// It has not answered for the whole of `startTimeout`, nor after it.
    private var isGivenUp = false
    /// Since when nobody can tell whether the process runs, and why not.
    private var unknownSince: Timestamp?
    private var unknownWhy: String?

    private enum Runtime: Sendable, Hashable {
        /// No process of any epoch is alive.
        case none
        /// The supervisor has restarted and does not know yet.
        case unknown
        /// Epoch ``epoch`` was asked to start and is not known to have ended.
        case alive
    }

    /// After this many crashes in a row a session has failed.
    public static let maxCrashes = 6
    /// A process that was ready for this long has not crashed "in a row".
    public static let stableAfter = TimeSpan.minutes(1)
    /// How long SIGTERM may take before SIGKILL: longer than a sidecar gives its running turn then.
    public static let stopGrace = TimeSpan.seconds(35)
    /// After this long an effect without an answer is asked for again.
    static let askAgainAfter = TimeSpan.seconds(30)
    /// After a drain was refused it is not asked for again before this.
    static let drainPause = TimeSpan.seconds(1)
    /// An epoch that was not started is followed by the next one after this.
    static let startPause = TimeSpan.seconds(1)
    /// How much longer than the drain's own deadline the supervisor waits.
    static let drainMargin = TimeSpan.minutes(1)

    /// A session that nobody has started yet.
    public init(scope: ScopeKind, lifetime: Lifetime?, createdAt: Timestamp) {
        phase = .pending
        epoch = 0
        since = createdAt
        self.lifetime = (lifetime ?? Lifetime()).resolved(for: scope)
        self.scope = scope
        self.createdAt = createdAt
        runtime = .none
    }

    /// A session as it was stored by a supervisor that has ended since. The first input is ``Input/restored``.
    public init(scope: ScopeKind, lifetime: Lifetime?, createdAt: Timestamp, stored: SessionResourceStatus) {
        self.init(scope: scope, lifetime: lifetime, createdAt: createdAt)
        phase = stored.phase
        epoch = stored.epoch
        since = stored.since
        message = stored.message
        startedAt = stored.startedAt
        switch phase {
        case .starting, .ready, .draining: runtime = .unknown
        // These are only entered when the process is known to have ended.
        case .pending, .suspended, .ended, .failed: runtime = .none
        }
    }

    /// What has to be remembered of a session that is ready and has no Task, beside what was stored.
    public struct Quiet: Sendable, Hashable {
        var crashes: Int
        var drainAgainAt: Timestamp?
    }

    /// Nil while anything is under way.
    public var quiet: Quiet? {
        guard phase == .ready, runtime == .alive, openTasks == 0, let activity, !activity.draining, !activity.drained,
            stopAgainAt == nil, unreachableSince == nil, unknownSince == nil
        else { return nil }
        return Quiet(crashes: crashes, drainAgainAt: drainAgainAt)
    }

    /// The same session, from what was remembered and what was stored.
    public init(scope: ScopeKind, lifetime: Lifetime?, createdAt: Timestamp, stored: SessionResourceStatus, quiet: Quiet) {
        self.init(scope: scope, lifetime: lifetime, createdAt: createdAt, stored: stored)
        runtime = .alive
        openTasks = 0
        activity = stored.activity
        crashes = quiet.crashes
        drainAgainAt = quiet.drainAgainAt
    }
}

/// Why a session has entered a phase, for counting.
public enum PhaseCause: String, Sendable, Hashable, CaseIterable {
    case idle = "Idle"
    /// Its worker or its workspace is another one now.
    case changed = "Changed"
    case user = "User"
    case ttl = "TTL"
    case suspendedTTL = "SuspendedTTL"
    /// The one Task of a commit scope has ended.
    case taskEnded = "TaskEnded"
    case scopeClosed = "ScopeClosed"
    /// Its process ended by itself, or could not be started.
    case crash = "Crash"
    /// It has drained although nobody here has asked it to.
    case sidecar = "Sidecar"
    case nothingToDo = "NothingToDo"
}

// MARK: - Inputs and effects

extension SessionMachine {
    /// What users want of a session, as its spec has it.
    public struct Wishes: Sendable, Hashable {
        public var lifetime: Lifetime?
        public var suspend: Bool
        public var end: Bool
        public var scopeClosed: Bool
        /// The epoch that is to run although no Task needs it.
        public var wake: UInt32
        /// What runs was started with another worker or workspace than the session has now.
        public var isOutdated: Bool

        public init(
            lifetime: Lifetime? = nil, suspend: Bool = false, end: Bool = false, scopeClosed: Bool = false, wake: UInt32 = 0,
            isOutdated: Bool = false
        ) {
            self.isOutdated = isOutdated
            self.lifetime = lifetime
            self.suspend = suspend
            self.end = end
            self.scopeClosed = scopeClosed
            self.wake = wake
        }

        public init(_ spec: SessionSpec, isOutdated: Bool = false) {
            self.init(
                lifetime: spec.lifetime, suspend: spec.suspend ?? false, end: spec.end ?? false,
                scopeClosed: spec.scopeClosed ?? false, wake: spec.wake ?? 0,
                isOutdated: isOutdated)
        }
    }

    public enum Input: Sendable, Hashable {
        /// The supervisor has restarted.
        case restored
        case wishes(Wishes)
        /// How many Tasks of the session have not ended, and whether any of them was handed to its journal.
        case tasks(open: Int, sent: Bool = false)
        /// The process runs (again found, after a restart).
        case started(epoch: UInt32)
        /// The sidecar answers and is ready.
        case ready(Activity)
        /// What the sidecar is doing has changed.
        case activity(Activity)
        /// The process runs but does not answer.
        case unreachable(epoch: UInt32)
        /// It answers again; what it says follows.
        case reachable(epoch: UInt32)
        /// Nobody can tell whether the process runs: its node does not answer.
        case unknown(epoch: UInt32, why: String)
        /// The process has ended, or was never started. `crashed` is false when it could not have been at fault.
        case gone(epoch: UInt32, why: String, crashed: Bool)
        /// The process was not started, through no fault of the session; not to be tried again before `pause` is over.
        case postponed(epoch: UInt32, why: String, pause: TimeSpan)
        /// The process cannot be started as the session asks, however often it is tried.
        case impossible(epoch: UInt32, why: String)
        /// The sidecar has agreed to drain: final for the epoch.
        case drainAccepted(epoch: UInt32)
        /// The sidecar is busy, or could not be asked.
        case drainRefused(epoch: UInt32, Activity?)
        /// Some time has passed; sent at ``nextDeadline`` at the latest.
        case tick
    }

    public enum Effect: Sendable, Hashable {
        /// Find out whether the process of this epoch is alive: answered by `started` or `gone`.
        case checkRuntime(epoch: UInt32)
        /// Start the process. ``SessionMachine/epoch`` must be stored first. Answered by `started` and `ready`, or `gone`.
        case start(epoch: UInt32)
        /// Ask the sidecar to drain if it has been idle for so long: answered by `drainAccepted` or `drainRefused`.
        case conditionalDrain(epoch: UInt32, ifIdleFor: TimeSpan, reason: String)
        /// Make the sidecar drain: a running turn is interrupted after `deadline`.
        case forcedDrain(epoch: UInt32, deadline: TimeSpan, reason: String)
        /// SIGTERM, and SIGKILL after `grace`: answered by `gone`.
        case stop(epoch: UInt32, grace: TimeSpan)
    }

    /// Takes note of an input and decides what follows.
    public mutating func handle(_ input: Input, at now: Timestamp) -> [Effect] {
        var effects: [Effect] = []
        learn(input, at: now, &effects)
        // Each pass enters at most one phase; the longest way, gone → suspended → starting → started, takes three.
        for _ in 0..<4 {
            let before = phase
            settle(at: now, &effects)
            if phase == before { break }
        }
        return effects
    }

    /// When ``Input/tick`` is due at the latest; nil when nothing is ever due by itself.
    public var nextDeadline: Timestamp? {
        if runtime == .unknown { return checkAgainAt }
        if let stopAgainAt { return stopAgainAt }
        return switch phase {
        case .ended: nil
        case .pending: ttlEnd
        case .suspended, .failed: min(ttlEnd, since + lifetime.suspendedTTL)
        case .starting: earliest(retryAt, startBy)
        case .ready: drainDue
        case .draining: earliest(drainingBy, reaskDrainAt)
        }
    }

    /// That the session's node is lost, as a sentence that says what to do; nil while it is not.
    public func nodeLost(at now: Timestamp) -> String? {
        guard let unknownSince, let unknownWhy, unknownSince + lifetime.startTimeout <= now else { return nil }
        return """
            epoch \(epoch) can neither be reached nor be known to have ended since \(unknownSince): \(unknownWhy). Nothing is \
            started beside it. It goes on when the node answers again; if the node is gone for good, delete its Node object or \
            give it the out-of-service taint
            """
    }

    /// Whether the session's sidecar can be given turns now.
    public var acceptsTurns: Bool { phase == .ready && runtime == .alive && activity != nil }

    /// The process runs and does not answer.
    public var isUnreachable: Bool { unreachableSince != nil }

    /// When the session is too old.
    public var ttlEnd: Timestamp { createdAt + lifetime.ttl }
}

// MARK: - Learning

extension SessionMachine {
    private mutating func learn(_ input: Input, at now: Timestamp, _ effects: inout [Effect]) {
        switch input {
        case .restored:
            if runtime == .unknown { check(at: now, &effects) }
        case .wishes(let wishes):
            self.wishes = wishes
            lifetime = (wishes.lifetime ?? Lifetime()).resolved(for: scope)
        case .tasks(let open, let sent):
            openTasks = open
            hasSent = sent
        case .started(let epoch):
            guard epoch == self.epoch, runtime == .unknown else { return }
            becomeAlive(at: now)
        case .ready(let activity):
            guard activity.epoch == epoch, runtime != .none else { return }
            becomeAlive(at: now)
            heard(activity)
            guard phase == .starting, stopAgainAt == nil else { return }
            startingSince = nil
            startedAt = now
            enter(.ready, nil, at: now)
        case .activity(let activity):
            guard activity.epoch == epoch, runtime != .none else { return }
            becomeAlive(at: now)
            heard(activity)
        case .unreachable(let epoch):
            guard epoch == self.epoch, runtime == .alive, phase == .ready || phase == .draining else { return }
            // Time alone shows nothing: that it has answered may not have been heard of yet.
            if let unreachableSince, unreachableSince + lifetime.startTimeout <= now { isGivenUp = true }
            if unreachableSince == nil { unreachableSince = now }
        case .reachable(let epoch):
            if epoch == self.epoch { unreachableSince = nil }
        case .unknown(let epoch, let why):
            guard epoch == self.epoch, runtime != .none else { return }
            if unknownSince == nil { unknownSince = now }
            unknownWhy = why
        case .gone(let epoch, let why, let crashed):
            guard epoch == self.epoch, runtime != .none else { return }
            gone(why: why, crashed: crashed, at: now)
        case .postponed(let epoch, let why, let pause):
            guard epoch == self.epoch, runtime != .none else { return }
            let wasStarting = phase == .starting
            gone(why: why, crashed: false, at: now)
            if wasStarting, phase == .starting { retryAt = now + pause }
        case .impossible(let epoch, let why):
            guard epoch == self.epoch, runtime != .none, phase == .starting else { return }
            forgetProcess()
            fail(why, at: now)
        case .drainAccepted(let epoch):
            guard epoch == self.epoch, runtime == .alive, phase == .ready else { return }
            enter(.draining, drainReason(at: now), at: now)
            drainBy = drainDeadline
        case .drainRefused(let epoch, let activity):
            guard epoch == self.epoch, runtime == .alive, phase == .ready || phase == .draining else { return }
            drainAgainAt = now + Self.drainPause
            drainBy = nil
            if let activity, activity.epoch == epoch { heard(activity) }
        case .tick:
            break
        }
    }

    private mutating func becomeAlive(at now: Timestamp) {
        unknownSince = nil
        unknownWhy = nil
        guard runtime == .unknown else { return }
        runtime = .alive
        checkAgainAt = nil
        if phase == .starting { startingSince = now }
    }

    /// Activity versions only grow within an epoch; an older answer that arrives late says nothing new.
    private mutating func heard(_ activity: Activity) {
        unreachableSince = nil
        if let known = self.activity, known.epoch == activity.epoch, known.version > activity.version { return }
        self.activity = activity
    }

    private mutating func gone(why: String, crashed: Bool, at now: Timestamp) {
        let wasDraining = phase == .draining
        // It was told to go before it was ready.
        let wasUnwanted = phase == .starting && isUnwanted(at: now)
        if let startedAt, phase == .ready, now - startedAt >= Self.stableAfter { crashes = 0 }
        forgetProcess()
        if wasDraining {
            crashes = 0
            if endsAfterDrain(at: now) {
                enter(.ended, endReason(at: now), at: now)
            } else {
                // Nobody here had asked it to drain: its node was emptied, or its pod deleted.
                let reason = cause == .sidecar ? (.sidecar, "its process was told to end") : idleReason
                enter(.suspended, wishes.suspend ? Self.suspended : reason, at: now)
            }
            return
        }
        guard crashed, !wasUnwanted else {
            retryAt = phase == .starting ? now + Self.startPause : now
            enter(.starting, (.crash, why), at: now)
            return
        }
        crashes += 1
        if crashes >= Self.maxCrashes {
            fail("\(crashes) crashes in a row; the last: \(why)", at: now)
        } else {
            let pause = TimeSpan.seconds(min(60, 1 << Int64(crashes - 1)))
            retryAt = now + pause
            enter(.starting, (.crash, "restarts \(pause) after crash \(crashes): \(why)"), at: now)
        }
    }

    private mutating func fail(_ why: String, at now: Timestamp) {
        // Whoever performs the effects ends the open Tasks together with this; only new ones revive the session.
        openTasks = 0
        enter(.failed, (.crash, why), at: now)
    }

    /// No process is alive.
    private mutating func forgetProcess() {
        runtime = .none
        activity = nil
        startedAt = nil
        retryAt = nil
        startingSince = nil
        drainBy = nil
        checkAgainAt = nil
        stopAgainAt = nil
        drainAgainAt = nil
        unreachableSince = nil
        unknownSince = nil
        unknownWhy = nil
    }

    private mutating func enter(_ phase: SessionPhase, _ why: (cause: PhaseCause, message: String)?, at now: Timestamp) {
        if phase != self.phase { since = now }
        self.phase = phase
        message = why?.message
        cause = why?.cause
    }
}

// MARK: - Deciding

extension SessionMachine {
    private mutating func settle(at now: Timestamp, _ effects: inout [Effect]) {
        switch phase {
        case .ended: break
        case .pending, .suspended, .failed: rest(at: now)
        case .starting: start(at: now, &effects)
        case .ready: serve(at: now, &effects)
        case .draining: drain(at: now, &effects)
        }
    }

    /// No process is alive.
    private mutating func rest(at now: Timestamp) {
        if mustEnd(at: now) {
            enter(.ended, endReason(at: now), at: now)
        } else if wantsToRun {
            retryAt = now
            if phase == .failed { crashes = 0 }
            enter(.starting, nil, at: now)
        } else if wishes.suspend, phase != .suspended {
            enter(.suspended, Self.suspended, at: now)
        } else if phase == .pending, openTasks == 0 {
            enter(.suspended, (.nothingToDo, "nothing to do"), at: now)
        }
    }

    private mutating func start(at now: Timestamp, _ effects: inout [Effect]) {
        switch runtime {
        case .unknown:
            checkIfDue(at: now, &effects)
        case .none:
            if mustEnd(at: now) {
                retryAt = nil
                enter(.ended, endReason(at: now), at: now)
            } else if wishes.suspend, !isWoken {
                retryAt = nil
                enter(.suspended, Self.suspended, at: now)
            } else if retryAt ?? now <= now {
                retryAt = nil
                epoch += 1
                runtime = .alive
                activity = nil
                startingSince = now
                effects.append(.start(epoch: epoch))
            }
        case .alive:
            if let startBy, startBy <= now {
                startingSince = nil
                message = "not ready after \(lifetime.startTimeout): stopped, to try again"
                stop(at: now, &effects)
            } else if stopAgainAt == nil, isUnwanted(at: now) {
                startingSince = nil
                message = "no longer wanted: stopped before it was ready"
                stop(at: now, &effects)
            } else {
                stopIfDue(at: now, &effects)
            }
        }
    }

    private mutating func serve(at now: Timestamp, _ effects: inout [Effect]) {
        guard runtime == .alive else { return checkIfDue(at: now, &effects) }
        if stopAgainAt != nil { return stopIfDue(at: now, &effects) }
        if let activity, activity.draining || activity.drained {
            enter(.draining, (.sidecar, "the sidecar is draining"), at: now)
        } else if isGivenUp {
            message = "did not answer for \(lifetime.startTimeout): stopped, to start again"
            stop(at: now, &effects)
        } else if wishes.end || wishes.suspend || ttlEnd <= now {
            // Someone decided: no question whether it is idle. The sidecar is asked in the next pass, as Draining asks.
            drainAgainAt = nil
            enter(.draining, drainReason(at: now), at: now)
        } else if let due = drainDue, due <= now {
            drainAgainAt = now + Self.askAgainAfter
            effects.append(.conditionalDrain(epoch: epoch, ifIdleFor: idleLimit, reason: idleReason.message))
        }
    }

    private mutating func drain(at now: Timestamp, _ effects: inout [Effect]) {
        guard runtime == .alive else { return checkIfDue(at: now, &effects) }
        if stopAgainAt != nil { return stopIfDue(at: now, &effects) }
        if activity?.drained == true || drainingBy <= now || isGivenUp {
            stop(at: now, &effects)
        } else if isDrainHastened || mustAskToDrain && drainAgainAt ?? now <= now {
            drainAgainAt = now + Self.askAgainAfter
            drainBy = drainDeadline
            effects.append(
                .forcedDrain(
                    epoch: epoch, deadline: max(.zero, drainDeadline - now),
                    // Why it began, whatever has been wished for since.
                    reason: message ?? drainReason(at: now).message))
        }
    }

    private mutating func stop(at now: Timestamp, _ effects: inout [Effect]) {
        stopAgainAt = now + Self.stopGrace + Self.askAgainAfter
        effects.append(.stop(epoch: epoch, grace: Self.stopGrace))
    }

    private mutating func stopIfDue(at now: Timestamp, _ effects: inout [Effect]) {
        if let stopAgainAt, stopAgainAt <= now { stop(at: now, &effects) }
    }

    private mutating func check(at now: Timestamp, _ effects: inout [Effect]) {
        checkAgainAt = now + Self.askAgainAfter
        effects.append(.checkRuntime(epoch: epoch))
    }

    private mutating func checkIfDue(at now: Timestamp, _ effects: inout [Effect]) {
        if runtime == .unknown, checkAgainAt ?? now <= now { check(at: now, &effects) }
    }
}

// MARK: - What follows from what is known

extension SessionMachine {
    /// Someone asked for an epoch that has not been ready yet.
    private var isWoken: Bool { wishes.wake > epoch || (wishes.wake == epoch && phase == .starting) }

    private var wantsToRun: Bool { isWoken || (!wishes.suspend && (openTasks ?? 0) > 0) }

    /// Nothing more will come: the one Task of a commit scope has ended, or the pull request is closed.
    private var isDone: Bool {
        openTasks == 0 && (scope == .commit || (wishes.scopeClosed && lifetime.onScopeClosed == .end))
    }

    /// It has slept, or been failed, for too long.
    private func isForgotten(at now: Timestamp) -> Bool {
        (phase == .suspended || phase == .failed) && since + lifetime.suspendedTTL <= now && openTasks != nil && !wantsToRun
    }

    private func mustEnd(at now: Timestamp) -> Bool {
        wishes.end || ttlEnd <= now || isForgotten(at: now) || (isDone && phase != .failed && !isWoken)
    }

    /// A process that is not ready yet need not become so. One that can tell what became of Tasks is waited for: its journal is
    /// read before it ends.
    private func isUnwanted(at now: Timestamp) -> Bool {
        (mustEnd(at: now) || (wishes.suspend && !isWoken)) && openTasks != nil && !hasSent
    }

    /// Where a drain leads. A Task that came in the meantime keeps an idle session from ending.
    private func endsAfterDrain(at now: Timestamp) -> Bool {
        if mustEnd(at: now) { return true }
        return (openTasks ?? 0) == 0 && !wishes.suspend && !isWoken && lifetime.onIdle == .end
    }

    /// For how long it must have been idle before it is asked to drain.
    private var idleLimit: TimeSpan { isDone || isOutdated ? .zero : lifetime.idleTimeout }

    /// It is to sleep at its next idle moment, so that it wakes with what it was given since. One that ends when it is idle does that.
    private var isOutdated: Bool { wishes.isOutdated && lifetime.onIdle == .suspend }

    /// When the sidecar is to be asked whether it is idle, or told that its time is up.
    private var drainDue: Timestamp? {
        guard openTasks == 0, let activity, !activity.busy, let idleSince = activity.idleSince else { return ttlEnd }
        let due = idleSince + idleLimit
        return min(ttlEnd, max(due, drainAgainAt ?? due))
    }

    private var startBy: Timestamp? { startingSince.map { $0 + lifetime.startTimeout } }

    private var drainDeadline: Timestamp { since + lifetime.drainTimeout }
    private var drainingBy: Timestamp { drainDeadline + Self.drainMargin }
    /// Nobody knows that the sidecar has taken this drain's deadline.
    private var mustAskToDrain: Bool { activity?.draining != true || drainBy == nil }
    /// Someone has made `drainTimeout` shorter since. A drain can be hastened, and not be put off.
    private var isDrainHastened: Bool { drainBy.map { drainDeadline < $0 } ?? false }
    private var reaskDrainAt: Timestamp? { mustAskToDrain ? drainAgainAt : nil }

    private typealias Reason = (cause: PhaseCause, message: String)

    private static let suspended: Reason = (.user, "suspended by a user")
    private static let ended: Reason = (.user, "ended by a user")

    private func drainReason(at now: Timestamp) -> Reason {
        if wishes.end { return Self.ended }
        if ttlEnd <= now { return (.ttl, "older than its ttl of \(lifetime.ttl)") }
        if wishes.suspend { return Self.suspended }
        return idleReason
    }

    private func endReason(at now: Timestamp) -> Reason {
        if wishes.end { return Self.ended }
        if ttlEnd <= now { return (.ttl, "ended: older than its ttl of \(lifetime.ttl)") }
        if isForgotten(at: now) {
            return (
                .suspendedTTL, "ended: \(phase.rawValue.lowercased()) for its suspendedTTL of \(lifetime.suspendedTTL)"
            )
        }
        return isDone ? idleReason : (.idle, "ended after being idle for \(lifetime.idleTimeout)")
    }

    private var idleReason: Reason {
        if !isDone, isOutdated { return (.changed, "its worker or its workspace was changed: it wakes with what it has now") }
        guard isDone else { return (.idle, "idle for \(lifetime.idleTimeout)") }
        return scope == .commit ? (.taskEnded, "its Task has ended") : (.scopeClosed, "its \(scope.noun) is closed")
    }

    private func earliest(_ moments: Timestamp?...) -> Timestamp? { moments.compactMap(\.self).min() }
}
