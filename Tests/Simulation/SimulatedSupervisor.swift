import SessionModel

/// A supervisor: one real ``SessionReconciler`` for each session at which something can happen, as ``SessionManager`` keeps them.
final class SimulatedSupervisor {
    private unowned let world: World
    private let number: Int
    private(set) var isAlive = true
    /// Cut off from the store and from what starts and stops processes; what it reaches of sidecars it still reaches.
    var isPartitioned = false
    private var controllers: [String: SimulatedController] = [:]
    /// Sessions at rest, and when something is due for them by itself.
    private var resting: [String: Timestamp] = [:]

    init(_ world: World, number: Int) {
        self.world = world
        self.number = number
        world.note("supervisor \(number) starts")
        list()
        endStrays()
    }

    private static let sweepEvery: Int64 = 600_000
    /// A run goes on for weeks after it has become calm.
    private var sweepsInCalm = 12

    /// As ``Reaper`` has runtimes do it: now and then, and after a start.
    private func endStrays() {
        guard isAlive else { return }
        if !isPartitioned {
            for sidecar in world.sidecars where sidecar.isAlive {
                let session = world.store.sessions[sidecar.session]
                let owns = session.map { $0.status.owns(epoch: sidecar.epoch) && sidecar.belongs(to: $0) } ?? false
                guard !owns else { continue }
                if !world.wasContested {
                    world.violate("strays", "epoch \(sidecar.epoch) of \(sidecar.session) is nobody's")
                }
                sidecar.terminate(grace: SessionMachine.stopGrace)
            }
        }
        if !world.ledger.isDeliberate { sweepsInCalm -= 1 }
        if sweepsInCalm > 0 { world.after(Self.sweepEvery) { [weak self] in self?.endStrays() } }
    }

    private func list() {
        for name in world.store.sessions.keys.sorted() { notify(name, .changed) }
    }

    /// A watch that was cut off lists everything again.
    func reconnect() {
        guard isPartitioned, isAlive else { return }
        isPartitioned = false
        world.note("supervisor \(number) is connected again")
        list()
    }

    /// News of the store.
    func hear(of name: String) { if !isPartitioned { notify(name, .changed) } }

    func notify(_ name: String, _ event: SessionReconciler.Event) {
        guard isAlive else { return }
        if let controller = controllers[name] { return controller.send(event) }
        // One that is cut off cannot read it, and lists everything later.
        guard !isPartitioned, let session = world.store.sessions[name], session.status.phase != .ended else { return }
        resting[name] = nil
        let controller = SimulatedController(world, self, session)
        controllers[name] = controller
        controller.send(.restored)
    }

    /// The controller has stopped: its session is at rest, or is another's now.
    func drop(_ controller: SimulatedController, due: Timestamp?) {
        let name = controller.name
        guard controllers[name] === controller else { return }
        controllers[name] = nil
        resting[name] = due
        guard let due else { return }
        world.after((due - world.now).milliseconds + 1) { [self] in if resting[name] == due { notify(name, .changed) } }
    }

    /// The wall clock may have jumped: timers run on another.
    func lookAtClock() {
        for (name, due) in resting.sorted(by: { $0.key < $1.key }) where due <= world.now { notify(name, .changed) }
        for controller in controllers.values.sorted(by: { $0.name < $1.name }) { controller.lookAtClock() }
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
    /// Nil while it is parked, and then there is only what has to be remembered.
    private var reconciler: SessionReconciler!
    private var parked: SessionReconciler.Parked?
    private var due: Timestamp?
    private var inbox: [SessionReconciler.Event] = []
    private var isWorking = false
    private var stepsAtOnce = 0
    private var lastStep: Int64 = -1
    private var timer: Int64 = .max
    private var sidecar: SimulatedSidecar?

    init(_ world: World, _ supervisor: SimulatedSupervisor, _ session: SessionResource) {
        self.world = world
        self.supervisor = supervisor
        name = session.metadata.name
        reconciler = SessionReconciler(session)
    }

    func send(_ event: SessionReconciler.Event) {
        SessionReconciler.Event.add(event, to: &inbox)
        work()
    }

    func lookAtClock() { if let due, due <= world.now { send(.timer) } }

    private func work() {
        guard !isWorking, supervisor.isInCharge(self) else { return }
        if let parked { return goOn(with: parked) }
        while true {
            if let step = reconciler.next(at: world.now) {
                isWorking = true
                stepsAtOnce = world.clock == lastStep ? stepsAtOnce + 1 : 0
                lastStep = world.clock
                // Many steps take no time, and none of them may lead to itself.
                if stepsAtOnce > 200 { return world.violate("progress", "again and again: \(step)") }
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
        due = reconciler.nextDeadline
        if reconciler.isAtRest { return supervisor.drop(self, due: due) }
        parked = reconciler.parked
        if parked != nil { reconciler = nil }
        guard let due else { return timer = .max }
        let at = world.clock + max(0, (due - world.now).milliseconds) + 1
        guard at != timer else { return }
        timer = at
        world.after(at - world.clock) { [self] in if timer == at { send(.timer) } }
    }

    private func goOn(with parked: SessionReconciler.Parked) {
        isWorking = true
        world.after(world.number(0...3)) { [self] in
            guard supervisor.isInCharge(self) else { return }
            if supervisor.isPartitioned || world.chance(world.weather.storeFails) {
                return world.after(500) { [self] in if supervisor.isInCharge(self) { goOn(with: parked) } }
            }
            reconciler = SessionReconciler(
                parked, world.store.session(named: name), world.store.openTasks(session: name))
            self.parked = nil
            isWorking = false
            guard reconciler == nil else { return work() }
            sidecar?.terminate(grace: SessionMachine.stopGrace)
            supervisor.drop(self, due: nil)
            supervisor.notify(name, .changed)
        }
    }

    private func perform(_ step: SessionReconciler.Step, _ done: @escaping (SessionReconciler.Answer) -> Void) {
        switch step {
        case .load, .store, .change, .findAbandoned: performInStore(step, done)
        case .start(let epoch): start(epoch, done)
        case .find(let epoch):
            world.soon { [self] in
                guard supervisor.isInCharge(self) else { return }
                if supervisor.isPartitioned || world.ledger.isDeliberate && world.chance(10) {
                    return done(.unknown("simulated"))
                }
                // Directories and pods say whose they are: what is left of an earlier session of the name is not this one's.
                guard let sidecar = world.sidecar(of: name, epoch: epoch), sidecar.belongs(to: reconciler.session) else {
                    return done(.neverStarted)
                }
                guard sidecar.isAlive else { return done(.ended) }
                attend(to: sidecar)
                done(.alive(pid: 1))
            }
        case .stop(let epoch, let grace):
            if let sidecar, sidecar.epoch == epoch, !supervisor.isPartitioned {
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

    /// The names of processes are those of their sessions, so that two of one session cannot be, and what is left of an earlier
    /// epoch has to end first. Both only matter when two supervisors act.
    private func start(_ epoch: UInt32, _ done: @escaping (SessionReconciler.Answer) -> Void) {
        // Where two act, one may be slow.
        world.after(world.number(0...max(world.weather.latency, world.wasContested ? 3000 : 0))) { [self] in
            // A request that is under way arrives although its sender has been superseded; one of a sender that has died does not.
            guard supervisor.isInCharge(self) || world.wasContested && supervisor.isAlive else { return }
            let session = reconciler.session
            if supervisor.isPartitioned || world.ledger.isDeliberate && world.chance(40) {
                return done(.failed("it cannot be started"))
            }
            if let living = world.sidecar(of: name) {
                world.ledger.meets(living, epoch: epoch)
                guard (living.sessionCreated, living.epoch) < (session.metadata.creationTimestamp, epoch) else {
                    return done(.failed("epoch \(living.epoch) is alive"))
                }
                living.terminate(grace: .seconds(30))
                return done(.postponed("epoch \(living.epoch) is still ending", .seconds(1)))
            }
            world.ledger.starts(session, epoch: epoch)
            let limits = (session.spec.lifetime ?? Lifetime()).resolved(for: session.spec.key.kind).limits
            let sidecar = SimulatedSidecar(world, session: session, epoch: epoch, limits: limits)
            world.ledger.allowed(limits, in: sidecar)
            world.sidecars.append(sidecar)
            guard supervisor.isInCharge(self) else { return }
            attend(to: sidecar)
            done(.alive(pid: 1))
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
                    let before = world.store.session(named: write.name)?.status
                    let stored = try world.store.transaction { try write.perform(at: world.now, newUID: uid, in: $0) }
                    if stored != nil, before != write.expecting, before != write.status { world.ledger.overwrote(write.name) }
                    world.note(
                        "\(name.suffix(6)) is \(write.status.phase.rawValue), epoch \(write.status.epoch): \(write.status.message ?? "")\(stored == nil ? " (refused: another has written)" : "")"
                    )
                    done(stored.map { .stored($0) } ?? .deposed)
                case .change(let write):
                    let answer = try world.store.transaction { try write.perform(at: world.now, in: $0) }
                    if answer != .deposed, world.store.session(named: write.session)?.status != write.expecting {
                        world.ledger.overwrote(write.session)
                    }
                    world.note("\(write.task): \(Self.description(answer))")
                    done(answer)
                case .findAbandoned: done(.tasks(world.store.tasks(session: name)))
                case .start, .find, .stop, .call: done(.failed("not a step of the store"))
                }
            } catch {
                if case .store = step { return world.after(50) { [self] in performInStore(step, done) } }
                done(.failed("simulated"))
            }
        }
    }

    private static func description(_ answer: SessionReconciler.Answer) -> String {
        guard case .task(let task) = answer else { return "refused: another has written" }
        guard let status = task?.status else { return "gone" }
        return "\(status.phase.rawValue) \(status.turn?.description ?? "") \(status.message ?? "")"
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
