import FoundationEssentials
import SessionModel

/// How Claude Code is started: its arguments, its environment, and the file with its MCP servers. Pure.
struct ClaudeCodeCommand: Sendable, Hashable {
    enum Conversation: Sendable, Hashable {
        case new(String)
        case resumed(String)

        var id: String {
            switch self {
            case .new(let id), .resumed(let id): id
            }
        }
    }

    /// What a turn can choose; another choice needs another process.
    struct Choice: Sendable, Hashable {
        var model: String?
        var effort: String?
    }

    var description: AgentDescription
    /// The directory of the agent's own state.
    var state: String

    var mcpFile: String { state + "/mcp.json" }

    func arguments(_ conversation: Conversation, _ choice: Choice) -> [String] {
        var arguments = description.arguments
        arguments += ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
        arguments.append("--include-partial-messages")
        switch conversation {
        case .new(let id): arguments.append("--session-id=\(id)")
        case .resumed(let id): arguments.append("--resume=\(id)")
        }
        // Otherwise any session that starts deletes the transcripts of those that were idle for 30 days.
        arguments.append(#"--settings={"cleanupPeriodDays":36500}"#)
        arguments.append("--permission-mode=\(mode)")
        if asks { arguments.append("--permission-prompt-tool=stdio") }
        if let model = choice.model { arguments.append("--model=\(model)") }
        if let effort = choice.effort { arguments.append("--effort=\(effort)") }
        if let text = description.systemPrompt { arguments.append("--append-system-prompt=\(text)") }
        arguments += (description.allowedTools ?? []).map { "--allowedTools=\($0)" }
        if mcpConfiguration != nil { arguments.append("--mcp-config=\(mcpFile)") }
        return arguments
    }

    var asks: Bool { description.permissions == .ask }

    /// The agent's own mode. With a list of allowed tools and nobody to ask, all others are refused.
    private var mode: String {
        if let mode = description.mode { return mode }
        if asks { return "default" }
        return description.allowedTools == nil ? "bypassPermissions" : "dontAsk"
    }

    /// What it gets besides the session's environment; nil is taken away. A variable that the description sets stays as it is.
    var variables: [String: String?] {
        var own: [String: String?] = [
            "CLAUDE_CONFIG_DIR": state,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "DISABLE_AUTOUPDATER": "1",
            // Set when this sidecar was itself started by Claude Code: a nested one behaves differently.
            "CLAUDECODE": String?.none,
            "CLAUDE_CODE_ENTRYPOINT": String?.none,
        ]
        // As root it refuses to bypass permissions unless it is told that something else contains it.
        if mode == "bypassPermissions" { own["IS_SANDBOX"] = "1" }
        return own.filter { description.env?[$0.key] == nil }
    }

    /// The document for `--mcp-config`: in a file, because environments and headers hold secrets, and arguments are readable.
    var mcpConfiguration: JSONValue? {
        guard let servers = description.mcpServers, !servers.isEmpty else { return nil }
        return ["mcpServers": .object(servers.mapValues(Self.server))]
    }

    private static func server(_ server: MCPServer) -> JSONValue {
        func strings(_ values: [String: String]) -> JSONValue { .object(values.mapValues { .string($0) }) }
        if let url = server.url { return ["type": "http", "url": .string(url), "headers": strings(server.headers ?? [:])] }
        let command = server.command ?? []
        return [
            "type": "stdio", "command": .string(command.first ?? ""), "args": .array(command.dropFirst().map { .string($0) }),
            "env": strings(server.env ?? [:]),
        ]
    }
}
