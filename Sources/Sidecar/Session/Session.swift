import AgentHost
import Agents
import CLinux
import FoundationEssentials
import Glibc
import HTTPServing
public import Journal
public import Logging
import Processes
public import SessionModel
import Workspace

/// A session's shell: it feeds the turn queue, records what the queue decides, and performs its effects once they are durable.
///
/// All policy is in ``SessionModel/TurnQueue``. What is here: one journal, one agent host that is started again when it dies,
/// one driver, one working directory, and those who wait for a change.
public actor Session {
    public nonisolated let journal: Journal
    nonisolated let options: SessionOptions
    nonisolated let deltas = LiveDeltas()
    nonisolated let secrets: KnownSecrets
    nonisolated let startedAt: Timestamp
    private let logger: Logger
    private let host: CurrentHost
    /// The environment of what the host runs; nil until that is known.
    private var environment: [String: String]?
    private var madeTools: Tools?

    private var queue: TurnQueue
    private var signal: ChangeSignal
    private var timer: (due: Timestamp, alarm: Alarm)?
    /// Set between turns: what they took is given back when none has come for a while.
    private var rest: Alarm?
    /// Effects that wait for what was recorded before them to be durable.
    private var outbox: [(sequence: UInt64, effects: [TurnQueue.Effect])] = []
    private var outboxRuns = false
    private var turnTask: Task<Void, Never>?
    /// The turn whose agent is at work, as opposed to its workspace being prepared.
    private var driverTurn: TurnID?
    private var hostTask: Task<Void, Never>?
    private var storageFault: String?

    // MARK: Starting

    /// Opens the journal and recovers the queue. Nothing runs before ``start()``.
    /// - Throws: `JournalError`.
    public init(
        _ options: SessionOptions, logger: Logger, onTrouble: @escaping @Sendable (Journal.Trouble) -> Void
    ) throws {
        let now = Timestamp.now
        self.options = options
        self.logger = logger
        startedAt = now
        signal = ChangeSignal(startingAt: now)
        let (journal, recovered, gaps) = try Journal.open(
            state: options.state, epoch: options.epoch, now: now, onTrouble: onTrouble)
        var queue = recovered
        queue.limits = options.limits
        // Decided and appended before any other input can come.
        var effects = queue.handle(
            .opened(epoch: journal.epoch, SessionOpened(version: Version.current, session: options.key)), at: now)
        for gap in gaps { effects += queue.handle(.damaged(gap), at: now) }
        effects += queue.handle(.agentConfigured(options.agent != nil), at: now)
        for case .record(let body, let turn) in effects { journal.append(body, turn: turn, at: now) }
        self.journal = journal
        self.queue = queue

        let secrets = KnownSecrets(options.secrets)
        self.secrets = secrets
        let host = CurrentHost(secrets: secrets)
        self.host = host
        if case .child = options.hostPlacement { environment = options.environment }
    }

    /// What works on a turn. The driver is nil without an agent.
    private typealias Tools = (driver: (any AgentDriver)?, workspace: Workspace)

    /// Nil until the environment is known.
    private var tools: Tools? {
        if madeTools == nil, let environment { madeTools = makeTools(in: environment) }
        return madeTools
    }

    private var driver: (any AgentDriver)? { tools?.driver }

    private func makeTools(in environment: [String: String]) -> Tools {
        let workspace = Workspace(options.workspace, directory: options.directory, host: host, environment: environment)
        let driver = options.agent.map {
            let environment = AgentEnvironment(
                environment.merging(["HOLDFAST_AGENT_STATE": options.state + "/agent"]) { $1 }, for: $0,
                learn: { [secrets] in secrets.learn($0) })
            // What the set-up command prints comes before the agent's start. A missing one is the first turn's trouble.
            _ = try? environment.read()
            return AgentDrivers.make(
                description: $0, host: host, environment: environment, workspace: options.workspace,
                digest: { [weak self] in await self?.digest ?? "" })
        }
        return (driver, workspace)
    }

    private var digest: String { Digest.text(of: queue.recent) }

    /// Starts the agent host, and with it the queue.
    public func start() {
        guard options.agent != nil, hostTask == nil else { return }
        hostTask = Task { await keepHost() }
    }

    /// Ends what runs, and the journal last. The queue has been drained.
    public func stop() async {
        hostTask?.cancel()
        await hostTask?.value
        timer?.alarm.cancel()
        rest?.cancel()
        backgroundTask?.cancel()
        await turnTask?.value
        await journal.close()
    }

    // MARK: The queue

    /// One step of the machine: decide, record, and put what follows in the outbox.
    @discardableResult
    private func handle(_ input: TurnQueue.Input) -> (reply: TurnQueue.Reply?, sequence: UInt64) {
        let now = Timestamp.now
        let input = redacted(input)
        var reply: TurnQueue.Reply?
        var later: [TurnQueue.Effect] = []
        for effect in queue.handle(input, at: now) {
            switch effect {
            case .record(let body, let turn): journal.append(body, turn: turn, at: now)
            case .reply(let answer): reply = answer
            default: later.append(effect)
            }
        }
        let sequence = journal.appended
        journal.rotateIfNeeded(at: now) { queue.checkpoint }
        if !later.isEmpty {
            outbox.append((sequence, later))
            runOutbox()
        }
        signal.change()
        schedule()
        return (reply, sequence)
    }

    /// What comes from the agent and its host, without secrets.
    private func redacted(_ input: TurnQueue.Input) -> TurnQueue.Input {
        let redact = secrets.redactor
        return switch input {
        case .hostLost(let reason): .hostLost(reason: redact(reason))
        case .background(let processes): .background(processes.map { redact($0) })
        case .ask(let turn, let request): .ask(turn, redact(request))
        case .finished(let turn, let end, let clean): .finished(turn, redact(end), clean: clean)
        default: input
        }
    }

    private func schedule() {
        let due = queue.nextDeadline
        guard due != timer?.due else { return }
        timer?.alarm.cancel()
        // Time may have jumped, so the queue looks at the clock itself; it never hurts to ask again.
        timer = due.map { due in (due, Alarm(in: (due - .now).duration) { [weak self] in await self?.tick() }) }
    }

    private func tick() {
        timer = nil
        handle(.tick)
    }

    private func runOutbox() {
        guard !outboxRuns else { return }
        outboxRuns = true
        Task {
            while !outbox.isEmpty {
                let (sequence, effects) = outbox.removeFirst()
                guard await journal.eventuallySynced(sequence) else { break }
                for effect in effects { perform(effect) }
            }
            outboxRuns = false
        }
    }

    private func perform(_ effect: TurnQueue.Effect) {
        switch effect {
        case .record, .reply: break
        case .dispatch(let id):
            let previous = turnTask
            turnTask = Task {
                await previous?.value
                await run(id)
            }
        case .interrupt(let id):
            // It may have been taken back meanwhile: then what runs is another's.
            guard queue.running?.id == id else { return }
            if driverTurn == id {
                Task { await driver?.interrupt() }
            } else {
                // Its workspace is being prepared: there is no agent to ask, and git may be ended.
                Task { try? await host.endAll(grace: options.processGrace) }
            }
        case .answer(_, let answer):
            Task { await driver?.answer(answer) }
        case .endProcesses(let reason):
            Task { await endProcesses(reason) }
        }
    }

    /// Ends what an incarnation left that was killed together with its host. Returns when none of it is alive, however long that
    /// takes: nothing may be dispatched beside it.
    private func endSurvivors() async {
        let targets = ProcessSweep.Targets(marker: options.marker)
        let grace = options.processGrace.duration
        while !Task.isCancelled {
            let left = await withCheckedContinuation { continuation in
                detachThread {
                    continuation.resume(returning: ProcessSweep.end(targets, grace: grace, within: grace + .seconds(30)))
                }
            }
            if left.isEmpty { return }
            let names = left.prefix(10).map { "\(secrets.redactor($0.command).prefix(bytes: 80)) (\($0.pid))" }
                .joined(separator: ", ")
            logger.error(
                "processes of an earlier incarnation cannot be ended; nothing is dispatched before",
                metadata: ["left": "\(names)"])
        }
    }

    /// Ends every process, and reports when none is alive. Where the host cannot, the host itself is ended.
    private func endProcesses(_ reason: String) async {
        if let running = try? await host.processes(), !running.isEmpty {
            let names = running.prefix(10).map { "\(secrets.redactor($0.command).prefix(bytes: 80)) (\($0.pid))" }
                .joined(separator: ", ")
            record(.agentReleased(Reason("\(reason); ended: \(names)")), turn: nil)
        }
        do {
            try await host.endAll(grace: options.processGrace)
            await forgetProcesses()
            handle(.hostClear)
        } catch {
            // A host that is gone has taken everything under it along, or is swept up after.
            guard let hostLink else { return }
            // A host that does not end what it runs is no host: it is given up, and everything under it with it.
            logger.error("processes could not be ended", metadata: ["error": "\(error)"])
            try? await hostLink.close("it did not end its processes: \(error)")
        }
    }

    private var isStopping: Bool { queue.isStopping }

    private func forgetProcesses() async {
        await driver?.processesEnded()
        await tools?.workspace.processesEnded()
    }

    // MARK: A turn

    private func run(_ id: TurnID) async {
        guard let turn = queue.running, turn.id == id, let tools, let driver = tools.driver else { return }
        rest?.cancel()
        defer { rest = Alarm(in: .seconds(3)) { clinux_give_back_memory() } }
        let attempt = turn.attempts
        let reporter = SessionReporter(session: self, turn: id, attempt: attempt)
        var outcome: TurnOutcome
        do {
            let notes = try await tools.workspace.prepare(unless: { await self.isStopping }) { step in
                await reporter.record(.workspaceStep(step))
            }
            if queue.isStopping {
                outcome = TurnOutcome(
                    TurnEnded(state: .cancelled, reason: .cancelled, message: "stopped before the agent began"), clean: false)
            } else {
                driverTurn = id
                let text = notes.map { "[Holdfast] \($0)\n" }.joined() + (notes.isEmpty ? "" : "\n") + promptText(of: turn)
                if text != turn.prompt { await reporter.record(.turnPrompted(TurnPrompted(text: text))) }
                outcome = await driver.run(
                    AgentPrompt(
                        turn: id, text: text, model: turn.model, effort: turn.effort, directory: options.directory,
                        conversation: queue.conversation, lostMemory: queue.lostMemory,
                        inputTimeout: queue.limits.inputTimeout,
                        raw: turn.raw ?? options.raw),
                    reporting: reporter)
                driverTurn = nil
                await reporter.finish()
                if !outcome.clean, outcome.end.state != .succeeded, hostLink.map({ $0.lost != nil }) ?? true {
                    // The driver saw the agent end; it ended with its host.
                    outcome.end.state = .interrupted
                    outcome.end.reason = .hostLost
                }
                await describeWorkspace(in: &outcome, reporter)
            }
        } catch {
            let lost = error.host?.code == .lost
            // A host that failed is not fit for the next turn: it would only cost that one, too.
            outcome = TurnOutcome(
                TurnEnded(
                    state: lost ? .interrupted : .failed, reason: lost ? .hostLost : .workspace,
                    message: "\(error.message) \(error.advice)"), clean: error.host == nil)
        }
        let warm = await driver.status.warm
        // It may have been taken for lost, and be running again.
        guard isRunning(id, attempt: attempt) else { return }
        handle(.finished(id, outcome.end, clean: outcome.clean))
        handle(.agentWarm(warm && outcome.clean))
        if outcome.clean { await watchBackground() }
    }

    // MARK: What the agent leaves running

    /// The processes that belong to the agent itself: what ran when its conversation began.
    private var agentProcesses: Set<Int32> = []
    private var backgroundTask: Task<Void, Never>?

    /// Called when a conversation has begun, before its first prompt.
    func noteAgentProcesses() async {
        agentProcesses = Set((try? await host.processes())?.map(\.pid) ?? [])
    }

    /// Tells the queue what the agent has left running after a turn, and goes on looking while that keeps the session from being
    /// idle.
    private func watchBackground() async {
        backgroundTask?.cancel()
        guard await noteBackground() else { return }
        backgroundTask = Task {
            while (try? await Task.sleep(for: .seconds(5))) != nil, await noteBackground() {}
        }
    }

    /// - Returns: whether it is worth looking again.
    private func noteBackground() async -> Bool {
        guard let running = try? await host.processes(), queue.running == nil else { return false }
        let left = running.filter { !agentProcesses.contains($0.pid) }
        handle(.background(left.map { $0.command.prefix(bytes: 200) }))
        return !left.isEmpty && queue.limits.countBackground
    }

    private func promptText(of turn: Turn) -> String {
        guard let interruption = turn.interruption, interruption.next == .continue else { return turn.prompt }
        let last = try? TranscriptReader.lastToolCall(of: turn.id, state: options.state, upTo: journal.durable)
        return "[Holdfast] " + Continuation.text(prompt: turn.prompt, interruption: interruption, last: last ?? nil)
    }

    private func isRunning(_ id: TurnID, attempt: Int?) -> Bool {
        queue.running.map { $0.id == id && $0.attempts == attempt } ?? false
    }

    /// Adds how the working directory stands to a turn's results. That it cannot be told is told, and fails no turn.
    private func describeWorkspace(in outcome: inout TurnOutcome, _ reporter: SessionReporter) async {
        do throws(WorkspaceError) {
            guard let state = try await tools?.workspace.state() else { return }
            guard state != WorkspaceState() else { return }  // No repository.
            await reporter.record(.workspaceState(state))
            var results = outcome.end.results ?? TurnResults()
            results.workspace = state
            outcome.end.results = results
        } catch {
            await reporter.record(.workspaceStep(WorkspaceStep(.failed, error.message)))
        }
    }

    /// Appends an event that is not the queue's own.
    @discardableResult
    private func record(_ body: EventBody, turn: TurnID?) -> UInt64 {
        let now = Timestamp.now
        let body = secrets.redactor(body)
        queue.apply(body, turn: turn, at: now)
        let sequence = journal.append(body, turn: turn, at: now)
        journal.rotateIfNeeded(at: now) { queue.checkpoint }
        return sequence
    }

    /// Appends what the agent did, unless that attempt at the turn is over or the disk is full. Nil when it was not appended.
    func report(_ body: EventBody, turn: TurnID, attempt: Int?) -> UInt64? {
        guard isRunning(turn, attempt: attempt), storageFault == nil else { return nil }
        return record(body, turn: turn)
    }

    func isStopping(_ turn: TurnID, attempt: Int?) -> Bool { !isRunning(turn, attempt: attempt) || queue.isStopping }

    func ask(_ request: InputRequest, turn: TurnID, attempt: Int?) {
        if isRunning(turn, attempt: attempt) { handle(.ask(turn, request)) }
    }

    func withdrawQuestion(of turn: TurnID, attempt: Int?) {
        if isRunning(turn, attempt: attempt) { handle(.askWithdrawn(turn)) }
    }

    // MARK: The agent host

    private var hostLink: HostLink?
    /// The host's container is being stopped, and it has been released: no other will come.
    private var hostWasReleased = false

    private func connectHost() async throws(HostError) -> HostLink {
        switch options.hostPlacement {
        case .child(let program):
            return try await HostLink.start(
                directory: options.runtime, marker: options.marker, executable: program, logger: logger)
        case .container(let user):
            let link = try await HostLink.listen(
                directory: options.runtime, marker: options.marker, peerUser: user, deadline: .minutes(5), logger: logger)
            if environment == nil {
                secrets.learn(Secrets.values(ofEnvironment: link.environment))
                environment = link.environment
            }
            Task {
                guard await link.waitUntilTerminating() else { return }
                logger.notice("the agent's container is being stopped", metadata: ["grace": "\(options.grace)"])
                await drainForShutdown(grace: options.grace)
                hostWasReleased = true
                try? await link.release()
            }
            return link
        }
    }

    /// Starts the agent host, and again whenever it ends; until the task is cancelled.
    private func keepHost() async {
        await endSurvivors()
        var failures = 0
        while !Task.isCancelled {
            do {
                let link = try await connectHost()
                // A host is the first process of its container, and ends with it.
                if case .container = options.hostPlacement { await madeTools?.workspace.containerReplaced() }
                hostLink = link
                host.connect(link)
                failures = 0
                record(.hostConnected(HostConnected(pid: link.hostProcess)), turn: nil)
                handle(.hostConnected)
                let reason = await link.waitUntilLost()
                host.disconnect()
                hostLink = nil
                await forgetProcesses()
                guard let reason else {
                    // This task is cancelled, and waits would end at once: the release goes on in one that is not.
                    try await Task { try await link.release() }.value
                    return
                }
                if hostWasReleased { return }
                handle(.hostLost(reason: reason))
                await sweep(after: link)
            } catch {
                failures += 1
                logger.error("the agent host could not be started", metadata: ["error": "\(error)"])
                signal.change()
            }
            let pause = min(30_000, 100 << min(failures, 8))
            try? await Task.sleep(for: .milliseconds(failures == 0 ? 0 : pause))
        }
    }

    /// Ends what a lost host left behind. No process may outlive its host: only then may another host dispatch.
    private func sweep(after link: HostLink) async {
        while !Task.isCancelled {
            do throws(HostError) {
                return try await link.sweepSurvivors()
            } catch {
                logger.error("processes of a lost host are alive; nothing is dispatched before", metadata: ["error": "\(error)"])
            }
        }
    }

    // MARK: Storage

    /// What the journal's thread says of the disk.
    public func storage(_ trouble: Journal.Trouble) {
        switch trouble {
        case .full(let reason):
            storageFault = reason
            logger.error("the disk is full or read-only", metadata: ["error": "\(reason)"])
            handle(.storage(full: true))
        case .recovered:
            storageFault = nil
            logger.notice("the disk can be written again")
            handle(.storage(full: false))
        case .broken:
            break  // The process is ending.
        }
    }
}

// MARK: - What the API asks

extension Session {
    /// Accepts a turn, and returns when that is durable. The wait is not on the actor: many share one fdatasync, and none of them
    /// has to come back here.
    /// - Returns: the turn, and whether it is new or was made by the same key before.
    /// - Throws: `Problem`.
    nonisolated func enqueue(_ request: TurnRequest, key: KeyDigest?) async throws -> (turn: Turn, isNew: Bool) {
        let (turn, isNew, sequence) = try await accept(request, key: key)
        do {
            try await journal.synced(sequence)
        } catch {
            // Not durable, so not accepted: if the line reaches the disk after all, its cancellation follows it there.
            if isNew, await !withdraw(turn.id, unlessDurable: sequence) { return (turn, true) }
            throw Problem(.storageFull, error.message, retryAfter: 10)
        }
        return (turn, isNew)
    }

    /// - Returns: the turn, and the event that has to be durable before anybody is told of it.
    private func accept(
        _ request: TurnRequest, key: KeyDigest?
    ) async throws -> (turn: Turn, isNew: Bool, sequence: UInt64) {
        let before = journal.appended
        let (reply, sequence) = handle(.enqueue(request, key: key))
        switch reply {
        case .accepted(let id):
            guard var turn = queue.turn(id) else { throw Problem(.internal, "turn \(id) is gone") }
            turn.cursor = Cursor(journal: journal.id, sequence: before)
            return (turn, true, sequence)
        case .repeated(let id): return (try await self.turn(id), false, sequence)
        case .refused(let problem): throw withActivity(problem)
        case .done, nil: throw Problem(.internal, "the queue gave no answer")
        }
    }

    /// Takes a turn back that nobody was told of. As long as its line is not durable nothing has come of it: its dispatch, too, waits
    /// for that in the outbox, and finds that it is over.
    /// - Returns: false when it is durable by now, and so accepted.
    private func withdraw(_ id: TurnID, unlessDurable sequence: UInt64) -> Bool {
        guard journal.durable < sequence else { return false }
        handle(.withdraw(id))
        return true
    }

    /// A turn, however long ago it was. Waits up to `wait` for its state to change, unless it has ended.
    func turn(_ id: TurnID, wait: TimeSpan = .zero) async throws -> Turn {
        let deadline = Timestamp.now + wait
        let first = queue.turn(id)?.state
        while let turn = queue.turn(id), !turn.state.isTerminal, turn.state == first, Timestamp.now < deadline {
            try await waitForChange(after: signal.version, until: deadline)
        }
        // What is known now, once it is durable: while that is waited for, more may happen that is not.
        let known = queue.turn(id)
        var unsettled: (any Error)?
        do {
            try await durablySettled()
            if let known { return known }
        } catch {
            // Then what the disk says of it, where that is anything.
            unsettled = error
        }
        guard id.ordinal <= queue.lastOrdinal else { throw Problem(.notFound, "There is no turn \(id) in this session.") }
        let (state, end) = (options.state, journal.durable)
        guard let turn = try await offLoop({ try TranscriptReader.turn(id, state: state, upTo: end) }) else {
            throw unsettled ?? Problem(.notFound, "Turn \(id) cannot be read from the transcript.")
        }
        return turn
    }

    func turns() async -> TurnList {
        let list = TurnList(turns: queue.turns, total: queue.lastOrdinal)
        try? await settled()
        return list
    }

    func cancel(_ id: TurnID) async throws -> Turn {
        try await decide(.cancel(id))
        return try await turn(id)
    }

    func answer(_ id: TurnID, _ answer: InputAnswer) async throws -> Turn {
        try await decide(.answer(id, answer))
        return try await turn(id)
    }

    func drain(_ request: DrainRequest) async throws -> Activity {
        try await decide(.drain(request))
        return activity
    }

    func keepAlive(_ span: TimeSpan) async throws -> Activity {
        try await decide(.keepAlive(span))
        return activity
    }

    /// Other limits hold from now on; the next epoch is started with its own.
    func limit(_ limits: TurnLimits) -> TurnLimits {
        handle(.limits(limits))
        return queue.limits
    }

    /// Keeps what the git gateway says of a fetch or a push, as a part of the turn that runs.
    func record(_ transfer: GitTransfer) async throws {
        guard storageFault == nil else {
            throw Problem(.storageFull, "The disk is full, so nothing can be recorded.", retryAfter: 5)
        }
        let sequence = record(.git(transfer), turn: queue.running?.id)
        do {
            try await journal.synced(sequence)
        } catch {
            throw Problem(.storageFull, error.message, retryAfter: 5)
        }
    }

    func attach() { handle(.attached) }
    func detach() { handle(.detached) }

    /// Hands the queue an input, and returns when what it decided is durable.
    private func decide(_ input: TurnQueue.Input) async throws {
        let (reply, sequence) = handle(input)
        if case .refused(let problem) = reply { throw withActivity(problem) }
        do {
            try await journal.synced(sequence)
        } catch {
            throw Problem(.storageFull, error.message, retryAfter: 10)
        }
    }

    /// A reader may see only what is durable.
    private func settled() async throws { try await journal.settled() }

    /// What became of a turn is told only when no crash can take it back. A full disk has a reserve for that; where even that is
    /// used up, it is not told.
    private func durablySettled() async throws {
        let sequence = journal.appended
        do throws(JournalError) {
            try await journal.synced(sequence)
        } catch {
            let wait = Task { await journal.eventuallySynced(sequence) }
            let timeout = Task {
                try? await Task.sleep(for: .seconds(1))
                wait.cancel()
            }
            defer { timeout.cancel() }
            guard await wait.value else { throw Problem(.storageFull, error.message, retryAfter: 1) }
        }
    }

    private func withActivity(_ problem: Problem) -> Problem {
        guard problem.kind == .busy else { return problem }
        var problem = problem
        problem.activity = activity
        return problem
    }

    var activity: Activity {
        let waiting = queue.waitingFor
        return Activity(
            version: signal.version, journal: journal.id, epoch: journal.epoch, busy: queue.isBusy(at: .now),
            idleSince: queue.idleSince, running: queue.running?.id, awaitingInput: queue.running?.input,
            queued: queue.queued.count,
            attached: queue.attached, keepAliveUntil: queue.keepAliveUntil, draining: queue.draining != nil,
            drained: queue.drained,
            waitingFor: waiting, cursor: journal.cursor)
    }

    /// The activity, at once or when it is no longer of version `after`; at the latest after `wait`.
    func activity(after: Int64?, wait: TimeSpan) async throws -> Activity {
        let deadline = Timestamp.now + wait
        while let after, after == signal.version, Timestamp.now < deadline {
            try await waitForChange(after: after, until: deadline)
        }
        let answer = activity
        try? await settled()
        return answer
    }

    private func waitForChange(after version: Int64, until deadline: Timestamp) async throws {
        guard signal.version == version else { return }
        let ticket = signal.ticket()
        let timeout = Alarm(in: (deadline - .now).duration) { await self.release(ticket) }
        defer { timeout.cancel() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled { continuation.resume() } else { signal.park(continuation, ticket: ticket) }
            }
        } onCancel: {
            Task { await release(ticket) }
        }
        try Task.checkCancellation()
    }

    private func release(_ ticket: UInt64) { signal.release(ticket) }

    /// Why the session cannot work at present, each reason as a sentence; empty when it is ready.
    var notReady: [String] {
        var reasons: [String] = []
        // That the journal can be written again may not have reached the queue yet, which then still refuses turns.
        if let fault = journal.fault?.message ?? storageFault.map({ "The journal could not be written: \($0)." }) {
            reasons.append(fault)
        }
        if options.agent != nil, hostLink == nil { reasons.append("The agent host is not connected.") }
        if let draining = queue.draining { reasons.append("The session is draining: \(draining.reason).") }
        return reasons
    }

    func status() async -> SessionStatus {
        try? await settled()
        let agent = await driver?.status ?? AgentStatus()
        let reasons = notReady
        return SessionStatus(
            session: options.key, version: Version.current, startedAt: startedAt, ready: reasons.isEmpty, notReady: reasons,
            agent: AgentStatus(
                driver: agent.driver, name: agent.name, warm: agent.warm, conversation: agent.conversation ?? queue.conversation),
            workspace: queue.workspace, directory: options.directory, turns: queue.counts, usage: queue.usage, activity: activity,
            limits: queue.limits)
    }

    /// Returns when its result was kept for as long as it was to be, and all that happened is durable.
    public func waitUntilItEndsByItself() async {
        while !queue.endsByItself {
            guard (try? await waitForChange(after: signal.version, until: .now + .hours(24))) != nil else { return }
        }
        try? await durablySettled()
    }

    /// Drains for a SIGTERM, and returns when nothing runs any more.
    public func drainForShutdown(grace: TimeSpan) async {
        handle(.drain(DrainRequest(deadline: grace, reason: "the sidecar was told to end")))
        // The queue's own deadlines bound this; the margin is for a disk that does not answer.
        let deadline = Timestamp.now + grace + queue.limits.cancelGrace + options.processGrace + .seconds(5)
        while !queue.drained || queue.running != nil, Timestamp.now < deadline {
            try? await waitForChange(after: signal.version, until: deadline)
        }
    }
}
