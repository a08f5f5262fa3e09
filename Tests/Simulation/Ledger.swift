import SessionModel

/// Keeps score of what was promised, and checks after every step that it holds: the invariants of docs/architecture.md, as a
/// reader of them would, without looking into the machines.
final class Ledger {
    private unowned let world: World
    /// Things may fail on purpose; false once the world has calmed down.
    var isDeliberate = true
    /// Journals that were destroyed.
    var lostJournals: Set<String> = []
    var damagedJournals: Set<String> = []
    /// Tasks that somebody asked to cancel, by uid.
    var cancelled: Set<String> = []
    /// The newest Task that takes the place of earlier ones, by the session's name.
    var superseders: [String: Int64] = [:]

    private struct Place: Hashable {
        var journal: String
        var turn: TurnID
    }
    private struct Promise {
        var key: String
        var prompt: String
    }
    private var acknowledged: [Place: Promise] = [:]
    private var ends: [Place: TurnState] = [:]
    /// What was recorded and is not known to be durable yet.
    private var unsynced: [ObjectIdentifier: [(sequence: Int, Place, TurnState)]] = [:]
    private var dispatches: [String: Int] = [:]
    /// The creation of the last Task that ran, by the session's directory.
    private var lastRun: [ObjectIdentifier: Int64] = [:]
    private var mostTurns: [String: Int] = [:]
    private var anyTurns: Set<String> = []

    init(_ world: World) { self.world = world }

    // MARK: Turns

    /// Ack means durable, and an ended turn stays ended.
    func acknowledged(_ turn: Turn, key: String, by sidecar: SimulatedSidecar) {
        let place = Place(journal: sidecar.disk.journal, turn: turn.id)
        if turn.state == .cancelled, turn.reason == .storageFull {
            world.violate("refused means free", "\(turn.id) was not accepted, and Task \(key) got it nevertheless")
        }
        if acknowledged[place] == nil {
            acknowledged[place] = Promise(key: key, prompt: turn.prompt)
            if !anyTurns.contains(sidecar.session), let most = mostTurns[sidecar.session], turn.id.ordinal > most {
                world.violate("maxTurns", "turn \(turn.id) was accepted although at most \(most) are allowed")
            }
        } else if acknowledged[place]?.key != key {
            world.violate("at most once", "\(turn.id) was given to two Tasks")
        }
        if let same = turn.supersedeKey,
            let older = sidecar.queue.live.first(where: {
                $0.id.ordinal < turn.id.ordinal && $0.supersedeKey == same && $0.state == .queued
            })
        {
            world.violate("a newer one supersedes", "\(older.id) is still queued behind \(turn.id)")
        }
        let others = acknowledged.contains { $0.key.journal == place.journal && $0.key.turn != turn.id && $0.value.key == key }
        if others { world.violate("at most once", "Task \(key) has two turns in one journal") }
    }

    /// A sidecar has recovered its queue from the disk.
    func opened(_ sidecar: SimulatedSidecar) {
        let journal = sidecar.disk.journal
        for event in sidecar.disk.events {
            guard case .turnEnded(let end) = event.body, let turn = event.turn else { continue }
            let place = Place(journal: journal, turn: turn)
            if let before = ends[place], before != end.state { violate(place, before, end.state) }
            ends[place] = end.state
        }
        for (place, promise) in acknowledged where place.journal == journal {
            guard place.turn.ordinal <= sidecar.queue.lastOrdinal, let turn = sidecar.queue.turn(place.turn) else {
                world.violate("ack means durable", "\(place.turn) was acknowledged and is not in the journal")
                continue
            }
            if turn.prompt != promise.prompt { world.violate("ack means durable", "\(place.turn) has another prompt now") }
            if let end = ends[place], turn.state != end {
                world.violate("ack means durable", "\(place.turn) had ended \(end) and is \(turn.state)")
            }
        }
    }

    func recorded(_ body: EventBody, turn: TurnID?, by sidecar: SimulatedSidecar) {
        switch body {
        case .turnEnded(let end):
            guard let turn else { return }
            let place = Place(journal: sidecar.disk.journal, turn: turn)
            unsynced[ObjectIdentifier(sidecar), default: []].append((sidecar.disk.events.count, place, end.state))
        case .cancelRequested(let cancel) where cancel.reason == .drained:
            if let draining = sidecar.queue.draining, world.now < draining.deadline {
                world.violate(
                    "drainTimeout", "a turn is interrupted \(draining.deadline - world.now) before the drain's deadline")
            }
        case .turnDispatched:
            if sidecar.queue.draining != nil {
                world.violate("a drain is final", "a turn is dispatched while the session drains")
            }
        case .sessionDraining(let draining) where draining.reason.hasPrefix("its worker"):
            if !changedWorkers.contains(sidecar.session) {
                world.violate("nothing for nothing", "\(sidecar.session) drains for a change that nobody has made")
            }
        case .sessionDraining(let draining) where draining.reason.hasPrefix("idle"):
            guard world.skew == sidecar.skewAtIdle else { return }
            let idle = sidecar.idleSince.map { world.clock - $0 }
            if !sidecar.queue.live.isEmpty || idle == nil || TimeSpan(milliseconds: idle ?? 0) < Self.span(draining.reason) {
                world.violate(
                    "never shut down while busy",
                    "drained as “\(draining.reason)” after \(idle.map { "\($0)ms" } ?? "no") idleness")
            }
        default: break
        }
    }

    private static func span(_ reason: String) -> TimeSpan {
        (try? TimeSpan(parsing: String(reason.split(separator: " ").last ?? ""))) ?? .zero
    }

    func synced(_ sidecar: SimulatedSidecar) {
        guard let waiting = unsynced[ObjectIdentifier(sidecar)], !waiting.isEmpty else { return }
        for (sequence, place, state) in waiting where sequence <= sidecar.disk.durable {
            if let before = ends[place] { violate(place, before, state) }
            ends[place] = state
        }
        unsynced[ObjectIdentifier(sidecar)] = waiting.filter { $0.sequence > sidecar.disk.durable }
    }

    private func violate(_ place: Place, _ before: TurnState, _ state: TurnState) {
        world.violate("one end", "\(place.turn) ended \(before), then \(state)")
    }

    /// The prompt leaves for the agent.
    func dispatched(_ turn: Turn, by sidecar: SimulatedSidecar) {
        dispatches[turn.prompt, default: 0] += 1
        if dispatches[turn.prompt, default: 0] > 1 + (turn.onInterrupt?.times ?? 0) {
            world.violate("at most once", "“\(turn.prompt)” was sent to an agent \(dispatches[turn.prompt] ?? 0) times")
        }
        if let other = sidecar.disk.agentAtWork {
            world.violate("one at a time", "\(turn.id) is dispatched while the agent of \(other) is alive")
        }
        let created = Int64(turn.prompt.split(separator: " ").last ?? "") ?? 0
        let directory = ObjectIdentifier(sidecar.disk)
        if let last = lastRun[directory], last > created {
            world.violate("first in, first out", "“\(turn.prompt)” runs after Task \(last)")
        }
        lastRun[directory] = created
        if let most = sidecar.queue.limits.maxTokens, let used = sidecar.queue.usage.inputTokens.map({ $0 / 60 * 100 }),
            used >= most
        {
            world.violate("maxTokens", "\(turn.id) begins after \(used) tokens of \(most)")
        }
    }

    // MARK: Limits

    /// How often users have changed a session's lifetime, now and when a Task was made.
    private var lifetimeChanges: [String: Int] = [:]
    private var changesBefore: [String: Int] = [:]

    func changedLifetime(of session: String) { lifetimeChanges[session, default: 0] += 1 }

    /// Sessions whose workers users have changed.
    private var changedWorkers: Set<String> = []
    func changedWorker(of session: String) { changedWorkers.insert(session) }

    func created(_ task: TaskResource) {
        changesBefore[task.metadata.uid] = lifetimeChanges[task.status.session?.name ?? "", default: 0]
    }

    /// A Task is judged by the limits that its user could see when it was made.
    func judges(task uid: String, _ sidecar: SimulatedSidecar) {
        guard !world.wasContested, let before = changesBefore[uid], before == lifetimeChanges[sidecar.session, default: 0],
            let session = world.store.sessions[sidecar.session], sidecar.belongs(to: session)
        else { return }
        if sidecar.queue.limits != (session.spec.lifetime ?? Lifetime()).resolved(for: session.spec.key.kind).limits {
            world.violate("limits are told first", "\(sidecar.session) judges a Task by limits of before")
        }
    }

    func allowed(_ limits: TurnLimits, in sidecar: SimulatedSidecar) {
        guard let most = limits.maxTurns else {
            anyTurns.insert(sidecar.session)
            return
        }
        mostTurns[sidecar.session] = max(mostTurns[sidecar.session] ?? 0, most)
    }

    // MARK: Full disks

    /// When a session's full disk has refused Tasks of late.
    private var refusals: [String: [Int64]] = [:]

    /// Two supervisors that act at the same time begin anew whenever the other has written, and do not know that it was full.
    func refusedByFullDisk(_ sidecar: SimulatedSidecar) {
        guard !world.isContested else { return }
        let recent = refusals[sidecar.session, default: []].filter { $0 > world.clock - 10_000 } + [world.clock]
        refusals[sidecar.session] = recent
        if recent.count > 10 {
            world.violate("a full disk is left alone", "\(sidecar.session) was asked \(recent.count) times within 10 seconds")
        }
    }

    // MARK: Processes

    func starts(_ resource: SessionResource, epoch: UInt32) {
        let session = resource.metadata.name
        if let living = world.sidecar(of: session) {
            world.violate("one sidecar", "epoch \(epoch) of \(session) starts beside epoch \(living.epoch)")
        }
        let known = world.store.sessions[session]
        guard known?.metadata.uid == resource.metadata.uid else {
            // A superseded supervisor does not know that another session has taken the name.
            if !world.wasContested { world.violate("stored first", "epoch \(epoch) of a session that is gone starts") }
            return
        }
        let stored = known?.status.epoch ?? 0
        if epoch > stored || (epoch < stored && !world.wasContested) {
            world.violate("stored first", "epoch \(epoch) starts, and the store has \(stored)")
        }
    }

    /// A start finds another epoch alive.
    func meets(_ living: SimulatedSidecar, epoch: UInt32) {
        if !world.wasContested {
            world.violate("one sidecar", "epoch \(epoch) of \(living.session) starts while epoch \(living.epoch) is alive")
        }
    }

    func stops(_ sidecar: SimulatedSidecar, machine: SessionMachine) {
        guard sidecar.hasAnswered, sidecar.queue.running != nil, !sidecar.queue.drained, machine.phase == .draining else {
            return
        }
        if world.now < machine.since + machine.lifetime.drainTimeout {
            world.violate("never shut down while busy", "\(sidecar.session) is stopped in the middle of its drain")
        }
    }

    // MARK: What is stored

    /// A supervisor has written although the session's status was not what it had last seen.
    func overwrote(_ session: String) {
        world.violate("one writer", "\(session) was written by a supervisor that does not know how it stands")
    }

    private static let ways: [SessionPhase: Set<SessionPhase>] = [
        .pending: [.starting, .suspended, .ended], .starting: [.ready, .suspended, .ended, .failed],
        .ready: [.draining, .starting, .failed], .draining: [.suspended, .ended], .suspended: [.starting, .ended],
        .failed: [.starting, .suspended, .ended], .ended: [],
    ]

    func wrote(_ session: SessionResource, over old: SessionResource?) {
        guard let old else { return }
        let (from, to) = (old.status.phase, session.status.phase)
        if to != from, Self.ways[from]?.contains(to) != true {
            // A phase may be passed through within one decision.
            let between = Self.ways[from]?.contains { Self.ways[$0]?.contains(to) == true } ?? false
            if !between { world.violate("phases", "\(from) → \(to): \(session.status.message ?? "")") }
        }
        if session.status.epoch < old.status.epoch {
            world.violate("epochs", "epoch \(old.status.epoch) → \(session.status.epoch)")
        }
        if to == .failed, from != .failed, world.isFair {
            world.violate("nothing fails by itself", session.status.message ?? "")
        }
        guard to != from, [.suspended, .ended, .failed].contains(to) else { return }
        // What a superseded supervisor has started in the meantime is nobody's, and is being ended.
        if !world.wasContested, let living = world.sidecar(of: session.metadata.name) {
            world.violate("phases", "\(to) while epoch \(living.epoch) is alive")
        }
        let lifetime = (session.spec.lifetime ?? Lifetime()).resolved
        if to == .suspended, session.status.message?.hasPrefix("idle") == true, lifetime.onIdle == .end, from == .draining,
            world.store.openTasks(session: session.metadata.name).isEmpty, session.spec.wake ?? 0 <= session.status.epoch,
            session.spec.lifetime == old.spec.lifetime
        {
            suspectedSleep = (session.metadata.name, world.clock)
        }
    }

    /// A session that should have ended was suspended; a Task or a change that was just on its way excuses that.
    private(set) var suspectedSleep: (session: String, at: Int64)?

    func wrote(_ task: TaskResource, over old: TaskResource?) {
        let status = task.status
        if let old, old.status.phase.isTerminal, old.status != status {
            world.violate("one end", "\(task.metadata.name) was \(old.status.phase) and is \(status.phase)")
        }
        if let sentTo = old?.status.sentTo, let now = status.sentTo, now != sentTo, old?.status.turn != nil {
            world.violate("sent once", "\(task.metadata.name) was sent to \(sentTo) and then to \(now)")
        }
        guard status.phase.isTerminal, old?.status.phase.isTerminal != true else { return }
        if status.reason == .superseded {
            // Only by a later Task of the same key.
            let created = Int64(task.spec.prompt.split(separator: " ").last ?? "") ?? 0
            let isRight = task.status.session.map { superseders[$0.name, default: 0] > created } == true
            if !["s", "p"].contains(task.spec.prompt.prefix(1)) || !isRight {
                world.violate("a newer one supersedes", "\(task.metadata.name) was superseded by none of its key")
            }
        } else if status.phase == .cancelled, !cancelled.contains(task.metadata.uid) {
            world.violate("nothing is lost", "\(task.metadata.name) is cancelled, and nobody asked for it")
        }
        if status.phase == .succeeded {
            let end = status.turn.flatMap { turn in status.sentTo.flatMap { ends[Place(journal: $0, turn: turn)] } }
            if end != .succeeded {
                world.violate(
                    "the truth", "\(task.metadata.name) succeeded, and its turn \(end.map { "\($0)" } ?? "has not ended")")
            }
        }
        if status.reason == .journalLost, let sentTo = status.sentTo, !lostJournals.contains(sentTo) {
            world.violate("the truth", "journal \(sentTo) of \(task.metadata.name) is not lost")
        }
        if status.reason == .journalDamaged, let sentTo = status.sentTo, !damagedJournals.contains(sentTo) {
            world.violate("the truth", "journal \(sentTo) of \(task.metadata.name) is not damaged")
        }
    }
}
