import SessionModel

/// What a driver reports while a turn runs.
enum TurnOutput: Sendable, Hashable {
    case event(EventBody)
    /// A part of a message that is not complete yet.
    case delta(String)
}

/// What a frame says of a tool call: every update replaces what it carries.
struct ToolUpdate: Sendable, Hashable {
    enum Status: String, Sendable, Hashable { case running, completed, failed, unfinished }

    var id: String
    var title: String?
    var kind: String?
    var input: JSONValue?
    var status: Status?
    /// What the tool printed.
    var output: String?
    /// Its raw result, for a tool that prints nothing.
    var result: String?
    var diffs: [ToolResult.FileDiff]?
}

/// Puts the events of one turn together from what the agent sends in parts, whatever its protocol.
///
/// ```swift
/// var assembly = TurnAssembly()
/// for output in assembly.speak(.message, "Hel") + assembly.speak(.message, "lo") { … }
/// for event in assembly.finish(at: now) { … }
/// ```
struct TurnAssembly: Sendable {
    /// A longer message or thought is recorded in parts, in bytes.
    static let textLimit = 1 << 20
    /// What open tool calls may hold together: beyond it the oldest one is closed, in bytes and in number.
    static let openBytesLimit = 32 << 20
    static let openCallsLimit = 1024

    enum Speech: Sendable { case message, thought }

    private var speech: Speech?
    private var speechID: String?
    private var text = ""
    private var open: [OpenToolCall] = []
    private var closed: Set<String> = []
    private var finished = false

    /// The message that is being written, or else the last one.
    var latestMessage: String? { speech == .message ? text : lastMessage }

    /// The agent has said and done nothing.
    var isEmpty: Bool { latestMessage == nil && speech == nil && toolCalls == 0 }

    /// The last complete message.
    private(set) var lastMessage: String?
    private(set) var toolCalls = 0
    /// The agent's own figures, as far as they can be ones.
    var usage = Usage() {
        didSet { usage = usage.possible }
    }

    /// Closes what is still open when the turn is over. Again, it gives only what came in between.
    mutating func finish(at now: Timestamp) -> [EventBody] {
        var outputs = endSpeech()
        while !open.isEmpty { outputs += close(0, status: .unfinished, at: now) }
        var events: [EventBody] = outputs.compactMap { output in
            guard case .event(let event) = output else { return nil }
            return event
        }
        if usage != Usage(), !finished { events.append(.usage(usage)) }
        finished = true
        return events
    }

    /// What the turn came to.
    var results: TurnResults {
        TurnResults(
            answer: lastMessage.map { $0.prefix(bytes: 16 << 10) }, usage: usage == Usage() ? nil : usage, toolCalls: toolCalls)
    }

    // MARK: Speech

    /// A part of a message or thought. Another id, or another kind of speech, begins a new one.
    mutating func speak(_ kind: Speech, _ words: String, id: String? = nil) -> [TurnOutput] {
        guard !words.isEmpty else { return [] }
        var outputs: [TurnOutput] = []
        let isNew = id != nil && id != speechID
        if kind != speech || isNew || text.utf8.count + words.utf8.count > Self.textLimit { outputs = endSpeech() }
        speech = kind
        speechID = id ?? speechID
        text += words
        // Followers could not tell a thought's part from a message's.
        if kind == .message { outputs.append(.delta(words)) }
        return outputs
    }

    /// A message or thought as a whole. With an id it takes the place of what came under that in parts.
    mutating func say(_ kind: Speech, _ whole: String, id: String? = nil) -> [TurnOutput] {
        if kind == speech, id != nil, id == speechID {
            // A longer one is recorded in parts already.
            if whole.utf8.count <= Self.textLimit { text = whole }
            return endSpeech()
        }
        let outputs = endSpeech()
        guard !whole.isEmpty else { return outputs }
        speech = kind
        text = whole
        return outputs + endSpeech()
    }

    /// The message or thought is complete.
    mutating func endSpeech() -> [TurnOutput] {
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

    // MARK: Tool calls

    fileprivate struct OpenToolCall: Sendable {
        var known: ToolUpdate
        var startedAt: Timestamp
        var announced = false
        var bytes = 0
    }

    /// The title of an open tool call, for the question that is asked about it.
    func title(ofTool id: String?) -> String? { open.first { $0.known.id == id }?.known.title }

    /// An id that was used before names a new call.
    mutating func reopenTool(_ id: String) { closed.remove(id) }

    /// Takes what a frame says of a tool call, and ends the speech before it.
    /// - Parameter announcing: record the call now, even if its input is not known.
    mutating func tool(_ update: ToolUpdate, announcing: Bool = false, at now: Timestamp) -> [TurnOutput] {
        var outputs = endSpeech()
        guard !closed.contains(update.id) else { return outputs }
        let index: Int
        if let known = open.firstIndex(where: { $0.known.id == update.id }) {
            index = known
        } else {
            index = open.count
            open.append(OpenToolCall(known: ToolUpdate(id: update.id), startedAt: now))
            toolCalls += 1
        }
        if update.status == .running, open[index].known.status != .running { open[index].startedAt = now }
        open[index].take(update)
        let inputKnown = open[index].known.input.map { $0 != [:] } ?? false
        if inputKnown || announcing || update.status == .running { outputs += announce(index) }
        switch update.status {
        case nil, .running: break
        case let status?: outputs += close(index, status: status, at: now)
        }
        while open.count > Self.openCallsLimit || open.reduce(0, { $0 + $1.bytes }) > Self.openBytesLimit {
            outputs += close(0, status: .unfinished, at: now)
        }
        return outputs
    }

    /// Records the open calls as far as they are known: the agent has gone on, and may tell nothing more of them.
    mutating func announceTools() -> [TurnOutput] { open.indices.flatMap { announce($0) } }

    private mutating func announce(_ index: Int) -> [TurnOutput] {
        guard !open[index].announced else { return [] }
        open[index].announced = true
        let call = open[index].known
        open[index].known.input = nil
        return [
            .event(
                .toolCall(
                    ToolCall(
                        id: call.id, title: call.title ?? call.id, kind: call.kind,
                        input: call.input.flatMap { $0 == [:] ? nil : try? JSON.string($0) })))
        ]
    }

    private mutating func close(_ index: Int, status: ToolUpdate.Status, at now: Timestamp) -> [TurnOutput] {
        let outputs = announce(index)
        let call = open.remove(at: index)
        closed.insert(call.known.id)
        let result = ToolResult(
            id: call.known.id, title: call.known.title, status: status.rawValue, output: call.known.output ?? call.known.result,
            diffs: call.known.diffs?.isEmpty == false ? call.known.diffs : nil,
            milliseconds: max(0, (now - call.startedAt).milliseconds))
        return outputs + [.event(.toolResult(result))]
    }
}

extension TurnAssembly.OpenToolCall {
    fileprivate mutating func take(_ update: ToolUpdate) {
        if let title = update.title { known.title = title }
        if let kind = update.kind { known.kind = kind }
        if let input = update.input, input != .null, !announced { known.input = input }
        if let status = update.status { known.status = status }
        if let output = update.output { known.output = output.isEmpty ? nil : output }
        if let result = update.result { known.result = result }
        if let diffs = update.diffs { known.diffs = diffs }
        let diffs = known.diffs ?? []
        let texts = [known.output, known.result] + diffs.map(\.oldText) + diffs.map(\.newText)
        bytes = texts.reduce(known.input?.size ?? 0) { $0 + ($1?.utf8.count ?? 0) }
    }
}

extension Usage {
    /// Without figures that are less than nothing, or no numbers: no transcript could hold them.
    fileprivate var possible: Usage {
        func count(_ tokens: Int64?) -> Int64? { tokens.flatMap { $0 >= 0 ? $0 : nil } }
        return Usage(
            inputTokens: count(inputTokens), outputTokens: count(outputTokens), cachedInputTokens: count(cachedInputTokens),
            costUSD: costUSD.flatMap { $0.isFinite && $0 >= 0 ? $0 : nil })
    }
}

/// Figures as an agent tells them, which may be anything.
extension JSONValue {
    var tokens: Int64? { integer.flatMap { $0 >= 0 ? $0 : nil } }
    var dollars: Double? { number.flatMap { $0.isFinite && $0 >= 0 ? $0 : nil } }
}

extension [Int64] {
    /// The sum, or the largest number there is.
    var boundedSum: Int64 {
        reduce(0) { sum, tokens in
            let (next, overflow) = sum.addingReportingOverflow(tokens)
            return overflow ? .max : next
        }
    }
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
