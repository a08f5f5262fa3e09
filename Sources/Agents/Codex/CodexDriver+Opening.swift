import AgentHost
import SessionModel

/// Starting Codex, and opening its thread.
extension CodexDriver {
    /// Makes sure that Codex runs and has the session's thread open.
    /// - Returns: why it has none any more and began another one.
    func open(_ prompt: AgentPrompt) async throws(TurnStop) -> String? {
        var lost: String?
        let limit = description.startTimeout ?? .minutes(2)
        if agent?.thread == nil || agent?.thread?.id != (prompt.conversation ?? agent?.thread?.id) {
            let isNew = agent == nil
            let key = isNew ? try await start(in: prompt.directory) : nil
            let timer = giveUpStarting(after: limit)
            defer { timer.cancel() }
            if isNew { try await initialize(key) }
            lost = try await openThread(prompt)
        }
        if let thread = agent?.thread, !thread.recorded { try await keep(.conversationStarted(Conversation(id: thread.id))) }
        return lost
    }

    // MARK: The process

    /// - Returns: the key to log in with.
    private func start(in directory: String) async throws(TurnStop) -> String? {
        let variables: [String: String]
        do throws(AgentEnvironment.MissingCredential) {
            variables = try environment.read()
        } catch {
            throw TurnStop(.failed, .agentStart, error.message, clean: true)
        }
        let home = CodexHome(environment)
        try await home?.make(on: host)
        let setup = CodexSetup(description, variables: variables, home: home)
        let process: any HostedProcess
        do throws(HostError) {
            process = try await host.start(
                ProcessSpec(arguments: setup.arguments, environment: setup.environment, directory: directory))
        } catch {
            throw .notStarted(error)
        }
        generation += 1
        let connection = JSONRPCConnection(
            process: process, peer: JSONRPCDriverPeer(driver: self, generation: generation), frames: log.frames)
        agent = RunningAgent(generation: generation, pid: process.pid, connection: connection)
        await connection.start()
        if log.isInterrupted { throw .cancelled(clean: false) }
        return setup.apiKey
    }

    private func initialize(_ key: String?) async throws(TurnStop) {
        let result = try await request("initialize", CodexSetup.initialization)
        await agent?.connection.notify("initialized")
        if let key { _ = try await request("account/login/start", ["type": "apiKey", "apiKey": .string(key)]) }
        await log.record(
            .agentStarted(
                AgentStarted(
                    driver: description.driver.rawValue, name: "Codex", version: CodexSetup.version(in: result), pid: agent?.pid))
        )
    }

    // MARK: The thread

    private func openThread(_ prompt: AgentPrompt) async throws(TurnStop) -> String? {
        guard let id = prompt.conversation else {
            try await keep(.conversationStarted(Conversation(id: try await newThread(prompt))))
            return nil
        }
        guard let lost = try await resume(id, prompt) else {
            await log.record(.conversationResumed(Conversation(id: id)))
            return nil
        }
        try await keep(.conversationReseeded(Conversation(id: try await newThread(prompt), reason: lost)))
        return lost
    }

    private func newThread(_ prompt: AgentPrompt) async throws(TurnStop) -> String {
        let result = try await request("thread/start", .object(CodexSetup.thread(description, in: prompt.directory)))
        guard let id = result["thread"]?["id"]?.string, !id.isEmpty else {
            throw TurnStop(.failed, .agentStart, "Codex opened a thread and did not name it", clean: false)
        }
        agent?.thread = OpenThread(id: id, recorded: false, usualModel: result["model"]?.string, tokens: CodexTokens.none)
        return id
    }

    /// Takes a thread up again.
    /// - Returns: why Codex does not have it any more; nil when it does.
    private func resume(_ id: String, _ prompt: AgentPrompt) async throws(TurnStop) -> String? {
        var params = CodexSetup.thread(description, in: prompt.directory)
        params["threadId"] = .string(id)
        params["excludeTurns"] = true
        do throws(JSONRPCFailure) {
            guard let connection = agent?.connection else { throw .closed(.broken("it has ended")) }
            _ = try await connection.request("thread/resume", .object(params))
        } catch {
            if case .answered(let answer) = error, CodexThread.isLost(answer.message) { return answer.message }
            throw startFailure("thread/resume", error)
        }
        agent?.thread = OpenThread(id: id, recorded: true, usualModel: description.model)
        return nil
    }

    /// The thread's id must be on disk before the first prompt leaves: otherwise a crash would lose what the agent did.
    private func keep(_ event: EventBody) async throws(TurnStop) {
        try await log.keep(event)
        agent?.thread?.recorded = true
    }

    // MARK: Requests

    /// What a turn sends. Codex keeps a model and an effort for the turns that follow, so the model is named every time.
    func parameters(of prompt: AgentPrompt, _ text: String, _ thread: OpenThread) async -> JSONValue {
        var params: [String: JSONValue] = [
            "threadId": .string(thread.id), "cwd": .string(prompt.directory),
            "input": [["type": "text", "text": .string(text)]],
        ]
        params["model"] = (prompt.model ?? description.model ?? thread.usualModel).map { .string($0) }
        if let effort = prompt.effort ?? description.effort {
            params["effort"] = .string(effort)
            agent?.thread?.effort = effort
        } else if let effort = thread.effort {
            await log.record(
                .error(
                    Reason(
                        "Codex keeps the effort “\(effort)” of an earlier turn; give the agent an effort for turns that ask for none"
                    )
                ))
        }
        return .object(params)
    }

    func startFailure(_ method: String, _ failure: JSONRPCFailure) -> TurnStop {
        if log.isInterrupted { return .cancelled(clean: false) }
        switch failure {
        case .answered(let error):
            return TurnStop(
                .failed, .agentStart, "Codex answered “\(method)” with an error: \(error.message)\(log.lastWords)", clean: false)
        case .closed(let closing): return .endedAtStart(closing, lastWords: log.lastWords)
        }
    }
}
