import SessionModel

/// What the frames of one ACP turn mean as transcript events.
///
/// ```swift
/// var translation = ACPTranslation()
/// for output in translation.update(frame, at: now) { … }
/// for event in translation.finish(at: now) { … }
/// ```
struct ACPTranslation: Sendable {
    private(set) var assembly = TurnAssembly()
    private var before: Usage
    private let prefix: String?

    /// What the conversation has used so far, by the agent's own account, which counts from its beginning. Nil: not known.
    private(set) var soFar: Usage

    /// What a conversation has used that has just begun.
    static let nothingUsed = Usage(inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, costUSD: 0)

    /// - Parameters:
    ///   - directory: the working directory; paths inside it are shown relative to it.
    ///   - before: what the conversation had used before this turn, as far as it is known.
    init(directory: String? = nil, before: Usage = nothingUsed) {
        prefix = directory.map { $0 + "/" }
        self.before = before
        soFar = before
    }

    /// What follows from the `update` of one `session/update`.
    mutating func update(_ update: JSONValue, at now: Timestamp) -> [TurnOutput] {
        switch update["sessionUpdate"]?.string {
        case "agent_message_chunk": return speak(.message, update)
        case "agent_thought_chunk": return speak(.thought, update)
        case "tool_call":
            if let id = update["toolCallId"]?.string { assembly.reopenTool(id) }
            // Some agents say what they are about to do in words, and give no input.
            return tool(update, announcing: update["content"]?.array?.isEmpty == false, at: now)
        case "tool_call_update": return tool(update, at: now)
        case "plan":
            let entries = (update["entries"]?.array ?? []).compactMap { entry in
                entry["content"]?.string.map { Plan.Entry(content: $0, status: entry["status"]?.string) }
            }
            return assembly.endSpeech() + [.event(.plan(Plan(entries: entries)))]
        case "usage_update":
            if let cost = update["cost"], cost["currency"]?.string == "USD", let amount = cost["amount"]?.dollars { paid(amount) }
            return []
        default:
            // The user's own words, what the agent offers, and what a later version of the protocol adds.
            return []
        }
    }

    /// The agent waits for permission: what it has said and what it wants to do must be readable now.
    mutating func permissionRequested(for call: JSONValue, at now: Timestamp) -> [TurnOutput] {
        tool(call, announcing: true, at: now)
    }

    /// The title of a tool call, for the question that is asked about it.
    func title(of call: JSONValue) -> String? {
        call["title"]?.string ?? assembly.title(ofTool: call["toolCallId"]?.string)
    }

    /// Takes the conversation's tokens from the result of `session/prompt`, as some agents add them.
    mutating func promptAnswered(_ result: JSONValue) {
        let usage = result["usage"]
        count(usage?["inputTokens"], \.inputTokens)
        count(usage?["outputTokens"], \.outputTokens)
        count(usage?["cachedReadTokens"], \.cachedInputTokens)
    }

    private mutating func count(_ figure: JSONValue?, _ tokens: WritableKeyPath<Usage, Int64?>) {
        guard let total = figure?.tokens else { return }
        soFar[keyPath: tokens] = total
        guard let before = before[keyPath: tokens] else { return }
        // A figure that went back was counted from zero again.
        assembly.usage[keyPath: tokens] = total < before ? total : total - before
    }

    /// Closes what is still open when the turn is over. Again, it gives only what came in between.
    mutating func finish(at now: Timestamp) -> [EventBody] { assembly.finish(at: now) }

    // MARK: Content

    private mutating func speak(_ kind: TurnAssembly.Speech, _ update: JSONValue) -> [TurnOutput] {
        // fast-agent tells no more of a shell command than that it is pending, and goes on with an empty message.
        let calls = assembly.announceTools()
        guard let words = Self.text(of: update["content"]) else { return calls }
        return calls + assembly.speak(kind, words, id: update["messageId"]?.string)
    }

    /// The text of a content block; of what is no text, a short name in its place.
    private static func text(of content: JSONValue?) -> String? {
        switch content?["type"]?.string {
        case "text": content?["text"]?.string
        case "resource_link": content?["uri"]?.string.map { "[\(content?["name"]?.string ?? $0)](\($0))" }
        case "resource": content?["resource"]?["text"]?.string ?? content?["resource"]?["uri"]?.string.map { "[\($0)]" }
        case "image", "audio": "[\(content?["mimeType"]?.string ?? content?["type"]?.string ?? "data")]"
        default: nil
        }
    }

    private mutating func tool(_ call: JSONValue, announcing: Bool = false, at now: Timestamp) -> [TurnOutput] {
        guard let id = call["toolCallId"]?.string else { return assembly.endSpeech() }
        var update = ToolUpdate(id: id, title: call["title"]?.string, kind: call["kind"]?.string, input: call["rawInput"])
        update.status =
            switch call["status"]?.string {
            case "in_progress": .running
            case "completed": .completed
            case "failed": .failed
            default: nil
            }
        if let output = call["rawOutput"], output != .null, output != [:] {
            update.result = output.string ?? (try? JSON.string(output))
        }
        if let content = call["content"]?.array {
            let shown = content.filter { $0["type"]?.string == "content" }.compactMap { Self.text(of: $0["content"]) }
            update.output = shown.joined(separator: "\n")
            update.diffs = content.compactMap(diff)
        }
        return assembly.tool(update, announcing: announcing, at: now)
    }

    private func diff(_ item: JSONValue) -> ToolResult.FileDiff? {
        guard item["type"]?.string == "diff", let path = item["path"]?.string else { return nil }
        let shown = prefix.map { path.hasPrefix($0) ? String(path.dropFirst($0.count)) : path } ?? path
        return ToolResult.FileDiff(path: shown, oldText: item["oldText"]?.string, newText: item["newText"]?.string ?? "")
    }

    // MARK: Money

    private mutating func paid(_ amount: Double) {
        soFar.costUSD = amount
        guard let known = before.costUSD else {
            // The first figure of a conversation that was taken up again says where it stood, more or less.
            before.costUSD = amount
            return
        }
        // A figure that went back was counted from zero again.
        if amount < known { before.costUSD = 0 }
        assembly.usage.costUSD = amount - (before.costUSD ?? 0)
    }
}
