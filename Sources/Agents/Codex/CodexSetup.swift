import SessionModel

/// How Codex is started and what its thread is told, from an agent's description.
///
/// Secrets go over its standard input: neither its arguments nor its files have them.
struct CodexSetup: Sendable {
    /// The key of the OpenAI API that Codex is logged in with. Its process does not get it, so that no tool can print it.
    static let keyVariable = "CODEX_API_KEY"

    let arguments: [String]
    let environment: [String: String]
    let apiKey: String?

    init(_ description: AgentDescription, variables: [String: String], home: CodexHome?) {
        var environment = variables
        apiKey = environment.removeValue(forKey: Self.keyVariable)
        if let home { environment["CODEX_HOME"] = home.path }
        self.environment = environment
        // Goals would have it begin turns of its own.
        var settings = ["analytics.enabled=false", "check_for_update_on_startup=false", "features.goals=false"]
        if apiKey != nil { settings.append("cli_auth_credentials_store=\"ephemeral\"") }
        arguments = description.arguments + settings.flatMap { ["-c", $0] }
    }

    // MARK: Requests

    static let initialization: JSONValue = ["clientInfo": ["name": "holdfast", "title": "Holdfast", "version": "1"]]

    /// From `holdfast/0.163.0 (Debian …)`.
    static func version(in initialized: JSONValue) -> String? {
        let agent = initialized["userAgent"]?.string ?? ""
        return agent.split(separator: "/").dropFirst().first?.split(separator: " ").first.map(String.init)
    }

    /// What `thread/start` and `thread/resume` have in common.
    static func thread(_ description: AgentDescription, in directory: String) -> [String: JSONValue] {
        var params: [String: JSONValue] = [
            "cwd": .string(directory), "sandbox": .string(description.mode ?? "danger-full-access"),
            "approvalPolicy": description.permissions == .ask ? "untrusted" : "never",
        ]
        params["model"] = description.model.map { .string($0) }
        params["developerInstructions"] = description.systemPrompt.map { .string($0) }
        var config: [String: JSONValue] = [:]
        config["model_reasoning_effort"] = description.effort.map { .string($0) }
        config["mcp_servers"] = description.mcpServers.map { .object($0.mapValues(Self.json)) }
        if !config.isEmpty { params["config"] = .object(config) }
        return params
    }

    private static func json(_ server: MCPServer) -> JSONValue {
        var json: [String: JSONValue] = [:]
        if let command = server.command {
            json["command"] = command.first.map { .string($0) }
            json["args"] = .array(command.dropFirst().map { .string($0) })
        }
        json["env"] = server.env.map { .object($0.mapValues { .string($0) }) }
        json["url"] = server.url.map { .string($0) }
        json["http_headers"] = server.headers.map { .object($0.mapValues { .string($0) }) }
        return .object(json)
    }
}
