import SessionModel

/// What the frames of one ACP turn mean as transcript events.
///
/// ```swift
/// var translation = ACPTranslation()
/// for output in translation.update(frame, at: now) { … }
/// for event in translation.finish(at: now) { … }
/// ```
struct ACPTranslation: Sendable {
    enum Output: Sendable, Hashable {
        case event(EventBody)
        /// A part of a message that is not complete yet.
        case delta(String)
    }

    /// A longer message or thought is recorded in parts, in bytes.
    static let textLimit = 1 << 20
    /// What open tool calls may hold together: beyond it the oldest one is closed, in bytes and in number.
    static let openBytesLimit = 32 << 20
    static let openCallsLimit = 1024

    private enum Speech { case message, thought }

    private var speech: Speech?
    private var speechID: String?
    private var text = ""
    private var open: [OpenToolCall] = []
    private var closed: Set<String> = []
    private var costBefore: Double?
    private var finished = false
    private let prefix: String?

    /// The last complete message.
    private(set) var lastMessage: String?
    private(set) var toolCalls = 0
    /// What the conversation has cost so far, in US dollars, by the agent's own account.
    private(set) var costSoFar: Double?
    private(set) var usage = Usage()

    /// - Parameters:
    ///   - directory: the working directory; paths inside it are shown relative to it.
    ///   - costBefore: what the conversation had cost before this turn; nil when that is not known.
    init(directory: String? = nil, costBefore: Double? = 0) {
        prefix = directory.map { $0 + "/" }
        self.costBefore = costBefore
        costSoFar = costBefore
    }

    /// What follows from the `update` of one `session/update`.
    mutating func update(_ update: JSONValue, at now: Timestamp) -> [Output] {
        switch update["sessionUpdate"]?.string {
        case "agent_message_chunk": return speak(.message, update)
        case "agent_thought_chunk": return speak(.thought, update)
        case "tool_call":
            var outputs = endSpeech()
            if let id = update["toolCallId"]?.string { closed.remove(id) }
            outputs += tool(update, at: now)
            return outputs
        case "tool_call_update": return endSpeech() + tool(update, at: now)
        case "plan":
            let entries = (update["entries"]?.array ?? []).compactMap { entry in
                entry["content"]?.string.map { Plan.Entry(content: $0, status: entry["status"]?.string) }
            }
            return endSpeech() + [.event(.plan(Plan(entries: entries)))]
        case "usage_update":
            if let cost = update["cost"], cost["currency"]?.string == "USD", let amount = cost["amount"]?.number { paid(amount) }
            return []
        default:
            // The user's own words, what the agent offers, and what a later version of the protocol adds.
            return []
        }
    }

    /// The agent waits for permission: what it has said and what it wants to do must be readable now.
    mutating func permissionRequested(for call: JSONValue, at now: Timestamp) -> [Output] {
        var outputs = endSpeech() + tool(call, at: now)
        if let id = call["toolCallId"]?.string, let index = open.firstIndex(where: { $0.id == id }) {
            outputs += announce(index)
        }
        return outputs
    }

    /// The title of a tool call, for the question that is asked about it.
    func title(of call: JSONValue) -> String? {
        call["title"]?.string ?? open.first { $0.id == call["toolCallId"]?.string }?.title
    }

    /// Takes the tokens of the turn from the result of `session/prompt`, as some agents add them.
    mutating func promptAnswered(_ result: JSONValue) {
        usage.inputTokens = result["usage"]?["inputTokens"]?.integer
        usage.outputTokens = result["usage"]?["outputTokens"]?.integer
        usage.cachedInputTokens = result["usage"]?["cachedReadTokens"]?.integer
    }

    /// Closes what is still open when the turn is over. Again, it gives only what came in between.
    mutating func finish(at now: Timestamp) -> [EventBody] {
        var outputs = endSpeech()
        while !open.isEmpty { outputs += close(0, status: "unfinished", at: now) }
        var events: [EventBody] = outputs.compactMap { output in
            guard case .event(let event) = output else { return nil }
            return event
        }
        if usage != Usage(), !finished { events.append(.usage(usage)) }
        finished = true
        return events
    }

    // MARK: Speech

    private mutating func speak(_ kind: Speech, _ update: JSONValue) -> [Output] {
        guard let words = Self.text(of: update["content"]), !words.isEmpty else { return [] }
        let id = update["messageId"]?.string
        var outputs: [Output] = []
        let isNew = id != nil && id != speechID
        if kind != speech || isNew || text.utf8.count + words.utf8.count > Self.textLimit { outputs = endSpeech() }
        speech = kind
        speechID = id ?? speechID
        text += words
        // Followers could not tell a thought's part from a message's.
        if kind == .message { outputs.append(.delta(words)) }
        return outputs
    }

    private mutating func endSpeech() -> [Output] {
        defer {
            speech = nil
            speechID = nil
            text = ""
        }
        switch speech {
        case nil: return []
        case .thought: return [.event(.thought(Thought(text: text)))]
        case .message:
            lastMessage = text
            return [.event(.message(Message(text: text)))]
        }
    }

    /// The text of a content block; of what is no text, a short name in its place.
    fileprivate static func text(of content: JSONValue?) -> String? {
        switch content?["type"]?.string {
        case "text": content?["text"]?.string
        case "resource_link": content?["uri"]?.string.map { "[\(content?["name"]?.string ?? $0)](\($0))" }
        case "resource": content?["resource"]?["text"]?.string ?? content?["resource"]?["uri"]?.string.map { "[\($0)]" }
        case "image", "audio": "[\(content?["mimeType"]?.string ?? content?["type"]?.string ?? "data")]"
        default: nil
        }
    }

    // MARK: Tool calls

    /// What is known of a tool call so far. Every update replaces what it carries.
    fileprivate struct OpenToolCall {
        var id: String
        var title: String?
        var kind: String?
        var input: JSONValue?
        var output: JSONValue?
        var content: [JSONValue] = []
        var startedAt: Timestamp
        var running = false
        var announced = false
        var bytes = 0
    }

    private mutating func tool(_ update: JSONValue, at now: Timestamp) -> [Output] {
        guard let id = update["toolCallId"]?.string, !closed.contains(id) else { return [] }
        let index: Int
        if let known = open.firstIndex(where: { $0.id == id }) {
            index = known
        } else {
            index = open.count
            open.append(OpenToolCall(id: id, startedAt: now))
            toolCalls += 1
        }
        if let title = update["title"]?.string { open[index].title = title }
        if let kind = update["kind"]?.string { open[index].kind = kind }
        if let input = update["rawInput"], input != .null, !open[index].announced { open[index].input = input }
        if let output = update["rawOutput"], output != .null { open[index].output = output }
        if let content = update["content"]?.array { open[index].content = content }
        open[index].bytes = open[index].size

        let status = update["status"]?.string
        if status == "in_progress", !open[index].running {
            open[index].running = true
            open[index].startedAt = now
        }
        var outputs: [Output] = []
        let inputKnown = open[index].input.map { $0 != [:] } ?? false
        if inputKnown || status == "in_progress" { outputs += announce(index) }
        if status == "completed" || status == "failed", let status { outputs += close(index, status: status, at: now) }
        while open.count > Self.openCallsLimit || open.reduce(0, { $0 + $1.bytes }) > Self.openBytesLimit {
            outputs += close(0, status: "unfinished", at: now)
        }
        return outputs
    }

    private mutating func announce(_ index: Int) -> [Output] {
        guard !open[index].announced else { return [] }
        open[index].announced = true
        let call = open[index]
        open[index].input = nil
        return [
            .event(
                .toolCall(
                    ToolCall(
                        id: call.id, title: call.title ?? call.id, kind: call.kind,
                        input: call.input.flatMap { $0 == [:] ? nil : try? JSON.string($0) })))
        ]
    }

    private mutating func close(_ index: Int, status: String, at now: Timestamp) -> [Output] {
        let outputs = announce(index)
        let call = open.remove(at: index)
        closed.insert(call.id)
        let diffs = call.content.compactMap { item -> ToolResult.FileDiff? in
            guard item["type"]?.string == "diff", let path = item["path"]?.string else { return nil }
            let shown = prefix.map { path.hasPrefix($0) ? String(path.dropFirst($0.count)) : path } ?? path
            return ToolResult.FileDiff(path: shown, oldText: item["oldText"]?.string, newText: item["newText"]?.string ?? "")
        }
        let result = ToolResult(
            id: call.id, title: call.title, status: status, output: call.text, diffs: diffs.isEmpty ? nil : diffs,
            milliseconds: max(0, (now - call.startedAt).milliseconds))
        return outputs + [.event(.toolResult(result))]
    }

    // MARK: Money

    private mutating func paid(_ amount: Double) {
        costSoFar = amount
        guard let before = costBefore else {
            // The first figure of a conversation that was taken up again says where it stood, more or less.
            costBefore = amount
            return
        }
        // A figure that went back was counted from zero again.
        if amount < before { costBefore = 0 }
        usage.costUSD = amount - (costBefore ?? 0)
    }
}

extension ACPTranslation.OpenToolCall {
    /// What the tool printed; its raw result when it shows nothing.
    fileprivate var text: String? {
        let shown = content.filter { $0["type"]?.string == "content" }.compactMap { ACPTranslation.text(of: $0["content"]) }
        if !shown.isEmpty { return shown.joined(separator: "\n") }
        guard let output, output != [:] else { return nil }
        return output.string ?? (try? JSON.string(output))
    }

    fileprivate var size: Int { content.reduce(0) { $0 + $1.size } + (input?.size ?? 0) + (output?.size ?? 0) }
}

extension JSONValue {
    /// About how much memory it takes, in bytes.
    fileprivate var size: Int {
        switch self {
        case .null, .bool, .integer, .number: 16
        case .string(let text): 16 + text.utf8.count
        case .array(let elements): elements.reduce(16) { $0 + $1.size }
        case .object(let members): members.reduce(16) { $0 + $1.key.utf8.count + $1.value.size }
        }
    }
}
