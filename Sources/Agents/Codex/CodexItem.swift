import SessionModel

/// One thing in a Codex thread: what the model said, thought or did.
///
/// `codex exec --json` writes the same things as the app server, in snake case.
struct CodexItem: Sendable {
    enum Meaning: Sendable, Hashable {
        case message(String)
        case thought(String)
        case tool(ToolUpdate)
        case plan(Plan)
        case error(String)
        /// The user's own words, and what a later version adds.
        case nothing
    }

    let id: String
    private let item: JSONValue
    private let type: String

    init?(_ item: JSONValue) {
        guard let id = item["id"]?.string, let type = item["type"]?.string else { return nil }
        self.id = id
        self.item = item
        self.type = Self.camelCase(type)
    }

    /// - Parameters:
    ///   - isOver: the item is complete.
    ///   - directory: the working directory; paths inside it are shown relative to it.
    func meaning(isOver: Bool, in directory: String) -> Meaning {
        switch type {
        case "agentMessage", "plan": return field("text")?.string.map { .message($0) } ?? .nothing
        case "reasoning":
            let parts = field("text").map { [$0] } ?? (field("summary")?.array ?? []) + (field("content")?.array ?? [])
            return .thought(parts.compactMap(\.string).joined(separator: "\n\n"))
        case "error": return field("message")?.string.map { .error($0) } ?? .nothing
        case "todoList":
            let entries = (field("items")?.array ?? []).compactMap { entry in
                entry["text"]?.string.map {
                    Plan.Entry(content: $0, status: entry["completed"]?.bool == true ? "completed" : "pending")
                }
            }
            return .plan(Plan(entries: entries))
        default:
            guard var update = tool(in: directory) else { return .nothing }
            update.status =
                switch field("status")?.string {
                case _ where !isOver: .running
                case "failed", "declined", "interrupted": .failed
                default: .completed
                }
            return .tool(update)
        }
    }

    // MARK: Tools

    private func tool(in directory: String) -> ToolUpdate? {
        var update = ToolUpdate(id: id)
        switch type {
        case "commandExecution":
            update.title = commands.isEmpty ? field("command")?.string : commands.joined(separator: "\n")
            update.kind = "execute"
            update.input = field("command").map { ["command": $0] }
            update.output = outcome(of: field("aggregatedOutput")?.string ?? "")
        case "fileChange":
            let changes = (field("changes")?.array ?? []).compactMap { CodexFileChange($0, in: directory) }
            update.title = changes.map { "\($0.verb) \($0.path)" }.joined(separator: ", ")
            update.kind = "edit"
            update.diffs = changes.flatMap(\.diffs)
            if isDeclined { update.output = "declined" }
        case "mcpToolCall":
            update.title = [field("server"), field("tool")].compactMap { $0?.string }.joined(separator: ".")
            update.kind = "other"
            update.input = field("arguments")
            let texts = (field("result")?["content"]?.array ?? []).compactMap { $0["text"]?.string }
            update.output = field("error")?["message"]?.string ?? texts.joined(separator: "\n")
        case "dynamicToolCall":
            update.title = field("tool")?.string
            update.kind = "other"
            update.input = field("arguments")
            update.output = (field("contentItems")?.array ?? []).compactMap { $0["text"]?.string }.joined(separator: "\n")
        case "collabAgentToolCall", "collabToolCall":
            update.title = field("tool")?.string.map { "agent: \($0)" }
            update.kind = "other"
            update.input = field("prompt")?.string.map { ["prompt": .string($0)] }
        case "webSearch":
            update.title = field("query")?.string
            update.kind = "search"
        case "imageView":
            update.title = field("path")?.string
            update.kind = "read"
        default: return nil
        }
        return update
    }

    /// What a command runs, without the shell around it.
    private var commands: [String] { (field("commandActions")?.array ?? []).compactMap { $0["command"]?.string } }

    private var isDeclined: Bool { field("status")?.string == "declined" }

    private func outcome(of output: String) -> String {
        if isDeclined { return "declined" }
        guard let code = field("exitCode")?.integer, code != 0 else { return output }
        return output + (output.isEmpty || output.hasSuffix("\n") ? "" : "\n") + "exit code \(code)"
    }

    // MARK: Spelling

    private func field(_ name: String) -> JSONValue? { item[name] ?? item[Self.snakeCase(name)] }

    private static func camelCase(_ name: String) -> String {
        let words = name.split(separator: "_")
        return words.prefix(1).joined() + words.dropFirst().map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    private static func snakeCase(_ name: String) -> String {
        name.reduce(into: "") { $0 += $1.isUppercase ? "_\($1.lowercased())" : String($1) }
    }
}

extension TurnAssembly {
    /// Takes an item of a Codex thread. What it says is taken when it is complete.
    mutating func take(_ item: CodexItem, isOver: Bool, in directory: String, at now: Timestamp) -> [TurnOutput] {
        switch item.meaning(isOver: isOver, in: directory) {
        case .tool(let update): tool(update, at: now)
        case .plan(let plan): endSpeech() + [.event(.plan(plan))]
        case .message(let text) where isOver: say(.message, text, id: item.id)
        case .thought(let text) where isOver: say(.thought, text, id: item.id)
        case .error(let message) where isOver: endSpeech() + [.event(.error(Reason(message)))]
        case .message, .thought, .error, .nothing: []
        }
    }
}
