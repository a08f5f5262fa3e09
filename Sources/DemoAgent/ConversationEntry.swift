import FoundationEssentials
public import SessionModel

/// One line of a conversation's file. The file is append-only JSON lines: `opened` once, then prompts and what came of them.
public enum ConversationEntry: Sendable, Hashable {
    case opened(directory: String)
    case prompt(String)
    /// A `session/update` as it was sent, with the chunks of a message joined.
    case update(JSONValue)

    /// The line, with its newline.
    public var line: [UInt8] {
        let value: JSONValue =
            switch self {
            case .opened(let directory): ["type": "opened", "directory": .string(directory)]
            case .prompt(let text): ["type": "prompt", "text": .string(text)]
            case .update(let update): ["type": "update", "update": update]
            }
        // A JSONValue has no number that JSON cannot write: they all come from JSON or from integers.
        guard let data = try? JSON.encode(value) else { preconditionFailure("a JSON value that is not JSON: \(value)") }
        return Array(data) + [UInt8(ascii: "\n")]
    }

    /// Nil for a line that is not an entry.
    public init?(line: some Sequence<UInt8>) {
        guard let value = try? JSON.decode(JSONValue.self, from: Data(line)) else { return nil }
        switch value["type"]?.string {
        case "opened":
            guard let directory = value["directory"]?.string else { return nil }
            self = .opened(directory: directory)
        case "prompt":
            guard let text = value["text"]?.string else { return nil }
            self = .prompt(text)
        case "update":
            guard let update = value["update"] else { return nil }
            self = .update(update)
        default: return nil
        }
    }

    /// The update by which `session/load` shows it again; nil for what is no part of the history.
    public var replay: JSONValue? {
        switch self {
        case .opened: nil
        case .prompt(let text):
            ["sessionUpdate": "user_message_chunk", "content": ["type": "text", "text": .string(text)]]
        case .update(let update): update
        }
    }

    /// The entries of a file and the length of its whole part: a last line without a newline was being written when the process
    /// ended, and is left out.
    /// - Throws: ``ConversationError`` for damage anywhere else.
    public static func parse(_ bytes: [UInt8]) throws(ConversationError) -> (entries: [ConversationEntry], length: Int) {
        let length = (bytes.lastIndex(of: UInt8(ascii: "\n")) ?? -1) + 1
        var entries: [ConversationEntry] = []
        for line in bytes[..<length].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true) {
            guard let entry = ConversationEntry(line: line) else {
                throw ConversationError("line \(entries.count + 1) is damaged")
            }
            entries.append(entry)
        }
        guard case .opened = entries.first else { throw ConversationError("it does not begin with “opened”") }
        return (entries, length)
    }
}

/// Why a conversation's file cannot be used.
public struct ConversationError: Error, Sendable, Hashable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
