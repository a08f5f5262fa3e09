import SessionModel

/// A supervisor: one real ``SessionReconciler`` for each session at which something can happen, as ``SessionManager`` keeps them.
final class SimulatedSupervisor {
    private unowned let world: World
    private let number: Int
    private(set) var isAlive = true
    /// Cut off from the store; what it reaches of sidecars it still reaches.
    var isPartitioned = false
    private var controllers: [String: SimulatedController] = [:]

    init(_ world: World, number: Int) {
        self.world = world
        self.number = number
        world.note("supervisor \(number) starts")
        for session in world.store.sessions.values.sorted(by: { $0.metadata.name < $1.metadata.name }) {
            notify(session.metadata.name, .changed)
        }
    }

    func notify(_ name: String, _ event: SessionReconciler.Event) {
        guard isAlive else { return }
        if let controller = controllers[name] { return controller.send(event) }
        guard let session = world.store.sessions[name], session.status.phase != .ended else { return }
        let controller = SimulatedController(world, self, session)
        controllers[name] = controller
        controller.send(.restored)
    }

    /// The controller has stopped: its session is at rest, or is another's now.
    func drop(_ controller: SimulatedController, due: Timestamp?) {
        let name = controller.name
        guard controllers[name] === controller else { return }
        controllers[name] = nil
        guard let due else { return }
        world.after((due - world.now).milliseconds + 1) { [self] in notify(name, .changed) }
    }

    func die() {
        guard isAlive else { return }
        isAlive = false
        world.note("supervisor \(number) dies")
    }

    func isInCharge(_ controller: SimulatedController) -> Bool { isAlive && controllers[controller.name] === controller }
}

/// The shell around one reconciler: one step under way at a time, each of which takes time and can fail.
final class SimulatedController {
    let name: String
    private unowned let world: World
    private unowned let supervisor: SimulatedSupervisor
    private var reconciler: SessionReconciler
    private var inbox: [SessionReconciler.Event] = []
    private var isWorking = false
    private var timer: Int64 = .max
    private var sidecar: SimulatedSidecar?

    init(_ world: World, _ supervisor: SimulatedSupervisor, _ session: SessionResource) {
        self.world = world
        self.supervisor = supervisor
        name = session.metadata.name
        reconciler = SessionReconciler(session)
    }

    func send(_ event: SessionReconciler.Event) {
        if case .changed = event, inbox.contains(.changed) { return }
        inbox.append(event)
        work()
    }

    private func work() {
        guard !isWorking, supervisor.isInCharge(self) else { return }
        while true {
            if let step = reconciler.next(at: world.now) {
                isWorking = true
                return perform(step) { [self] answer in
                    guard supervisor.isInCharge(self) else { return }
                    isWorking = false
                    reconciler.answer(answer, at: world.now)
                    work()
                }
            }
            if reconciler.isDeposed {
                supervisor.drop(self, due: nil)
                return supervisor.notify(name, .changed)
            }
            if inbox.isEmpty { break }
            let event = inbox.removeFirst()
            if case .timer = event { timer = .max }
            reconciler.take(event, at: world.now)
        }
        let due = reconciler.nextDeadline
        if reconciler.isAtRest { return supervisor.drop(self, due: due) }
        guard let due else { return timer = .max }
        let at = world.clock + max(0, (due - world.now).milliseconds) + 1
        guard at != timer else { return }
        timer = at
        world.after(at - world.clock) { [self] in if timer == at { send(.timer) } }
    }

    private func perform(_ step: SessionReconciler.Step, _ done: @escaping (SessionReconciler.Answer) -> Void) {
        switch step {
        case .load, .store, .change, .findAbandoned: performInStore(step, done)
        case .start(let epoch):
            let limits = (reconciler.session.spec.lifetime ?? Lifetime()).resolved.limits
            if world.ledger.isDeliberate, world.chance(40) { return done(.failed("it cannot be started")) }
            world.ledger.starts(name, epoch: epoch)
            let sidecar = SimulatedSidecar(world, session: reconciler.session, epoch: epoch, limits: limits)
            world.ledger.allowed(limits, in: sidecar)
            world.sidecars.append(sidecar)
            attend(to: sidecar)
            done(.alive(pid: 1))
        case .find(let epoch):
            world.soon { [self] in
                guard supervisor.isInCharge(self) else { return }
                if world.ledger.isDeliberate, world.chance(10) { return done(.unknown("simulated")) }
                guard let sidecar = world.sidecar(of: name, epoch: epoch) else { return done(.neverStarted) }
                guard sidecar.isAlive else { return done(.ended) }
                attend(to: sidecar)
                done(.alive(pid: 1))
            }
        case .stop(let epoch, let grace):
            if let sidecar, sidecar.epoch == epoch {
                world.ledger.stops(sidecar, machine: reconciler.machine)
                sidecar.terminate(grace: grace)
            }
            done(.done)
        case .call(_, let call):
            guard let sidecar else { return done(.unreachable("its process has ended")) }
            let (loses, forgets) = (world.chance(world.weather.callFails), world.chance(world.weather.callFails))
            let cutOff = { [self] in world.after(world.number(100...15_000)) { done(.unreachable("simulated")) } }
            // Once sent it arrives, whatever becomes of the supervisor.
            world.soon { [self] in
                guard !loses, sidecar.answers else { return cutOff() }
                var isAnswered = false
                sidecar.mourners.append { _ in
                    guard !isAnswered else { return }
                    isAnswered = true
                    cutOff()
                }
                sidecar.answer(call) { [self] answer in
                    guard !isAnswered else { return }
                    isAnswered = true
                    if forgets { cutOff() } else { world.soon { done(answer) } }
                }
            }
        }
    }

    private func performInStore(_ step: SessionReconciler.Step, _ done: @escaping (SessionReconciler.Answer) -> Void) {
        world.after(world.number(0...3)) { [self] in
            guard supervisor.isInCharge(self) else { return }
            if supervisor.isPartitioned {
                if case .store = step { return world.after(500) { [self] in performInStore(step, done) } }
                return world.after(500) { done(.failed("partitioned")) }
            }
            do {
                switch step {
                case .load: done(.loaded(world.store.session(named: name), world.store.openTasks(session: name)))
                case .store(let write):
                    let uid = world.uid()
                    let stored = try world.store.transaction { try write.perform(at: world.now, newUID: uid, in: $0) }
                    world.note(
                        "\(name.suffix(6)) is \(write.status.phase.rawValue), epoch \(write.status.epoch): \(write.status.message ?? "")"
                    )
                    done(stored.map { .stored($0) } ?? .deposed)
                case .change(let name, let change):
                    let task = try world.store.transaction { store in
                        guard var task = store.task(named: name) else { return nil as TaskResource? }
                        let before = task.status
                        task.status.apply(change, at: world.now)
                        return task.status == before ? task : try store.update(task)
                    }
                    world.note(
                        "\(name): \(task?.status.phase.rawValue ?? "gone") \(task?.status.turn?.description ?? "") \(task?.status.message ?? "")"
                    )
                    done(.task(task))
                case .findAbandoned: done(.tasks(world.store.tasks(session: name)))
                case .start, .find, .stop, .call: done(.failed("not a step of the store"))
                }
            } catch {
                if case .store = step { return world.after(50) { [self] in performInStore(step, done) } }
                done(.failed("simulated"))
            }
        }
    }

    // MARK: The watch over the sidecar

    private func attend(to sidecar: SimulatedSidecar) {
        self.sidecar = sidecar
        sidecar.mourners.append { [self] why in
            world.after(world.number(0...500)) { [self] in
                guard self.sidecar === sidecar else { return }
                self.sidecar = nil
                send(.gone(epoch: sidecar.epoch, why: why))
            }
        }
        poll(sidecar, after: nil, announced: false)
    }

    private func poll(_ sidecar: SimulatedSidecar, after version: Int64?, announced: Bool) {
        world.soon { [self] in
            guard self.sidecar === sidecar, sidecar.isAlive, supervisor.isInCharge(self) else { return }
            guard sidecar.answers, !world.chance(world.weather.callFails) else {
                if announced { send(.unreachable(epoch: sidecar.epoch)) }
                return world.after(1000) { [self] in poll(sidecar, after: nil, announced: announced) }
            }
            let activity = sidecar.activity
            guard activity.version != version else {
                // A long-poll, that is asked again for as long as the sidecar is not ready.
                if !announced { return world.after(200) { [self] in poll(sidecar, after: nil, announced: false) } }
                sidecar.watchers.append { [self] in poll(sidecar, after: version, announced: announced) }
                return
            }
            let ready = !announced && sidecar.isReady
            world.soon { [self] in
                guard supervisor.isInCharge(self) else { return }
                send(ready ? .ready(activity) : .activity(activity))
                poll(sidecar, after: activity.version, announced: announced || ready)
            }
        }
    }
}
