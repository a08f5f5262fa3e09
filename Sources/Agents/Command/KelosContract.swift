import SessionModel

/// The variables by which an image that is made for Kelos is told of its task (`docs/agent-image-interface.md` there).
///
/// The set-up command is not among them: it is the workspace's, and the host runs it in the same container before the first turn.
struct KelosContract: Sendable {
    private var fixed: [String: String]

    init(agentType: String, description: AgentDescription, workspace: WorkspaceDescription?) {
        fixed = ["KELOS_AGENT_TYPE": agentType]
        fixed["KELOS_BASE_BRANCH"] = workspace?.branch ?? workspace?.commit
        fixed["KELOS_AGENTS_MD"] = description.systemPrompt
        if let servers = description.mcpServers, !servers.isEmpty {
            let document: JSONValue = ["mcpServers": .object(servers.mapValues(Self.json))]
            fixed["KELOS_MCP_SERVERS"] = try? JSON.string(document)
        }
    }

    func variables(model: String?, effort: String?) -> [String: String] {
        var variables = fixed
        variables["KELOS_MODEL"] = model
        variables["KELOS_EFFORT"] = effort
        return variables
    }

    /// As in `.mcp.json`.
    private static func json(_ server: MCPServer) -> JSONValue {
        var json: [String: JSONValue] = ["type": server.url == nil ? "stdio" : "http"]
        if let command = server.command {
            json["command"] = command.first.map { .string($0) }
            if command.count > 1 { json["args"] = .array(command.dropFirst().map { .string($0) }) }
        }
        json["url"] = server.url.map { .string($0) }
        json["headers"] = server.headers.map { .object($0.mapValues { .string($0) }) }
        json["env"] = server.env.map { .object($0.mapValues { .string($0) }) }
        return .object(json)
    }
}
