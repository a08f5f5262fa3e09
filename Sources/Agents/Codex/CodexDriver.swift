import AgentHost
import SessionModel

/// Drives Codex through its app server: JSON-RPC over standard streams, a thread for the conversation, a turn for a turn.
///
/// A `turn/start` that comes while a turn runs is folded into that one. So none is sent before the `turn/completed` of the one before,
/// and the id that answers it must be a new one.
actor CodexDriver: AskingDriver, JSONRPCDriver {
    let description: AgentDescription
    let host: any ProcessHost
    let environment: AgentEnvironment
    let digest: @Sendable () async -> String

    /// The agent's process, from its start until it has ended or is given up.
    var agent: RunningAgent?
    /// Tells the frames of one process from those of the one before it.
    var generation = 0
    let log = TurnLog()
    /// What of the turn is Codex's own; as long as the log has a turn.
    var turn = PromptTurn()
    var questions = QuestionQueue<CodexApproval>()

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
        var thread: OpenThread?
        /// Warnings that are recorded: Codex repeats them with every turn.
        var warnings: Set<String> = []
    }

    struct OpenThread {
        var id: String
        /// The transcript knows it durably.
        var recorded: Bool
        /// What a turn gets that asks for no model; nil when it is not known.
        var usualModel: String?
        /// The effort that an earlier turn asked for. It stays until another is asked for.
        var effort: String?
        /// What the thread has used so far, if that is known.
        var tokens: CodexTokens?
        /// The turn that Codex works on.
        var working: String?
        var ended: Set<String> = []
    }

    struct PromptTurn {
        var translation = CodexTranslation()
        /// The prompt is on its way: from here on what Codex tells of its turn belongs to this one.
        var prompted = false
        var id: String?
        var started = false
        /// An interruption was sent, and Codex did not say that it knows of no such turn.
        var interruptSent = false
        var end: TurnStop?
        var waiter: CheckedContinuation<TurnStop, Never>?
    }

    // MARK: The contract

    func interrupt() async {
        guard log.interrupt() else { return }
        // Codex withdraws the open ones itself.
        _ = questions.takeAll()
        guard let agent else { return }
        guard turn.prompted else {
            return await agent.connection.abandon("the turn was interrupted while the agent was starting")
        }
        await sendInterrupt()
    }

    func processesEnded() async {
        let ended = agent
        agent = nil
        log.processesEnded()
        // That its connection closes is of no account any more once it is forgotten.
        if turn.prompted { end(endedEarly(.broken("its processes were ended"))) }
        await ended?.connection.abandon("its processes were ended")
    }

    var status: AgentStatus {
        AgentStatus(
            driver: description.driver.rawValue, name: agent?.thread == nil ? nil : "Codex", warm: agent?.thread != nil,
            conversation: agent?.thread?.id)
    }

    var running: Int? { agent?.generation }

    var connection: JSONRPCConnection? { agent?.connection }

    /// Before `turn/started` Codex knows of no turn to interrupt, and would go on with it.
    private func sendInterrupt() async {
        guard turn.started, !turn.interruptSent, turn.end == nil, let agent, let thread = agent.thread, let id = turn.id else {
            return
        }
        turn.interruptSent = true
        do throws(JSONRPCFailure) {
            _ = try await agent.connection.request("turn/interrupt", ["threadId": .string(thread.id), "turnId": .string(id)])
        } catch {
            // It is over, or not quite there: then it is asked again when more comes of it.
            if turn.id == id { turn.interruptSent = false }
        }
    }

    // MARK: A turn

    func perform(_ prompt: AgentPrompt, _ reporter: any TurnReporter) async -> TurnOutcome {
        turn = PromptTurn()
        questions = QuestionQueue()
        await log.begin(prompt, reporter)
        do throws(TurnStop) {
            return await finish(try await converse(prompt))
        } catch {
            return await finish(error)
        }
    }

    private func converse(_ prompt: AgentPrompt) async throws(TurnStop) -> TurnStop {
        let lost = try await open(prompt) ?? prompt.lostMemory
        guard let agent, let thread = agent.thread else { throw endedEarly(nil) }
        if log.isInterrupted { throw .cancelled(clean: true) }
        if let working = thread.working { throw folded("it works on a turn that nobody asked for (\(working))") }

        let params = await parameters(of: prompt, await prompt.text(afterLoss: lost, digest), thread)
        if log.isInterrupted { throw .cancelled(clean: true) }
        turn.translation = CodexTranslation(directory: prompt.directory, before: thread.tokens)
        turn.prompted = true
        let result: JSONValue
        do throws(JSONRPCFailure) {
            result = try await agent.connection.request("turn/start", params)
        } catch {
            switch error {
            case .answered(let error): return TurnStop(.failed, .agentError, "Codex answered: \(error.message)", clean: true)
            case .closed(let closing): return endedEarly(closing)
            }
        }
        guard let id = result["turn"]?["id"]?.string else {
            throw TurnStop(.failed, .agentError, "Codex began a turn and did not name it", clean: false)
        }
        if thread.ended.contains(id) || turn.id ?? id != id { throw folded("it answered with the turn \(id)") }
        turn.id = id
        return await withCheckedContinuation { waiter in
            if let end = turn.end { waiter.resume(returning: end) } else { turn.waiter = waiter }
        }
    }

    private func folded(_ why: String) -> TurnStop {
        TurnStop(
            .failed, .agentError,
            "Codex did not begin a turn of its own for this prompt: \(why). It may have been seen by the model or not",
            clean: false)
    }

    private func end(_ stop: TurnStop) {
        guard turn.end == nil else { return }
        turn.end = stop
        turn.waiter?.resume(returning: stop)
        turn.waiter = nil
    }

    private func finish(_ stop: TurnStop) async -> TurnOutcome {
        await dropQuestions()
        let events = turn.translation.finish(at: log.now)
        var results = turn.translation.assembly.results
        if !turn.prompted { results.toolCalls = nil }
        turn.prompted = false
        let outcome = await log.end(stop, recording: events, results: results)
        if !stop.clean, let agent {
            self.agent = nil
            await agent.connection.abandon("the turn did not end cleanly")
        }
        return outcome
    }

    // MARK: What Codex sends

    func notified(_ method: String, _ params: JSONValue, generation: Int) async {
        guard let agent, agent.generation == generation else { return }
        switch method {
        case "warning": await warn(params["message"]?.string)
        case "mcpServer/startupStatus/updated":
            guard params["status"]?.string == "failed", let name = params["name"]?.string else { return }
            await warn("the MCP server “\(name)” did not start: \(params["error"]?.string ?? "no reason given")")
        default: break
        }
        // Threads of sub-agents have ids of their own.
        guard let thread = agent.thread, params["threadId"]?.string == thread.id else { return }
        let id = params["turnId"]?.string ?? params["turn"]?["id"]?.string
        switch method {
        case "turn/started":
            self.agent?.thread?.working = id
            if turn.prompted, turn.end == nil, turn.id ?? id == id {
                turn.id = id
                turn.started = true
            }
        case "thread/tokenUsage/updated": self.agent?.thread?.tokens = CodexTokens(params["tokenUsage"]?["total"])
        case "serverRequest/resolved": await withdrawQuestions { $0.rpcID == params["requestId"] }
        default: break
        }
        guard turn.prompted, turn.end == nil, let id, turn.id == id else {
            if method == "turn/completed" { threadRests(after: id) }
            return
        }
        await log.report(turn.translation.notified(method, params, at: log.now))
        if method == "turn/completed" {
            threadRests(after: id)
            end(ending(params["turn"] ?? .null))
        } else if log.isInterrupted {
            // Not awaited: its answer comes after this frame.
            Task { await self.sendInterrupt() }
        }
    }

    private func threadRests(after id: String?) {
        // Another turn may have begun before this one's end.
        if id == nil || agent?.thread?.working == id { agent?.thread?.working = nil }
        if let id { agent?.thread?.ended.insert(id) }
    }

    private func warn(_ message: String?) async {
        guard let message, agent?.warnings.count ?? 0 < 100, agent?.warnings.insert(message).inserted == true else { return }
        await log.record(.error(Reason(message)))
    }

    private func ending(_ turn: JSONValue) -> TurnStop {
        switch turn["status"]?.string {
        case "completed": return TurnStop(.succeeded, .completed, nil, clean: true)
        case "interrupted" where log.isInterrupted: return .cancelled(clean: true)
        case "interrupted": return TurnStop(.failed, .agentError, "Codex interrupted the turn by itself", clean: true)
        case "failed":
            let failure = CodexFailure(turn["error"] ?? .null)
            return TurnStop(.failed, failure.reason, failure.message, clean: true)
        case let other:
            return TurnStop(
                .failed, .agentError, "Codex ended the turn in a way that is not known here: \(other ?? "none")", clean: true)
        }
    }

    func closed(_ closing: ConnectionClosing, generation: Int) async {
        guard agent?.generation == generation else { return }
        agent = nil
        // What it did comes before its end.
        await log.closed(closing, after: log.turn == nil ? [] : turn.translation.finish(at: log.now))
        if turn.prompted { end(endedEarly(closing)) }
    }
}
