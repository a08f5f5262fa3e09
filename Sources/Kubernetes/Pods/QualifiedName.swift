/// A session's name where sessions of several namespaces meet: `NAMESPACE.NAME`. A namespace's name has no dots.
public struct QualifiedName: Sendable, Hashable, CustomStringConvertible {
    public var namespace: String
    public var name: String

    public init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    /// - Returns: nil for a name without a namespace.
    public init?(_ text: String) {
        guard let dot = text.firstIndex(of: "."), dot > text.startIndex, dot != text.index(before: text.endIndex) else {
            return nil
        }
        self.init(namespace: String(text[..<dot]), name: String(text[text.index(after: dot)...]))
    }

    public var description: String { "\(namespace).\(name)" }
}
