import AgentHost
import SessionModel

/// Drives an agent that speaks the Agent Client Protocol, version 1, over its standard streams.
///
/// One process and one conversation at a time; both stay open between turns. The meaning of what the agent sends is
/// ``ACPTranslation``'s, this actor carries it out.
actor ACPDriver: AskingDriver, JSONRPCDriver {
    let description: AgentDescription
    let host: any ProcessHost
    let environment: AgentEnvironment
    let digest: @Sendable () async -> String

    /// The agent's process, from its start until it has ended or is given up.
    var agent: RunningAgent?
    /// Tells the frames of one process from those of the one before it.
    var generation = 0
    /// What the conversation had used when a turn of this driver last ended.
    var lastUsed: (conversation: String, usage: Usage)?
    let log = TurnLog()
    /// What of the turn is ACP's own; as long as the log has a turn.
    var turn = PromptTurn()
    var questions = QuestionQueue<Question>()

    init(
        description: AgentDescription, host: any ProcessHost, environment: AgentEnvironment,
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
    }

    struct OpenConversation {
        var id: String
        /// The transcript knows it durably.
        var recorded: Bool
        var choices: ACPChoices
        /// The choices that were made when it was opened: a turn that asks for nothing gets these.
        var defaults: ACPChoices
        /// By the agent's own account, as far as it is known.
        var used: Usage
    }

    struct PromptTurn {
        var translation = ACPTranslation()
        /// The prompt is on its way: from here on the agent's updates belong to this turn.
        var prompted = false
    }

    // MARK: The contract

    func interrupt() async {
        guard log.interrupt() else { return }
        let open = questions.takeAll()
        guard let agent else { return }
        guard turn.prompted, let conversation = agent.conversation else {
            return await agent.connection.abandon("the turn was interrupted while the agent was starting")
        }
        // Before the answers: an agent whose question was merely not answered might go on.
        await agent.connection.notify("session/cancel", ["sessionId": .string(conversation.id)], about: "session/prompt")
        for question in open { await agent.connection.respond(to: question.rpcID, .success(PermissionOptions.cancelled)) }
    }

    func processesEnded() async {
        let ended = agent
        agent = nil
        log.processesEnded()
        await ended?.connection.abandon("its processes were ended")
    }

    var status: AgentStatus {
        AgentStatus(
            driver: description.driver.rawValue, name: agent?.info?.name, warm: agent?.conversation != nil,
            conversation: agent?.conversation?.id)
    }

    var running: Int? { agent?.generation }

    var connection: JSONRPCConnection? { agent?.connection }

    // MARK: A turn

    func perform(_ prompt: AgentPrompt, _ reporter: any TurnReporter) async -> TurnOutcome {
        turn = PromptTurn()
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
        let stop = try await send(prompt, lost: lost)
        guard stop.reason == .refused, let gone = try await reopenIfGone(prompt) else { return stop }
        return try await send(prompt, lost: gone)
    }

    private func send(_ prompt: AgentPrompt, lost: String?) async throws(TurnStop) -> TurnStop {
        try await choose(model: prompt.model, effort: prompt.effort)
        guard let agent, let conversation = agent.conversation else { throw endedEarly(nil) }
        let text = await prompt.text(afterLoss: lost, digest)
        if log.isInterrupted { throw .cancelled(clean: true) }
        turn.translation = ACPTranslation(directory: prompt.directory, before: conversation.used)
        turn.prompted = true
        do throws(JSONRPCFailure) {
            let result = try await agent.connection.request(
                "session/prompt",
                ["sessionId": .string(conversation.id), "prompt": [["type": "text", "text": .string(text)]]])
            turn.translation.promptAnswered(result)
            return ending(result["stopReason"] ?? .null)
        } catch {
            switch error {
            case .answered(let error):
                // Some agents answer a cancelled prompt with an error.
                if log.isInterrupted { return .cancelled(clean: true) }
                // It may keep what made it fail, as vibe-acp keeps a key that was rejected: the next turn starts it anew, with its
                // credentials read again.
                if error.code == JSONRPCError.authenticationRequired {
                    return TurnStop(.failed, .agentError, authenticationMessage(error), clean: false)
                }
                return TurnStop(.failed, .agentError, "the agent answered: \(error.message)", clean: false)
            case .closed(let closing):
                return endedEarly(closing)
            }
        }
    }

    private func ending(_ stopReason: JSONValue) -> TurnStop {
        switch stopReason.string {
        case "end_turn": TurnStop(.succeeded, .completed, nil, clean: true)
        case "max_tokens": TurnStop(.failed, .agentLimit, "the agent reached its limit of tokens", clean: true)
        case "max_turn_requests": TurnStop(.failed, .agentLimit, "the agent reached its limit of model requests", clean: true)
        // Some agents end so when their model cannot be reached: what they said tells which it was.
        case "refusal": TurnStop(.failed, .refused, "the agent refused to go on" + said, clean: true)
        case "cancelled" where log.isInterrupted: .cancelled(clean: true)
        // Others end so; and gptme does in every turn after one that was interrupted, until it is started anew.
        case "cancelled":
            TurnStop(
                .failed, .agentError, "the agent stopped as if it had been cancelled, which nobody asked for" + said, clean: false
            )
        case let other:
            TurnStop(
                .failed, .agentError, "the agent stopped for a reason that ACP 1 does not have: \(other ?? "none")", clean: true)
        }
    }

    private var said: String {
        turn.translation.assembly.latestMessage.map { "; it said: \($0.prefix(bytes: 1024))" } ?? ""
    }

    private func finish(_ stop: TurnStop) async -> TurnOutcome {
        await dropQuestions()
        let events = turn.translation.finish(at: log.now)
        var results = turn.translation.assembly.results
        if turn.prompted {
            agent?.conversation?.used = turn.translation.soFar
            if let id = agent?.conversation?.id { lastUsed = (id, turn.translation.soFar) }
        } else {
            results.toolCalls = nil
        }
        let outcome = await log.end(stop, recording: events, results: results)
        if !stop.clean, let agent {
            self.agent = nil
            await agent.connection.abandon("the turn did not end cleanly")
        }
        return outcome
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
            guard log.turn != nil, turn.prompted else { return }
            await log.report(turn.translation.update(update, at: log.now))
        case "_session/retrying" where log.turn != nil:
            // vibe-acp's own: it may try for minutes.
            let reason = params["detail"]?.string ?? params["category"]?.string ?? "no reason"
            await log.record(.error(Reason("the model's API failed (\(reason)); the agent tries again")))
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
        guard log.turn != nil, turn.prompted, !log.isInterrupted else {
            return await agent.connection.respond(to: id, .success(PermissionOptions.cancelled))
        }
        await log.report(turn.translation.permissionRequested(for: call, at: log.now))
        switch description.permissions ?? .bypass {
        case .bypass: await agent.connection.respond(to: id, .success(options.allowance))
        case .ask: await ask(turn.translation.title(of: call) ?? "May the agent go on?", options, rpcID: id)
        }
    }

    func closed(_ closing: ConnectionClosing, generation: Int) async {
        guard agent?.generation == generation else { return }
        agent = nil
        // What it did comes before its end.
        await log.closed(closing, after: log.turn == nil ? [] : turn.translation.finish(at: log.now))
    }
}
