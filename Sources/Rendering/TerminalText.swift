/// Text of unknown origin, made fit for a terminal.
///
/// What an agent or a program prints must not be able to move the cursor, change colours, set the title or reorder what a
/// person reads. Whole escape sequences are left out; any other control character is replaced by a visible one.
public enum TerminalText {
    /// Keeps line breaks; tabs become four spaces; a carriage return becomes a line break.
    public static func harmless(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isUnsafe) else { return text }
        var result = String.UnicodeScalarView()
        var scalars = text.unicodeScalars[...]
        while let scalar = scalars.popFirst() {
            switch scalar {
            case "\r":
                if scalars.first != "\n" { result.append("\n") }
            case "\t":
                result.append(contentsOf: "    ".unicodeScalars)
            case "\u{1B}":
                if !skipEscapeSequence(&scalars) { result.append(picture(scalar)) }
            case _ where isUnsafe(scalar):
                result.append(picture(scalar))
            default:
                result.append(scalar)
            }
        }
        return String(result)
    }

    /// The same on one line: a line break becomes a space.
    public static func harmlessLine(_ text: String) -> String {
        harmless(text).split(whereSeparator: \.isNewline).joined(separator: " ")
    }

    private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x0A: false
        case 0x00...0x1F, 0x7F...0x9F: true
        // Characters that reorder or hide text, and the separators that some terminals break lines at.
        case 0x200B, 0x200E, 0x200F, 0x2028...0x202E, 0x2060...0x206F, 0xFEFF, 0xE0000...0xE007F: true
        default: false
        }
    }

    private static func picture(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
        switch scalar.value {
        case 0x00...0x1F: Unicode.Scalar(0x2400 + scalar.value)!
        case 0x7F: "␡"
        default: "�"
        }
    }

    /// CSI (`ESC [ … letter`) and OSC (`ESC ] … BEL` or `ESC \`), as ECMA-48 writes them.
    private static func skipEscapeSequence(_ scalars: inout Substring.UnicodeScalarView) -> Bool {
        var rest = scalars
        switch rest.popFirst() {
        case "[":
            while let next = rest.first, (0x20...0x3F).contains(next.value) { rest.removeFirst() }
            guard let final = rest.popFirst(), (0x40...0x7E).contains(final.value) else { return false }
        case "]":
            while let next = rest.popFirst() {
                if next == "\u{07}" {
                    scalars = rest
                    return true
                }
                if next == "\u{1B}" {
                    guard rest.popFirst() == "\\" else { return false }
                    scalars = rest
                    return true
                }
                if next == "\n" { return false }
            }
            return false
        default:
            return false
        }
        scalars = rest
        return true
    }
}

extension StringProtocol {
    /// How many columns of a terminal it takes.
    var columns: Int { reduce(0) { $0 + $1.columns } }

    /// At most so many columns, with `…` at its end when something is cut off.
    func cut(to limit: Int) -> String {
        var used = 0
        var end = startIndex
        for index in indices {
            let width = self[index].columns
            if used + width > limit {
                // Room for the ellipsis.
                while used > Swift.max(0, limit - 1), end > startIndex {
                    end = self.index(before: end)
                    used -= self[end].columns
                }
                return self[..<end] + "…"
            }
            used += width
            end = self.index(after: index)
        }
        return String(self)
    }
}

extension Character {
    /// 0, 1 or 2. After the wide and combining ranges of Unicode's EastAsianWidth.txt, without its rare corners.
    var columns: Int {
        guard let first = unicodeScalars.first?.value else { return 0 }
        switch first {
        case 0x0300...0x036F, 0x200C...0x200D, 0xFE00...0xFE0F: return 0
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
            0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F680...0x1F6FF, 0x1F900...0x1FAFF, 0x20000...0x3FFFD:
            return 2
        default:
            // A text character followed by the emoji selector is drawn wide.
            return unicodeScalars.contains { $0.value == 0xFE0F } ? 2 : 1
        }
    }
}
