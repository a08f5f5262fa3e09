import SessionModel

/// What a new conversation is told of the turns before it, when the provider has lost the old one.
enum Digest {
    /// The newest turns, bounded to about 16 KiB.
    static func text(of turns: [Turn]) -> String {
        var parts: [String] = []
        var size = 0
        for turn in turns.reversed() where size < 16 << 10 {
            let answer = turn.results?.answer ?? turn.message ?? "(no answer)"
            let part = """
                Turn \(turn.id), \(turn.state.rawValue).
                You were asked: \(turn.prompt.prefix(bytes: 1024))
                You answered: \(answer.prefix(bytes: 1024))
                """
            size += part.utf8.count
            parts.append(part)
        }
        return parts.reversed().joined(separator: "\n\n")
    }
}
