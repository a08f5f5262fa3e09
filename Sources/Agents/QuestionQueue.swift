import SessionModel

/// The questions of one turn to a person. The session has one open question at a time, so others wait behind it.
struct QuestionQueue<Asked: Sendable>: Sendable {
    private var questions: [(request: InputRequest, asked: Asked)] = []
    private var count = 0

    var isOpen: Bool { !questions.isEmpty }

    /// The question to be shown now, with its deadline.
    func current(at now: Timestamp, timeout: TimeSpan) -> InputRequest? {
        guard var request = questions.first?.request else { return nil }
        request.deadline = now + timeout
        return request
    }

    /// - Returns: whether it is to be shown at once.
    mutating func append(
        _ question: String, _ options: [InputRequest.Option], _ asked: Asked, turn: TurnID, at now: Timestamp
    ) -> Bool {
        count += 1
        let request = InputRequest(id: "\(turn)-q\(count)", question: question, options: options, deadline: now)
        questions.append((request, asked))
        return questions.count == 1
    }

    /// What is asked with the open question, if that is the one.
    func open(_ request: String) -> Asked? {
        questions.first.flatMap { $0.request.id == request ? $0.asked : nil }
    }

    /// The open question is answered: the next one is to be shown.
    mutating func close() { questions.removeFirst() }

    func contains(where test: (Asked) -> Bool) -> Bool { questions.contains { test($0.asked) } }

    /// Takes out what the agent took back.
    /// - Returns: whether the question that is shown was among it; nil when there is none of it.
    mutating func withdraw(where test: (Asked) -> Bool) -> Bool? {
        guard let index = questions.firstIndex(where: { test($0.asked) }) else { return nil }
        questions.removeAll { test($0.asked) }
        return index == 0
    }

    mutating func takeAll() -> [Asked] {
        defer { questions = [] }
        return questions.map(\.asked)
    }
}
