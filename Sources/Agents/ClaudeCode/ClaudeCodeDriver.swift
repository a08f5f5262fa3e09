import AgentHost
import FoundationEssentials
import SessionModel

/// Drives Claude Code (`claude -p`) over stream-json.
///
/// One process and one conversation at a time; both stay open between turns. The meaning of what the agent sends is
/// ``ClaudeCodeTranslation``'s and ``ClaudeCodeResult``'s, this actor carries it out.
actor ClaudeCodeDriver: AskingDriver, LineDriver {
    let command: ClaudeCodeCommand
    let host: any ProcessHost
    let environment: AgentEnvironment
    let digest: @Sendable () async -> String
    let patience: Patience

    /// How long each step of an interruption may take before the next. All of them together are shorter than the queue's
    /// `cancelGrace`, at whose end the host kills what is left.
    struct Patience: Sendable {
        /// For the result after the interruption was asked for.
        var interrupt = TimeSpan.seconds(4)
        /// For the exit after its input was closed.
        var input = TimeSpan.seconds(2)
        /// For the exit after SIGTERM, when no turn is at stake.
        var termination = TimeSpan.seconds(5)
    }

    /// The agent's process, from its start until it has ended or is given up.
    var agent: RunningAgent?
    /// Tells the frames of one process from those of the one before it.
    var generation = 0
    let log = TurnLog()
    var turn = PromptTurn()
    var questions = QuestionQueue<Question>()
    /// What this driver waits for; at most one thing.
    private var waiting: (awaited: Awaited, continuation: CheckedContinuation<Arrival, Never>)?

    struct RunningAgent {
        var generation: Int
        var pid: Int32
        var connection: LineConnection
        var conversation: String
        var choice: ClaudeCodeCommand.Choice
        var version: String?
        /// It takes prompts.
        var ready = false
        /// The transcript knows the conversation durably.
        var recorded: Bool
        /// It works on something: on a prompt, or by itself on the end of a background task.
        var busy = false
        /// It says when it takes a prompt up, so that what it does by itself is not mistaken for that.
        var tracksPrompts = false
        /// In US dollars; nil when the agent's account of it is not known.
        var cost: Double?
        /// Of what it did by itself since the last turn.
        var unclaimed: [ClaudeCodeResult] = []
        /// What it said when it could not begin.
        var refusal: ClaudeCodeResult?
    }

    struct PromptTurn {
        var translation = ClaudeCodeTranslation()
        /// The prompt's own id, once it is on its way.
        var prompt: String?
        /// The agent has taken the prompt up, as a turn of its own or into what it does by itself: from here on a result is this
        /// turn's.
        var taken = false
        /// What a person has chosen so far, by the request and the question.
        var choices: [String: [String: JSONValue]] = [:]
    }

    enum Awaited { case ready, result }

    enum Arrival: Sendable {
        case frame(JSONValue)
        case closed(ConnectionClosing)
    }

    init(
        description: AgentDescription, host: any ProcessHost, environment: AgentEnvironment,
        digest: @escaping @Sendable () async -> String, patience: Patience = Patience()
    ) {
        command = ClaudeCodeCommand(
            description: description, state: (environment["HOLDFAST_AGENT_STATE"] ?? "/tmp") + "/claude")
        self.host = host
        self.environment = environment
        self.digest = digest
        self.patience = patience
    }

    // MARK: The contract

    func interrupt() async {
        guard log.interrupt() else { return }
        // It takes its open questions back by itself.
        _ = questions.takeAll()
        guard let agent else { return }
        guard turn.prompt != nil else {
            return await agent.connection.abandon("the turn was interrupted while the agent was starting")
        }
        // Also when it works by itself, and the prompt waits for that.
        if turn.taken || agent.busy { sendInterrupt() }
        Task { await self.insist(agent) }
    }

    func processesEnded() async {
        let ended = agent
        agent = nil
        log.processesEnded()
        await ended?.connection.abandon("its processes were ended")
        arrived(.closed(.broken("its processes were ended")))
    }

    var status: AgentStatus {
        AgentStatus(
            driver: command.description.driver.rawValue, name: agent == nil ? nil : "Claude Code", warm: agent?.ready == true,
            conversation: agent?.conversation)
    }

    var running: Int? { agent?.generation }

    func abandon(_ reason: String) async { await agent?.connection.abandon(reason) }

    // MARK: A turn

    func perform(_ prompt: AgentPrompt, _ reporter: any TurnReporter) async -> TurnOutcome {
        turn = PromptTurn()
        turn.translation = ClaudeCodeTranslation(directory: prompt.directory)
        questions = QuestionQueue()
        await log.begin(prompt, reporter)
        do {
            return await finish(try await converse(prompt))
        } catch {
            return await finish(error)
        }
    }

    private func converse(_ prompt: AgentPrompt) async throws(TurnStop) -> TurnStop {
        let lost = try await open(prompt) ?? prompt.lostMemory
        let text = await prompt.text(afterLoss: lost, digest)
        guard agent != nil else { throw endedEarly(nil) }
        if log.isInterrupted { throw .cancelled(clean: true) }
        // What it did by itself since the last turn is recorded; from here on the frames are this turn's.
        turn.translation = ClaudeCodeTranslation(directory: prompt.directory)
        let id = Self.newID()
        turn.prompt = id
        let arrival = await exchange(
            .result,
            sending: ["type": "user", "message": ["role": "user", "content": .string(text)], "uuid": .string(id)])
        switch arrival {
        case .closed(let closing): return endedEarly(closing)
        case .frame(let frame): return await judge(ClaudeCodeResult(frame))
        }
    }

    private func judge(_ result: ClaudeCodeResult) async -> TurnStop {
        turn.translation.used(result.usage(with: agent?.unclaimed ?? [], costBefore: agent?.cost))
        agent?.unclaimed = []
        agent?.cost = result.totalCost
        if let session = result.session, let known = agent?.conversation, session != known {
            // A command in the prompt, such as /clear, began another one.
            agent?.conversation = session
            await log.record(.conversationStarted(Conversation(id: session, reason: "the agent went on in another one")))
        }
        return result.stop(interrupted: log.isInterrupted)
    }

    private func finish(_ stop: TurnStop) async -> TurnOutcome {
        await dropQuestions()
        let events = turn.translation.finish(at: log.now)
        var results = turn.translation.assembly.results
        if turn.prompt == nil { results.toolCalls = nil }
        turn.prompt = nil
        // An interruption that went as far as closing its input leaves a process that takes no more prompts.
        let isUsable = stop.clean && agent?.ready != false
        var stop = stop
        stop.clean = isUsable
        let outcome = await log.end(stop, recording: events, results: results)
        if !isUsable, let agent {
            self.agent = nil
            await agent.connection.abandon("the turn did not end cleanly")
        }
        return outcome
    }

    // MARK: Stopping

    private func sendInterrupt() {
        agent?.connection.send(
            JSONLine.encode([
                "type": "control_request", "request_id": .string(Self.newID()), "request": ["subtype": "interrupt"],
            ]))
    }

    /// Makes an interruption harder, step by step, until the turn has ended. The last step, the kill, is the host's.
    private func insist(_ interrupted: RunningAgent) async {
        func isStillRunning() -> Bool { agent?.generation == interrupted.generation && turn.prompt != nil && log.isInterrupted }
        try? await Task.sleep(for: patience.interrupt.duration)
        guard isStillRunning() else { return }
        agent?.ready = false
        interrupted.connection.endInput()
        try? await Task.sleep(for: patience.input.duration)
        guard isStillRunning() else { return }
        await interrupted.connection.signal(15)
    }

    // MARK: What the agent sends

    /// Sends a frame and waits for what comes of it.
    func exchange(_ awaited: Awaited, sending frame: JSONValue?) async -> Arrival {
        guard let agent else { return .closed(.broken("it has ended")) }
        return await withCheckedContinuation { continuation in
            waiting = (awaited, continuation)
            if let frame { agent.connection.send(JSONLine.encode(frame)) }
        }
    }

    private func arrived(_ arrival: Arrival) {
        let waiting = waiting
        self.waiting = nil
        waiting?.continuation.resume(returning: arrival)
    }

    func received(_ frame: JSONValue, generation: Int) async -> Bool {
        guard let type = frame["type"]?.string else { return false }
        guard agent?.generation == generation else { return true }
        switch type {
        case "control_request": await requested(frame)
        case "control_cancel_request": await withdrawQuestions { .string($0.requestID) == frame["request_id"] }
        case "control_response": if case .ready = waiting?.awaited, agent?.busy == false { arrived(.frame(frame)) }
        case "command_lifecycle":
            agent?.tracksPrompts = true
            if frame["state"]?.string == "started", let id = frame["command_uuid"]?.string, id == turn.prompt { taken() }
        case "result": resulted(frame)
        default:
            if type == "system", frame["subtype"]?.string == "init" { began() }
            await report(turn.translation.frame(frame, at: log.now))
        }
        return true
    }

    /// The agent begins to work, on the prompt or by itself.
    private func began() {
        agent?.busy = true
        guard turn.prompt != nil else { return }
        if agent?.tracksPrompts == false { turn.taken = true }
        if log.isInterrupted { sendInterrupt() }
    }

    /// The prompt is being worked on. An interruption that was sent before this has not stopped it.
    private func taken() {
        turn.taken = true
        if log.isInterrupted { sendInterrupt() }
    }

    private func resulted(_ frame: JSONValue) {
        let result = ClaudeCodeResult(frame)
        agent?.busy = false
        if let prompt = turn.prompt, turn.taken || agent?.tracksPrompts == false || result.names(prompt) {
            if case .result = waiting?.awaited { arrived(.frame(frame)) }
        } else if agent?.ready == false {
            agent?.refusal = result
        } else {
            // It worked by itself, and is done.
            agent?.unclaimed.append(result)
            if case .ready = waiting?.awaited { arrived(.frame(frame)) }
        }
    }

    /// Records what it does, also between turns: then at the beginning of the next.
    func report(_ outputs: [TurnOutput]) async {
        if log.turn != nil { return await log.report(outputs) }
        for case .event(let event) in outputs { await log.record(event) }
    }

    func closed(_ closing: ConnectionClosing, generation: Int) async {
        guard let ended = agent, ended.generation == generation else { return }
        agent = nil
        lastRefusal = ended.refusal
        await log.closed(closing, after: turn.translation.finish(at: log.now))
        arrived(.closed(closing))
    }

    /// What the process that ended last said when it could not begin.
    var lastRefusal: ClaudeCodeResult?

    static func newID() -> String { UUID().uuidString.lowercased() }
}
