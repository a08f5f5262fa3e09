import SessionModel

/// The command of one turn: what to run, and what to write to it.
struct TurnCommand: Sendable, Hashable {
    /// The most bytes of one argument on Linux, without its end.
    static let argumentLimit = (128 << 10) - 1

    var arguments: [String]
    /// What goes to the standard input before that ends.
    var input: String?
    /// What the turn asks for and the command has no place for: `model`, `effort`.
    var unused: [String]

    /// - Parameters:
    ///   - template: the program and its arguments, with `{prompt}` and so on in them.
    ///   - values: what those stand for, by name; an argument whose value is missing is left out.
    init(_ template: [String], prompt: Invocation.Prompt, text: String, values: [String: String]) {
        var values = values
        if prompt == .argument { values["prompt"] = text } else { input = text }
        var used: Set<String> = []
        arguments = template.compactMap { argument in
            let parts = Self.parts(of: argument)
            let names = parts.compactMap(\.name)
            guard names.allSatisfy({ values[$0] != nil }) else { return nil }
            used.formUnion(names)
            return parts.map { part in part.name.flatMap { values[$0] } ?? part.text }.joined()
        }
        if prompt == .argument, !used.contains("prompt") { arguments.append(text) }
        unused = ["model", "effort"].filter { values[$0] != nil && !used.contains($0) }
    }

    /// Why the program could not be started with it.
    var mistake: String? {
        guard let longest = arguments.map(\.utf8.count).max(), longest > Self.argumentLimit else { return nil }
        return
            "the prompt has \(longest) bytes, and an argument takes at most \(Self.argumentLimit): send a shorter one, or set agent.invocation.prompt to Stdin if the program reads its prompt there"
    }

    private struct Part {
        var text: String
        /// Set for a place to fill.
        var name: String?
    }

    /// What is put in the place of one name is not looked at again: a prompt may say `{model}`.
    private static func parts(of argument: String) -> [Part] {
        var parts: [Part] = []
        var rest = Substring(argument)
        while let brace = rest.firstIndex(of: "{") {
            parts.append(Part(text: String(rest[..<brace])))
            rest = rest[brace...]
            let name = ["prompt", "model", "effort", "conversation"].first { rest.hasPrefix("{\($0)}") }
            let length = name.map { $0.count + 2 } ?? 1
            parts.append(Part(text: String(rest.prefix(length)), name: name))
            rest = rest.dropFirst(length)
        }
        return parts + [Part(text: String(rest))]
    }
}
