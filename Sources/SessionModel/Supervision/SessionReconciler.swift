/// Brings one session to what its machine decides, and its Tasks to their ends: all the policy of a supervisor for one session,
/// as a pure machine.
///
/// An event gives it work; ``next(at:)`` says what to do first, and whoever performs that step tells how it went:
///
/// ```swift
/// reconciler.take(.changed)
/// while let step = reconciler.next(at: now) { reconciler.answer(perform(step), at: now) }
/// ```
/// One step is under way at a time, and an event is taken when no work is left. So everything that must outlive the supervisor
/// is stored before it is acted on, and at every step the supervisor may die: the next one goes on from the store.
///
/// The rules it keeps:
/// - a Task is handed over in the order of creation, and only after its status names the journal (`sentTo`);
/// - a Task whose journal is gone is interrupted, never sent to another;
/// - what became of the turns is stored before a sidecar that knows it is stopped;
/// - the status has one writer: when someone else has written it, this one stops (``isDeposed``).
public struct SessionReconciler: Sendable {
    public private(set) var session: SessionResource
    public private(set) var machine: SessionMachine
    /// The Tasks that have not ended, in the order of their creation.
    public private(set) var tasks: [TaskResource] = []
    /// The epoch whose sidecar can be talked with.
    public private(set) var sidecar: UInt32?
    /// Another session has taken the name, or another supervisor leads: nothing more is done.
    public private(set) var isDeposed = false

    /// The status as the store has it.
    private var storedStatus: SessionResourceStatus
    private var agenda: [Work] = []
    private var pending: Work?
    /// Tasks whose turns this epoch's sidecar has been asked to cancel.
    private var cancelled: Set<String> = []
    /// What this epoch's sidecar was last told of its limits.
    private var limitsTold: TurnLimits?
    /// What could not be done is tried again then: no Task is handed over before.
    private var againAt: Timestamp?
    /// The sidecar's disk is full, so that nothing shortens this wait: a Task that it refuses changes its activity by that.
    private var isFull = false
    private var mustReload = false
    /// What became of the turns could not be read, or not be stored.
    private var mustFollow = false
    /// Turns of Tasks that have ended without them may still be in the journal.
    private var mustFindAbandoned = false
    /// A drained sidecar knows what became of its turns, and is stopped when that is stored, or then at the latest.
    private var heldStop: (effect: SessionMachine.Effect, until: Timestamp)?
    private var shuttingDown = false
    /// Of the spec as it was read last; nil where nothing was started with another one.
    private var startDigest: String?
    /// Of the present epoch, or of the last one, which may have ended of it.
    private var trouble: Trouble?

    /// - Parameter session: as the store has it. The first event is ``Event/restored``.
    public init(_ session: SessionResource) { self.init(session, isChanged: true) }

    /// - Parameter isChanged: it may have another worker or workspace than it was started with.
    private init(_ session: SessionResource, isChanged: Bool) {
        self.session = session
        storedStatus = session.status
        startDigest = session.status.startedWith.map { isChanged ? session.spec.startDigest : $0 }
        machine = SessionMachine(
            scope: session.spec.key.kind, lifetime: session.spec.lifetime, createdAt: session.metadata.creationTimestamp,
            stored: session.status)
    }
}

// MARK: - Sessions at which nothing happens

extension SessionReconciler {
    /// What has to be remembered of a living session at which nothing happens: the store has the rest. So ten thousand of them need
    /// little memory.
    public struct Parked: Sendable, Hashable {
        fileprivate var sidecar: UInt32
        fileprivate var machine: SessionMachine.Quiet
        // Hashes, because what they are of would be most of it: the session's uid, its status as this supervisor has stored it, and
        // what the sidecar was told of its limits.
        fileprivate var uid: Int
        fileprivate var status: Int
        fileprivate var limits: Int
        // Of what it was started with, which is what it has.
        fileprivate var start: Int
    }

    /// Nil while anything is under way that the store does not know of.
    public var parked: Parked? {
        guard agenda.isEmpty, pending == nil, !isDeposed, tasks.isEmpty, againAt == nil, !mustLookAgain,
            heldStop == nil, !shuttingDown, trouble == nil, knowsLimits, !isOutdated, let sidecar,
            session.status == storedStatus, let quiet = machine.quiet
        else { return nil }
        return Parked(
            sidecar: sidecar, machine: quiet, uid: session.metadata.uid.hashValue, status: storedStatus.hashValue,
            limits: machine.lifetime.limits.hashValue, start: session.spec.startHash)
    }

    /// Goes on with a parked session, when an event comes. The first work is what ``Event/changed`` gives.
    /// - Parameters:
    ///   - session: as the store has it now, and `tasks` its open Tasks.
    /// - Returns: nil when it is not there any more. Then its sidecar is a stray, and has to be stopped.
    public init?(_ parked: Parked, _ session: SessionResource?, _ tasks: [TaskResource]) {
        guard let session, session.metadata.uid.hashValue == parked.uid else { return nil }
        self.init(session, isChanged: session.spec.startHash != parked.start)
        sidecar = parked.sidecar
        // As when it is read at any other time: another has written it.
        guard session.status.hashValue == parked.status else {
            yield()
            return
        }
        machine = SessionMachine(
            scope: session.spec.key.kind, lifetime: session.spec.lifetime, createdAt: session.metadata.creationTimestamp,
            stored: session.status, quiet: parked.machine)
        let limits = machine.lifetime.limits
        if limits.hashValue == parked.limits { limitsTold = limits }
        take(tasks)
    }

    private mutating func take(_ tasks: [TaskResource]) {
        self.tasks = tasks
        push(.advance(.wishes(wishes)), .advance(openTasks), .tellLimits, .feed)
    }
}

// MARK: - Taking events and giving steps

extension SessionReconciler {
    /// When ``Event/timer`` is due at the latest.
    public var nextDeadline: Timestamp? { [machine.nextDeadline, againAt].compactMap(\.self).min() }

    /// Nothing happens to it by itself before ``nextDeadline``.
    public var isAtRest: Bool {
        guard agenda.isEmpty, pending == nil, sidecar == nil, !mustReload else { return false }
        switch machine.phase {
        case .suspended, .failed, .ended: return true
        case .pending, .starting, .ready, .draining: return false
        }
    }

    /// Takes an event, when no work is left of the one before.
    public mutating func take(_ event: Event, at now: Timestamp) {
        switch event {
        case .restored: push(.advance(.restored), .load)
        case .changed: push(.load)
        case .shutdown:
            shuttingDown = true
            push(.advance(.wishes(wishes)))
        case .ready(let activity):
            guard activity.epoch == sidecar else { return }
            trouble = nil
            push(
                .findAbandoned(journal: activity.journal), .follow(journal: activity.journal), .advance(.ready(activity)),
                .tellLimits, .feed)
        case .activity(let activity):
            guard activity.epoch == sidecar else { return }
            // What became of the turns is stored before the machine may stop the sidecar that knows it.
            push(.advance(.activity(activity)), .tellLimits, .feed)
            if machine.activity.map({ $0.differs(from: activity) }) ?? true { push(.follow(journal: activity.journal)) }
            // And before that, nothing is decided as if it did not answer.
            if machine.isUnreachable { push(.advance(.reachable(epoch: activity.epoch))) }
        case .unreachable(let epoch): push(.advance(.unreachable(epoch: epoch)))
        case .trouble(let epoch, let trouble):
            guard epoch == sidecar else { return }
            self.trouble = trouble
            push(.save, .feed)
        case .unknown(let epoch, let why): push(.advance(.unknown(epoch: epoch, why: why)))
        case .gone(let epoch, let why):
            guard epoch == sidecar else { return }
            sidecar = nil
            heldStop = nil
            mustFindAbandoned = false
            push(.advance(.gone(epoch: epoch, why: why, crashed: machine.phase != .draining)))
        case .timer:
            if let againAt, againAt <= now {
                self.againAt = nil
                isFull = false
            }
            push(.advance(.tick), .tellLimits, .feed)
            guard againAt == nil else { return }
            if let heldStop { push(.effect(heldStop.effect)) }
            if mustFollow, sidecar != nil, let activity = machine.activity { push(.follow(journal: activity.journal)) }
            if mustReload { push(.load) }
            if mustFindAbandoned, let activity = machine.activity { push(.findAbandoned(journal: activity.journal)) }
        }
    }

    /// What is to be done next; nil when nothing is left to do, or a step is under way.
    public mutating func next(at now: Timestamp) -> Step? {
        while pending == nil, !isDeposed, let work = agenda.popLast() {
            if let step = begin(work, at: now) {
                pending = work
                return step
            }
        }
        if pending == nil { agenda = [] }
        return nil
    }
}

// MARK: - Work

extension SessionReconciler {
    /// Boxed, because an agenda of whole Tasks would be most of what a session needs in memory.
    private indirect enum Work: Sendable, Hashable {
        case load
        case advance(SessionMachine.Input)
        case effect(SessionMachine.Effect)
        case save
        case follow(journal: String)
        case readTurn(task: String)
        case readStatus
        case recount
        case feed
        case handOver(task: String)
        case enqueue(task: String)
        case askKnown(task: String)
        case cancel(task: String, TurnID)
        case change(task: String, TaskChange)
        case tellLimits
        case findAbandoned(journal: String)
        case abandon(TaskResource)
        case findAbandonedTurn(TaskResource)
        case cancelAbandoned(TurnID)
        case yield
        case stopStray(epoch: UInt32)
    }

    /// Puts work before all that is there.
    private mutating func push(_ work: Work...) { agenda.append(contentsOf: work.reversed()) }

    private var wishes: SessionMachine.Wishes {
        var wishes = SessionMachine.Wishes(session.spec, isOutdated: isOutdated)
        if shuttingDown {
            var lifetime = session.spec.lifetime ?? Lifetime()
            lifetime.drainTimeout = .seconds(5)
            wishes = SessionMachine.Wishes(lifetime: lifetime, suspend: true)
        }
        return wishes
    }

    /// What runs was started with another worker or workspace.
    private var isOutdated: Bool { session.status.startedWith.map { $0 != startDigest } ?? false }

    private var openTasks: SessionMachine.Input {
        .tasks(open: tasks.count, sent: tasks.contains { $0.status.sentTo != nil })
    }

    private func task(_ uid: String) -> TaskResource? { tasks.first { $0.metadata.uid == uid } }

    /// There is something that could not be done and that nothing else brings back.
    private var mustLookAgain: Bool { mustReload || mustFollow || mustFindAbandoned }

    private mutating func findAbandonedAgain(at now: Timestamp) {
        mustFindAbandoned = true
        tryAgain(at: now + Self.pause)
    }

    private mutating func tryAgain(at moment: Timestamp) { againAt = max(againAt ?? moment, moment) }

    /// Does what needs nobody else; what does becomes a step.
    private mutating func begin(_ work: Work, at now: Timestamp) -> Step? {
        switch work {
        case .load: return .load
        case .advance(let input):
            let effects = machine.handle(input, at: now)
            agenda.append(contentsOf: effects.reversed().map(Work.effect))
            push(.save)
            return nil
        case .save: return save(at: now)
        case .effect(let effect): return begin(effect, at: now)
        case .follow(let journal):
            follow(in: journal)
            return nil
        case .readTurn(let uid):
            guard let turn = task(uid)?.status.turn else { return nil }
            return call(.turn(turn))
        case .readStatus: return call(.status)
        case .recount:
            guard tasks.contains(where: { $0.status.phase.isTerminal }) else { return nil }
            tasks = tasks.filter { !$0.status.phase.isTerminal }
            push(.advance(openTasks))
            return nil
        case .feed:
            feed(at: now)
            return nil
        case .handOver(let uid): return handOver(uid)
        case .enqueue(let uid):
            guard let task = task(uid), machine.acceptsTurns else { return nil }
            return call(.enqueue(task.spec.turnRequest, key: uid))
        case .askKnown(let uid):
            guard machine.acceptsTurns else { return nil }
            return call(.knows(key: uid))
        case .cancel(_, let turn): return call(.cancel(turn))
        case .change(let uid, let change):
            guard let task = task(uid) else { return nil }
            // Most of what a sidecar says again and again is nothing new, and then nothing is written.
            var guess = task.status
            guess.apply(change, at: now)
            return guess == task.status ? nil : write(change, to: task)
        case .tellLimits:
            guard machine.phase == .ready || machine.phase == .draining, !knowsLimits else { return nil }
            return call(.limits(machine.lifetime.limits))
        case .findAbandoned(let journal):
            mustFindAbandoned = false
            return .findAbandoned(journal: journal)
        case .abandon(let task): return call(.knows(key: task.metadata.uid))
        case .findAbandonedTurn(let task): return call(.enqueue(task.spec.turnRequest, key: task.metadata.uid))
        case .cancelAbandoned(let turn): return call(.cancel(turn))
        case .yield: return .load
        case .stopStray(let epoch): return .stop(epoch: epoch, grace: SessionMachine.stopGrace)
        }
    }

    /// The sidecar judges by the limits that hold.
    private var knowsLimits: Bool { limitsTold == machine.lifetime.limits }

    private func call(_ call: Call) -> Step? { sidecar.map { .call(epoch: $0, call) } }

    private mutating func begin(_ effect: SessionMachine.Effect, at now: Timestamp) -> Step? {
        switch effect {
        case .start(let epoch): return .start(epoch: epoch)
        case .checkRuntime(let epoch): return .find(epoch: epoch)
        case .conditionalDrain(let epoch, let idle, let reason):
            return epoch == sidecar ? call(.drain(DrainRequest(ifIdleFor: idle, reason: reason))) : nil
        case .forcedDrain(let epoch, let deadline, let reason):
            return epoch == sidecar ? call(.drain(DrainRequest(deadline: deadline, reason: reason))) : nil
        case .stop(let epoch, let grace):
            guard epoch == sidecar else { return nil }
            if mustFollow, machine.phase == .draining, heldStop.map({ now < $0.until }) ?? true {
                heldStop = heldStop ?? (effect, now + Self.holdsStop)
                tryAgain(at: now + Self.pause)
                return nil
            }
            heldStop = nil
            return .stop(epoch: epoch, grace: grace)
        }
    }

    /// Takes note of how the step went that ``next(at:)`` gave.
    public mutating func answer(_ answer: Answer, at now: Timestamp) {
        guard let work = pending else { return }
        pending = nil
        // Whatever it answers, it answers: that it does may be in an event that waits behind this one.
        if machine.isUnreachable, let sidecar, answer.isFromSidecar { push(.advance(.reachable(epoch: sidecar))) }
        switch work {
        case .load: loaded(answer, at: now)
        case .save: saved(answer)
        case .effect(let effect): performed(effect, answer, at: now)
        case .readTurn(let uid): read(uid, answer, at: now)
        case .readStatus:
            if case .status(let status) = answer {
                session.status.turns = status.turns
                session.status.usage = status.usage
                session.status.workspace = status.workspace
            }
        case .change: changed(answer, at: now)
        case .enqueue(let uid): enqueued(uid, answer, at: now)
        case .handOver(let uid):
            changed(answer, at: now)
            if answer != .deposed, let task = task(uid), task.status.sentTo != nil, !task.status.phase.isTerminal {
                push(.handOver(task: uid))
            }
        case .askKnown(let uid):
            switch answer {
            case .known(true): push(.enqueue(task: uid))
            case .known(false):
                push(.change(task: uid, .end(.cancelled, .cancelled, "cancelled before it was handed over")), .recount)
            default: enqueued(uid, answer, at: now)
            }
        case .cancel(let uid, _):
            switch answer {
            case .done, .refused: cancelled.insert(uid)
            default: tryAgain(at: now + Self.pause)
            }
        case .tellLimits:
            if case .unreachable = answer {
                tryAgain(at: now + Self.pause)
            } else {
                limitsTold = machine.lifetime.limits
                // They may let in what they have kept out.
                if !mustLookAgain, heldStop == nil, !isFull { againAt = nil }
            }
        case .findAbandoned(let journal):
            guard case .tasks(let tasks) = answer else { return findAbandonedAgain(at: now) }
            for task in tasks where task.status.reason == .sessionFailed && task.status.sentTo == journal {
                push(task.status.turn.map { .cancelAbandoned($0) } ?? .abandon(task))
            }
        case .abandon(let task):
            switch answer {
            case .known(true): push(.findAbandonedTurn(task))
            case .unreachable: findAbandonedAgain(at: now)
            default: break
            }
        case .findAbandonedTurn:
            switch answer {
            case .turn(let turn): push(.cancelAbandoned(turn.id))
            case .unreachable: findAbandonedAgain(at: now)
            default: break  // It was refused, and would be again; other Tasks have not to wait for that.
            }
        case .cancelAbandoned:
            if case .unreachable = answer { findAbandonedAgain(at: now) }
        case .yield: yielded(answer)
        case .stopStray: isDeposed = true
        case .advance, .follow, .recount, .feed: break
        }
    }

    /// How long what could not be done waits for the next attempt.
    static let pause = TimeSpan.seconds(1)
    /// How long a drained sidecar is kept for what it knows.
    static let holdsStop = TimeSpan.seconds(30)
}

// MARK: - The machine and the store

extension SessionReconciler {
    private mutating func performed(_ effect: SessionMachine.Effect, _ answer: Answer, at now: Timestamp) {
        switch (effect, answer) {
        case (.start(let epoch), .alive(let pid)), (.checkRuntime(let epoch), .alive(let pid)):
            sidecar = epoch
            cancelled = []
            limitsTold = nil
            isFull = false
            session.status.pid = pid
            push(.advance(.started(epoch: epoch)))
        case (.start(let epoch), .failed(let why)):
            push(.advance(.gone(epoch: epoch, why: why, crashed: true)))
        case (.start(let epoch), .postponed(let why, let pause)):
            push(.advance(.postponed(epoch: epoch, why: why, pause: pause)))
        case (.start(let epoch), .impossible(let why)):
            push(.advance(.impossible(epoch: epoch, why: why)))
        case (.checkRuntime(let epoch), .ended):
            push(.advance(.gone(epoch: epoch, why: "its process ended while no supervisor was running", crashed: true)))
        case (.checkRuntime(let epoch), .neverStarted):
            push(.advance(.gone(epoch: epoch, why: "its process was never started", crashed: false)))
        case (.checkRuntime(let epoch), .unknown(let why)):
            // The machine asks again: as long as it is not known that the process has ended, no other may start.
            push(.advance(.unknown(epoch: epoch, why: why)))
        case (.conditionalDrain(let epoch, _, _), .done), (.forcedDrain(let epoch, _, _), .done):
            push(.advance(.drainAccepted(epoch: epoch)))
        case (.conditionalDrain(let epoch, _, _), .refused(let problem)), (.forcedDrain(let epoch, _, _), .refused(let problem)):
            push(.advance(.drainRefused(epoch: epoch, problem.activity)))
        case (.conditionalDrain(let epoch, _, _), _), (.forcedDrain(let epoch, _, _), _):
            push(.advance(.drainRefused(epoch: epoch, nil)))
        default: break
        }
    }

    private mutating func loaded(_ answer: Answer, at now: Timestamp) {
        guard case .loaded(let session, let tasks) = answer else {
            mustReload = true
            return tryAgain(at: now + Self.pause)
        }
        mustReload = false
        guard let session, session.metadata.uid == self.session.metadata.uid, session.status == storedStatus else {
            return yield()
        }
        if session.spec.worker != self.session.spec.worker || session.spec.workspace != self.session.spec.workspace {
            startDigest = session.spec.startDigest
        }
        // The status is this reconciler's own.
        self.session.spec = session.spec
        self.session.metadata = session.metadata
        take(tasks)
    }

    /// Stores the machine's state, if it says anything new.
    private mutating func save(at now: Timestamp) -> Step? {
        var status = session.status
        let entered = storedStatus.phase != machine.phase
        status.phase = machine.phase
        if status.epoch != machine.epoch {
            startDigest = startDigest ?? session.spec.startDigest
            status.startedWith = startDigest
        }
        status.epoch = machine.epoch
        status.since = machine.since
        status.message = machine.message
        status.startedAt = machine.startedAt
        if let activity = machine.activity {
            status.journal = activity.journal
            if status.activity.map({ $0.differs(from: activity) }) ?? true { status.activity = activity }
        } else if machine.phase != .ready, machine.phase != .draining {
            status.activity = nil
        }
        if sidecar == nil { status.pid = nil }
        status.conditions = conditions(at: now)
        if entered || status.history == nil {
            let change = PhaseChange(at: machine.since, phase: machine.phase, epoch: machine.epoch, message: machine.message)
            status.history = ((status.history ?? []) + [change]).suffix(SessionResourceStatus.historyLimit)
        }
        session.status = status
        guard status != storedStatus else { return nil }
        return .store(
            StatusWrite(
                name: session.metadata.name, uid: session.metadata.uid, status: status, expecting: storedStatus,
                cause: entered ? machine.cause : nil, settles: entered && (machine.phase == .failed || machine.phase == .ended)))
    }

    private mutating func saved(_ answer: Answer) {
        guard case .stored(let stored) = answer else { return yield() }
        let settled = stored.status.phase != storedStatus.phase && (machine.phase == .failed || machine.phase == .ended)
        session.metadata = stored.metadata
        storedStatus = stored.status
        // Its Tasks were ended together with it.
        if settled { push(.load) }
    }

    /// Someone else has written the status: nothing that is known here is worth anything any more. The one thing left to do is to
    /// end the sidecar that was started in the meantime, if nobody else knows of it.
    private mutating func yield() {
        agenda = []
        guard sidecar != nil else { return isDeposed = true }
        push(.yield)
    }

    private mutating func yielded(_ answer: Answer) {
        guard let sidecar, case .loaded(let stored, _) = answer else { return isDeposed = true }
        if let stored, stored.metadata.uid == session.metadata.uid, stored.status.owns(epoch: sidecar) {
            isDeposed = true
        } else {
            push(.stopStray(epoch: sidecar))
        }
    }

    private func conditions(at now: Timestamp) -> [Condition] {
        var facts: [(type: String, status: Condition.Status, reason: String, message: String)] = [
            ("Ready", machine.phase == .ready ? .true : .false, machine.phase.rawValue, machine.message ?? "")
        ]
        if session.spec.worker.credentials?.expose == .token {
            facts.append(
                (
                    "TokenExposed", .true, "AskedFor",
                    "its agent holds the forge's token (credentials.expose: Token) and can do on the forge whatever that token may; to take it away, end this session and let a Task whose worker does not ask for it make the next one"
                ))
        }
        if session.spec.key.kind != .commit, session.spec.storage == .emptyDir {
            facts.append(
                (
                    "Ephemeral", .true, "AskedFor",
                    "its journal and its working directory are in its pod (storage: EmptyDir): when it sleeps, or its pod goes, it begins anew; to keep them, end this session and let a Task whose worker does not ask for it make the next one"
                ))
        }
        if let lost = machine.nodeLost(at: now) { facts.append(("NodeLost", .true, "NodeLost", lost)) }
        if let trouble { facts.append(("PodTrouble", .true, trouble.reason, trouble.message)) }
        if machine.phase == .ended || machine.phase == .failed, let work = session.status.workspace?.unsaved {
            facts.append(("WorkLeft", .true, "NotPushed", work))
        }
        return facts.map { fact in
            let before = session.status.conditions.first { $0.type == fact.type && $0.status == fact.status }
            return Condition(
                type: fact.type, status: fact.status, reason: fact.reason, message: fact.message,
                lastTransitionTime: before?.lastTransitionTime ?? now)
        }
    }
}

// MARK: - Tasks

extension SessionReconciler {
    /// Hands waiting Tasks over, in the order of their creation, and passes cancellations on.
    private mutating func feed(at now: Timestamp) {
        guard machine.acceptsTurns || machine.phase == .draining, sidecar != nil else {
            if !mustLookAgain { againAt = nil }
            return explainWaiting()
        }
        let mayHandOver = machine.acceptsTurns && againAt.map { $0 <= now } ?? true
        var work: [Work] = []
        for task in tasks where !task.status.phase.isTerminal {
            let uid = task.metadata.uid
            if let turn = task.status.turn {
                if task.status.cancelRequested == true, !cancelled.contains(uid) { work.append(.cancel(task: uid, turn)) }
            } else if mayHandOver {
                work.append(.handOver(task: uid))
            }
        }
        guard !work.isEmpty else { return }
        agenda.append(.recount)
        agenda.append(contentsOf: work.reversed())
    }

    /// First come, first served: what is refused for now holds up those behind it.
    private mutating func stopFeeding() {
        agenda.removeAll { if case .handOver = $0 { true } else { false } }
    }

    private mutating func handOver(_ uid: String) -> Step? {
        guard let task = task(uid), !task.status.phase.isTerminal, task.status.turn == nil, machine.acceptsTurns,
            let journal = machine.activity?.journal
        else { return nil }
        guard let sentTo = task.status.sentTo else { return write(.handTo(journal: journal), to: task) }
        guard sentTo == journal else {
            push(.change(task: uid, .lost(now: journal)))
            return nil
        }
        push(task.status.cancelRequested == true ? .askKnown(task: uid) : .enqueue(task: uid))
        return nil
    }

    /// What a sidecar said to a Task that was sent to it.
    private mutating func enqueued(_ uid: String, _ answer: Answer, at now: Timestamp) {
        guard let task = task(uid), let journal = task.status.sentTo else { return }
        switch answer {
        case .turn(let turn):
            if task.status.cancelRequested == true { push(.cancel(task: uid, turn.id)) }
            push(.change(task: uid, .took(turn, journal: journal)))
        case .refused(let problem):
            switch problem.status {
            case 429, 503, 507:
                tryAgain(at: now + .seconds(Int64(max(1, problem.retryAfter ?? 5))))
                stopFeeding()
                isFull = problem.status == 507
                // A full disk may have taken it and not be able to say so: then the journal's name stays.
                let why = "waits: \(problem.detail)"
                push(.change(task: uid, isFull ? .waits(why) : .deferred(why)))
            default:
                let reason: EndReason = problem.kind == .limitReached ? .limitReached : .rejected
                push(.change(task: uid, .end(.failed, reason, problem.detail)))
            }
        case .unreachable(let why):
            // It may have arrived: the journal's name stays, and the same key asks again.
            tryAgain(at: now + Self.pause)
            stopFeeding()
            push(.change(task: uid, .waits("the session did not answer: \(why)")))
        default: break
        }
    }

    private func write(_ change: TaskChange, to task: TaskResource) -> Step {
        .change(
            TaskWrite(
                task: task.metadata.name, change: change, session: session.metadata.name, uid: session.metadata.uid,
                expecting: storedStatus))
    }

    private mutating func changed(_ answer: Answer, at now: Timestamp) {
        if answer == .deposed { return yield() }
        guard case .task(let stored) = answer else {
            // What is to be written is found out again.
            mustReload = true
            mustFollow = true
            stopFeeding()
            return tryAgain(at: now + Self.pause)
        }
        guard let stored, let index = tasks.firstIndex(where: { $0.metadata.uid == stored.metadata.uid }) else { return }
        tasks[index] = stored
    }

    /// Asks what became of the turns of all open Tasks. Those that were handed to another journal than this one are lost.
    private mutating func follow(in journal: String) {
        mustFollow = false
        // Room may have come free.
        if !mustLookAgain, heldStop == nil, knowsLimits, !isFull { againAt = nil }
        var work: [Work] = []
        for task in tasks {
            if let sentTo = task.status.sentTo, sentTo != journal {
                work.append(.change(task: task.metadata.uid, .lost(now: journal)))
            } else if task.status.turn != nil {
                work.append(.readTurn(task: task.metadata.uid))
            }
        }
        agenda.append(contentsOf: (work + [.readStatus, .recount]).reversed())
    }

    private mutating func read(_ uid: String, _ answer: Answer, at now: Timestamp) {
        guard let task = task(uid), let journal = task.status.sentTo, let turn = task.status.turn else { return }
        switch answer {
        case .turn(let turn): push(.change(task: uid, .took(turn, journal: journal)))
        case .noTurn:
            push(
                .change(
                    task: uid, .end(.interrupted, .journalDamaged, "the session's journal no longer has turn \(turn)")))
        default:
            mustFollow = true
            tryAgain(at: now + Self.pause)
            agenda.removeAll { if case .readTurn = $0 { true } else { false } }
        }
    }

    /// Says of Tasks that are not handed over why they wait.
    private mutating func explainWaiting() {
        let message: String
        switch machine.phase {
        case .pending, .starting:
            message =
                (trouble?.message ?? machine.message).map { "waits for its session: \($0)" } ?? "waits for its session to start"
        case .draining: message = "waits for its session, which is draining, to wake again"
        case .suspended: message = machine.message.map { "waits for its session: \($0)" } ?? "waits for its session to wake"
        case .ready, .failed, .ended: return
        }
        for task in tasks where task.status.turn == nil || task.status.phase == .queued || machine.phase == .suspended {
            push(.change(task: task.metadata.uid, .waits(message.prefix(bytes: 2000))))
        }
    }
}

extension SessionSpec {
    /// Within this process the same as ``startDigest``, for less work.
    fileprivate var startHash: Int {
        var hasher = Hasher()
        hasher.combine(worker)
        hasher.combine(workspace)
        return hasher.finalize()
    }
}
