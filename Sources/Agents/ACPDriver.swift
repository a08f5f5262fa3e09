import AgentHost
import FoundationEssentials
import SessionModel

/// Drives an agent that speaks the Agent Client Protocol, version 1, over its standard streams.
///
/// One process and one conversation at a time; both stay open between turns. The meaning of what the agent sends is
/// ``ACPTranslation``'s, this actor carries it out.
actor ACPDriver: AgentDriver {
    let description: AgentDescription
    let host: any ProcessHost
    let environment: [String: String]
    let digest: @Sendable () async -> String

    /// The agent's process, from its start until it has ended or is given up.
    var agent: RunningAgent?
    /// Tells the frames of one process from those of the one before it.
    var generation = 0
    var turn: RunningTurn?
    /// What happened between turns, to be recorded at the beginning of the next.
    private var held: [EventBody] = []
    private var heldLog = OutputLog(limit: 64 << 10)

    init(
        description: AgentDescription, host: any ProcessHost, environment: [String: String],
        digest: @escaping @Sendable () async -> String
    ) {
        self.description = description
        self.host = host
        self.environment = environment
        self.digest = digest
    }

    struct RunningAgent {
        var generation: Int
        var pid: Int32
        var connection: JSONRPCConnection
        /// Nil until it is initialized.
        var info: ACPAgent?
        var conversation: OpenConversation?
        /// The end of what it printed to standard error, at most 2 KiB.
        var lastErrors: [UInt8] = []
    }

    struct OpenConversation {
        var id: String
        /// The transcript knows it durably.
        var recorded: Bool
        var choices: ACPChoices
        /// The choices that were made when it was opened: a turn that asks for nothing gets these.
        var defaults: ACPChoices
        /// In US dollars; nil when the agent's account of it is not known.
        var cost: Double?
    }

    struct RunningTurn {
        var id: TurnID
        var reporter: any TurnReporter
        var inputTimeout: TimeSpan
        var translation: ACPTranslation
        var log = OutputLog(limit: 1 << 20)
        /// The prompt is on its way: from here on the agent's updates belong to this turn.
        var prompted = false
        var interrupted = false
        var reportedLongLine = false
        var questions: [Question] = []
        var asked = 0
    }

    /// The end of a turn that comes before the agent's own.
    struct Stop: Error {
        var state: TurnState
        var reason: EndReason
        var message: String?
        var clean: Bool

        init(_ state: TurnState, _ reason: EndReason, _ message: String?, clean: Bool) {
            self.state = state
            self.reason = reason
            self.message = message
            self.clean = clean
        }
    }

    var now: Timestamp { Timestamp(milliseconds: Int64((Date().timeIntervalSince1970 * 1000).rounded())) }

    // MARK: The contract

    func run(_ prompt: AgentPrompt, reporting reporter: any TurnReporter) async -> TurnOutcome {
        await withTaskCancellationHandler {
            await perform(prompt, reporter)
        } onCancel: {
            Task { await self.giveUpTurn() }
        }
    }

    func interrupt() async {
        guard let turn, !turn.interrupted else { return }
        self.turn?.interrupted = true
        self.turn?.questions = []
        guard let agent else { return }
        guard turn.prompted, let conversation = agent.conversation else {
            return await agent.connection.abandon("the turn was interrupted while the agent was starting")
        }
        // Before the answers: an agent whose question was merely not answered might go on.
        await agent.connection.notify("session/cancel", ["sessionId": .string(conversation.id)], about: "session/prompt")
        for question in turn.questions {
            await agent.connection.respond(to: question.rpcID, .success(PermissionOptions.cancelled))
        }
    }

    func processesEnded() async {
        let ended = agent
        agent = nil
        // The sidecar ended them and says so itself.
        held.removeAll { if case .agentExited = $0 { true } else { false } }
        await ended?.connection.abandon("its processes were ended")
    }

    var status: AgentStatus {
        AgentStatus(
            driver: description.driver.rawValue, name: agent?.info?.name, warm: agent?.conversation != nil,
            conversation: agent?.conversation?.id)
    }

    private func giveUpTurn() async {
        turn?.interrupted = true
        await agent?.connection.abandon("the turn was given up")
    }

    // MARK: A turn

    private func perform(_ prompt: AgentPrompt, _ reporter: any TurnReporter) async -> TurnOutcome {
        turn = RunningTurn(
            id: prompt.turn, reporter: reporter, inputTimeout: prompt.inputTimeout,
            translation: ACPTranslation(directory: prompt.directory))
        let before = held + heldLog.dropped.map { .agentOutput($0) }
        held = []
        heldLog = OutputLog(limit: heldLog.limit)
        for event in before { await reporter.record(event) }

        let end: Stop
        do {
            end = try await converse(prompt)
        } catch {
            end = error
        }
        return await finish(end)
    }

    private func converse(_ prompt: AgentPrompt) async throws(Stop) -> Stop {
        let note = try await open(prompt)
        try await choose(model: prompt.model, effort: prompt.effort)
        guard let agent, let conversation = agent.conversation else { throw endedEarly(nil) }
        if turn?.interrupted == true { throw Stop(.cancelled, .cancelled, nil, clean: true) }

        turn?.translation = ACPTranslation(directory: prompt.directory, costBefore: conversation.cost)
        turn?.prompted = true
        let text = note.map { "\($0)\n\n\(prompt.text)" } ?? prompt.text
        do throws(JSONRPCFailure) {
            let result = try await agent.connection.request(
                "session/prompt",
                ["sessionId": .string(conversation.id), "prompt": [["type": "text", "text": .string(text)]]])
            turn?.translation.promptAnswered(result)
            return ending(result["stopReason"] ?? .null)
        } catch {
            switch error {
            case .answered(let error):
                // Some agents answer a cancelled prompt with an error.
                if turn?.interrupted == true { return Stop(.cancelled, .cancelled, nil, clean: true) }
                if error.code == JSONRPCError.authenticationRequired {
                    return Stop(.failed, .agentError, authenticationMessage(error), clean: true)
                }
                return Stop(.failed, .agentError, "the agent answered: \(error.message)", clean: true)
            case .closed(let closing):
                return endedEarly(closing)
            }
        }
    }

    private func ending(_ stopReason: JSONValue) -> Stop {
        switch stopReason.string {
        case "end_turn": Stop(.succeeded, .completed, nil, clean: true)
        case "max_tokens": Stop(.failed, .agentLimit, "the agent reached its limit of tokens", clean: true)
        case "max_turn_requests": Stop(.failed, .agentLimit, "the agent reached its limit of model requests", clean: true)
        case "refusal": Stop(.failed, .refused, "the agent refused to go on", clean: true)
        case "cancelled": Stop(.cancelled, .cancelled, nil, clean: true)
        case let other:
            Stop(.failed, .agentError, "the agent stopped for a reason that ACP 1 does not have: \(other ?? "none")", clean: true)
        }
    }

    /// The outcome when the process ended or was given up while a turn needed it.
    private func endedEarly(_ closing: JSONRPCClosing?) -> Stop {
        if turn?.interrupted == true { return Stop(.cancelled, .cancelled, nil, clean: false) }
        let what =
            switch closing {
            case .exited(let status): "the agent's process ended (\(status)) in the middle of the turn"
            case .broken(let reason): "the agent cannot be talked with any more: \(reason)"
            case nil: "the agent's process ended in the middle of the turn"
            }
        return Stop(.failed, .agentExited, what + lastWords, clean: false)
    }

    /// Set when the process of this turn ended: what it printed last.
    var lastWords = ""

    private func finish(_ end: Stop) async -> TurnOutcome {
        guard var turn else { preconditionFailure("a turn that ended twice") }
        if !turn.questions.isEmpty { await turn.reporter.withdrawQuestion() }
        let events = turn.translation.finish(at: now) + turn.log.dropped.map { .agentOutput($0) }
        let translation = turn.translation
        // From here on nothing belongs to this turn any more.
        self.turn = nil
        lastWords = ""
        if turn.prompted { agent?.conversation?.cost = translation.costSoFar }
        for event in events { await turn.reporter.record(event) }
        if !end.clean, let agent {
            self.agent = nil
            await agent.connection.abandon("the turn did not end cleanly")
        }
        let results = TurnResults(
            answer: translation.lastMessage.map { $0.prefix(bytes: 16 << 10) },
            usage: translation.usage == Usage() ? nil : translation.usage,
            toolCalls: turn.prompted ? translation.toolCalls : nil)
        return TurnOutcome(
            TurnEnded(state: end.state, reason: end.reason, message: end.message, results: results), clean: end.clean)
    }

    /// Records something: in the turn that runs, or at the beginning of the next.
    func record(_ body: EventBody) async {
        if let turn { await turn.reporter.record(body) } else if held.count < 100 { held.append(body) }
    }

    private func report(_ outputs: [ACPTranslation.Output]) async {
        guard let reporter = turn?.reporter else { return }
        for output in outputs {
            switch output {
            case .event(let event): await reporter.record(event)
            case .delta(let text): await reporter.delta(text)
            }
        }
    }

    // MARK: What the agent sends

    func notified(_ method: String, _ params: JSONValue, generation: Int) async {
        guard agent?.generation == generation else { return }
        switch method {
        case "session/update":
            guard let update = params["update"], let conversation = agent?.conversation,
                params["sessionId"]?.string == conversation.id
            else {
                // Before a conversation is open its history is replayed: the transcript has that already.
                return
            }
            if update["sessionUpdate"]?.string == "config_option_update" {
                agent?.conversation?.choices = ACPChoices(update["configOptions"])
            }
            guard turn?.prompted == true, let outputs = turn?.translation.update(update, at: now) else { return }
            await report(outputs)
        case "$/cancel_request":
            await withdrawQuestion(params["requestId"] ?? .null)
        default:
            break
        }
    }

    func requested(_ id: JSONValue, _ method: String, _ params: JSONValue, generation: Int) async {
        guard let agent, agent.generation == generation else { return }
        guard method == "session/request_permission" else {
            return await agent.connection.respond(
                to: id,
                .failure(JSONRPCError(code: JSONRPCError.methodNotFound, message: "this client does not offer \(method)")))
        }
        let options = PermissionOptions(params)
        let call = params["toolCall"] ?? [:]
        guard turn?.prompted == true, turn?.interrupted == false,
            let outputs = turn?.translation.permissionRequested(for: call, at: now)
        else { return await agent.connection.respond(to: id, .success(PermissionOptions.cancelled)) }
        await report(outputs)
        switch description.permissions ?? .bypass {
        case .bypass: await agent.connection.respond(to: id, .success(options.allowance))
        case .ask: await ask(turn?.translation.title(of: call) ?? "May the agent go on?", options, rpcID: id)
        }
    }

    func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream, generation: Int) async {
        guard agent?.generation == generation else { return }
        if stream == .stderr {
            let end = Array(((agent?.lastErrors ?? []) + bytes).suffix(2048))
            agent?.lastErrors = end
        }
        if let reporter = turn?.reporter {
            for piece in turn?.log.add(bytes, to: stream) ?? [] { await reporter.record(.agentOutput(piece)) }
        } else {
            held += heldLog.add(bytes, to: stream).map { .agentOutput($0) }
        }
    }

    func discarded(lineOf bytes: Int, generation: Int) async {
        guard agent?.generation == generation else { return }
        guard let turn else { return heldLog.drop(bytes, from: .stdout) }
        self.turn?.log.drop(bytes, from: .stdout)
        guard !turn.reportedLongLine else { return }
        self.turn?.reportedLongLine = true
        await turn.reporter.record(
            .error(
                Reason(
                    "the agent printed a line of \(bytes) bytes; lines of more than \(LineReader.defaultLimit) bytes are thrown away"
                )))
    }

    func closed(_ closing: JSONRPCClosing, generation: Int) async {
        guard let agent, agent.generation == generation else { return }
        self.agent = nil
        let lines = String(decoding: agent.lastErrors, as: UTF8.self).split(whereSeparator: \.isNewline).suffix(5)
        if turn != nil, !lines.isEmpty { lastWords = "; it printed last: \(lines.joined(separator: "\n"))" }
        // What it did comes before its end.
        for event in turn?.translation.finish(at: now) ?? [] { await record(event) }
        switch closing {
        case .exited(let status): await record(.agentExited(Reason("\(status)")))
        case .broken(let reason): await record(.agentExited(Reason("given up: \(reason)")))
        }
    }
}

/// The driver as one process's connection knows it.
struct ACPPeer: JSONRPCPeer {
    let driver: ACPDriver
    let generation: Int

    func notified(_ method: String, _ params: JSONValue) async {
        await driver.notified(method, params, generation: generation)
    }
    func requested(_ id: JSONValue, _ method: String, _ params: JSONValue) async {
        await driver.requested(id, method, params, generation: generation)
    }
    func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream) async {
        await driver.printed(bytes, to: stream, generation: generation)
    }
    func discarded(lineOf bytes: Int) async { await driver.discarded(lineOf: bytes, generation: generation) }
    func closed(_ closing: JSONRPCClosing) async { await driver.closed(closing, generation: generation) }
}
