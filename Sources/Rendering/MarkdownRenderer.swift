import SessionModel

/// A transcript as Markdown: for a pull request's comment or a file.
struct MarkdownRenderer: Sendable {
    private var turns = TurnMemory()
    private var openCall: String?

    mutating func render(_ event: Event) -> String {
        let text = body(event)
        if !text.isEmpty { openCall = if case .toolCall(let call) = event.body { call.id } else { nil } }
        return text
    }

    private mutating func body(_ event: Event) -> String {
        switch event.body {
        case .turnQueued(let data):
            turns.queued(event.turn, data.request.prompt)
            return ""
        case .turnDispatched:
            return heading(event, turns.dispatched(event.turn, at: event.time))
        case .turnEnded(let end):
            let (start, prompt) = turns.ended(event.turn)
            let mark = end.state == .succeeded ? "✔" : end.state == .failed ? "✘" : "⚠"
            let facts = (end.results.map(Sentence.facts) ?? []).map { "- \(escaped($0))\n" }.joined()
            return (start == nil ? heading(event, prompt) : "")
                + "**\(mark) \(escaped(Sentence.outcome(end, from: start, to: event.time)))**\n\n"
                + (facts.isEmpty ? "" : facts + "\n")
        case .message(let data):
            // The agent writes Markdown itself.
            return TerminalText.harmless(data.text.trimmed) + "\n\n"
        case .thought(let data):
            return quoted(Folding(first: 3, last: 0).lines(data.text)) + "\n"
        case .toolCall(let call):
            return "- **\(escaped(TerminalText.harmlessLine(call.title)))**\n\n"
                + (Sentence.argument(of: call).map { fenced(Folding(first: 4, last: 1).lines($0)) } ?? "")
        case .toolResult(let result):
            let title = openCall == result.id ? nil : result.title
            var lines: [String] = []
            for diff in result.diffs ?? [] {
                let change = LineDiff(old: diff.oldText, new: diff.newText)
                lines.append(TerminalText.harmlessLine(diff.path))
                for (side, sign) in [(change.removed, "-"), (change.added, "+")] where !side.isEmpty {
                    lines += Folding().lines(side.joined(separator: "\n")).map { sign + $0 }
                }
            }
            if let output = result.output { lines += Folding().lines(output) }
            let status = result.status == "completed" ? "" : "  _\(escaped(TerminalText.harmlessLine(result.status)))_\n\n"
            return (title.map { "- **\(escaped(TerminalText.harmlessLine($0)))**\n\n" } ?? "")
                + (lines.isEmpty ? "" : fenced(lines))
                + status
        case .plan(let plan):
            return plan.entries.map {
                "- [\($0.status == "completed" ? "x" : " ")] \(escaped(TerminalText.harmlessLine($0.content)))\n"
            }
            .joined() + "\n"
        case .agentOutput(let data):
            return fenced(Folding().lines(data.text))
        case .inputRequested(let request):
            return "**? \(escaped(TerminalText.harmlessLine(request.question)))**\n\n"
                + request.options.map { "- \(escaped(TerminalText.harmlessLine($0.name)))\n" }.joined() + "\n"
        default:
            return Sentence.of(event).map { "_\(Wording.clock(event.time)) \(escaped(TerminalText.harmlessLine($0)))_\n\n" } ?? ""
        }
    }

    private func heading(_ event: Event, _ prompt: String?) -> String {
        "## \(event.turn?.description ?? "Turn") · \(Wording.day(event.time)) \(Wording.clock(event.time)) UTC\n\n"
            + (prompt.map { quoted(Folding(first: 200, last: 20).lines($0)) + "\n" } ?? "")
    }

    private func quoted(_ lines: [String]) -> String { lines.map { "> \($0)\n" }.joined() }

    /// A code block whose fence is longer than any within it.
    private func fenced(_ lines: [String]) -> String {
        let longest = lines.map { $0.prefix { $0 == "`" }.count }.max() ?? 0
        let fence = String(repeating: "`", count: max(3, longest + 1))
        return "\(fence)\n\(lines.map { $0 + "\n" }.joined())\(fence)\n\n"
    }

    /// Text that is not the agent's Markdown: its special characters stand for themselves.
    private func escaped(_ text: String) -> String {
        String(text.flatMap { "\\`*_[]<>".contains($0) ? ["\\", $0] : [$0] })
    }
}
