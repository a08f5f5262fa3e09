import AgentHost
import SessionModel

/// Starting the agent, and opening its conversation.
extension ACPDriver {
    /// Makes sure that the agent runs and has the session's conversation open.
    /// - Returns: why it has none any more and began another one.
    func open(_ prompt: AgentPrompt) async throws(TurnStop) -> String? {
        var lost: String?
        let limit = description.startTimeout ?? .minutes(2)
        if agent?.conversation == nil || agent?.conversation?.id != (prompt.conversation ?? agent?.conversation?.id) {
            if agent == nil { try await start(in: prompt.directory) }
            let timer = giveUpStarting(after: limit)
            defer { timer.cancel() }
            if agent?.info == nil { try await initialize() }
            lost = try await openConversation(prompt)
        }
        try await keepConversation()
        return lost
    }

    private func start(in directory: String) async throws(TurnStop) {
        let process = try await environment.start(description.arguments, in: directory, on: host)
        generation += 1
        let connection = JSONRPCConnection(
            process: process, peer: JSONRPCDriverPeer(driver: self, generation: generation), frames: log.frames)
        agent = RunningAgent(generation: generation, pid: process.pid, connection: connection)
        await connection.start()
        if log.isInterrupted { throw .cancelled(clean: false) }
    }

    private func initialize() async throws(TurnStop) {
        let result = try await request("initialize", ACPAgent.initialization)
        do throws(ACPAgent.Unsupported) {
            let info = try ACPAgent(initialized: result)
            agent?.info = info
        } catch {
            let version = (try? JSON.string(error.version)) ?? "unknown"
            throw TurnStop(
                .failed, .agentStart,
                "the agent speaks version \(version) of the Agent Client Protocol, and only version 1 is supported: install a version of it that does",
                clean: false)
        }
        guard let agent, let info = agent.info else { return }
        await log.record(
            .agentStarted(
                AgentStarted(driver: description.driver.rawValue, name: info.name, version: info.version, pid: agent.pid)))
    }

    private func openConversation(_ prompt: AgentPrompt) async throws(TurnStop) -> String? {
        await reportUnsupported()
        guard let id = prompt.conversation else {
            try await keep(.conversationStarted(Conversation(id: try await newConversation(prompt))))
            return nil
        }
        guard let lost = try await resume(id, prompt) else {
            await log.record(.conversationResumed(Conversation(id: id)))
            return nil
        }
        // The id may be the same: gptme has one conversation for each working directory, and does not say whether it was there.
        try await keep(.conversationReseeded(Conversation(id: try await newConversation(prompt), reason: lost)))
        return lost
    }

    /// Begins another conversation in the place of one that the agent has taken up and does not have: Hermes refuses every prompt
    /// there, without a word.
    /// - Returns: why; nil when the prompt was refused for something else.
    func reopenIfGone(_ prompt: AgentPrompt) async throws(TurnStop) -> String? {
        guard let id = prompt.conversation, id == agent?.conversation?.id, !log.isInterrupted,
            turn.translation.assembly.isEmpty, await isGone(id)
        else { return nil }
        let reason = "the agent refused the prompt, and the conversation \(id) is none of those that it has"
        try await keep(.conversationReseeded(Conversation(id: try await newConversation(prompt), reason: reason)))
        return reason
    }

    /// Whether it is none of those that the agent has, by its own account.
    private func isGone(_ id: String) async -> Bool {
        guard let agent, agent.info?.canList == true else { return false }
        var page: JSONValue = [:]
        for _ in 0..<100 {
            guard let list = try? await agent.connection.request("session/list", page), let sessions = list["sessions"]?.array,
                !sessions.contains(where: { $0["sessionId"]?.string == id })
            else { return false }
            guard let next = list["nextCursor"]?.string else { return true }
            page = ["cursor": .string(next)]
        }
        return false
    }

    private func newConversation(_ prompt: AgentPrompt) async throws(TurnStop) -> String {
        let result = try await request("session/new", ["cwd": .string(prompt.directory), "mcpServers": mcpServers()])
        guard let id = result["sessionId"]?.string, !id.isEmpty else {
            throw TurnStop(.failed, .agentStart, "the agent opened a conversation and did not name it", clean: false)
        }
        try await opened(id, result, used: ACPTranslation.nothingUsed)
        return id
    }

    /// Takes a conversation up again.
    /// - Returns: why the agent does not have it any more; nil when it does.
    private func resume(_ id: String, _ prompt: AgentPrompt) async throws(TurnStop) -> String? {
        guard let info = agent?.info, info.canLoad || info.canResume else {
            return "the agent cannot take a conversation up again"
        }
        let params: JSONValue = ["sessionId": .string(id), "cwd": .string(prompt.directory), "mcpServers": mcpServers()]
        let result: JSONValue
        do throws(JSONRPCFailure) {
            guard let connection = agent?.connection else { throw .closed(.broken("it has ended")) }
            result = try await connection.request(info.canResume ? "session/resume" : "session/load", params)
        } catch {
            if case .answered(let answer) = error, ACPAgent.isLoss(answer) { return answer.message }
            throw startFailure("take the conversation \(id) up again", error)
        }
        try await opened(
            id, result, used: lastUsed?.conversation == id ? lastUsed?.usage ?? Usage() : Usage(), recorded: true)
        return nil
    }

    private func opened(_ id: String, _ result: JSONValue, used: Usage, recorded: Bool = false) async throws(TurnStop) {
        var choices = ACPChoices(result["configOptions"])
        if let mode = description.mode {
            let modes =
                choices.choices[.mode]?.values
                ?? (result["modes"]?["availableModes"]?.array ?? []).compactMap { $0["id"]?.string }
            guard modes.isEmpty || modes.contains(mode) else {
                throw TurnStop(
                    .failed, .agentStart, "the agent has no mode “\(mode)”, but \(modes.joined(separator: ", "))", clean: false)
            }
            if let choice = choices.choices[.mode] {
                choices = try await set(choice, to: mode, in: id)
            } else {
                _ = try await request("session/set_mode", ["sessionId": .string(id), "modeId": .string(mode)])
            }
        }
        agent?.conversation = OpenConversation(id: id, recorded: recorded, choices: choices, defaults: choices, used: used)
    }

    /// The conversation's id must be on disk before the first prompt leaves: otherwise a crash would lose what the agent did.
    private func keepConversation() async throws(TurnStop) {
        guard let conversation = agent?.conversation, !conversation.recorded else { return }
        try await keep(.conversationStarted(Conversation(id: conversation.id)))
    }

    private func keep(_ event: EventBody) async throws(TurnStop) {
        try await log.keep(event)
        agent?.conversation?.recorded = true
    }

    // MARK: Choices

    /// Sets what the turn asks for, or else the worker's description, where the agent offers it. What neither asks for is as it was
    /// at the beginning.
    func choose(model: String?, effort: String?) async throws(TurnStop) {
        let wishes = [(ACPChoices.Category.model, model ?? description.model), (.effort, effort ?? description.effort)]
        for (category, wish) in wishes {
            guard let conversation = agent?.conversation else { return }
            guard let choice = conversation.choices.choices[category], let usual = conversation.defaults.choices[category] else {
                if let wish {
                    await log.record(.error(Reason("the agent offers no choice of \(category), so “\(wish)” is not set")))
                }
                continue
            }
            if let wish, !choice.values.contains(wish) {
                let offered = choice.values.joined(separator: ", ")
                await log.record(
                    .error(
                        Reason(
                            "the agent does not offer the \(category) “\(wish)” but \(offered); it goes on with \(choice.current)"
                        )
                    ))
                continue
            }
            let value = wish ?? usual.current
            guard value != choice.current else { continue }
            let choices = try await set(choice, to: value, in: conversation.id)
            agent?.conversation?.choices = choices
        }
    }

    private func set(_ choice: ACPChoices.Choice, to value: String, in conversation: String) async throws(TurnStop) -> ACPChoices
    {
        let result = try await request(
            "session/set_config_option",
            ["sessionId": .string(conversation), "configId": .string(choice.id), "value": .string(value)])
        return ACPChoices(result["configOptions"])
    }

    // MARK: Requests

    func startFailure(_ what: String, _ failure: JSONRPCFailure) -> TurnStop {
        if log.isInterrupted { return .cancelled(clean: false) }
        switch failure {
        case .answered(let error):
            let isLogin = error.code == JSONRPCError.authenticationRequired
            let message = isLogin ? authenticationMessage(error) : "the agent answered “\(what)” with an error: \(error.message)"
            return TurnStop(.failed, .agentStart, message, clean: false)
        case .closed(let closing):
            return .endedAtStart(closing, lastWords: log.lastWords)
        }
    }

    func authenticationMessage(_ error: JSONRPCError) -> String {
        let methods = agent?.info?.authentication ?? []
        let how = methods.isEmpty ? "it names no way to log in" : "its ways to log in: \(methods.joined(separator: "; "))"
        return "the agent asks for a login (\(error.message)); \(how). Give it credentials in its environment"
    }
}
