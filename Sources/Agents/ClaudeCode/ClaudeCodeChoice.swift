import SessionModel

/// One question of Claude Code's tool `AskUserQuestion`, whose answer is a choice of a person.
struct ClaudeCodeChoice: Sendable, Hashable {
    /// What is asked; the answer goes under it.
    let question: String
    let options: [InputRequest.Option]
    private let labels: [String]

    private static let inWords = "text"

    /// The questions of a permission request; none if it is for another tool.
    static func all(in request: JSONValue) -> [ClaudeCodeChoice] {
        guard request["tool_name"]?.string == "AskUserQuestion" else { return [] }
        return (request["input"]?["questions"]?.array ?? []).compactMap { ClaudeCodeChoice($0) }
    }

    private init?(_ asked: JSONValue) {
        guard let question = asked["question"]?.string else { return nil }
        self.question = question
        var labels: [String] = []
        var options: [InputRequest.Option] = []
        for option in asked["options"]?.array ?? [] {
            guard let label = option["label"]?.string else { continue }
            labels.append(label)
            let name = option["description"]?.string.map { "\(label): \($0)" } ?? label
            options.append(InputRequest.Option(id: "\(labels.count)", name: name, kind: "choice"))
        }
        let several = asked["multiSelect"]?.bool == true
        let words = several ? "Several of these, or something else: say it in the text" : "Something else: say it in the text"
        self.labels = labels
        self.options = options + [InputRequest.Option(id: Self.inWords, name: words, kind: "text")]
    }

    /// What the agent is told of an answer; nil when it is none.
    func answer(_ answer: InputAnswered) -> String? {
        if answer.option == Self.inWords { return answer.text.flatMap { $0.isEmpty ? nil : $0 } }
        return answer.option.flatMap { Int($0) }.flatMap { labels.indices.contains($0 - 1) ? labels[$0 - 1] : nil }
    }
}
