import Foundation
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// Brings one session to what its machine decides, and its Tasks to their ends.
///
/// A controller works on one input after the other, in ``run()``; nothing else touches its state, and everything that must
/// outlive it is in the store before it is acted on. It exists only while something can happen by itself: a session at rest has
/// none (``SessionManager``).
actor SessionController {
    enum Event: Sendable {
        /// The Session or one of its Tasks was written by someone else.
        case changed
        case resume
        /// The supervisor ends and is to leave no session running.
        case shutdown
        case input(SessionMachine.Input)
        /// A message of the watch over an epoch's sidecar.
        case ready(Activity)
        case activity(Activity)
        case gone(epoch: UInt32, why: String)
        case timer
    }

    private struct Waiting {
        var count = 0
        /// A `changed` is among them: another one would say nothing new.
        var changed = false
    }

    let name: String
    private let store: Store
    private let runtime: LocalRuntime
    private let metrics: Metrics
    private var logger: Logger

    private nonisolated let events: AsyncStream<Event>
    private nonisolated let mailbox: AsyncStream<Event>.Continuation
    private nonisolated let waiting = NIOLockedValueBox(Waiting())
    /// The living sidecar's API, for those who pass requests through.
    nonisolated let client = NIOLockedValueBox<SidecarClient?>(nil)

    private var session: SessionResource
    /// The status as the store has it.
    private var storedStatus: SessionResourceStatus
    /// Tasks whose turns this epoch's sidecar has been asked to cancel.
    private var cancelled: Set<String> = []
    private var machine: SessionMachine
    private var tasks: [TaskResource] = []
    private var process: SidecarProcess?
    private var watch: Task<Void, Never>?
    private var timer: (due: Timestamp, task: Task<Void, Never>)?
    /// No turn is sent before: a sidecar has refused one for now.
    private var sendAgainAt: Timestamp?
    private var shuttingDown = false
    private var replaced = false

    init(_ session: SessionResource, store: Store, runtime: LocalRuntime, metrics: Metrics, logger: Logger) {
        name = session.metadata.name
        self.session = session
        storedStatus = session.status
        self.store = store
        self.runtime = runtime
        self.metrics = metrics
        self.logger = logger
        self.logger[metadataKey: "session"] = "\(session.spec.key)"
        machine = SessionMachine(
            scope: session.spec.key.kind, lifetime: session.spec.lifetime, createdAt: session.metadata.creationTimestamp,
            stored: session.status)
        (events, mailbox) = AsyncStream.makeStream()
    }

    nonisolated func send(_ event: Event) {
        waiting.withLockedValue { waiting in
            if case .changed = event {
                if waiting.changed { return }
                waiting.changed = true
            }
            waiting.count += 1
            mailbox.yield(event)
        }
    }

    /// No event waits to be worked on.
    nonisolated var isCaughtUp: Bool { waiting.withLockedValue { $0.count == 0 } }

    /// Works until the session is at rest and `mayRest` agrees, or until another session has taken its name.
    /// - Parameter mayRest: told when the session is next due by itself; false if an event has been sent in the meantime.
    func run(mayRest: @Sendable (_ due: Timestamp?) -> Bool) async {
        defer { finish() }
        await advance(.restored)
        await reload()
        if replaced || atRest && mayRest(machine.nextDeadline) { return }
        armTimer()
        for await event in events {
            waiting.withLockedValue { waiting in
                waiting.count -= 1
                if case .changed = event { waiting.changed = false }
            }
            metrics.count { $0.reconciles += 1 }
            await handle(event)
            if replaced || atRest && mayRest(machine.nextDeadline) { return }
            armTimer()
        }
    }

    private var atRest: Bool {
        switch machine.phase {
        case .suspended, .failed, .ended: process == nil
        case .pending, .starting, .ready, .draining: false
        }
    }

    private func finish() {
        watch?.cancel()
        timer?.task.cancel()
        timer = nil
        client.withLockedValue { $0 = nil }
        mailbox.finish()
    }

    private func handle(_ event: Event) async {
        switch event {
        case .changed:
            await reload()
        case .resume:
            await advance(.resume)
        case .shutdown:
            shuttingDown = true
            var lifetime = session.spec.lifetime ?? Lifetime()
            lifetime.drainTimeout = .seconds(5)
            await advance(.spec(lifetime: lifetime, suspend: true, end: false))
        case .input(let input):
            await advance(input)
        case .ready(let activity):
            await cancelAbandonedTurns(activity)
            await follow(in: activity.journal)
            await advance(.ready(activity))
            await feed()
        case .activity(let activity):
            let before = machine.activity
            // What became of the turns is stored before the machine may stop the sidecar that knows it.
            if before.map({ Self.differ($0, activity) }) ?? true { await follow(in: activity.journal) }
            await advance(.activity(activity))
            await feed()
        case .gone(let epoch, let why):
            guard process?.epoch == epoch else { return }
            process = nil
            watch?.cancel()
            client.withLockedValue { $0 = nil }
            var reason = why
            let expected = machine.phase == .draining
            if !expected {
                metrics.count { $0.crashes += 1 }
                let log = Files.tail(runtime.directory(of: name).log)
                if !log.isEmpty { reason += "; the end of its log:\n\(log)" }
                logger.warning("the sidecar has ended", metadata: ["epoch": "\(epoch)", "why": "\(why)"])
            }
            await advance(.gone(epoch: epoch, why: reason, crashed: !expected))
        case .timer:
            timer = nil
            await advance(.tick)
            await feed()
        }
    }

    /// Whether two activities differ in more than the cursor.
    private static func differ(_ a: Activity, _ b: Activity) -> Bool {
        var a = a
        a.version = b.version
        a.cursor = b.cursor
        return a != b
    }
}

// MARK: - The machine and its effects

extension SessionController {
    /// Feeds the machine, stores what it decides, and then does it.
    private func advance(_ input: SessionMachine.Input) async {
        var inputs = [input]
        while !inputs.isEmpty, !replaced {
            let effects = machine.handle(inputs.removeFirst(), at: .now)
            await save()
            for effect in effects {
                if let answer = await perform(effect) { inputs.append(answer) }
            }
        }
    }

    /// - Returns: what the machine is to know of it at once.
    private func perform(_ effect: SessionMachine.Effect) async -> SessionMachine.Input? {
        switch effect {
        case .start(let epoch):
            metrics.count { $0.starts += 1 }
            do {
                attend(to: try runtime.start(session, epoch: epoch))
                return .started(epoch: epoch)
            } catch {
                metrics.count { $0.crashes += 1 }
                logger.error("the sidecar could not be started", metadata: ["epoch": "\(epoch)", "error": "\(error)"])
                return .gone(epoch: epoch, why: "\(error)", crashed: true)
            }
        case .checkRuntime(let epoch):
            if process != nil { return .started(epoch: epoch) }
            do {
                switch try runtime.find(session, epoch: epoch) {
                case .alive(let process):
                    metrics.count { $0.adoptions += 1 }
                    logger.info("found the running sidecar again", metadata: ["epoch": "\(epoch)", "pid": "\(process.pid)"])
                    attend(to: process)
                    return .started(epoch: epoch)
                case .ended:
                    return .gone(epoch: epoch, why: "its process ended while no supervisor was running", crashed: true)
                case .neverStarted:
                    return .gone(epoch: epoch, why: "its process was never started", crashed: false)
                }
            } catch {
                // The machine asks again: as long as it is not known that the process has ended, no other may start.
                logger.error("cannot tell whether the sidecar runs", metadata: ["epoch": "\(epoch)", "error": "\(error)"])
                return nil
            }
        case .conditionalDrain(let epoch, let idle, let reason):
            return await drain(epoch, DrainRequest(ifIdleFor: idle, reason: reason))
        case .forcedDrain(let epoch, let deadline, let reason):
            return await drain(epoch, DrainRequest(deadline: deadline, reason: reason))
        case .stop(let epoch, let grace):
            guard let process, process.epoch == epoch else { return nil }
            if let activity = machine.activity { await follow(in: activity.journal) }
            process.stop(grace: grace)
            return nil
        }
    }

    private func drain(_ epoch: UInt32, _ request: DrainRequest) async -> SessionMachine.Input? {
        guard let process, process.epoch == epoch else { return nil }
        do throws(SidecarClient.Failure) {
            try await SidecarClient(socket: process.socket).drain(request)
            metrics.count { $0.drainsAccepted += 1 }
            return .drainAccepted(epoch: epoch)
        } catch {
            metrics.count { $0.drainsRefused += 1 }
            guard case .refused(let problem) = error else { return .drainRefused(epoch: epoch, nil) }
            return .drainRefused(epoch: epoch, problem.activity)
        }
    }

    /// Watches a sidecar: when it exits, when it is ready, and every change of its activity.
    private func attend(to process: SidecarProcess) {
        self.process = process
        cancelled = []
        session.status.pid = process.pid
        let client = SidecarClient(socket: process.socket)
        self.client.withLockedValue { $0 = client }
        Task { [weak self] in
            let why = await process.exit()
            self?.send(.gone(epoch: process.epoch, why: why))
        }
        watch?.cancel()
        let report: @Sendable (Event) -> Void = { [weak self] in self?.send($0) }
        watch = Task { await Self.watch(client, epoch: process.epoch, report: report) }
    }

    private static func watch(_ client: SidecarClient, epoch: UInt32, report: @Sendable (Event) -> Void) async {
        var version: Int64?
        var announced = false
        var last: Activity?
        var pause = Duration.milliseconds(2)
        while !Task.isCancelled {
            do throws(SidecarClient.Failure) {
                let activity = try await client.activity(after: version, wait: announced ? .seconds(60) : .milliseconds(200))
                guard activity.epoch == epoch else {
                    throw .unreachable("the socket answers for epoch \(activity.epoch) instead of \(epoch)")
                }
                pause = .milliseconds(2)
                version = activity.version
                if !announced, try await client.isReady() {
                    announced = true
                    report(.ready(activity))
                } else {
                    report(.activity(activity))
                }
                // While an agent only writes, its cursor moves many times a second, and nobody here needs each of them.
                if let last, !Self.differ(last, activity), announced { try? await Task.sleep(for: .milliseconds(25)) }
                last = activity
            } catch {
                // It does not listen yet, or it hangs; that it has exited is heard of otherwise.
                if announced || pause >= .seconds(1) { report(.input(.unreachable(epoch: epoch))) }
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(1))
            }
        }
    }

    private func armTimer() {
        let due = [machine.nextDeadline, sendAgainAt].compactMap(\.self).min()
        guard timer?.due != due else { return }
        timer?.task.cancel()
        timer = due.map { due in
            (
                due,
                Task { [weak self] in
                    let wait = max(.zero, due - .now).duration + .milliseconds(1)
                    guard (try? await Task.sleep(for: wait)) != nil else { return }
                    self?.send(.timer)
                }
            )
        }
    }

    /// Stores the machine's state, if it says anything new. With the end of a session its Tasks are settled in one transaction.
    private func save() async {
        var status = session.status
        let entered = storedStatus.phase != machine.phase
        status.phase = machine.phase
        status.epoch = machine.epoch
        status.since = machine.since
        status.message = machine.message
        status.startedAt = machine.startedAt
        if let activity = machine.activity {
            status.journal = activity.journal
            if status.activity.map({ Self.differ($0, activity) }) ?? true { status.activity = activity }
        } else if machine.phase != .ready, machine.phase != .draining {
            status.activity = nil
        }
        if process == nil { status.pid = nil }
        status.conditions = [Self.condition(machine, before: session.status.conditions.first)]
        guard status != storedStatus else { return }
        if entered {
            logger.info(
                "session is \(status.phase.rawValue)",
                metadata: ["epoch": "\(status.epoch)", "why": "\(status.message ?? "")"])
        }
        let (uid, new, waiting) = (session.metadata.uid, status, waitingMessage)
        let (phase, changed) = (status.phase, entered)
        await persist { store in
            guard var session = try store.get(SessionResource.self, self.name), session.metadata.uid == uid else { return nil }
            session.status = new
            session = try store.update(session)
            if changed { try Self.settleTasks(of: session, phase: phase, waiting: waiting, in: store) }
            return session
        }
    }

    private static func condition(_ machine: SessionMachine, before: Condition?) -> Condition {
        let status: Condition.Status = machine.phase == .ready ? .true : .false
        return Condition(
            type: "Ready", status: status, reason: machine.phase.rawValue, message: machine.message ?? "",
            lastTransitionTime: before?.status == status ? before?.lastTransitionTime ?? machine.since : machine.since)
    }

    /// Runs a transaction until the disk takes it: nothing is done before it is stored.
    private func persist(_ body: @escaping @Sendable (StoreTransaction) throws -> SessionResource?) async {
        var pause = Duration.milliseconds(50)
        while !Task.isCancelled {
            do {
                guard let stored = try await store.write(body) else {
                    replaced = true
                    return
                }
                session = stored
                storedStatus = stored.status
                return
            } catch {
                logger.error("the session's status could not be stored; trying again", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(5))
            }
        }
        replaced = true
    }
}

// MARK: - Tasks

extension SessionController {
    private func reload() async {
        let name = name
        do {
            let (session, tasks) = try await store.read { store in
                (try store.get(SessionResource.self, name), try store.openTasks(session: name))
            }
            guard let session, session.metadata.uid == self.session.metadata.uid else {
                replaced = true
                return
            }
            // The status is this controller's own and may be ahead of what was read.
            self.session.spec = session.spec
            self.tasks = tasks
        } catch {
            logger.error("the session could not be read", metadata: ["error": "\(error)"])
            return
        }
        if !shuttingDown {
            await advance(
                .spec(lifetime: session.spec.lifetime, suspend: session.spec.suspend ?? false, end: session.spec.end ?? false))
        }
        await advance(.tasks(open: tasks.count))
        await feed()
    }

    /// Hands waiting Tasks over, in the order of their creation, and passes cancellations on.
    private func feed() async {
        guard !replaced else { return }
        var progressed = false
        if machine.acceptsTurns || machine.phase == .draining, let activity = machine.activity, let process {
            let client = SidecarClient(socket: process.socket)
            for task in tasks {
                if let turn = task.status.turn {
                    guard task.status.cancelRequested == true, !cancelled.contains(task.metadata.uid) else { continue }
                    if (try? await client.cancel(turn)) != nil { cancelled.insert(task.metadata.uid) }
                } else if machine.acceptsTurns, sendAgainAt.map({ $0 <= .now }) ?? true {
                    sendAgainAt = nil
                    // First come, first served: what is refused for now holds up those behind it.
                    guard await handOver(task, to: client, journal: activity.journal) else { break }
                    progressed = true
                }
            }
        } else {
            sendAgainAt = nil
            await explainWaiting()
        }
        if progressed { await countTasks() }
    }

    private func countTasks() async {
        tasks.removeAll { $0.status.phase.isTerminal }
        await advance(.tasks(open: tasks.count))
    }

    /// - Returns: false when the sidecar takes no turn for now.
    private func handOver(_ waiting: TaskResource, to client: SidecarClient, journal: String) async -> Bool {
        let cancelled = waiting.status.cancelRequested == true
        var task: TaskResource? = waiting
        if waiting.status.sentTo == nil {
            task = await update(waiting) { status in
                guard status.cancelRequested != true else { return }
                status.sentTo = journal
            }
        }
        guard let task, task.status.sentTo == journal, !task.status.phase.isTerminal else { return true }
        do throws(SidecarClient.Failure) {
            if cancelled, try await !client.knows(key: task.metadata.uid) {
                await end(task, .cancelled, .cancelled, "cancelled before it was handed over")
                return true
            }
            let turn = try await client.enqueue(task.spec.turnRequest, key: task.metadata.uid)
            metrics.count { $0.turnsAccepted += 1 }
            await update(task) { $0.take(turn) }
            if cancelled { try await client.cancel(turn.id) }
            return true
        } catch {
            switch error {
            case .refused(let problem):
                return await refused(task, problem)
            case .unreachable(let why):
                // It may have arrived: the journal's name stays, and the same key asks again.
                sendAgainAt = .now + .seconds(1)
                await update(task) { $0.message = "the session did not answer: \(why)" }
                return false
            }
        }
    }

    /// The sidecar has said that it did not take the turn.
    private func refused(_ task: TaskResource, _ problem: Problem) async -> Bool {
        switch problem.status {
        case 429, 503, 507:
            metrics.count { $0.turnsDeferred += 1 }
            sendAgainAt = .now + .seconds(Int64(max(1, problem.retryAfter ?? 5)))
            await update(task) { status in
                status.sentTo = nil
                if status.cancelRequested == true {
                    status.end(.cancelled, .cancelled, "cancelled before it was handed over", at: .now)
                } else {
                    status.message = "waits: \(problem.detail)"
                }
            }
            return false
        default:
            await end(task, .failed, .rejected, problem.detail)
            return true
        }
    }

    /// Asks what became of the turns of all open Tasks. Those that were handed to another journal than this one are lost.
    private func follow(in journal: String) async {
        guard let process else { return }
        let client = SidecarClient(socket: process.socket)
        // Room may have come free.
        sendAgainAt = nil
        for task in tasks {
            if let sentTo = task.status.sentTo, sentTo != journal {
                await end(task, .interrupted, .journalLost, Self.journalLost(sentTo, journal))
                continue
            }
            guard let id = task.status.turn else { continue }
            do {
                if let turn = try await client.turn(id) {
                    await update(task) { $0.take(turn) }
                } else {
                    await end(task, .interrupted, .journalDamaged, "the session's journal no longer has turn \(id)")
                }
            } catch {
                // The next change of the activity asks again.
                logger.debug("turn \(id) could not be read", metadata: ["error": "\(error)"])
                break
            }
        }
        if let status = try? await client.session() {
            session.status.turns = status.turns
            session.status.usage = status.usage
            session.status.workspace = status.workspace
        }
        if tasks.contains(where: { $0.status.phase.isTerminal }) { await countTasks() }
    }

    /// Turns whose Tasks were ended when the session failed are not to run after its revival.
    private func cancelAbandonedTurns(_ activity: Activity) async {
        guard let process else { return }
        let name = name
        let recent = (try? await store.read { try $0.tasks(session: name, limit: 200) }) ?? []
        let client = SidecarClient(socket: process.socket)
        for task in recent where task.status.reason == .sessionFailed && task.status.sentTo == activity.journal {
            if let turn = task.status.turn { try? await client.cancel(turn) }
        }
    }

    private func end(_ task: TaskResource, _ phase: TaskPhase, _ reason: EndReason, _ message: String) async {
        await update(task) { $0.end(phase, reason, message, at: .now) }
    }

    /// Changes the status of a Task that has not ended, in the store and here.
    /// - Returns: the Task as it is stored now.
    @discardableResult
    private func update(_ task: TaskResource, _ change: @escaping @Sendable (inout TaskStatus) -> Void) async -> TaskResource? {
        // Most of what a sidecar says again and again is nothing new, and then nothing is written.
        var guess = task
        change(&guess.status)
        if guess.status == task.status { return task }
        do {
            let stored = try await store.write { store in
                guard var stored = try store.get(TaskResource.self, task.metadata.name) else { return nil as TaskResource? }
                let before = stored.status
                guard !before.phase.isTerminal else { return stored }
                change(&stored.status)
                return stored.status == before ? stored : try store.update(stored)
            }
            if let stored, let index = tasks.firstIndex(where: { $0.metadata.uid == stored.metadata.uid }) {
                tasks[index] = stored
            }
            return stored
        } catch {
            logger.error("a Task could not be stored", metadata: ["task": "\(task.metadata.name)", "error": "\(error)"])
            return nil
        }
    }

    /// Why Tasks that are not handed over wait.
    private var waitingMessage: String {
        switch machine.phase {
        case .pending, .starting: machine.message.map { "waits for its session: \($0)" } ?? "waits for its session to start"
        case .ready: "is being handed over"
        case .draining: "waits for its session, which is draining, to wake again"
        case .suspended: machine.message.map { "waits for its session: \($0)" } ?? "waits for its session to wake"
        case .failed, .ended: "its session has ended"
        }
    }

    private func explainWaiting() async {
        guard [.pending, .starting, .draining, .suspended].contains(machine.phase) else { return }
        let message = waitingMessage.prefix(bytes: 2000)
        for task in tasks where task.status.turn == nil && task.status.message != message {
            await update(task) { if $0.turn == nil { $0.message = message } }
        }
    }

    private static func journalLost(_ sentTo: String, _ journal: String) -> String {
        "it was handed to journal \(sentTo), which is gone (the session has journal \(journal) now), so it is not known what was done of it"
    }

    /// Ends or moves on the Tasks of a session that has failed or ended, together with it.
    private static func settleTasks(
        of session: SessionResource, phase: SessionPhase, waiting: String, in store: StoreTransaction
    ) throws {
        guard phase == .failed || phase == .ended else { return }
        let why = session.status.message ?? phase.rawValue
        for var task in try store.openTasks(session: session.metadata.name) {
            if phase == .failed {
                let sent = task.status.sentTo != nil
                task.status.end(
                    sent ? .interrupted : .failed, .sessionFailed,
                    "the session failed: \(why)".prefix(bytes: 4000), at: .now)
            } else if task.status.sentTo != nil {
                // One that was cut off waits to be taken up again, and has run.
                let ran = task.status.attempts != nil
                task.status.end(ran ? .interrupted : .failed, .sessionEnded, "the session ended first (\(why))", at: .now)
            } else {
                // Nobody has seen it yet: it goes to a new session of the same key.
                task.status.message = "waits for a new session: the earlier one has ended"
                try TaskRouting.attach(
                    &task, to: session.spec.key, scope: session.spec.scope, fallback: session.spec.worker, at: .now, in: store)
            }
            try store.update(task)
        }
    }
}

extension TaskStatus {
    /// Takes over what a sidecar says of the Task's turn.
    mutating func take(_ turn: Turn) {
        self.turn = turn.id
        phase = TaskPhase(turn.state)
        cursor = turn.cursor ?? cursor
        startTime = turn.startedAt
        completionTime = turn.endedAt
        position = turn.position
        reason = turn.reason
        results = turn.results
        attempts = turn.attempts
        notices = turn.notices
        message = turn.message ?? turn.input.map { "the agent asks: \($0.question)" }
    }

    mutating func end(_ phase: TaskPhase, _ reason: EndReason, _ message: String, at now: Timestamp) {
        self.phase = phase
        self.reason = reason
        self.message = message
        position = nil
        completionTime = now
    }
}
