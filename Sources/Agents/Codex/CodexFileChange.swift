import SessionModel

/// A change of one file, as Codex tells it: the whole text of a new or deleted file, else the hunks of a unified diff.
struct CodexFileChange: Sendable, Hashable {
    /// The file, with its new name if it was moved.
    var path: String
    /// `add`, `delete`, `update` or `move`.
    var verb: String
    /// One for each hunk. None from `codex exec`, which does not tell them.
    var diffs: [ToolResult.FileDiff]

    init?(_ change: JSONValue, in directory: String) {
        guard let path = change["path"]?.string else { return nil }
        func shown(_ path: String) -> String {
            path.hasPrefix(directory + "/") ? String(path.dropFirst(directory.count + 1)) : path
        }
        let kind = change["kind"]?.string ?? change["kind"]?["type"]?.string ?? "update"
        let target = change["kind"]?["move_path"]?.string
        let file = shown(target ?? path)
        self.path = target == nil ? file : "\(shown(path)) → \(file)"
        verb = target == nil ? kind : "move"
        diffs =
            switch (change["diff"]?.string, kind) {
            case (nil, _): []
            case (let text?, "add"): [ToolResult.FileDiff(path: file, oldText: nil, newText: text)]
            case (let text?, "delete"): [ToolResult.FileDiff(path: file, oldText: text, newText: "")]
            case (let text?, _): Self.hunks(of: text).map { ToolResult.FileDiff(path: file, oldText: $0.old, newText: $0.new) }
            }
    }

    private static func hunks(of diff: String) -> [(old: String, new: String)] {
        var hunks: [(old: String, new: String)] = []
        for line in diff.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("@@") {
                hunks.append(("", ""))
            } else if let last = hunks.indices.last {
                let text = line.dropFirst() + "\n"
                switch line.first {
                case "-": hunks[last].old += text
                case "+": hunks[last].new += text
                case " ":
                    hunks[last].old += text
                    hunks[last].new += text
                default: break  // “\ No newline at end of file”, and the end.
                }
            }
        }
        return hunks
    }
}
