import SessionModel

/// One run: a plan carried out in a world, and what came of it.
final class Run {
    private let plan: Plan
    private let world: World
    /// Names of Tasks in the order of their creation.
    private var tasks: [String] = []
    private var requests: [Int: (spec: TaskSpec, task: String, rememberedUntil: Timestamp)] = [:]
    private var supervisors = 0
    private var created: Int64 = 0

    init(seed: UInt64, plan: Plan, tracing: Bool = false) {
        self.plan = plan
        world = World(seed: seed, tracing: tracing)
        world.weather = plan.weather
        world.isFair = plan.isFair
    }

    /// - Returns: the rule that did not hold, if any; the steps it took; and what happened, when that was wanted.
    func execute() -> (violation: Violation?, steps: Int, lines: [String]) {
        elect()
        for act in plan.acts {
            world.after(act.at) { [unowned self] in
                world.note("--- \(act.what)")
                perform(act.what)
            }
        }
        world.run(until: plan.end)
        calm()
        // Longer than every deadline of work; the deadlines of sleep are longer.
        world.run(until: plan.end + Self.settling)
        checkQuiescence()
        world.run(until: plan.end + 30 * 86_400_000)
        checkEnd()
        let result = (world.violation, world.steps, world.lines)
        world.dismantle()
        return result
    }

    private static let settling: Int64 = 12 * 3_600_000

    private func elect() {
        supervisors += 1
        world.supervisors.append(SimulatedSupervisor(world, number: supervisors))
    }

    /// Everything heals, and users leave.
    private func calm() {
        world.note("--- calm")
        world.weather = World.Weather()
        world.ledger.isDeliberate = false
        world.startsToFail = [:]
        for disk in world.disks.values {
            disk.slowness = 4
            disk.syncsToFail = 0
        }
        for sidecar in world.sidecars {
            sidecar.stopHanging()
            sidecar.liesUntil = 0
            if sidecar.disk.isFull { sidecar.fill(false) }
        }
        for supervisor in world.supervisors { supervisor.reconnect() }
        if !world.supervisors.contains(where: \.isAlive) { elect() }
    }

    // MARK: Acts

    private func key(_ session: Int) -> SessionKey? {
        try? SessionKey(.pullRequest(repository: "github.com/acme/widgets", number: session + 1), profile: nil)
    }
    private func name(_ session: Int) -> String { key(session)?.name ?? "" }

    private func perform(_ what: Plan.What) {
        let store = world.store!
        switch what {
        case .task(let session, let kind, let key):
            var spec = TaskSpec(
                prompt: prompt(kind), scope: ScopeSpec(kind: .pullRequest, repository: "acme/widgets", number: session + 1),
                lifetime: plan.sessions[session])
            switch kind {
            case "r": spec.turn = TurnSpec(onInterrupt: .retry(2))
            case "c": spec.turn = TurnSpec(onInterrupt: .continue(3))
            case "x": spec.turn = TurnSpec(onInterrupt: .retry(1))
            case "s", "p": spec.turn = TurnSpec(whenBusy: .supersede, supersedeKey: "head")
            default: break
            }
            if spec.turn?.supersedeKey != nil { world.ledger.superseders[name(session)] = created }
            if let key {
                spec.idempotencyKey = "key \(key)"
                guard requests[key] == nil else { return perform(.redeliver(key: key)) }
            }
            create(spec, key: key)
        case .commitTask(let kind): create(TaskSpec(prompt: prompt(kind)), key: nil)
        case .redeliver(let key):
            // Later than that it would be another request.
            guard let request = requests[key], world.now < request.rememberedUntil else { return }
            create(request.spec, key: key)
        case .forgetTask(let index):
            guard index < tasks.count, store.task(named: tasks[index])?.status.phase.isTerminal == true else { return }
            store.forget(task: tasks[index])
        case .cancel(let index):
            guard index < tasks.count, let task = store.task(named: tasks[index]) else { return }
            if !task.status.phase.isTerminal { world.ledger.cancelled.insert(task.metadata.uid) }
            attempt { _ = try SessionCommands.cancel(task: task.metadata.name, at: world.now, in: $0) }
        case .keep(let session, let span): world.sidecar(of: name(session))?.ask(.keepAlive(span))
        case .suspend(let session): attempt { _ = try SessionCommands.suspend(name(session), in: $0) }
        case .resume(let session): attempt { _ = try SessionCommands.resume(name(session), in: $0) }
        case .end(let session): attempt { _ = try SessionCommands.end(name(session), at: world.now, in: $0) }
        case .lifetime(let session, let lifetime):
            attempt { _ = try SessionCommands.set(lifetime, of: name(session), in: $0) }
            world.ledger.changedLifetime(of: name(session))
            // Users change a worker, too. Not by a number of its own, so that a seed goes on to mean what it did.
            guard lifetime.drainTimeout == nil else { return }
            attempt { store in
                guard var known = store.session(named: name(session)), known.status.phase != .ended else { return }
                known.spec.worker.env = ["CHANGED": lifetime.idleTimeout.map { "\($0)" } ?? ""]
                _ = try store.update(known)
                world.ledger.changedWorker(of: name(session))
            }
        case .scope(let session, let closed): attempt { _ = try SessionCommands.scope(name(session), closed: closed, in: $0) }
        case .attach(let session, let span):
            guard let sidecar = world.sidecar(of: name(session)) else { return }
            sidecar.ask(.attached)
            world.after(span.milliseconds) { sidecar.handle(.detached) }
        case .answer(let session):
            guard let sidecar = world.sidecar(of: name(session)), let turn = sidecar.queue.running else { return }
            sidecar.ask(.answer(turn.id, InputAnswer(option: "y")))
        case .jump(let span): world.jump(span)
        case .killSidecar(let session, let powerLoss): world.sidecar(of: name(session))?.end("kill -9", powerLoss: powerLoss)
        case .failSync(let session, let count): disk(session)?.syncsToFail = count
        case .fillDisk(let session, let span):
            guard let sidecar = world.sidecar(of: name(session)), !sidecar.disk.isFull else { return }
            sidecar.fill(true)
            world.after(span.milliseconds) { [unowned self] in
                sidecar.disk.isFull = false
                (world.sidecar(of: name(session)) ?? sidecar).fill(false)
            }
        case .slowDisk(let session, let sync, let span):
            guard let disk = disk(session) else { return }
            disk.slowness = sync.milliseconds
            world.after(span.milliseconds) { disk.slowness = 4 }
        case .hang(let session, let span):
            world.sidecar(of: name(session))?.hang(for: span)
        case .lie(let session, let span): world.sidecar(of: name(session))?.liesUntil = world.clock + span.milliseconds
        case .killHost(let session): world.sidecar(of: name(session))?.loseHost()
        case .loseJournal(let session):
            guard let disk = disk(session) else { return }
            world.sidecar(of: name(session))?.end("its volume is gone", powerLoss: true)
            world.ledger.lostJournals.insert(disk.journal)
            disk.replace(journal: world.journalID())
        case .damageJournal(let session):
            guard let disk = disk(session) else { return }
            world.ledger.damagedJournals.insert(disk.journal)
            disk.isDamaged = true
        case .failStarts(let session, let count): world.startsToFail[name(session)] = count
        case .killSupervisor(let down):
            world.supervisors.last?.die()
            world.after(down.milliseconds) { [unowned self] in
                if !world.supervisors.contains(where: \.isAlive) { elect() }
            }
        case .partition(let span, let overlap):
            guard let old = world.supervisors.last, old.isAlive, !old.isPartitioned else { return }
            old.isPartitioned = true
            world.after(span.milliseconds) { [unowned self] in
                guard old.isAlive, old.isPartitioned else { return }
                if overlap == .zero {
                    old.die()
                } else {
                    world.wasContested = true
                    world.after(world.number(0...overlap.milliseconds)) { old.reconnect() }
                    world.after(overlap.milliseconds) { [unowned self] in
                        old.die()
                        if !world.supervisors.contains(where: \.isAlive) { elect() }
                    }
                }
                elect()
            }
        }
    }

    private func disk(_ session: Int) -> Disk? { world.store.sessions[name(session)].flatMap { world.disks[$0.metadata.uid] } }

    /// Every prompt is unique, and its last word says in which order the Tasks were made.
    private func prompt(_ kind: Character) -> String {
        created += 1
        return "\(kind) \(created)"
    }

    private func attempt(_ body: (SimulatedStore) throws -> Void) { try? world.store.transaction(reliably: true, body) }

    private func create(_ spec: TaskSpec, key: Int?) {
        let request = TaskRouting.Request(
            spec: spec, fallback: AgentDescription(driver: .acp, command: ["agent"]), digest: spec.prompt,
            name: "task-\(tasks.count)", uid: world.uid(), sessionUID: world.uid())
        do {
            let answer = try world.store.transaction(reliably: true) { try TaskRouting.create(request, at: world.now, in: $0) }
            switch answer {
            case .created(let task):
                if let key {
                    if let before = requests[key]?.task {
                        world.violate("dedupeWindow", "key \(key) made \(before) and now \(task.metadata.name)")
                    }
                    requests[key] = (spec, task.metadata.name, world.now + (spec.lifetime ?? Lifetime()).resolved.dedupeWindow)
                }
                tasks.append(task.metadata.name)
                world.ledger.created(task)
            case .repeated(let task):
                if let key, requests[key]?.task != task.metadata.name {
                    world.violate("dedupeWindow", "key \(key) answers with another Task")
                }
            }
        } catch let problem as Problem where problem.kind == .conflict && key != nil {
            // The Task of this key is gone, and the key is remembered.
        } catch {
            world.violate("commands", "a Task was refused: \(error)")
        }
    }

    // MARK: In the end

    /// Nothing is stuck: whatever can end has ended, and what waits has a reason.
    private func checkQuiescence() {
        for session in world.store.sessions.values.sorted(by: { $0.metadata.name < $1.metadata.name }) {
            let (spec, status) = (session.spec, session.status)
            let lifetime = (spec.lifetime ?? Lifetime()).resolved
            let name = "\(spec.key), which is \(status.phase.rawValue) (\(status.message ?? ""))"
            switch status.phase {
            case .suspended:
                if spec.end == true { world.violate("quiescence", "\(name) was to end") }
                if spec.scopeClosed == true, lifetime.onScopeClosed == .end, openTasks(session).isEmpty {
                    world.violate("onScopeClosed", "\(name) was to end with its pull request")
                }
                if status.since + lifetime.suspendedTTL < world.now, openTasks(session).isEmpty {
                    world.violate("suspendedTTL", "\(name) has slept for too long")
                }
            case .failed, .ended: break
            case .pending, .starting, .ready, .draining: world.violate("quiescence", "\(name) is stuck")
            }
            if status.phase != .ended, session.metadata.creationTimestamp + lifetime.ttl + .hours(1) < world.now {
                world.violate("ttl", "\(name) is too old")
            }
            if status.phase != .ended, world.disks[session.metadata.uid] != nil, status.history?.isEmpty != false {
                world.violate("history", "\(name) has none")
            }
        }
        for name in tasks {
            guard let task = world.store.task(named: name), !task.status.phase.isTerminal else { continue }
            let session = task.status.session.flatMap { world.store.sessions[$0.name] }
            // A user's suspension is a reason; nothing else holds a Task up for so long.
            guard session?.spec.suspend == true, session?.status.phase == .suspended, task.status.message != nil else {
                world.violate("quiescence", "\(name) is \(task.status.phase.rawValue) (\(task.status.message ?? "no reason"))")
                continue
            }
        }
        for sidecar in world.sidecars where sidecar.isAlive {
            world.violate("quiescence", "epoch \(sidecar.epoch) of \(sidecar.session) is alive")
        }
    }

    private func openTasks(_ session: SessionResource) -> [TaskResource] { world.store.openTasks(session: session.metadata.name) }

    private func checkEnd() {
        for session in world.store.sessions.values where session.status.phase != .ended {
            world.violate("ttl", "\(session.spec.key) is \(session.status.phase.rawValue) after 30 days")
        }
        for name in tasks {
            guard let task = world.store.task(named: name), !task.status.phase.isTerminal else { continue }
            world.violate("quiescence", "\(name) never ended: \(task.status.phase.rawValue)")
        }
    }
}
