import SessionModel

/// How a tool of Claude Code is shown: its kind, and what a call does in a few words.
enum ClaudeCodeTool {
    static func kind(_ name: String) -> String {
        switch name {
        case "Bash", "BashOutput", "KillShell", "Monitor": "execute"
        case "Read", "NotebookRead": "read"
        case "Edit", "MultiEdit", "Write", "NotebookEdit": "edit"
        case "Glob", "Grep", "LS", "ToolSearch": "search"
        case "WebFetch", "WebSearch": "fetch"
        case "Task", "Agent": "think"
        default: "other"
        }
    }

    static func title(_ name: String, _ input: JSONValue, prefix: String?) -> String {
        func short(_ field: String) -> String? {
            guard let line = input[field]?.string?.split(whereSeparator: \.isNewline).first else { return nil }
            return String(line).prefix(bytes: 200)
        }
        let path = input["file_path"]?.string ?? input["notebook_path"]?.string ?? input["path"]?.string
        switch name {
        case "Bash": return short("command") ?? name
        case "Read", "Edit", "MultiEdit", "Write", "NotebookEdit", "LS":
            return path.map { "\(name) \(relative($0, prefix))" } ?? name
        case "Glob", "Grep": return short("pattern").map { "\(name) \($0)" } ?? name
        case "WebFetch": return short("url").map { "\(name) \($0)" } ?? name
        case "WebSearch": return short("query").map { "\(name) \($0)" } ?? name
        case "Task", "Agent": return short("description").map { "\(name): \($0)" } ?? name
        default: return name
        }
    }

    /// The changes that a tool's result tells of (`tool_use_result`).
    static func diffs(_ result: JSONValue?, prefix: String?) -> [ToolResult.FileDiff]? {
        guard let path = result?["filePath"]?.string else { return nil }
        let shown = relative(path, prefix)
        if let new = result?["newString"]?.string {
            return [ToolResult.FileDiff(path: shown, oldText: result?["oldString"]?.string, newText: new)]
        }
        if let edits = result?["edits"]?.array {
            return edits.compactMap { edit in
                edit["new_string"]?.string.map {
                    ToolResult.FileDiff(path: shown, oldText: edit["old_string"]?.string, newText: $0)
                }
            }
        }
        guard let content = result?["content"]?.string else { return nil }
        return [ToolResult.FileDiff(path: shown, oldText: result?["originalFile"]?.string, newText: content)]
    }

    private static func relative(_ path: String, _ prefix: String?) -> String {
        prefix.map { path.hasPrefix($0) ? String(path.dropFirst($0.count)) : path } ?? path
    }
}
