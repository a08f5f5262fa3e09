import Rendering
import SessionModel

enum TranscriptFormat: String, CaseIterable, Sendable { case text, markdown, jsonl }

/// Shows a transcript's lines on the console.
actor TranscriptView {
    private let console: Console
    private let format: TranscriptFormat
    private let pattern: Regex<AnyRegexOutput>?
    private var renderer: TranscriptRenderer
    /// Without colours and line breaks, for `--grep`.
    private var plain: TranscriptRenderer

    /// - Parameter grep: show only the events whose text this regular expression matches.
    init(_ console: Console, format: TranscriptFormat, grep: String? = nil, showsFrames: Bool = false) throws(Failure) {
        self.console = console
        self.format = format
        do {
            pattern = try grep.map { try Regex($0) }
        } catch {
            throw Failure(.usage, "--grep “\(grep ?? "")” is not a regular expression: \(error)")
        }
        renderer = TranscriptRenderer(
            format: format == .markdown ? .markdown : .text, color: console.hasColor, width: console.width,
            showsFrames: showsFrames)
        plain = TranscriptRenderer(showsFrames: showsFrames)
    }

    func show(_ line: TranscriptLine, raw: String) {
        switch line {
        case .event(let event):
            let text = renderer.render(event)
            if let pattern {
                let searched = format == .jsonl ? raw : plain.render(event)
                guard searched.contains(pattern) else { return }
            }
            console.print(format == .jsonl ? jsonLine(raw) : text)
        case .gap(let gap):
            console.print(
                format == .jsonl
                    ? jsonLine(raw)
                    : renderer.finish()
                        + "events \(gap.from) to \(gap.to) are damaged: \(TerminalText.harmlessLine(gap.reason))\n")
        case .delta(let delta, let turn):
            guard pattern == nil else { return }
            console.print(format == .jsonl ? jsonLine(raw) : renderer.renderDelta(delta, turn: turn))
        }
    }

    func finish() { console.print(renderer.finish()) }

    private func jsonLine(_ raw: String) -> String { (console.isTerminal ? TerminalText.harmlessLine(raw) : raw) + "\n" }
}
