import SessionModel

/// A sidecar's process: the real ``TurnQueue`` over a simulated disk, agent host and agent.
final class SimulatedSidecar {
    let session: String
    let epoch: UInt32
    /// When its session was made, which others of its name may have been before.
    let sessionCreated: Timestamp
    let disk: Disk
    private unowned let world: World
    private(set) var queue: TurnQueue
    private(set) var isAlive = true
    /// Its API does not answer before it has opened the journal.
    private(set) var isOpen = false
    private var hangsUntil: Int64 = 0
    var liesUntil: Int64 = 0
    private var hostConnected = false
    private var version: Int64 = 0
    private var outbox: [(sequence: Int, effects: [TurnQueue.Effect])] = []
    private var waiting: [(sequence: Int, done: (Bool) -> Void)] = []
    private var syncing = false
    private var timer: Int64 = .max
    /// Told of the next change of the activity.
    var watchers: [() -> Void] = []
    /// Told of its end.
    var mourners: [(String) -> Void] = []
    /// Since when it has had nothing to do, on a clock that does not jump; nil while it is busy.
    private(set) var idleSince: Int64?
    private(set) var skewAtIdle: Int64 = 0

    init(_ world: World, session: SessionResource, epoch: UInt32, limits: TurnLimits) {
        self.world = world
        self.session = session.metadata.name
        self.epoch = epoch
        sessionCreated = session.metadata.creationTimestamp
        disk = world.disk(of: session)
        queue = TurnQueue(limits: limits)
        version = Int64(epoch) << 32
        world.note("\(label): started")
        let fails = world.startsToFail[session.metadata.name, default: 0]
        if fails > 0 {
            world.startsToFail[session.metadata.name] = fails - 1
            world.after(world.number(0...2000)) { [self] in end("it cannot start") }
        } else {
            world.after(world.number(1...300) + world.number(0...world.weather.startLatency)) { [self] in open() }
        }
    }

    func belongs(to session: SessionResource) -> Bool { world.disks[session.metadata.uid] === disk }

    private var label: String { "\(session.suffix(6)) epoch \(epoch)" }

    /// Readiness as the probe has it.
    var isReady: Bool { (isOpen && hostConnected && queue.draining == nil && !disk.isFull) != (world.clock < liesUntil) }
    var answers: Bool { isAlive && isOpen && world.clock >= hangsUntil }
    /// For so long that every supervisor may have heard of it.
    var hasAnswered: Bool { answers && world.clock >= hangsUntil + 30_000 }

    func hang(for span: TimeSpan) { hangsUntil = max(hangsUntil, world.clock + span.milliseconds) }
    func stopHanging() { hangsUntil = min(hangsUntil, world.clock) }

    private func open() {
        guard isAlive else { return }
        guard epoch >= disk.highestEpoch else { return end("a newer epoch has written there") }
        disk.highestEpoch = epoch
        for event in disk.events { queue.apply(event) }
        // What remains is synced before anything is served.
        disk.sync(upTo: disk.events.count)
        if world.chance(2) { queue = TurnQueue(queue.checkpoint, limits: queue.limits) }
        world.ledger.opened(self)
        isOpen = true
        var effects = queue.handle(.opened(epoch: epoch, SessionOpened(version: "simulated", session: nil)), at: world.now)
        if disk.isDamaged {
            disk.isDamaged = false
            effects += queue.handle(.damaged(JournalGap(from: 1, to: 1, file: "f", reason: "simulated")), at: world.now)
        }
        effects += queue.handle(.agentConfigured(true), at: world.now)
        take(effects)
        connectHost(after: world.number(0...500))
    }

    /// What an earlier incarnation left is ended first.
    private func connectHost(after pause: Int64) {
        world.after(pause) { [self] in
            guard isAlive, !hostConnected else { return }
            disk.agentAtWork = nil
            hostConnected = true
            handle(.hostConnected)
        }
    }

    // MARK: The machine and the disk

    @discardableResult
    func handle(_ input: TurnQueue.Input) -> TurnQueue.Reply? {
        guard isAlive else { return nil }
        return take(queue.handle(input, at: world.now))
    }

    @discardableResult
    private func take(_ effects: [TurnQueue.Effect]) -> TurnQueue.Reply? {
        var reply: TurnQueue.Reply?
        var later: [TurnQueue.Effect] = []
        for effect in effects {
            switch effect {
            case .record(let body, let turn):
                disk.append(
                    Event(sequence: UInt64(disk.events.count + 1), epoch: epoch, time: world.now, turn: turn, body: body))
                world.note("\(label): \(turn.map { "\($0) " } ?? "")\(body.type)\(Self.detail(body))")
                world.ledger.recorded(body, turn: turn, by: self)
            case .reply(let answer): reply = answer
            default: later.append(effect)
            }
        }
        if !later.isEmpty { outbox.append((disk.events.count, later)) }
        version += 1
        sync()
        // Not what the queue makes of it: that is what is tested.
        let busy = !queue.live.isEmpty || queue.attached > 0 || (queue.keepAliveUntil.map { $0 > world.now } ?? false)
        if busy {
            idleSince = nil
        } else if idleSince == nil {
            idleSince = world.clock
            skewAtIdle = world.skew
        }
        let told = watchers
        watchers = []
        for watcher in told { watcher() }
        armTimer()
        if queue.endsByItself { whenDurable { [self] _ in end("exit code 0") } }
        return reply
    }

    private static func detail(_ body: EventBody) -> String {
        switch body {
        case .turnEnded(let end): " \(end.state.rawValue) (\(end.reason.rawValue))"
        case .turnQueued(let queued): " “\(queued.request.prompt)”"
        case .sessionDraining(let draining): " (\(draining.reason)) until \(draining.deadline)"
        case .cancelRequested(let cancel): " (\(cancel.reason.rawValue))"
        default: ""
        }
    }

    private func armTimer() {
        guard let due = queue.nextDeadline else { return timer = .max }
        let at = world.clock + max(1, (due - world.now).milliseconds)
        guard at != timer else { return }
        timer = at
        world.after(at - world.clock) { [self] in
            guard isAlive, timer == at else { return }
            timer = .max
            handle(.tick)
        }
    }

    /// One fdatasync at a time; what is appended meanwhile shares the next.
    private func sync() {
        guard !syncing, !disk.isFull, disk.durable < disk.events.count || !outbox.isEmpty || !waiting.isEmpty else { return }
        syncing = true
        let count = disk.events.count
        world.after(world.number(0...disk.slowness)) { [self] in
            syncing = false
            guard isAlive else { return }
            if disk.syncsToFail > 0 {
                disk.syncsToFail -= 1
                return end("fdatasync failed", powerLoss: true)
            }
            guard !disk.isFull else { return }
            disk.sync(upTo: count)
            world.ledger.synced(self)
            while let first = outbox.first, first.sequence <= disk.durable {
                outbox.removeFirst()
                for effect in first.effects { perform(effect) }
            }
            let ready = waiting.filter { $0.sequence <= disk.durable }
            waiting.removeAll { $0.sequence <= disk.durable }
            for waiter in ready { waiter.done(true) }
            sync()
        }
    }

    /// `done` is told whether what is recorded so far has become durable.
    private func whenDurable(_ done: @escaping (Bool) -> Void) {
        if disk.isFull { return done(disk.durable >= disk.events.count) }
        if disk.durable >= disk.events.count, !syncing { return done(true) }
        waiting.append((disk.events.count, done))
        sync()
    }

    func fill(_ full: Bool) {
        disk.isFull = full
        guard isAlive, isOpen else { return }
        world.note("\(label): the disk \(full ? "is full" : "has space again")")
        handle(.storage(full: full))
        if full {
            let unkept = waiting
            waiting = []
            for waiter in unkept { waiter.done(false) }
        } else {
            sync()
        }
    }

    /// The process ends, however that came.
    func end(_ why: String, powerLoss: Bool = false) {
        guard isAlive else { return }
        isAlive = false
        world.note("\(label): ended: \(why)")
        if isOpen { disk.lose(keeping: powerLoss ? Int(world.number(0...2)) : .max / 2) }
        // Its host ends the agent's processes before it does anything else; the next epoch makes sure.
        let left = disk.agentAtWork
        world.after(world.number(0...3000)) { [self] in if disk.agentAtWork == left { disk.agentAtWork = nil } }
        outbox = []
        waiting = []
        watchers = []
        let told = mourners
        mourners = []
        for mourner in told { mourner(why) }
    }

    /// SIGTERM: what runs has the grace time to end.
    func terminate(grace: TimeSpan) {
        guard isAlive else { return }
        guard isOpen, world.clock >= hangsUntil else { return world.after(grace.milliseconds) { [self] in end("SIGKILL") } }
        handle(.drain(DrainRequest(deadline: .seconds(25), reason: "the sidecar was told to end")))
        finish(by: world.clock + grace.milliseconds)
    }

    private func finish(by deadline: Int64) {
        guard isAlive else { return }
        if queue.drained, queue.running == nil || world.clock >= deadline {
            whenDurable { [self] _ in end("exit code 0") }
        } else if world.clock >= deadline {
            end("SIGKILL")
        } else {
            world.after(500) { [self] in finish(by: deadline) }
        }
    }

    // MARK: The agent and its host

    private func perform(_ effect: TurnQueue.Effect) {
        let attempt = queue.running?.attempts
        switch effect {
        case .record, .reply: break
        case .dispatch(let id): work(on: id)
        case .interrupt(let id):
            // Most agents stop when they are asked to.
            guard world.chance(4) == false else { return }
            world.after(world.number(1...2000)) { [self] in
                finished(id, attempt, TurnEnded(state: .cancelled, reason: .cancelled), clean: world.chance(2))
            }
        case .answer(let id, _):
            world.after(world.number(1...60_000)) { [self] in
                finished(id, attempt, TurnEnded(state: .succeeded, reason: .completed), clean: true)
            }
        case .endProcesses:
            world.after(world.number(1...3000)) { [self] in
                guard isAlive, hostConnected else { return }
                disk.agentAtWork = nil
                handle(.hostClear)
            }
        }
    }

    private func work(on id: TurnID) {
        guard isAlive, let turn = queue.running, turn.id == id else { return }
        let attempt = turn.attempts
        guard !queue.isStopping else {
            // As the shell does: stopped before the agent began.
            return world.after(1) { [self] in
                finished(id, attempt, TurnEnded(state: .cancelled, reason: .cancelled), clean: false)
            }
        }
        world.ledger.dispatched(turn, by: self)
        disk.agentAtWork = id
        world.note("\(label): the agent works on \(id) “\(turn.prompt)”")
        let pause = world.chance(3) ? world.number(1000...900_000) : world.number(10...20_000)
        switch turn.prompt.first {
        case "h", "p": break  // It hangs: only deadlines end it.
        case "a":
            world.after(pause) { [self] in
                let request = InputRequest(
                    id: "q\(id)", question: "May I?", options: [.init(id: "y", name: "Yes")],
                    deadline: world.now + queue.limits.inputTimeout)
                handle(.ask(id, request))
            }
        case "f", "x":
            world.after(pause) { [self] in finished(id, attempt, TurnEnded(state: .failed, reason: .agentExited), clean: false) }
        default:
            var results = TurnResults()
            results.usage = Usage(inputTokens: 60, outputTokens: 40)
            world.after(pause) { [self] in
                finished(id, attempt, TurnEnded(state: .succeeded, reason: .completed, results: results), clean: true)
            }
        }
    }

    private func finished(_ id: TurnID, _ attempt: Int?, _ end: TurnEnded, clean: Bool) {
        guard isAlive, hostConnected, queue.running?.id == id, queue.running?.attempts == attempt else { return }
        if clean { disk.agentAtWork = nil }
        handle(.finished(id, end, clean: clean))
        handle(.agentWarm(clean))
    }

    /// The agent host dies; another one comes.
    func loseHost() {
        guard isAlive, hostConnected else { return }
        hostConnected = false
        world.note("\(label): the host is lost")
        handle(.hostLost(reason: "simulated"))
        connectHost(after: world.number(100...5000))
    }

    // MARK: The API

    /// What a user or a client asks of it, if it can hear.
    func ask(_ input: TurnQueue.Input) { if answers { handle(input) } }

    var activity: Activity {
        Activity(
            version: version, journal: disk.journal, epoch: epoch, busy: queue.isBusy(at: world.now), idleSince: queue.idleSince,
            running: queue.running?.id, awaitingInput: queue.running?.input, queued: queue.queued.count, attached: queue.attached,
            keepAliveUntil: queue.keepAliveUntil, draining: queue.draining != nil, drained: queue.drained,
            waitingFor: queue.waitingFor, cursor: Cursor(journal: disk.journal, sequence: UInt64(disk.events.count)))
    }

    /// Answers a call, once what it says is durable. A sidecar that dies first answers nothing.
    func answer(_ call: SessionReconciler.Call, _ done: @escaping (SessionReconciler.Answer) -> Void) {
        func decide(_ input: TurnQueue.Input) {
            let reply = handle(input)
            if case .refused(var problem) = reply {
                if problem.kind == .busy { problem.activity = activity }
                return done(.refused(problem))
            }
            whenDurable { done($0 ? .done : .refused(Problem(.storageFull, "full", retryAfter: 10))) }
        }
        switch call {
        case .enqueue(let request, let key):
            let last = queue.lastOrdinal
            let reply = handle(.enqueue(request, key: KeyDigest(key: key, request: request)))
            // One that is known is not judged again.
            if case .repeated = reply {} else { world.ledger.judges(task: key, self) }
            switch reply {
            case .accepted(let id), .repeated(let id):
                let isNew = id.ordinal > last
                let turn = queue.turn(id)
                whenDurable { [self] kept in
                    guard kept, let turn else {
                        if isNew { handle(.withdraw(id)) }
                        world.ledger.refusedByFullDisk(self)
                        return done(.refused(Problem(.storageFull, "full", retryAfter: 10)))
                    }
                    world.ledger.acknowledged(turn, key: key, by: self)
                    done(.turn(turn))
                }
            case .refused(let problem): done(.refused(problem))
            case .done, nil: done(.unreachable("no reply"))
            }
        case .knows(let key):
            let request = TurnRequest(prompt: "")
            guard case .refused(let problem) = handle(.enqueue(request, key: KeyDigest(key: key, request: request))) else {
                return done(.unreachable("an empty prompt was accepted"))
            }
            done(
                problem.kind == .invalidRequest
                    ? .known(false) : problem.kind == .idempotencyMismatch ? .known(true) : .refused(problem))
        case .turn(let id):
            let turn = queue.turn(id)
            whenDurable { kept in
                guard kept else { return done(.refused(Problem(.storageFull, "full", retryAfter: 10))) }
                done(turn.map { .turn($0) } ?? .noTurn)
            }
        case .cancel(let id): decide(.cancel(id))
        case .drain(let request): decide(.drain(request))
        case .limits(let limits):
            world.ledger.allowed(limits, in: self)
            decide(.limits(limits))
        case .status:
            done(
                .status(
                    SessionStatus(
                        session: nil, version: "simulated", startedAt: world.now, ready: isReady, notReady: [],
                        agent: AgentStatus(), workspace: queue.workspace, directory: "/", turns: queue.counts, usage: queue.usage,
                        activity: activity, limits: queue.limits)))
        }
    }
}
