/// Long text, shortened to what a person wants to see of it.
struct Folding {
    /// Lines at the beginning and the end that are always shown.
    var first = 6
    var last = 5
    /// The longest line, in columns.
    var width = 2000

    /// One element a line; at most `first + 1 + last` of them. The text is made harmless.
    func lines(_ text: String) -> [String] {
        // Only as much as can be shown is looked at closely: a line may have many megabytes.
        var lines = text.split(omittingEmptySubsequences: false) { $0.isNewline }
        while lines.last?.isEmpty == true { lines.removeLast() }
        func show(_ line: Substring) -> String {
            TerminalText.harmless(String(line.prefix(width * 4))).split(whereSeparator: \.isNewline).joined(separator: " ")
                .cut(to: width)
        }
        guard lines.count > first + last + 1 else { return lines.map(show) }
        let folded = lines.count - first - last
        return lines.prefix(first).map(show) + ["… \(folded) lines …"] + lines.suffix(last).map(show)
    }
}

/// The lines in which two texts differ, without what they have in common at the beginning and at the end.
struct LineDiff {
    var removed: [Substring]
    var added: [Substring]

    init(old: String?, new: String) {
        func lines(_ text: String) -> [Substring] {
            var lines = text.split(omittingEmptySubsequences: false) { $0.isNewline }
            if lines.last?.isEmpty == true { lines.removeLast() }
            return lines
        }
        var a = lines(old ?? "")[...]
        var b = lines(new)[...]
        while let x = a.first, let y = b.first, x == y {
            a.removeFirst()
            b.removeFirst()
        }
        while let x = a.last, let y = b.last, x == y {
            a.removeLast()
            b.removeLast()
        }
        removed = Array(a)
        added = Array(b)
    }
}
