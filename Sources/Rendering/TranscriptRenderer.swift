public import SessionModel

/// Turns a transcript's events into text that is good to read: on a terminal, or as Markdown.
///
/// ```swift
/// var renderer = TranscriptRenderer(format: .text, color: isatty(1) != 0, width: 80)
/// for event in events { print(renderer.render(event), terminator: "") }
/// print(renderer.finish(), terminator: "")
/// ```
/// Times are UTC. What an agent wrote cannot control the terminal: see ``TerminalText``.
public struct TranscriptRenderer: Sendable {
    public enum Format: String, Sendable, CaseIterable { case text, markdown }

    private var text: TextRenderer
    private var markdown: MarkdownRenderer
    private let format: Format
    private let showsFrames: Bool

    /// - Parameters:
    ///   - width: the terminal's columns; 0 when there is no terminal: then no line is broken or cut for its sake.
    ///   - showsFrames: show the frames of the agent's protocol, where they were recorded.
    public init(format: Format = .text, color: Bool = false, width: Int = 0, showsFrames: Bool = false) {
        self.format = format
        self.showsFrames = showsFrames
        text = TextRenderer(color: color, width: width)
        markdown = MarkdownRenderer()
    }

    /// Whole lines, or nothing for an event that says nothing to people.
    public mutating func render(_ event: Event) -> String {
        if case .agentFrame = event.body, !showsFrames { return "" }
        return switch format {
        case .text: text.render(event)
        case .markdown: markdown.render(event)
        }
    }

    /// A part of a message that is still being written. The message's event then shows only what is missing. Markdown waits for
    /// the event.
    public mutating func renderDelta(_ delta: String, turn: TurnID? = nil) -> String {
        switch format {
        case .text: text.renderDelta(delta, turn: turn)
        case .markdown: ""
        }
    }

    /// The end of a line that deltas have left open: call it before anything else is written to the terminal.
    public mutating func finish() -> String {
        switch format {
        case .text: text.closeLine()
        case .markdown: ""
        }
    }
}

/// What both formats remember of the turns they have seen.
struct TurnMemory {
    private var prompts: [TurnID: String] = [:]
    private var starts: [TurnID: Timestamp] = [:]

    /// Whether another turn is live.
    var isBusy: Bool { !prompts.isEmpty || !starts.isEmpty }

    mutating func queued(_ turn: TurnID?, _ prompt: String) {
        if let turn { prompts[turn] = prompt }
    }

    /// The prompt, when its event has been seen.
    mutating func dispatched(_ turn: TurnID?, at time: Timestamp) -> String? {
        guard let turn else { return nil }
        starts[turn] = time
        return prompts[turn]
    }

    /// When it began, if it did, and its prompt.
    mutating func ended(_ turn: TurnID?) -> (start: Timestamp?, prompt: String?) {
        guard let turn else { return (nil, nil) }
        return (starts.removeValue(forKey: turn), prompts.removeValue(forKey: turn))
    }
}

/// Sentences that both formats use.
enum Sentence {
    /// What an event says in one line, for those that are shown in no other way. Nil: nothing for people.
    static func of(_ event: Event) -> String? {
        switch event.body {
        case .sessionOpened(let data):
            "session opened\(data.session.map { ": \($0)" } ?? ""), epoch \(event.epoch), holdfast \(data.version)"
        case .sessionDraining(let data): "draining: \(data.reason)"
        case .sessionDrained: "drained"
        case .keepAlive(let data): "kept alive until \(Wording.clock(data.until))"
        case .journalGap(let data):
            "events \(data.from) to \(data.to) are damaged (\(data.reason)); their bytes are in \(data.file)"
        case .turnPrompted(let data): "the agent is told: \(data.text)"
        case .turnInterrupted(let data):
            "attempt \(data.attempt) was cut off (\(data.reason.rawValue))\(data.message.map { ": \($0)" } ?? ""); "
                + (data.next == .retry ? "the prompt is sent again" : "the agent is told to go on")
        case .agentFrame(let data):
            "\(data.direction == .sent ? "→" : "←") \(data.text)\(data.bytes.map { " … (\($0) bytes)" } ?? "")"
                + "\(data.dropped.map { "\($0) more frames were left out" } ?? "")"
        case .inputAnswered(let data):
            switch data.by {
            case .person: "answered: \(data.option ?? "refused")\(data.text.map { " “\($0)”" } ?? "")"
            case .deadline: "nobody answered in time, so it was refused"
            case .cancellation: "the question was taken back"
            }
        case .cancelRequested(let data): "asked to stop (\(data.reason.rawValue))"
        case .hostLost(let data): "the agent host is gone: \(data.reason)"
        case .agentStarted(let data):
            "agent started: \(data.name ?? data.driver)\(data.version.map { " \($0)" } ?? "")"
        case .agentExited(let data): "the agent ended: \(data.reason)"
        case .agentReleased(let data): "agent released: \(data.reason)"
        case .background(let data):
            data.processes.isEmpty
                ? "what the agent left running has ended" : "left running: \(data.processes.joined(separator: ", "))"
        case .conversationResumed: "the agent has loaded its conversation"
        case .conversationReseeded(let data):
            "the agent began a new conversation with a digest of the old one\(data.reason.map { ": \($0)" } ?? "")"
        case .error(let data): "error: \(data.reason)"
        case .workspaceStep(let data): data.message
        case .workspaceState(let data): "workspace: \(Wording.workspace(data))"
        case .git(let data): Wording.transfer(data)
        case .unknown(let type, _): type
        case .hostConnected, .conversationStarted, .usage, .turnQueued, .turnDispatched, .turnEnded, .inputRequested, .message,
            .thought, .toolCall, .toolResult, .plan, .agentOutput:
            nil
        }
    }

    static func isBad(_ body: EventBody) -> Bool {
        switch body {
        case .journalGap, .hostLost, .turnInterrupted, .error: true
        case .workspaceStep(let step): step.step == .failed || step.step == .diverged
        case .git(let transfer): transfer.outcome != .ok
        default: false
        }
    }

    /// `succeeded in 3.2s`, `cancelled before it ran: …`
    static func outcome(_ end: TurnEnded, from start: Timestamp?, to time: Timestamp) -> String {
        var text = end.state.rawValue
        if let start { text += " in \(Wording.duration(time - start))" }
        if end.state != .succeeded || end.reason != .completed { text += " (\(end.reason.rawValue))" }
        if let message = end.message { text += ": \(TerminalText.harmlessLine(message))" }
        return text
    }

    /// What a turn cost, and what it left behind: a line each.
    static func facts(_ results: TurnResults) -> [String] {
        var cost: [String] = []
        if let calls = results.toolCalls, calls > 0 { cost.append(Wording.plural(calls, "tool call")) }
        if let usage = results.usage.flatMap(Wording.usage) { cost.append(usage) }
        var left: [String] = []
        if let workspace = results.workspace {
            left.append(Wording.workspace(workspace))
            if let commits = workspace.commits { left.append(Wording.plural(commits, "new commit")) }
            if let diffstat = workspace.diffstat?.trimmed, !diffstat.isEmpty { left.append(TerminalText.harmlessLine(diffstat)) }
        }
        return [left, cost].filter { !$0.isEmpty }.map { $0.joined(separator: " · ") }
    }

    /// A tool's argument that says most, when the title does not say it already.
    static func argument(of call: ToolCall) -> String? {
        guard let input = call.input, !input.isEmpty else { return nil }
        var text = input
        if case .object(let members)? = try? JSON.decode(JSONValue.self, from: input) {
            let telling = ["command", "file_path", "path", "pattern", "query", "url"].lazy.compactMap { members[$0]?.string }
                .first
            if let telling { text = telling }
            if members.isEmpty { return nil }
        }
        return call.title.contains(text) ? nil : text
    }
}

extension String {
    var trimmed: String {
        guard let start = firstIndex(where: { !$0.isWhitespace }), let end = lastIndex(where: { !$0.isWhitespace }) else {
            return ""
        }
        return String(self[start...end])
    }
}
