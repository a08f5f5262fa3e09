import SessionModel

/// What the lines of `codex exec --json` mean as transcript events.
struct CodexExecReading: Sendable {
    /// How the turn ended, as Codex says.
    enum Ending: Sendable, Hashable {
        case completed
        case failed(String)
    }

    private let directory: String
    private let before: CodexTokens?
    /// The thread, once Codex has named it.
    private(set) var conversation: String?
    private(set) var ending: Ending?
    /// What the thread has used so far.
    private(set) var total: CodexTokens?

    /// - Parameter before: what the thread had used before this turn; nil when that is not known, and then neither is the turn's usage.
    init(directory: String, before: CodexTokens?) {
        self.directory = directory
        self.before = before
    }

    /// Takes a line.
    /// - Returns: nil for one that Codex does not write.
    mutating func received(_ event: JSONValue, in assembly: inout TurnAssembly, at now: Timestamp) -> [TurnOutput]? {
        switch event["type"]?.string {
        case "thread.started":
            conversation = event["thread_id"]?.string
            return []
        case "item.started", "item.updated": return item(event["item"], isOver: false, &assembly, now)
        case "item.completed": return item(event["item"], isOver: true, &assembly, now)
        case "turn.completed":
            ending = .completed
            total = CodexTokens(event["usage"])
            if let before, let total { assembly.usage = total.usage(since: before) }
            return []
        case "turn.failed":
            ending = .failed(event["error"]?["message"]?.string ?? "no reason given")
            return []
        case "error":
            // That it tries again is worth knowing; that it has failed is said once more at the end.
            return event["message"]?.string.map { assembly.endSpeech() + [.event(.error(Reason($0)))] } ?? []
        case let type?: return type.hasPrefix("turn.") || type.hasPrefix("item.") || type.hasPrefix("thread.") ? [] : nil
        case nil: return nil
        }
    }

    private func item(
        _ item: JSONValue?, isOver: Bool, _ assembly: inout TurnAssembly, _ now: Timestamp
    ) -> [TurnOutput] {
        guard let item = item.flatMap({ CodexItem($0) }) else { return [] }
        return assembly.take(item, isOver: isOver, in: directory, at: now)
    }
}
