/// Breaks running text at spaces, and indents it, while it is still arriving.
///
/// The result is the same however the text was cut into pieces. A word that is longer than a line stays whole.
public struct Wrapper: Sendable {
    public let indent: String
    /// Columns, indent included; 0 never breaks.
    public let width: Int
    private var column = 0
    private var spaces = ""
    private var word = ""

    public init(indent: String, width: Int) {
        self.indent = indent
        self.width = width
    }

    /// The cursor stands behind some text of an unfinished line.
    var isInsideLine: Bool { column > 0 || !word.isEmpty }

    public mutating func feed(_ text: String) -> String {
        var output = ""
        for character in text {
            if character.isNewline {
                output += flushWord() + "\n"
                spaces = ""
                column = 0
            } else if character == " " {
                output += flushWord()
                spaces.append(character)
            } else {
                word.append(character)
            }
        }
        return output
    }

    /// What is held back, and the end of the line.
    public mutating func finish() -> String {
        let output = flushWord()
        defer { self = Wrapper(indent: indent, width: width) }
        return output + (column > 0 ? "\n" : "")
    }

    private mutating func flushWord() -> String {
        guard !word.isEmpty else { return "" }
        defer {
            word = ""
            spaces = ""
        }
        let length = word.columns
        if column == 0 {
            column = indent.columns + spaces.columns + length
            return indent + spaces + word
        }
        if width > 0, column + spaces.columns + length > width {
            column = indent.columns + length
            return "\n" + indent + word
        }
        column += spaces.columns + length
        return spaces + word
    }
}
