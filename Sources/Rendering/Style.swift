/// How a piece of text looks, when colours are wanted: an ANSI SGR code.
public enum Style: String, Sendable {
    case bold = "1"
    case dim = "2"
    case red = "31"
    case green = "32"
    case yellow = "33"
    case blue = "34"
    case cyan = "36"
}

/// Colours text, or leaves it alone.
public struct Palette: Sendable {
    public var isColored: Bool
    public init(isColored: Bool) { self.isColored = isColored }

    public func callAsFunction(_ text: String, _ styles: Style...) -> String {
        guard isColored, !text.isEmpty else { return text }
        return "\u{1B}[\(styles.map(\.rawValue).joined(separator: ";"))m\(text)\u{1B}[0m"
    }
}
