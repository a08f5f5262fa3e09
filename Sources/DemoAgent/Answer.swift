/// What the agent says at the end of a turn: what it did, and what it remembers.
///
/// The text depends on nothing but the conversation, so that a test can expect it word for word.
public struct Answer: Sendable, Hashable {
    public var script: Script
    /// Steps that were carried out, failed ones included.
    public var done = 0
    public var failed = 0
    /// Why the rest of the script was left out.
    public var stopped: String?
    /// The prompts before this one, oldest first.
    public var earlier: [String]

    public init(script: Script, earlier: [String]) {
        self.script = script
        self.earlier = earlier
    }

    public var text: String {
        """
        \(work) \(memory)
        (holdfast-demo-agent is a demonstration: it carries out the commands in your prompt, no language model is involved.)
        """
    }

    private var work: String {
        if script.steps.isEmpty { return "Noted: \(Self.count(script.remarks, "line")) of plain text and no command." }
        let steps = Self.count(done, "step") + (failed > 0 ? ", \(failed) failed" : "")
        return stopped.map { "Stopped after \(steps): \($0)." } ?? "Done: \(steps)."
    }

    private var memory: String {
        guard !earlier.isEmpty else { return "This is the first prompt of our conversation." }
        let shown = earlier.suffix(5)
        let which = shown.count < earlier.count ? ", the last \(shown.count) of them" : ""
        return "I remember \(Self.count(earlier.count, "earlier prompt"))\(which): "
            + shown.map { "“\(Self.excerpt($0))”" }.joined(separator: ", ") + "."
    }

    private static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

    /// The first 40 characters, on one line.
    static func excerpt(_ prompt: String) -> String {
        let line = prompt.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return line.count <= 40 ? line : line.prefix(40).trimmed + "…"
    }
}
