import Agents
import SessionModel

/// Returns when it is so; until the test is cancelled, for being over its time limit.
func until(_ isSo: () async throws -> Bool) async throws {
    while try await !isSo() {
        try Task.checkCancellation()
        await Task.yield()
    }
}

/// A transcript in memory.
actor Recorder: TurnReporter {
    private(set) var events: [EventBody] = []
    private(set) var durable: [EventBody] = []
    private(set) var deltas: [String] = []
    private(set) var withdrawn = 0
    private var questions: [InputRequest] = []
    private var waiters: [Int: CheckedContinuation<Void, any Error>] = [:]
    private var lastWaiter = 0
    /// Thrown by the next durable record.
    private var problem: Problem?
    let isStopping: Bool

    init(isStopping: Bool = false) { self.isStopping = isStopping }

    func fail(with problem: Problem) { self.problem = problem }

    func record(_ body: EventBody) async {
        events.append(body)
        changed()
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
        questions.append(request)
        changed()
    }

    func withdrawQuestion() async { withdrawn += 1 }

    /// Returns when an event like that has been recorded.
    func seen(_ test: @escaping @Sendable (EventBody) -> Bool) async throws {
        while !events.contains(where: test) { try await change() }
    }

    /// The next question.
    func question() async throws -> InputRequest {
        while questions.isEmpty { try await change() }
        return questions.removeFirst()
    }

    /// Waits for the next change; until the test is cancelled, for being over its time limit.
    private func change() async throws {
        lastWaiter += 1
        let waiter = lastWaiter
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                if Task.isCancelled { continuation.resume(throwing: CancellationError()) } else { waiters[waiter] = continuation }
            }
        } onCancel: {
            Task { await self.giveUp(waiter) }
        }
    }

    private func giveUp(_ waiter: Int) { waiters.removeValue(forKey: waiter)?.resume(throwing: CancellationError()) }

    private func changed() {
        let woken = waiters.values
        waiters = [:]
        for waiter in woken { waiter.resume() }
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
