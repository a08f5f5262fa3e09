import AgentHost
import SessionModel

/// Starting Claude Code with the session's conversation. All that can go wrong with it shows before the prompt leaves.
extension ClaudeCodeDriver {
    /// Makes sure that the agent runs with what the turn asks for, and waits for a prompt.
    /// - Returns: why the agent does not have the conversation any more and began another one.
    func open(_ prompt: AgentPrompt) async throws(TurnStop) -> String? {
        let description = command.description
        let choice = ClaudeCodeCommand.Choice(
            model: prompt.model ?? description.model, effort: prompt.effort ?? description.effort)
        var lost: String?
        if let agent {
            if agent.busy { try await awaitIdle() }
            let isOther = agent.choice != choice || prompt.conversation.map { $0 != agent.conversation } ?? false
            if isOther { try await retire() }
        }
        if agent == nil { lost = try await start(prompt, choice) }
        if let agent, !agent.recorded { try await keep(.conversationStarted(Conversation(id: agent.conversation))) }
        return lost
    }

    private func start(_ prompt: AgentPrompt, _ choice: ClaudeCodeCommand.Choice) async throws(TurnStop) -> String? {
        if let document = command.mcpConfiguration {
            try await HostFile.write(JSONLine.encode(document), to: command.mcpFile, on: host)
        }
        guard let known = prompt.conversation else {
            try await startNew(prompt, choice)
            return nil
        }
        if try await start(.resumed(known), prompt, choice) {
            await log.record(.conversationResumed(Conversation(id: known)))
            return nil
        }
        let reason = lastRefusal?.errors.joined(separator: "; ") ?? "Claude Code does not have it any more"
        let new = try await startNew(prompt, choice)
        try await keep(.conversationReseeded(Conversation(id: new, reason: reason)))
        return reason
    }

    /// Starts it with a conversation of a new id. One that is in use already belongs to somebody else: another is chosen.
    @discardableResult
    private func startNew(_ prompt: AgentPrompt, _ choice: ClaudeCodeCommand.Choice) async throws(TurnStop) -> String {
        for _ in 0..<2 {
            let id = Self.newID()
            if try await start(.new(id), prompt, choice) { return id }
        }
        throw TurnStop(.failed, .agentStart, "the agent says of two new conversations that they are in use already", clean: false)
    }

    /// - Returns: false when the agent does not have the conversation that is to be resumed, or has the one that is to be made.
    private func start(
        _ conversation: ClaudeCodeCommand.Conversation, _ prompt: AgentPrompt, _ choice: ClaudeCodeCommand.Choice
    ) async throws(TurnStop) -> Bool {
        let process = try await environment.start(
            command.arguments(conversation, choice), own: command.variables, in: prompt.directory, on: host)
        generation += 1
        lastRefusal = nil
        let connection = LineConnection(process, frames: log.frames)
        var isResumed = false
        if case .resumed = conversation { isResumed = true }
        agent = RunningAgent(
            generation: generation, pid: process.pid, connection: connection, conversation: conversation.id, choice: choice,
            recorded: isResumed, cost: isResumed ? nil : 0)
        await connection.start(LineDriverPeer(driver: self, generation: generation))
        if log.isInterrupted { throw .cancelled(clean: false) }

        let arrival = await withDeadline {
            await exchange(
                .ready,
                sending: [
                    "type": "control_request", "request_id": .string(Self.newID()),
                    "request": ["subtype": "initialize", "hooks": .null],
                ])
        }
        switch arrival {
        case .frame(let frame):
            let response = frame["response"]
            guard response?["subtype"]?.string == "success" else {
                let error = response?["error"]?.string ?? "no reason"
                throw TurnStop(.failed, .agentStart, "the agent refused to begin: \(error)", clean: false)
            }
            agent?.ready = true
            agent?.version = response?["response"]?["claude_code_version"]?.string
            await log.record(
                .agentStarted(
                    AgentStarted(
                        driver: command.description.driver.rawValue, name: "Claude Code", version: agent?.version,
                        pid: process.pid)))
            return true
        case .closed(let closing):
            if log.isInterrupted { throw .cancelled(clean: false) }
            if lastRefusal?.isLoss(of: conversation.id) == true { return false }
            if log.lastWords.contains("Session ID \(conversation.id) is already in use") { return false }
            throw .endedAtStart(closing, lastWords: log.lastWords)
        }
    }

    /// It works by itself, on the end of a background task: a prompt sent now would be folded into that. It is given as long as the
    /// turn is: what it does is of use, and seen.
    private func awaitIdle() async throws(TurnStop) {
        let arrival = await exchange(.ready, sending: nil)
        if case .closed(let closing) = arrival {
            throw log.isInterrupted ? .cancelled(clean: false) : .endedAtStart(closing, lastWords: log.lastWords)
        }
    }

    /// Ends a process that is not what the turn needs; its conversation is taken up by the next one.
    private func retire() async throws(TurnStop) {
        guard let old = agent else { return }
        agent = nil
        old.connection.endInput()
        if await old.connection.closing(within: patience.input) == nil {
            await old.connection.signal(15)
            if await old.connection.closing(within: patience.termination) == nil {
                throw TurnStop(
                    .failed, .agentStart, "the agent did not end, so that it could not be started with other choices",
                    clean: false)
            }
        }
    }

    private func keep(_ event: EventBody) async throws(TurnStop) {
        try await log.keep(event)
        agent?.recorded = true
    }

    private func withDeadline<Value>(_ work: () async -> Value) async -> Value {
        let limit = command.description.startTimeout ?? .minutes(2)
        let connection = agent?.connection
        let timer = Task {
            try? await Task.sleep(for: limit.duration)
            if !Task.isCancelled { await connection?.abandon("it did not answer within \(limit)") }
        }
        defer { timer.cancel() }
        return await work()
    }
}
