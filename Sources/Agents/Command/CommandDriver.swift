import AgentHost
import FoundationEssentials
import Glibc
import SessionModel

/// Drives a program that is run once for every turn, as ``SessionModel/Invocation`` describes.
///
/// What its process leaves running is ended with the turn. What it prints is ``CommandReading``'s to understand, this actor carries
/// it out.
actor CommandDriver: LineDriver {
    private let description: AgentDescription
    private let invocation: Invocation
    private let host: any ProcessHost
    private let environment: AgentEnvironment
    private let kelos: KelosContract?
    private let digest: @Sendable () async -> String

    let log = TurnLog()
    private var program: Program?
    private var generation = 0
    private var reading = CommandReading(Invocation(), directory: "/", before: nil)
    /// The conversation as it was last known, and what it had used.
    private var conversation: (id: String, total: CodexTokens?)?

    private struct Program {
        var generation: Int
        var connection: LineConnection
        var purpose: Purpose
        /// It has told which conversation it works in.
        var announced = false
        /// The end of what it printed to standard error, at most 16 KiB.
        var errors: [UInt8] = []
        var closing: ConnectionClosing?
        var waiter: CheckedContinuation<ConnectionClosing, Never>?
        /// Why it is being stopped, if not because someone wants it.
        var failure: TurnStop?
    }

    private enum Purpose {
        case start
        case resume(String)
        /// Begins another conversation in the place of one that is lost.
        case reseed(String)
    }

    init(
        description: AgentDescription, host: any ProcessHost, environment: AgentEnvironment, workspace: WorkspaceDescription?,
        digest: @escaping @Sendable () async -> String
    ) {
        self.description = description
        invocation = description.invocation ?? Invocation()
        self.host = host
        self.environment = environment
        kelos = invocation.kelos.map { KelosContract(agentType: $0, description: description, workspace: workspace) }
        self.digest = digest
    }

    // MARK: The contract

    func interrupt() async {
        guard log.interrupt() else { return }
        await program?.connection.signal(SIGTERM)
    }

    /// A program that runs to its end asks nothing.
    func answer(_ answer: InputAnswered) async {}

    func processesEnded() async {
        log.processesEnded()
        await program?.connection.abandon("its processes were ended")
    }

    var status: AgentStatus {
        AgentStatus(driver: description.driver.rawValue, name: name, warm: false, conversation: conversation?.id)
    }

    private var name: String { description.arguments[0].split(separator: "/").last.map(String.init) ?? description.arguments[0] }

    var running: Int? { program?.generation }

    func abandon(_ reason: String) async { await program?.connection.abandon(reason) }

    // MARK: A turn

    func perform(_ prompt: AgentPrompt, _ reporter: any TurnReporter) async -> TurnOutcome {
        await log.begin(prompt, reporter)
        begin(prompt, of: prompt.conversation)
        var stop: TurnStop
        do throws(TurnStop) {
            stop = try await converse(prompt)
        } catch {
            stop = error
        }
        if log.isInterrupted { stop = .cancelled(clean: false) }
        let events = reading.finish(at: log.now)
        if let id = conversation?.id, let total = reading.total { conversation = (id, total) }
        return await log.end(stop, recording: events, results: reading.results)
    }

    private func begin(_ prompt: AgentPrompt, of id: String?) {
        let before = id.map { id in conversation.flatMap { $0.id == id ? $0.total : nil } } ?? CodexTokens.none
        reading = CommandReading(invocation, directory: prompt.directory, before: before)
    }

    private func converse(_ prompt: AgentPrompt) async throws(TurnStop) -> TurnStop {
        guard let id = prompt.conversation else { return try await converseAnew(prompt, because: nil) }
        guard let resume = invocation.resume else {
            return try await converseAnew(prompt, because: "the program cannot take a conversation up again")
        }
        if !isAnnounced {
            await log.record(.conversationResumed(Conversation(id: id)))
            conversation = (id, nil)
        }
        let text = await prompt.text(afterLoss: prompt.lostMemory, digest)
        let (closing, errors) = try await run(resume, prompt, text, conversation: id, .resume(id))
        if case .exited(.code) = closing, isAnnounced, reading.conversation == nil, CodexThread.isLost(errors), !log.isInterrupted
        {
            begin(prompt, of: nil)
            let line = errors.split(whereSeparator: \.isNewline).first { CodexThread.isLost(String($0)) }
            return try await converseAnew(prompt, because: line.map(String.init) ?? errors)
        }
        return await ending(closing)
    }

    /// - Parameter reason: why the conversation that there was is lost; nil when there was none.
    private func converseAnew(_ prompt: AgentPrompt, because reason: String?) async throws(TurnStop) -> TurnStop {
        let text = await prompt.text(afterLoss: reason, digest)
        let id = UUID().uuidString.lowercased()
        if !isAnnounced {
            try await log.keep(
                reason.map { .conversationReseeded(Conversation(id: id, reason: $0)) }
                    ?? .conversationStarted(Conversation(id: id)))
            conversation = (id, nil)
        }
        let (closing, _) = try await run(
            description.arguments, prompt, text, conversation: id, reason.map { .reseed($0) } ?? .start)
        return await ending(closing)
    }

    /// Whether the program says by itself which conversation it works in.
    private var isAnnounced: Bool { invocation.format == .codex }

    private func ending(_ closing: ConnectionClosing) async -> TurnStop {
        guard case .exited(let status) = closing else { return .endedEarly(closing, lastWords: log.lastWords) }
        var stop = reading.ending(status, lastWords: log.lastWords)
        // What it left running is ended before the next turn.
        if stop.clean { stop.clean = (try? await host.processes())?.isEmpty ?? false }
        return stop
    }

    // MARK: The process

    /// Runs the program to its end.
    /// - Returns: how it ended, and the end of what it printed to standard error.
    private func run(
        _ template: [String], _ prompt: AgentPrompt, _ text: String, conversation: String, _ purpose: Purpose
    ) async throws(TurnStop) -> (ConnectionClosing, errors: String) {
        var values = ["conversation": conversation]
        values["model"] = prompt.model ?? description.model
        values["effort"] = prompt.effort ?? description.effort
        let command = TurnCommand(template, prompt: invocation.prompt ?? .argument, text: text, values: values)
        if let mistake = command.mistake { throw TurnStop(.failed, .agentStart, mistake, clean: true) }
        for name in command.unused where kelos == nil {
            await log.record(.error(Reason("the command has no place for {\(name)}, so “\(values[name] ?? "")” is not set")))
        }
        if log.isInterrupted { throw .cancelled(clean: true) }

        let process = try await environment.start(
            command.arguments, own: try await variables(values), in: prompt.directory, on: host)
        await log.record(
            .agentStarted(AgentStarted(driver: description.driver.rawValue, name: name, version: nil, pid: process.pid)))
        generation += 1
        let connection = LineConnection(process, frames: log.frames, runsToItsEnd: true)
        program = Program(generation: generation, connection: connection, purpose: purpose)
        await connection.start(LineDriverPeer(driver: self, generation: generation))
        if let input = command.input { connection.send(Array(input.utf8)) }
        connection.endInput()
        if log.isInterrupted { await connection.signal(SIGTERM) }

        let closing = await withCheckedContinuation { waiter in
            if let closing = program?.closing { waiter.resume(returning: closing) } else { program?.waiter = waiter }
        }
        let ended = program
        program = nil
        if let failure = ended?.failure { throw failure }
        return (closing, String(decoding: ended?.errors ?? [], as: UTF8.self))
    }

    /// What the program gets besides the session's environment.
    private func variables(_ values: [String: String]) async throws(TurnStop) -> [String: String?] {
        if let kelos { return kelos.variables(model: values["model"], effort: values["effort"]) }
        guard isAnnounced, let home = CodexHome(environment) else { return [:] }
        try await home.make(on: host)
        return ["CODEX_HOME": home.path]
    }

    // MARK: What the program prints

    func received(_ frame: JSONValue, generation: Int) async -> Bool {
        guard program?.generation == generation else { return true }
        guard let outputs = reading.received(frame, at: log.now) else { return false }
        if let id = reading.conversation, program?.announced == false { await announced(id) }
        await log.report(outputs)
        return true
    }

    /// The program has told which conversation it works in. Nothing more is read from it before that is on disk.
    private func announced(_ id: String) async {
        guard let purpose = program?.purpose else { return }
        program?.announced = true
        if conversation?.id != id { conversation = (id, nil) }
        let event: EventBody
        switch purpose {
        case .resume(id): return await log.record(.conversationResumed(Conversation(id: id)))
        case .resume(let other):
            event = .conversationReseeded(
                Conversation(id: id, reason: "the program began another conversation instead of taking \(other) up again"))
        case .reseed(let reason): event = .conversationReseeded(Conversation(id: id, reason: reason))
        case .start: event = .conversationStarted(Conversation(id: id))
        }
        do throws(TurnStop) {
            try await log.keep(event)
        } catch {
            program?.failure = TurnStop(
                .failed, error.reason, "the conversation could not be recorded, so the program was stopped", clean: false)
            await program?.connection.signal(SIGTERM)
        }
    }

    func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream, generation: Int) async {
        guard program?.generation == generation else { return }
        guard stream == .stdout else {
            let errors = Array(((program?.errors ?? []) + bytes).suffix(16 << 10))
            program?.errors = errors
            return await log.printed(bytes, to: .stderr)
        }
        let (outputs, rest) = reading.printed(bytes)
        await log.report(outputs)
        if !rest.isEmpty { await log.printed(rest, to: .stdout) }
    }

    func closed(_ closing: ConnectionClosing, generation: Int) async {
        guard program?.generation == generation else { return }
        // What it did comes before its end.
        await log.closed(closing, after: reading.finish(at: log.now))
        program?.closing = closing
        program?.waiter?.resume(returning: closing)
        program?.waiter = nil
    }
}
