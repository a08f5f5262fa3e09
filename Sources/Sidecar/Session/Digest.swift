import SessionModel

/// What a new conversation is told of the turns before it, when the provider has lost the old one: the newest in full, older ones
/// in a line each, and never more than ``limit``.
enum Digest {
    /// In bytes.
    static let limit = 16 << 10
    /// What is kept free of it for older turns.
    private static let reserve = 4 << 10

    /// - Parameter turns: in their order; those that never ran are left out.
    static func text(of turns: [Turn]) -> String {
        let ended = turns.filter { $0.startedAt != nil && $0.state.isTerminal }
        var rest = ended[...]
        var parts: [String] = []
        var room = limit - 200  // For what is said of those that are left out.
        while let turn = rest.last {
            let full = full(turn)
            // The newest is told in any case, as far as there is room.
            guard parts.isEmpty || full.utf8.count <= room - reserve else { break }
            parts.append(full.utf8.count <= room - reserve ? full : full.prefix(bytes: room - reserve - 8) + " […]")
            room -= parts[parts.count - 1].utf8.count + 2
            rest.removeLast()
        }
        while let turn = rest.last {
            let line = line(turn)
            guard line.utf8.count <= room else { break }
            parts.append(line)
            room -= line.utf8.count + 2
            rest.removeLast()
        }
        guard let first = ended.first else { return "(No turn has run to its end.)" }
        if !rest.isEmpty || first.id > TurnID(1) { parts.append("(Turns before these are left out.)") }
        return parts.reversed().joined(separator: "\n\n")
    }

    private static func full(_ turn: Turn) -> String {
        var text = "Turn \(turn.id), \(outcome(turn)). You were asked:\n\(turn.prompt)"
        if turn.promptBytes > turn.prompt.utf8.count { text += " […]" }
        if let answer = turn.results?.answer { text += "\nYou answered:\n\(answer)" }
        let changes = changes(turn, files: 30)
        return changes.isEmpty ? text : text + "\nAfter it: \(changes)."
    }

    private static func line(_ turn: Turn) -> String {
        var text = "Turn \(turn.id), \(outcome(turn)): “\(excerpt(turn.prompt, 160))”"
        if let answer = turn.results?.answer { text += " – you answered “\(excerpt(answer, 240))”" }
        let changes = changes(turn, files: 5)
        return changes.isEmpty ? text : text + " – \(changes)"
    }

    private static func outcome(_ turn: Turn) -> String {
        turn.state == .succeeded ? "succeeded" : turn.state.rawValue + (turn.message.map { " (\(excerpt($0, 240)))" } ?? "")
    }

    private static func changes(_ turn: Turn, files: Int) -> String {
        guard let workspace = turn.results?.workspace else { return "" }
        var parts: [String] = []
        if let commit = workspace.commit { parts.append("\(workspace.branch ?? "HEAD") at \(commit.prefix(12))") }
        if let diffstat = workspace.diffstat { parts.append(diffstat) }
        if workspace.dirtyFileCount > 0 {
            let listed = workspace.dirtyFiles.prefix(files).map { $0.prefix(bytes: 200) }
            let more = workspace.dirtyFileCount - listed.count
            parts.append("not committed: \(listed.joined(separator: ", "))\(more > 0 ? " and \(more) more" : "")")
        }
        return parts.joined(separator: "; ")
    }

    /// The beginning, on one line.
    private static func excerpt(_ text: String, _ bytes: Int) -> String {
        let line = text.prefix(bytes: bytes * 2).split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return line.utf8.count <= bytes ? line : line.prefix(bytes: bytes) + "…"
    }
}
