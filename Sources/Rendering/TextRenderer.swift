import SessionModel

/// A transcript for a terminal: every turn set apart, its prompt first, what tools printed folded, its outcome last.
struct TextRenderer: Sendable {
    private let palette: Palette
    private let width: Int
    private var turns = TurnMemory()
    private var message: Wrapper
    /// What deltas have shown of the message that is being written.
    private var streamed = ""
    /// The tool call whose line was written last: its result needs no title.
    private var openCall: String?
    private var day: String?

    init(color: Bool, width: Int) {
        palette = Palette(isColored: color)
        self.width = width
        message = Wrapper(indent: "  ", width: width)
    }

    mutating func render(_ event: Event) -> String {
        if case .message(let data) = event.body { return completeMessage(data.text) }
        let line = closeLine()
        let text = body(event)
        if !text.isEmpty, case .toolCall = event.body {} else if !text.isEmpty { openCall = nil }
        return line + text
    }

    mutating func renderDelta(_ delta: String, turn: TurnID?) -> String {
        openCall = nil
        let gap = streamed.isEmpty ? "\n" : ""
        streamed += delta
        return gap + message.feed(TerminalText.harmless(delta))
    }

    /// Ends the line that deltas have left open.
    mutating func closeLine() -> String {
        streamed = ""
        return message.finish()
    }

    private mutating func completeMessage(_ text: String) -> String {
        openCall = nil
        if !streamed.isEmpty, text.hasPrefix(streamed) {
            let rest = message.feed(TerminalText.harmless(String(text.dropFirst(streamed.count))))
            return rest + closeLine()
        }
        // Its beginning was written before the reader came.
        if !streamed.isEmpty, text.hasSuffix(streamed) { return closeLine() }
        let line = closeLine()
        return line + "\n" + message.feed(TerminalText.harmless(text.trimmed)) + message.finish()
    }

    private mutating func body(_ event: Event) -> String {
        switch event.body {
        case .turnQueued(let data):
            let isBehind = turns.isBusy
            turns.queued(event.turn, data.request.prompt)
            return isBehind ? note(event, "\(name(event)) queued: \(firstLine(data.request.prompt))") : ""
        case .turnDispatched:
            return heading(event) + prompt(turns.dispatched(event.turn, at: event.time))
        case .turnEnded(let end):
            let (start, prompt) = turns.ended(event.turn)
            return (start == nil ? heading(event) + self.prompt(prompt) : "") + outcome(end, from: start, at: event.time)
        case .thought(let data):
            return "\n"
                + Folding(first: 3, last: 0, width: limit(4)).lines(data.text).map { "  " + palette($0, .dim) + "\n" }.joined()
        case .toolCall(let call): return toolCall(call)
        case .toolResult(let result): return toolResult(result)
        case .plan(let plan):
            return "\n"
                + plan.entries.map { entry in
                    let (mark, style): (String, Style) =
                        switch entry.status {
                        case "completed": ("☑", .green)
                        case "in_progress": ("▸", .yellow)
                        default: ("☐", .dim)
                        }
                    return "  \(palette(mark, style)) \(TerminalText.harmlessLine(entry.content).cut(to: limit(4)))\n"
                }.joined()
        case .agentOutput(let data):
            let lines = Folding(width: limit(4)).lines(data.text).map { "  \(palette("┆ " + $0, .dim))\n" }
            let dropped = data.dropped.map { "  \(palette("┆ … \($0) bytes left out …", .dim))\n" } ?? ""
            return lines.joined() + dropped
        case .inputRequested(let request): return question(request)
        default:
            return Sentence.of(event).map { note(event, $0, isBad: Sentence.isBad(event.body)) } ?? ""
        }
    }

    // MARK: Turns

    private func name(_ event: Event) -> String { event.turn?.description ?? "turn" }

    private mutating func heading(_ event: Event) -> String {
        let today = Wording.day(event.time)
        let time = (day == today ? "" : "\(today) ") + Wording.clock(event.time) + " UTC"
        day = today
        let total = width > 0 ? min(width, 100) : 80
        let fill = max(3, total - name(event).columns - time.columns - 8)
        return "\n" + palette("━━ ", .dim) + palette(name(event), .bold, .cyan) + " "
            + palette("\(String(repeating: "━", count: fill)) \(time) ━━", .dim) + "\n"
    }

    private func prompt(_ prompt: String?) -> String {
        guard let prompt else { return "" }
        var wrapper = Wrapper(indent: "  ", width: width)
        let lines = Folding(first: 20, last: 5).lines(prompt).joined(separator: "\n")
        let text = wrapper.feed(lines) + wrapper.finish()
        return palette("❯", .cyan, .bold)
            + text.dropFirst().split(separator: "\n", omittingEmptySubsequences: false).map { palette(String($0), .bold) }
            .joined(separator: "\n")
    }

    private func outcome(_ end: TurnEnded, from start: Timestamp?, at time: Timestamp) -> String {
        let (mark, style): (String, Style) =
            switch end.state {
            case .succeeded: ("✔", .green)
            case .failed: ("✘", .red)
            case .cancelled: ("⊘", .yellow)
            default: ("⚠", .yellow)
            }
        let facts = end.results.map(Sentence.facts) ?? []
        return "\n" + palette("\(mark) \(Sentence.outcome(end, from: start, to: time))", style, .bold) + "\n"
            + facts.map { palette("  \($0)", .dim) + "\n" }.joined()
    }

    private func question(_ request: InputRequest) -> String {
        var text = "\n  " + palette("? " + TerminalText.harmlessLine(request.question), .yellow, .bold) + "\n"
        for option in request.options {
            let name = TerminalText.harmlessLine(option.name)
            text += "    \(palette(TerminalText.harmlessLine(option.id), .bold))\(name == option.id ? "" : "  \(name)")\n"
        }
        return text + palette("    refused at \(Wording.clock(request.deadline)) UTC if nobody answers", .dim) + "\n"
    }

    // MARK: Tools

    private mutating func toolCall(_ call: ToolCall) -> String {
        openCall = call.id
        var text =
            "\n  " + palette("●", .blue) + " " + palette(TerminalText.harmlessLine(call.title).cut(to: limit(4)), .bold) + "\n"
        if let argument = Sentence.argument(of: call) {
            text += Folding(first: 4, last: 1, width: limit(4)).lines(argument).map { "    " + palette($0, .dim) + "\n" }.joined()
        }
        return text
    }

    private func toolResult(_ result: ToolResult) -> String {
        var text = ""
        if openCall != result.id, let title = result.title {
            text += "\n  " + palette("●", .blue) + " " + palette(TerminalText.harmlessLine(title).cut(to: limit(4)), .bold) + "\n"
        }
        let bar = palette("    │ ", .dim)
        for diff in result.diffs ?? [] {
            text +=
                bar + TerminalText.harmlessLine(diff.path).cut(to: limit(6))
                + (diff.oldText == nil ? palette(" (new)", .dim) : "") + "\n"
            let change = LineDiff(old: diff.oldText, new: diff.newText)
            for (lines, sign, style) in [(change.removed, "-", Style.red), (change.added, "+", .green)] where !lines.isEmpty {
                let shown = Folding(width: limit(8)).lines(lines.joined(separator: "\n"))
                text += shown.map { bar + palette("\(sign) \($0)", style) + "\n" }.joined()
            }
        }
        if let output = result.output {
            text += Folding(width: limit(6)).lines(output).map { bar + $0 + "\n" }.joined()
        }
        let took = result.milliseconds.map { " in \(Wording.duration(TimeSpan(milliseconds: $0)))" } ?? ""
        switch result.status {
        case "completed": text += palette("    └ done\(took)", .dim)
        case "failed": text += palette("    └ failed\(took)", .red)
        default: text += palette("    └ \(TerminalText.harmlessLine(result.status))\(took)", .yellow)
        }
        return text + "\n"
    }

    // MARK: Lines

    private func note(_ event: Event, _ text: String, isBad: Bool = false) -> String {
        let lines = Folding(first: 6, last: 3).lines(text)
        return lines.enumerated().map { index, line in
            let line = index == 0 ? "\(Wording.clock(event.time)) · \(line)" : "           \(line)"
            return (isBad ? palette(line, .red) : palette(line, .dim)) + "\n"
        }.joined()
    }

    private func firstLine(_ text: String) -> String {
        (Folding(first: 1, last: 0, width: 60).lines(text.trimmed).first ?? "")
    }

    /// Columns that are left beside an indent.
    private func limit(_ indent: Int) -> Int { width > 0 ? max(20, width - indent) : 2000 }
}
