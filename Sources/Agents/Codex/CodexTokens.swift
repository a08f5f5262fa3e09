import SessionModel

/// Tokens as Codex counts them: over a whole thread.
struct CodexTokens: Sendable, Hashable {
    var input: Int64 = 0
    var cached: Int64 = 0
    var output: Int64 = 0

    static let none = CodexTokens()

    private init() {}

    /// The app server spells its names in camel case, `codex exec` in snake case.
    init?(_ counts: JSONValue?) {
        guard let counts, let input = (counts["inputTokens"] ?? counts["input_tokens"])?.tokens,
            let output = (counts["outputTokens"] ?? counts["output_tokens"])?.tokens
        else { return nil }
        self.input = input
        self.output = output
        cached = (counts["cachedInputTokens"] ?? counts["cached_input_tokens"])?.tokens ?? 0
    }

    /// What was used since the counts were `before`. Counts that went back were begun anew.
    func usage(since before: CodexTokens) -> Usage {
        let before = input < before.input || output < before.output ? .none : before
        return Usage(
            inputTokens: input - before.input, outputTokens: output - before.output,
            cachedInputTokens: max(0, cached - before.cached))
    }

    static func - (a: CodexTokens, b: CodexTokens) -> CodexTokens {
        var difference = CodexTokens()
        difference.input = max(0, a.input - b.input)
        difference.cached = max(0, a.cached - b.cached)
        difference.output = max(0, a.output - b.output)
        return difference
    }
}
