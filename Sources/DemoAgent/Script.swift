/// What the demonstration agent can be told to do: one command per line of the prompt, everything else is plain text.
///
/// ```
/// Please greet the world.
/// write: hello.txt | Hello, world.\n
/// run: cat hello.txt
/// ```
public struct Script: Sendable, Hashable {
    public enum Step: Sendable, Hashable {
        case run(command: String)
        case write(path: String, text: String)
        case append(path: String, text: String)
        case edit(path: String, old: String, new: String)
        case read(path: String)
        case think(seconds: Double, text: String)
        case say(text: String, seconds: Double)
        case plan([String])
        case ask(question: String)
        case fail(message: String)
        case refuse
        case crash(code: Int32)

        // Misbehaviour, for tests of whoever runs this agent.
        case noise(bytes: Int)
        case longLine(bytes: Int)
        case invalidUTF8
        case standardError(text: String)
        case orphan(seconds: Double)
        case ignoreTermination
        case hang

        /// A command that is not written as it must be, and how it must be.
        case mistake(line: String, usage: String)
    }

    public var steps: [Step] = []
    /// How many lines were plain text.
    public var remarks = 0

    public init(_ text: String) {
        for line in text.split(whereSeparator: \.isNewline) {
            let line = line.trimmed
            if line.isEmpty { continue }
            if let step = Self.step(line) { steps.append(step) } else { remarks += 1 }
        }
    }

    /// The step that a line asks for; nil when the line is plain text.
    private static func step(_ line: String) -> Step? {
        guard let colon = line.firstIndex(of: ":") else { return nil }
        let rest = line[line.index(after: colon)...].trimmed
        func wrong(_ usage: String) -> Step { .mistake(line: line, usage: usage) }
        switch line[..<colon] {
        case "run": return rest.isEmpty ? wrong("run: COMMAND") : .run(command: rest)
        case "write":
            guard let (path, text) = rest.halves(at: "|") else { return wrong("write: PATH | TEXT") }
            return .write(path: path, text: text.unescaped)
        case "append":
            guard let (path, text) = rest.halves(at: "|") else { return wrong("append: PATH | TEXT") }
            return .append(path: path, text: text.unescaped)
        case "edit":
            guard let (path, change) = rest.halves(at: "|"), let (old, new) = change.halves(at: "=>")
            else { return wrong("edit: PATH | OLD => NEW") }
            return .edit(path: path, old: old.unescaped, new: new.unescaped)
        case "read": return rest.isEmpty ? wrong("read: PATH") : .read(path: rest)
        case "think":
            guard let (seconds, text) = rest.secondsAndText else { return wrong("think: SECONDS [TEXT]") }
            return .think(seconds: seconds, text: text.isEmpty ? "Thinking about it for a while." : text)
        case "say": return .say(text: rest.unescaped, seconds: 0)
        case "say-slowly":
            guard let (seconds, text) = rest.secondsAndText, !text.isEmpty else { return wrong("say-slowly: SECONDS TEXT") }
            return .say(text: text.unescaped, seconds: seconds)
        case "plan": return .plan(rest.split(separator: ";").map(\.trimmed).filter { !$0.isEmpty })
        case "ask": return rest.isEmpty ? wrong("ask: QUESTION") : .ask(question: rest)
        case "fail": return .fail(message: rest.isEmpty ? "told to fail" : rest)
        case "refuse": return .refuse
        case "crash": return Int32(rest.isEmpty ? "1" : rest).map { .crash(code: $0) } ?? wrong("crash: CODE")
        case "noise": return Int(rest).flatMap { $0 >= 0 ? .noise(bytes: $0) : nil } ?? wrong("noise: BYTES")
        case "longline": return Int(rest).flatMap { $0 >= 0 ? .longLine(bytes: $0) : nil } ?? wrong("longline: BYTES")
        case "invalid-utf8": return .invalidUTF8
        case "stderr": return .standardError(text: rest)
        case "orphan": return rest.secondsAndText.map { .orphan(seconds: $0.0) } ?? wrong("orphan: SECONDS")
        case "ignore-sigterm": return .ignoreTermination
        case "hang": return .hang
        default: return nil
        }
    }
}

extension StringProtocol {
    var trimmed: String {
        var text = self[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}

extension String {
    /// What is before and after the first ` SEPARATOR `, both trimmed; nil without a separator or with nothing before it.
    fileprivate func halves(at separator: String) -> (String, String)? {
        var start = startIndex
        while start < endIndex, !self[start...].hasPrefix(separator) { start = index(after: start) }
        guard start < endIndex else { return nil }
        let head = self[..<start].trimmed
        return head.isEmpty ? nil : (head, self[start...].dropFirst(separator.count).trimmed)
    }

    /// A number of seconds and the text after it, as in `2.5 looking around`.
    fileprivate var secondsAndText: (Double, String)? {
        let number = prefix { !$0.isWhitespace }
        guard let seconds = Double(number), seconds >= 0, seconds <= 86_400 else { return nil }
        return (seconds, dropFirst(number.count).trimmed)
    }

    /// With `\n`, `\t` and `\\` written out.
    fileprivate var unescaped: String {
        var result = ""
        var rest = self[...]
        while let character = rest.popFirst() {
            guard character == "\\", let next = rest.first else {
                result.append(character)
                continue
            }
            switch next {
            case "n": result.append("\n")
            case "t": result.append("\t")
            case "\\": result.append("\\")
            default:
                result.append(character)
                continue
            }
            rest.removeFirst()
        }
        return result
    }
}
