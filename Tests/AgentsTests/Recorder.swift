import Agents
import SessionModel

/// A transcript in memory.
actor Recorder: TurnReporter {
    private(set) var events: [EventBody] = []
    private(set) var durable: [EventBody] = []
    private(set) var deltas: [String] = []
    private(set) var withdrawn = 0
    private var questions: [InputRequest] = []
    private var waiters: [(test: @Sendable (EventBody) -> Bool, continuation: CheckedContinuation<Void, Never>)] = []
    private var askers: [CheckedContinuation<InputRequest, Never>] = []
    /// Thrown by the next durable record.
    private var problem: Problem?

    func fail(with problem: Problem) { self.problem = problem }

    func record(_ body: EventBody) async {
        events.append(body)
        let met = waiters.filter { $0.test(body) }
        waiters.removeAll { $0.test(body) }
        for waiter in met { waiter.continuation.resume() }
    }

    func recordDurably(_ body: EventBody) async throws(Problem) {
        if let problem {
            self.problem = nil
            throw problem
        }
        durable.append(body)
        await record(body)
    }

    func delta(_ text: String) async { deltas.append(text) }

    func ask(_ request: InputRequest) async {
        if askers.isEmpty { questions.append(request) } else { askers.removeFirst().resume(returning: request) }
    }

    func withdrawQuestion() async { withdrawn += 1 }

    /// Returns when an event like that has been recorded.
    func seen(_ test: @escaping @Sendable (EventBody) -> Bool) async {
        if events.contains(where: test) { return }
        await withCheckedContinuation { waiters.append((test, $0)) }
    }

    /// The next question.
    func question() async -> InputRequest {
        if !questions.isEmpty { return questions.removeFirst() }
        return await withCheckedContinuation { askers.append($0) }
    }

    /// The types of all events, in order.
    var types: [String] { events.map(\.type) }

    var messages: [String] {
        events.compactMap { if case .message(let message) = $0 { message.text } else { nil } }
    }

    var results: [ToolResult] {
        events.compactMap { if case .toolResult(let result) = $0 { result } else { nil } }
    }

    var output: [AgentOutput] {
        events.compactMap { if case .agentOutput(let output) = $0 { output } else { nil } }
    }
}
