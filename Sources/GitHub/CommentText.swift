import SessionModel

/// What people write into comments, line by line.
enum CommentText {
    /// The lines that the author means: without code blocks, quotations and comments that nobody sees.
    static func lines(_ text: String) -> [Substring] {
        var lines: [Substring] = []
        var fence: Substring?
        var isHidden = false
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            let trimmed = line.trimmed
            if let open = fence {
                if trimmed.hasPrefix(open), trimmed.allSatisfy({ $0 == open.first }) { fence = nil }
                continue
            }
            if isHidden {
                if trimmed.contains("-->") { isHidden = false }
                continue
            }
            if trimmed.hasPrefix("```") || trimmed.hasPrefix("~~~") {
                fence = trimmed.prefix { $0 == trimmed.first }
            } else if trimmed.hasPrefix("<!--") {
                isHidden = !trimmed.contains("-->")
            } else if !trimmed.hasPrefix(">"), !line.hasPrefix("    "), !line.hasPrefix("\t") {
                lines.append(trimmed)
            }
        }
        return lines
    }

    /// The first command that a line is, and what follows on it.
    static func command(in text: String, _ commands: CommentCommands) -> (command: CommentCommand, argument: String)? {
        for line in lines(text) {
            for command in CommentCommand.allCases {
                guard let word = commands.word(command) else { continue }
                if line == word { return (command, "") }
                // Only for another turn does more on the line make sense.
                if command == .continue, line.hasPrefix(word), line.dropFirst(word.count).first?.isWhitespace == true {
                    return (command, String(line.dropFirst(word.count).trimmed))
                }
            }
        }
        return nil
    }
}

extension Substring {
    var trimmed: Substring {
        var text = drop(while: \.isWhitespace)
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
