import Glibc
import SessionModel

/// What one file command came to.
struct FileChange: Sendable {
    var path: String
    var old: String?
    var new: String

    /// As an ACP tool call carries it.
    var diff: JSONValue {
        var diff: [String: JSONValue] = ["type": "diff", "path": .string(path), "newText": .string(new)]
        if let old { diff["oldText"] = .string(old) }
        return .object(diff)
    }
}

/// The files that the agent works on. Relative paths start at the session's directory.
struct Workbench: Sendable {
    var directory: String

    func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : directory + "/" + path }

    func read(_ path: String) throws(ConversationError) -> String {
        guard let text = try contents(path) else { throw ConversationError("there is no file \(path)") }
        return text
    }

    func write(_ path: String, _ text: String) throws(ConversationError) -> FileChange {
        try replace(path, old: try contents(path), new: text)
    }

    func append(_ path: String, _ text: String) throws(ConversationError) -> FileChange {
        let old = try contents(path)
        return try replace(path, old: old, new: (old ?? "") + text)
    }

    func edit(_ path: String, _ old: String, _ new: String) throws(ConversationError) -> FileChange {
        let text = try read(path)
        guard !old.isEmpty, let start = text.indices.first(where: { text[$0...].hasPrefix(old) }) else {
            throw ConversationError("\(path) does not contain “\(old)”")
        }
        return try replace(path, old: text, new: text[..<start] + new + text[start...].dropFirst(old.count))
    }

    private func contents(_ path: String) throws(ConversationError) -> String? {
        let descriptor = open(absolute(path), O_RDONLY | O_CLOEXEC)
        if descriptor < 0, errno == ENOENT { return nil }
        guard descriptor >= 0 else { throw ConversationError("cannot open \(path): \(systemMessage())") }
        defer { close(descriptor) }
        return String(decoding: try readAll(descriptor, path), as: UTF8.self)
    }

    private func replace(_ path: String, old: String?, new: some StringProtocol) throws(ConversationError) -> FileChange {
        let new = String(new)
        var folder = ""
        for part in absolute(path).split(separator: "/").dropLast() {
            folder += "/\(part)"
            if mkdir(folder, 0o777) != 0, errno != EEXIST, errno != EISDIR {
                throw ConversationError("cannot make \(folder): \(systemMessage())")
            }
        }
        let descriptor = open(absolute(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw ConversationError("cannot write \(path): \(systemMessage())") }
        defer { close(descriptor) }
        guard writeAll(Array(new.utf8), to: descriptor) else {
            throw ConversationError("cannot write \(path): \(systemMessage())")
        }
        return FileChange(path: absolute(path), old: old, new: new)
    }
}
