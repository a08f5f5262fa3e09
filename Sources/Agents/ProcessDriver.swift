import SessionModel

/// What the drivers have in common: one process of the agent at a time, and the turn that its frames belong to.
protocol ProcessDriver: AgentDriver, Actor {
    var log: TurnLog { get }
    /// Tells the frames of the process that runs from those of the one before it; nil when none runs.
    var running: Int? { get }
    func perform(_ prompt: AgentPrompt, _ reporter: any TurnReporter) async -> TurnOutcome
    /// Gives up the process that runs, if one does.
    func abandon(_ reason: String) async
    func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream, generation: Int) async
    func closed(_ closing: ConnectionClosing, generation: Int) async
}

extension ProcessDriver {
    func run(_ prompt: AgentPrompt, reporting reporter: any TurnReporter) async -> TurnOutcome {
        await withTaskCancellationHandler {
            await perform(prompt, reporter)
        } onCancel: {
            Task { await self.giveUpTurn() }
        }
    }

    private func giveUpTurn() async {
        _ = log.interrupt()
        await abandon("the turn was given up")
    }

    /// The outcome when the process ended or was given up while a turn needed it.
    func endedEarly(_ closing: ConnectionClosing?) -> TurnStop {
        log.isInterrupted ? .cancelled(clean: false) : .endedEarly(closing, lastWords: log.lastWords)
    }

    func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream, generation: Int) async {
        if running == generation { await log.printed(bytes, to: stream) }
    }

    func discarded(lineOf bytes: Int, generation: Int) async {
        if running == generation { await log.discarded(lineOf: bytes) }
    }
}

/// A driver whose agent asks a person.
protocol AskingDriver: ProcessDriver {
    associatedtype Asked: Sendable
    var questions: QuestionQueue<Asked> { get set }
}

extension AskingDriver {
    /// Shows the question that is first now, if there is one.
    func showQuestion() async {
        guard let turn = log.turn, let request = questions.current(at: log.now, timeout: turn.inputTimeout) else { return }
        await turn.reporter.ask(request)
    }

    /// The agent takes questions back.
    func withdrawQuestions(where test: (Asked) -> Bool) async {
        guard questions.withdraw(where: test) == true else { return }
        await log.turn?.reporter.withdrawQuestion()
        await showQuestion()
    }

    /// The turn is over, and nobody is to answer any more.
    func dropQuestions() async {
        if questions.isOpen { await log.turn?.reporter.withdrawQuestion() }
        questions = QuestionQueue()
    }
}

// MARK: - What a connection knows of its driver

/// A driver that is told of lines.
protocol LineDriver: ProcessDriver {
    func received(_ frame: JSONValue, generation: Int) async -> Bool
}

/// A driver as one process's connection knows it.
struct LineDriverPeer<Driver: LineDriver>: LinePeer {
    let driver: Driver
    let generation: Int

    func received(_ frame: JSONValue) async -> Bool { await driver.received(frame, generation: generation) }
    func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream) async {
        await driver.printed(bytes, to: stream, generation: generation)
    }
    func discarded(lineOf bytes: Int) async { await driver.discarded(lineOf: bytes, generation: generation) }
    func closed(_ closing: ConnectionClosing) async { await driver.closed(closing, generation: generation) }
}

/// A driver that is told of JSON-RPC messages.
protocol JSONRPCDriver: ProcessDriver {
    var connection: JSONRPCConnection? { get }
    /// How a turn ends whose agent cannot be made ready for the first prompt.
    func startFailure(_ what: String, _ failure: JSONRPCFailure) -> TurnStop
    func notified(_ method: String, _ params: JSONValue, generation: Int) async
    func requested(_ id: JSONValue, _ method: String, _ params: JSONValue, generation: Int) async
}

extension JSONRPCDriver {
    func abandon(_ reason: String) async { await connection?.abandon(reason) }

    /// A request on the way to the first prompt, whose failure ends the turn.
    func request(_ method: String, _ params: JSONValue) async throws(TurnStop) -> JSONValue {
        guard let connection else { throw startFailure(method, .closed(.broken("it has ended"))) }
        do throws(JSONRPCFailure) {
            return try await connection.request(method, params)
        } catch {
            throw startFailure(method, error)
        }
    }

    /// Gives up the process that runs now when it is not ready after `limit`: until the task is cancelled.
    func giveUpStarting(after limit: TimeSpan) -> Task<Void, Never> {
        let started = running
        return Task {
            try? await Task.sleep(for: limit.duration)
            if !Task.isCancelled, running == started { await abandon("it did not answer within \(limit)") }
        }
    }
}

/// A driver as one process's connection knows it.
struct JSONRPCDriverPeer<Driver: JSONRPCDriver>: JSONRPCPeer {
    let driver: Driver
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
    func closed(_ closing: ConnectionClosing) async { await driver.closed(closing, generation: generation) }
}
