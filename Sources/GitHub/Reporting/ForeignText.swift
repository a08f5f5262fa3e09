import SessionModel

/// What a model has written, made harmless for a page of the forge: it still reads the same, and does nothing.
///
/// Nobody is mentioned, no issue is referred to or closed, no picture is loaded, no marker or other HTML is hidden in it, and no line
/// is a command to a program that reads comments.
enum ForeignText {
    /// Where something would begin to mean something, this stands in between; it has no width.
    private static let gap: Unicode.Scalar = "\u{200B}"

    /// - Parameters:
    ///   - limit: in bytes of the text as it was.
    ///   - quoted: as a quotation, at whose end whatever was left open in it ends too.
    static func defused(_ text: String, limit: Int, quoted: Bool = false) -> String {
        let cut = text.prefix(bytes: limit)
        var lines = plain(cut).split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
            .map { withoutCommand(withoutLinks(String($0))) }
        while lines.last?.allSatisfy(\.isWhitespace) == true { lines.removeLast() }
        if cut.utf8.count < text.utf8.count { lines.append("…") }
        return lines.map { quoted ? "> \($0)" : $0 }.joined(separator: "\n")
    }

    /// One line, for a title.
    static func title(_ text: String, limit: Int) -> String {
        let line =
            CommentText.lines(text).lazy
            .map { $0.drop { "#*-_`> ".contains($0) }.trimmed }
            .first { !$0.isEmpty } ?? ""
        var words = String(line)
        while let last = words.last, "*_`:.".contains(last) { words.removeLast() }
        let cut = words.prefix(bytes: limit)
        return withoutLinks(plain(cut)) + (cut.utf8.count < words.utf8.count ? "…" : "")
    }

    /// Without HTML, and without characters that are not seen or turn the direction of writing.
    private static func plain(_ text: String) -> String {
        var plain = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": plain.append(contentsOf: "&amp;".unicodeScalars)
            case "<": plain.append(contentsOf: "&lt;".unicodeScalars)
            case "\n", "\r", "\t": plain.append(scalar)
            default:
                switch scalar.properties.generalCategory {
                case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate: break
                default: plain.append(scalar)
                }
            }
        }
        return String(plain)
    }

    /// Mentions (`@ada`), references (`#7`, `GH-7`), addresses (`https://…`) and pictures (`![…`) are each taken apart behind their
    /// first character, whatever follows: Markdown drops backslashes, so that what looks apart may come together.
    private static func withoutLinks(_ line: String) -> String {
        var apart = String.UnicodeScalarView()
        // The `#` of a heading refer to nothing.
        let marks = line.prefix { $0 == "#" }.count
        var position = 0
        var last: Unicode.Scalar = " "
        for scalar in line.unicodeScalars {
            if "hH".unicodeScalars.contains(scalar), "gG".unicodeScalars.contains(last) { apart.append(gap) }
            if scalar == "[", last == "!" { apart.append(gap) }
            apart.append(scalar)
            if scalar == "@" || scalar == ":" || scalar == "#" && position >= marks - 1 { apart.append(gap) }
            last = scalar
            position += 1
        }
        return String(apart)
    }

    /// Programs take commands from the beginning of a line.
    private static func withoutCommand(_ line: String) -> String {
        let start = line.firstIndex { !$0.isWhitespace } ?? line.endIndex
        return line[start...].first == "/" ? line[..<start] + "\\" + line[start...] : line
    }
}
