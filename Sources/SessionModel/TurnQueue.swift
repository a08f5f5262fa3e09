/// The sidecar's queue of turns: a pure state machine, and a fold over the journal.
///
/// ``handle(_:at:)`` decides. It returns what to record and what to do once that is durable; it has already applied what it
/// records to itself. ``apply(_:turn:at:)`` is the fold: replaying a journal's events gives the same queue, which is all there
/// is to recovery.
///
/// ```swift
/// var queue = TurnQueue()
/// let effects = queue.handle(.enqueue(TurnRequest(prompt: "Fix the test"), key: nil), at: now)
/// // [.record(.turnQueued(…), turn: t1), .reply(.accepted(t1))]
/// ```
/// The rules it keeps, whatever comes in and in whatever order:
/// - turns run in the order of acceptance, one at a time;
/// - a turn is dispatched at most once, and as often again as its ``OnInterrupt`` says, only after it was cut off; and only when the
///   host has reported that no process of an earlier dispatch is alive;
/// - a key makes one turn;
/// - a drain for idleness is decided here, and is final for the epoch.
public struct TurnQueue: Sendable, Hashable {
    // MARK: State that the journal holds

    /// Turns that have not ended, in the order of acceptance.
    public private(set) var live: [Turn] = []
    /// The last ended turns, oldest first, at most ``recentLimit``.
    public private(set) var recent: [Turn] = []
    public private(set) var lastOrdinal: UInt64 = 0
    /// All prompts in `live`, bytes.
    private var liveBytes = 0
    public private(set) var ended = TurnCounts()
    public private(set) var usage = Usage()
    public private(set) var epoch: UInt32 = 0
    public private(set) var draining: SessionDraining?
    public private(set) var drained = false
    public private(set) var keepAliveUntil: Timestamp?
    /// The provider's id of the conversation.
    public private(set) var conversation: String?
    /// Why the conversation was begun in the place of a lost one, as long as nothing shows that the agent was told what that held.
    public private(set) var lostMemory: String?
    public private(set) var workspace: WorkspaceState?
    private var keys = IdempotencyKeys()
    /// The epoch in which the drain was decided.
    private var drainEpoch: UInt32 = 0

    // MARK: State of this incarnation

    public var limits = TurnLimits()
    public private(set) var idleSince: Timestamp?
    public private(set) var attached = 0
    /// Processes that the agent has left running.
    public private(set) var background: [String] = []
    private var host = Host.absent
    private var hasAgent = false
    private var agentWarm = false
    private var storageFull = false
    /// How the running turn is being stopped.
    private var stopping: Stopping?
    /// When the running turn's time is up; pauses while it waits for a person.
    private var turnDeadline: Timestamp?
    /// When the agent began to wait for a person.
    private var waitingSince: Timestamp?
    /// When the last turn ended, or the agent's process came up after it.
    private var agentIdleSince: Timestamp?

    public static let recentLimit = 64

    private enum Host: Sendable, Hashable {
        /// Not connected.
        case absent
        /// Connected, but a process of an earlier dispatch may be alive; so many ``Effect/endProcesses(reason:)`` are under way.
        /// It is clear after the last of them: one that ends later would end the next turn's agent.
        case unclear(sweeps: Int)
        /// Connected, and has reported that none is.
        case clear
    }

    private struct Stopping: Sendable, Hashable {
        var state: TurnState
        var reason: EndReason
        /// When it is stopped by force: its processes are ended first, and if the driver still has not reported its end, it is
        /// recorded without the driver.
        var deadline: Timestamp
        var processesEnded = false
    }

    /// How long a driver may take to report a turn's end once its processes have been ended, if `cancelGrace` is not longer.
    static let reportGrace = TimeSpan.seconds(30)

    public init(limits: TurnLimits = TurnLimits()) { self.limits = limits }
}

// MARK: - Inputs and effects

extension TurnQueue {
    public enum Input: Sendable, Hashable {
        /// A sidecar has opened the journal, in this epoch. The first input of every incarnation.
        case opened(epoch: UInt32, SessionOpened)
        /// Events could not be read: what they said of turns is unknown.
        case damaged(JournalGap)
        /// Whether an agent is described at all.
        case agentConfigured(Bool)
        case enqueue(TurnRequest, key: KeyDigest?)
        case cancel(TurnID)
        case answer(TurnID, InputAnswer)
        case drain(DrainRequest)
        case keepAlive(TimeSpan)
        /// Other limits hold from now on.
        case limits(TurnLimits)
        /// A turn could not be made durable and so was not accepted: it is taken back, and its key with it. Nothing that was decided
        /// about it has been performed.
        case withdraw(TurnID)
        /// Which processes the agent has left running, besides its own; only while no turn runs.
        case background([String])
        case attached
        case detached
        /// The agent host has proved itself, and it is not known yet what runs under it.
        case hostConnected
        /// The host reports that no process it ever started is alive: once for every ``Effect/endProcesses(reason:)``.
        case hostClear
        case hostLost(reason: String)
        /// The agent's process is up between turns, or no longer.
        case agentWarm(Bool)
        /// The agent asks a person.
        case ask(TurnID, InputRequest)
        /// The agent took its question back.
        case askWithdrawn(TurnID)
        /// The turn is over, as the driver tells it. `clean` says that the agent's process is healthy and idle.
        case finished(TurnID, TurnEnded, clean: Bool)
        case storage(full: Bool)
        /// Some time has passed; sent at ``nextDeadline`` at the latest.
        case tick
    }

    public enum Effect: Sendable, Hashable {
        /// Append to the journal. Every other effect of the same decision waits until this is durable.
        case record(EventBody, turn: TurnID?)
        case reply(Reply)
        /// Hand the prompt to the driver.
        case dispatch(TurnID)
        /// Ask the agent to stop, by its own protocol.
        case interrupt(TurnID)
        /// Pass an answer to the agent; without an option it is a refusal.
        case answer(TurnID, InputAnswered)
        /// End every process under the host, then send ``Input/hostClear``.
        case endProcesses(reason: String)
    }

    public enum Reply: Sendable, Hashable {
        case accepted(TurnID)
        /// The key has made this turn before.
        case repeated(TurnID)
        case done
        case refused(Problem)
    }

    /// Decides. The caller appends every ``Effect/record(_:turn:)`` in order, and performs the rest when those are durable.
    public mutating func handle(_ input: Input, at now: Timestamp) -> [Effect] {
        var effects: [Effect] = []
        decide(input, at: now, &effects)
        settle(at: now, &effects)
        return effects
    }

    /// When ``Input/tick`` is next due; nil while nothing waits for time to pass.
    public var nextDeadline: Timestamp? {
        var moments: [Timestamp] = []
        if let running = live.first, running.state != .queued {
            if let stopping {
                moments.append(stopping.deadline)
            } else if let input = running.input {
                moments.append(input.deadline)
            } else if let turnDeadline {
                moments.append(turnDeadline)
            }
            if let draining, stopping == nil { moments.append(draining.deadline) }
        } else if agentWarm, !countsBackground, let agentIdleSince {
            moments.append(agentIdleSince + limits.agentIdle)
        }
        if let keepAliveUntil { moments.append(keepAliveUntil) }
        if let holdEnds { moments.append(holdEnds) }
        return moments.min()
    }

    /// When a session of one Task has waited long enough for somebody to ask for its result.
    private var holdEnds: Timestamp? {
        guard let hold = limits.resultHold, draining == nil, lastOrdinal > 0, live.isEmpty else { return nil }
        return idleSince.map { $0 + hold }
    }

    /// Nobody has asked for its result: it has drained, and its process is to end by itself.
    public var endsByItself: Bool { drained && draining?.reason == Self.heldLongEnough }
    private static let heldLongEnough = "its result was kept for as long as it was to be"
}

// MARK: - Reading

extension TurnQueue {
    public var running: Turn? { live.first.flatMap { $0.state == .queued ? nil : $0 } }
    public var queued: ArraySlice<Turn> { running == nil ? live[...] : live.dropFirst() }

    /// A live or recently ended turn, with its place in the queue.
    public func turn(_ id: TurnID) -> Turn? {
        if let index = index(of: id) { return placed(index) }
        return recent.last { $0.id == id }
    }

    /// Ended turns that are remembered, then all live ones, with their places in the queue.
    public var turns: [Turn] { recent + live.indices.map(placed) }

    public var counts: TurnCounts {
        var counts = ended
        counts.running = running == nil ? 0 : 1
        counts.queued = queued.count
        return counts
    }

    public func isBusy(at now: Timestamp) -> Bool {
        !live.isEmpty || attached > 0 || (keepAliveUntil.map { $0 > now } ?? false) || countsBackground
    }

    private var countsBackground: Bool { limits.countBackground && !background.isEmpty }

    /// Why no further turn begins.
    private var limitProblem: Problem? {
        guard let most = limits.maxTokens else { return nil }
        let (used, overflow) = (usage.inputTokens ?? 0).addingReportingOverflow(usage.outputTokens ?? 0)
        guard overflow || used >= most else { return nil }
        return Problem(
            .limitReached,
            "This session has used \(overflow ? Int64.max : used) tokens, and its maxTokens is \(most); raise it to go on: holdfast set SESSION --max-tokens N"
        )
    }

    /// Why no further turn is accepted.
    private var turnsProblem: Problem? {
        guard let most = limits.maxTurns, lastOrdinal >= most else { return nil }
        return Problem(
            .limitReached,
            "This session has had \(lastOrdinal) turns, and its maxTurns is \(most); raise it to go on: holdfast set SESSION --max-turns N"
        )
    }

    /// The running turn is being stopped.
    public var isStopping: Bool { stopping != nil }

    /// Why nothing runs although a turn is queued.
    public var waitingFor: String? {
        guard running == nil, !live.isEmpty else { return nil }
        if draining != nil { return "the session is draining: the turns run in the next epoch" }
        if storageFull { return "the disk is full or read-only" }
        if !hasAgent { return "no agent is described: start the sidecar with --agent FILE" }
        switch host {
        case .absent: return "the agent host is not connected"
        case .unclear: return "processes of an earlier turn are being ended"
        case .clear: return nil
        }
    }

    private func placed(_ index: Int) -> Turn {
        var turn = live[index]
        if turn.state == .queued { turn.position = index + (running == nil ? 1 : 0) }
        return turn
    }
}

// MARK: - Decisions

extension TurnQueue {
    private mutating func record(_ body: EventBody, turn: TurnID? = nil, at now: Timestamp, _ effects: inout [Effect]) {
        apply(body, turn: turn, at: now)
        effects.append(.record(body, turn: turn))
    }

    private mutating func decide(_ input: Input, at now: Timestamp, _ effects: inout [Effect]) {
        switch input {
        case .opened(let epoch, let opened):
            self.epoch = max(self.epoch, epoch)
            record(.sessionOpened(opened), at: now, &effects)
            if let running {
                interrupted(
                    running.id, .interrupted, .sidecarLost, "the sidecar ended while the agent was working on this turn", at: now,
                    &effects)
            }
        case .damaged(let gap):
            for turn in live {
                end(
                    turn.id, .interrupted, .journalDamaged,
                    "events \(gap.from) to \(gap.to) of the journal are damaged, so it is not known what became of this turn",
                    at: now,
                    &effects)
            }
            // Last: a gap that is on record is not reported again, and by then its turns must have ended.
            record(.journalGap(gap), at: now, &effects)
        case .agentConfigured(let configured):
            hasAgent = configured
        case .enqueue(let request, let key):
            effects.append(.reply(enqueue(request, key: key, at: now, &effects)))
        case .cancel(let id):
            effects.append(.reply(cancel(id, .cancelled, at: now, &effects)))
        case .answer(let id, let answer):
            effects.append(.reply(self.answer(id, answer, at: now, &effects)))
        case .drain(let request):
            effects.append(.reply(drain(request, at: now, &effects)))
        case .keepAlive(let span):
            if let problem = drainingProblem {
                effects.append(.reply(.refused(problem)))
            } else {
                let until = now + min(max(span, .zero), .hours(24))
                record(.keepAlive(KeepAlive(until: max(until, keepAliveUntil ?? until))), at: now, &effects)
                effects.append(.reply(.done))
            }
        case .limits(let limits):
            // They hold for a turn that runs, too, unless it has a time of its own.
            if let running, running.timeout == nil, let turnDeadline {
                self.turnDeadline = Timestamp(
                    milliseconds: turnDeadline.milliseconds + limits.turnTimeout.milliseconds
                        - self.limits.turnTimeout.milliseconds)
            }
            self.limits = limits
            effects.append(.reply(.done))
        case .withdraw(let id):
            // Whatever was decided about it meanwhile: it was handed to nobody, so there is nothing to stop.
            guard index(of: id) != nil else { return }
            end(id, .cancelled, .storageFull, "it could not be kept, and was not accepted", at: now, &effects)
        case .background(let processes):
            guard running == nil, processes != background else { return }
            if !processes.isEmpty || !background.isEmpty { record(.background(Background(processes)), at: now, &effects) }
            let counted = countsBackground
            background = processes
            // The agent was not idle while this ran: it may be told of its end, and go on.
            if counted, !countsBackground { agentIdleSince = now }
        case .attached:
            attached += 1
        case .detached:
            attached = max(0, attached - 1)
        case .hostConnected:
            host = .unclear(sweeps: 1)
            effects.append(.endProcesses(reason: "the host has just connected"))
        case .hostClear:
            if case .unclear(let sweeps) = host { host = sweeps > 1 ? .unclear(sweeps: sweeps - 1) : .clear }
        case .hostLost(let reason):
            guard host != .absent else { return }
            host = .absent
            agentWarm = false
            background = []
            record(.hostLost(Reason(reason)), at: now, &effects)
            if let running {
                let (state, why) = stopping.map { ($0.state, $0.reason) } ?? (.interrupted, .hostLost)
                interrupted(
                    running.id, state, why, "the agent host ended while the agent was working on this turn: \(reason)", at: now,
                    &effects)
            }
        case .agentWarm(let warm):
            if warm, !agentWarm, running == nil { agentIdleSince = now }
            agentWarm = warm
        case .ask(let id, let request):
            guard let running, running.id == id, running.state == .running else { return }
            if stopping != nil {
                effects.append(.answer(id, InputAnswered(request: request.id, option: nil, text: nil, by: .cancellation)))
            } else {
                record(.inputRequested(request), turn: id, at: now, &effects)
                waitingSince = now
            }
        case .askWithdrawn(let id):
            guard let running, running.id == id, let input = running.input else { return }
            answered(id, InputAnswered(request: input.id, option: nil, text: nil, by: .cancellation), at: now, &effects)
        case .finished(let id, var end, let clean):
            guard let running, running.id == id else { return }
            if let stopping, end.state != .succeeded {
                end.state = stopping.state
                end.reason = stopping.reason
                end.message = stopMessage(stopping) ?? end.message
            }
            let needsSweep = !clean || stopping != nil
            interrupted(id, end.state, end.reason, end.message, results: end.results, at: now, &effects)
            if needsSweep { sweep("the turn did not end cleanly", &effects) }
        case .storage(let full):
            storageFull = full
            if full { stop(.failed, .storageFull, at: now, &effects) }
        case .tick:
            tick(at: now, &effects)
        }
    }

    /// What follows from any change: the next dispatch, the end of a drain, the idle clock.
    private mutating func settle(at now: Timestamp, _ effects: inout [Effect]) {
        while running == nil, let limitProblem, let next = live.first {
            end(next.id, .failed, .limitReached, limitProblem.detail, at: now, &effects)
        }
        if running == nil, draining == nil, !storageFull, hasAgent, host == .clear, let next = live.first {
            record(.turnDispatched, turn: next.id, at: now, &effects)
            background = []
            stopping = nil
            waitingSince = nil
            turnDeadline = now + (next.timeout ?? limits.turnTimeout)
            effects.append(.dispatch(next.id))
        }
        if draining != nil, !drained, running == nil {
            record(.sessionDrained, at: now, &effects)
            sweep("the session is drained", &effects)
        }
        if isBusy(at: now) {
            idleSince = nil
        } else if idleSince == nil {
            idleSince = now
        }
    }

    private mutating func enqueue(
        _ request: TurnRequest, key: KeyDigest?, at now: Timestamp, _ effects: inout [Effect]
    ) -> Reply {
        keys.expire(before: Timestamp(milliseconds: now.milliseconds - limits.dedupeWindow.milliseconds))
        if let key {
            switch keys.match(key) {
            case .repeated(let turn): return .repeated(turn)
            case .mismatch(let turn):
                return .refused(
                    Problem(
                        .idempotencyMismatch,
                        "This idempotency key has made turn \(turn) from another request; use a new key for a new turn."))
            case .new: break
            }
        }
        if let mistake = request.mistake { return .refused(Problem(.invalidRequest, mistake)) }
        let bytes = request.prompt.utf8.count
        guard bytes <= limits.maxPromptBytes else {
            return .refused(
                Problem(.tooLarge, "The prompt has \(bytes) bytes; this session takes at most \(limits.maxPromptBytes)."))
        }
        if let problem = limitProblem ?? turnsProblem ?? drainingProblem { return .refused(problem) }
        if storageFull {
            return .refused(
                Problem(
                    .storageFull,
                    "The disk of this session is full or read-only, so a turn could not be kept; free space and try again.",
                    retryAfter: 10))
        }
        if request.whenBusy == .reject, let first = live.first {
            return .refused(
                Problem(
                    .busy, "Turn \(first.id) is \(first.state.rawValue), and this one asked to be rejected then.", retryAfter: 30)
            )
        }
        let superseded = request.whenBusy == .supersede ? live.filter { $0.supersedeKey == request.supersedeKey } : []
        let leaving = superseded.filter { $0.state == .queued }
        guard queued.count - leaving.count < limits.maxQueuedTurns,
            liveBytes - (running?.promptBytes ?? 0) - leaving.reduce(0, { $0 + $1.promptBytes }) + bytes <= limits.maxQueuedBytes
        else {
            return .refused(
                Problem(
                    .queueFull,
                    "\(queued.count) turns are queued, and the limits are \(limits.maxQueuedTurns) turns and \(limits.maxQueuedBytes) bytes; try again when one has run.",
                    retryAfter: 30))
        }
        for turn in superseded { _ = cancel(turn.id, .superseded, at: now, &effects) }
        let id = TurnID(lastOrdinal + 1)
        record(.turnQueued(TurnQueued(request: request, key: key)), turn: id, at: now, &effects)
        return .accepted(id)
    }

    private mutating func cancel(_ id: TurnID, _ reason: EndReason, at now: Timestamp, _ effects: inout [Effect]) -> Reply {
        guard let turn = index(of: id).map({ live[$0] }) else {
            guard id.ordinal <= lastOrdinal else {
                return .refused(Problem(.notFound, "There is no turn \(id) in this session."))
            }
            return .done  // It has ended: cancelling it again changes nothing.
        }
        if turn.state == .queued {
            end(
                id, .cancelled, reason,
                Self.message(ofUnrun: reason) + (turn.attempts == nil ? "" : " again"),
                at: now, &effects)
        } else {
            stop(.cancelled, reason, at: now, &effects)
        }
        return .done
    }

    private static func message(ofUnrun reason: EndReason) -> String {
        switch reason {
        case .superseded: "a newer turn took its place before it ran"
        default: "cancelled before it ran"
        }
    }

    private mutating func answer(
        _ id: TurnID, _ answer: InputAnswer, at now: Timestamp, _ effects: inout [Effect]
    ) -> Reply {
        guard let turn = turn(id) else { return .refused(Problem(.notFound, "There is no live turn \(id) in this session.")) }
        guard let input = turn.input, answer.request == nil || answer.request == input.id else {
            return .refused(Problem(.conflict, "Turn \(id) is \(turn.state.rawValue) and does not wait for that answer."))
        }
        if let option = answer.option, !input.options.contains(where: { $0.id == option }) {
            return .refused(
                Problem(
                    .invalidRequest,
                    "“\(option)” is not an option of request \(input.id); choose \(input.options.map(\.id).joined(separator: ", "))."
                ))
        }
        answered(
            id, InputAnswered(request: input.id, option: answer.option, text: answer.text, by: .person), at: now, &effects)
        return .done
    }

    private mutating func answered(_ id: TurnID, _ answer: InputAnswered, at now: Timestamp, _ effects: inout [Effect]) {
        record(.inputAnswered(answer), turn: id, at: now, &effects)
        if let waitingSince, let turnDeadline { self.turnDeadline = turnDeadline + (now - waitingSince) }
        waitingSince = nil
        effects.append(.answer(id, answer))
    }

    private mutating func drain(_ request: DrainRequest, at now: Timestamp, _ effects: inout [Effect]) -> Reply {
        let deadline = now + max(request.deadline ?? .minutes(10), .zero)
        if let draining {
            // Final, but a more urgent one brings the deadline forward.
            if !drained, request.ifIdleFor == nil, deadline < draining.deadline {
                record(.sessionDraining(SessionDraining(reason: draining.reason, deadline: deadline)), at: now, &effects)
            }
            return .done
        }
        if let idleFor = request.ifIdleFor {
            guard !isBusy(at: now), let idleSince, now - idleSince >= idleFor else {
                return .refused(Problem(.busy, "The session has not been idle for \(idleFor), so it is not drained."))
            }
        }
        record(
            .sessionDraining(
                SessionDraining(
                    reason: request.reason ?? (request.ifIdleFor.map { "idle for \($0)" } ?? "drain requested"),
                    deadline: deadline)),
            at: now, &effects)
        return .done
    }

    private mutating func tick(at now: Timestamp, _ effects: inout [Effect]) {
        if let until = keepAliveUntil, until <= now { keepAliveUntil = nil }
        keys.expire(before: Timestamp(milliseconds: now.milliseconds - limits.dedupeWindow.milliseconds))
        if let running {
            if let stopping {
                guard stopping.deadline <= now else { return }
                if stopping.processesEnded {
                    interrupted(
                        running.id, stopping.state, stopping.reason,
                        stopMessage(stopping) ?? "the turn was stopped by force, and its driver did not report an end", at: now,
                        &effects)
                } else {
                    self.stopping?.processesEnded = true
                    self.stopping?.deadline = now + max(limits.cancelGrace, Self.reportGrace)
                }
                sweep("turn \(running.id) did not stop by itself", &effects)
            } else if let draining, draining.deadline <= now {
                stop(.interrupted, .drained, at: now, &effects)
            } else if let input = running.input {
                if input.deadline <= now {
                    answered(
                        running.id, InputAnswered(request: input.id, option: nil, text: nil, by: .deadline), at: now, &effects)
                }
            } else if let turnDeadline, turnDeadline <= now {
                stop(.failed, .timeout, at: now, &effects)
            }
        } else if agentWarm, !countsBackground, let agentIdleSince, agentIdleSince + limits.agentIdle <= now {
            sweep("idle for \(limits.agentIdle)", &effects)
        }
        if let holdEnds, holdEnds <= now, !isBusy(at: now) {
            record(.sessionDraining(SessionDraining(reason: Self.heldLongEnough, deadline: now)), at: now, &effects)
        }
    }

    /// Begins to stop the running turn: first by the agent's protocol, then by force.
    private mutating func stop(_ state: TurnState, _ reason: EndReason, at now: Timestamp, _ effects: inout [Effect]) {
        guard let running else { return }
        if let stopping {
            // One that a drain cuts off may be taken up again; one that somebody cancels may not.
            guard stopping.reason == .drained, state == .cancelled else { return }
            record(.cancelRequested(CancelRequested(reason: reason)), turn: running.id, at: now, &effects)
            self.stopping?.state = state
            self.stopping?.reason = reason
            return
        }
        record(.cancelRequested(CancelRequested(reason: reason)), turn: running.id, at: now, &effects)
        stopping = Stopping(state: state, reason: reason, deadline: now + limits.cancelGrace)
        if let input = running.input {
            answered(running.id, InputAnswered(request: input.id, option: nil, text: nil, by: .cancellation), at: now, &effects)
        }
        effects.append(.interrupt(running.id))
    }

    /// Who ends a turn that does not end by itself says so; of a person's cancellation and of a timeout the reason says enough.
    private func stopMessage(_ stopping: Stopping) -> String? {
        guard stopping.reason == .drained, let draining else { return nil }
        return "interrupted: the session drains (\(draining.reason)), and the turn did not end before \(draining.deadline)"
    }

    private mutating func sweep(_ reason: String, _ effects: inout [Effect]) {
        agentWarm = false
        background = []
        switch host {
        case .absent: return
        case .unclear(let sweeps): host = .unclear(sweeps: sweeps + 1)
        case .clear: host = .unclear(sweeps: 1)
        }
        effects.append(.endProcesses(reason: reason))
    }

    /// Ends the running turn, or has it taken up again if it was cut off and its ``OnInterrupt`` says so. Then it is queued as the
    /// next: like any other turn it is dispatched only when no process of the attempt before is alive.
    private mutating func interrupted(
        _ id: TurnID, _ state: TurnState, _ reason: EndReason, _ message: String?, results: TurnResults? = nil, at now: Timestamp,
        _ effects: inout [Effect]
    ) {
        let wasCutOff = [.sidecarLost, .hostLost, .agentExited, .drained].contains(reason)
        guard wasCutOff, state != .succeeded, let turn = running, !turn.cancelRequested, let policy = turn.onInterrupt,
            let attempt = turn.attempts, policy != .fail
        else { return end(id, state, reason, message, results: results, at: now, &effects) }
        guard attempt <= policy.times else {
            let last = "\(message.map { "\($0); " } ?? "")it was the last of \(attempt) attempts"
            return end(id, state, reason, last, results: results, at: now, &effects)
        }
        let next: Interruption.Next = if case .retry = policy { .retry } else { .continue }
        record(
            .turnInterrupted(
                Interruption(reason: reason, message: message, attempt: attempt, next: next, usage: results?.usage)),
            turn: id, at: now, &effects)
    }

    private mutating func end(
        _ id: TurnID, _ state: TurnState, _ reason: EndReason, _ message: String?, results: TurnResults? = nil, at now: Timestamp,
        _ effects: inout [Effect]
    ) {
        record(
            .turnEnded(TurnEnded(state: state, reason: reason, message: message, results: results)), turn: id, at: now, &effects)
    }

    private var drainingProblem: Problem? {
        draining.map {
            Problem(.draining, "The session is draining (\($0.reason)); send it again when it has woken.", retryAfter: 5)
        }
    }
}

// MARK: - The fold

extension TurnQueue {
    /// Applies one event of the journal. Events that contradict the state, as damage can leave them, change nothing.
    public mutating func apply(_ body: EventBody, turn id: TurnID?, at time: Timestamp) {
        switch body {
        case .turnQueued(let queued):
            guard let id, id.ordinal > lastOrdinal else { return }
            lastOrdinal = id.ordinal
            live.append(Turn(id: id, request: queued.request, createdAt: time))
            liveBytes += queued.request.prompt.utf8.count
            if let key = queued.key { keys.insert(key, turn: id, at: time) }
        case .turnDispatched:
            update(id) {
                $0.state = .running
                $0.startedAt = $0.startedAt ?? time
                $0.attempts = ($0.attempts ?? 0) + 1
            }
        case .turnInterrupted(let interruption):
            guard let id, let index = index(of: id), live[index].state != .queued else { return }
            forgetRun(endedAt: time)
            live[index].state = .queued
            live[index].input = nil
            live[index].interruption = interruption
            add(interruption.usage)
        case .inputRequested(let request):
            update(id) {
                $0.state = .awaitingInput
                $0.input = request
            }
        case .inputAnswered:
            update(id) {
                if $0.state == .awaitingInput { $0.state = .running }
                $0.input = nil
            }
        case .cancelRequested(let request):
            // The end of a session's time is nobody's wish about this turn.
            if request.reason != .drained { update(id) { $0.cancelRequested = true } }
        case .turnEnded(let end):
            guard let id, let index = index(of: id) else { return }
            if live[index].state != .queued { forgetRun(endedAt: time) }
            var turn = live.remove(at: index)
            // So ends only what was not accepted; one that a full disk stops has failed.
            if end.state == .cancelled, end.reason == .storageFull { keys.forget(id) }
            liveBytes -= turn.promptBytes
            turn.state = end.state
            turn.endedAt = time
            turn.reason = end.reason
            turn.message = end.message
            turn.results = end.results
            turn.input = nil
            turn.prompt = turn.prompt.prefix(bytes: 4096)
            count(end)
            recent.append(turn)
            if recent.count > Self.recentLimit { recent.removeFirst(recent.count - Self.recentLimit) }
        case .sessionOpened:
            // A drain is final for its epoch, and over in the next.
            if epoch > drainEpoch {
                draining = nil
                drained = false
            }
        case .sessionDraining(let draining):
            self.draining = draining
            drainEpoch = epoch
        case .sessionDrained:
            drained = true
        case .keepAlive(let lease):
            keepAliveUntil = lease.until
        case .conversationStarted(let conversation), .conversationResumed(let conversation):
            if case .conversationStarted = body { lostMemory = nil }
            self.conversation = conversation.id
        case .conversationReseeded(let conversation):
            self.conversation = conversation.id
            lostMemory = conversation.reason ?? "the agent does not say why"
            update(id) {
                $0.notices =
                    ($0.notices ?? []) + [
                        "The agent's memory of this session was lost\(conversation.reason.map { " (\($0))" } ?? ""): it went on in a new conversation, from a summary of the transcript."
                    ]
            }
        case .workspaceState(let state):
            workspace = state
        case .message, .thought, .toolCall, .plan, .usage:
            agentWorked()
        default:
            break
        }
    }

    /// Applies an event that was read from the journal.
    public mutating func apply(_ event: Event) {
        epoch = max(epoch, event.epoch)
        apply(event.body, turn: event.turn, at: event.time)
    }

    /// Applies an event that shows that the agent works; of these a reader of the journal may skip the data.
    public mutating func agentWorked() {
        // On a prompt that came after what it was told.
        lostMemory = nil
    }

    private mutating func forgetRun(endedAt time: Timestamp) {
        stopping = nil
        turnDeadline = nil
        waitingSince = nil
        agentIdleSince = time
    }

    private mutating func update(_ id: TurnID?, _ change: (inout Turn) -> Void) {
        guard let id, let index = index(of: id) else { return }
        change(&live[index])
    }

    /// Live turns are in the order of their ids.
    private func index(of id: TurnID) -> Int? {
        var low = 0
        var high = live.count
        while low < high {
            let middle = (low + high) / 2
            if live[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < live.count && live[low].id == id ? low : nil
    }

    private mutating func count(_ end: TurnEnded) {
        switch end.state {
        case .succeeded: ended.succeeded += 1
        case .failed: ended.failed += 1
        case .cancelled: ended.cancelled += 1
        case .interrupted: ended.interrupted += 1
        case .queued, .running, .awaitingInput: break
        }
        add(end.results?.usage)
    }

    private mutating func add(_ used: Usage?) {
        guard let used else { return }
        // The figures are the agent's own, so that no sum of them may trap or leave what JSON can write.
        func add(_ a: Int64?, _ b: Int64?) -> Int64? {
            guard let a, let b else { return a ?? b }
            let (sum, overflow) = a.addingReportingOverflow(b)
            return overflow ? (a < 0 ? .min : .max) : sum
        }
        usage.inputTokens = add(usage.inputTokens, used.inputTokens)
        usage.outputTokens = add(usage.outputTokens, used.outputTokens)
        usage.cachedInputTokens = add(usage.cachedInputTokens, used.cachedInputTokens)
        let cost = (usage.costUSD ?? 0) + (used.costUSD ?? 0)
        if used.costUSD != nil, cost.isFinite { usage.costUSD = cost }
    }
}

// MARK: - Checkpoints

extension TurnQueue {
    /// All that the journal holds of a queue, so that opening a journal costs one segment and not the whole history.
    public struct Checkpoint: Sendable, Hashable, Codable {
        fileprivate var live: [Turn]
        fileprivate var recent: [Turn]
        public fileprivate(set) var lastOrdinal: UInt64
        fileprivate var ended: TurnCounts
        fileprivate var usage: Usage
        fileprivate var epoch: UInt32
        fileprivate var draining: SessionDraining?
        fileprivate var drained: Bool
        fileprivate var drainEpoch: UInt32
        fileprivate var keepAliveUntil: Timestamp?
        fileprivate var conversation: String?
        fileprivate var lostMemory: String?
        fileprivate var workspace: WorkspaceState?
        fileprivate var keys: IdempotencyKeys
    }

    public var checkpoint: Checkpoint {
        Checkpoint(
            live: live, recent: recent, lastOrdinal: lastOrdinal, ended: ended, usage: usage, epoch: epoch, draining: draining,
            drained: drained, drainEpoch: drainEpoch, keepAliveUntil: keepAliveUntil, conversation: conversation,
            lostMemory: lostMemory, workspace: workspace, keys: keys)
    }

    public init(_ checkpoint: Checkpoint, limits: TurnLimits = TurnLimits()) {
        self.init(limits: limits)
        live = checkpoint.live
        liveBytes = live.reduce(0) { $0 + $1.promptBytes }
        recent = checkpoint.recent
        lastOrdinal = checkpoint.lastOrdinal
        ended = checkpoint.ended
        usage = checkpoint.usage
        epoch = checkpoint.epoch
        draining = checkpoint.draining
        drained = checkpoint.drained
        drainEpoch = checkpoint.drainEpoch
        keepAliveUntil = checkpoint.keepAliveUntil
        conversation = checkpoint.conversation
        lostMemory = checkpoint.lostMemory
        workspace = checkpoint.workspace
        keys = checkpoint.keys
    }
}
