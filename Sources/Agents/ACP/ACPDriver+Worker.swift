import SessionModel

/// What of a worker's description ACP can carry to the agent, and what it cannot.
extension ACPDriver {
    /// The servers for `session/new` and its like: those that the agent can talk with.
    func mcpServers() -> JSONValue {
        let servers = (description.mcpServers ?? [:]).sorted { $0.key < $1.key }
        return .array(
            servers.compactMap { name, server -> JSONValue? in
                if let command = server.command, let program = command.first {
                    return [
                        "name": .string(name), "command": .string(program),
                        "args": .array(command.dropFirst().map { .string($0) }), "env": Self.pairs(server.env),
                    ]
                }
                guard let url = server.url, agent?.info?.canUseHTTPServers == true else { return nil }
                return ["type": "http", "name": .string(name), "url": .string(url), "headers": Self.pairs(server.headers)]
            })
    }

    private static func pairs(_ values: [String: String]?) -> JSONValue {
        .array((values ?? [:]).sorted { $0.key < $1.key }.map { ["name": .string($0.key), "value": .string($0.value)] })
    }

    /// Says what is not passed on, once for each process: nothing that was asked for is dropped in silence.
    func reportUnsupported() async {
        var fields: [String] = []
        if description.systemPrompt != nil {
            fields.append(
                "systemPrompt is not set: ACP has no way to add to an agent's instructions, so give them in its own way")
        }
        if description.allowedTools != nil {
            fields.append("allowedTools is not set: ACP has no way to choose an agent's tools, so choose them in its own way")
        }
        for (name, server) in (description.mcpServers ?? [:]).sorted(by: { $0.key < $1.key })
        where server.url != nil && agent?.info?.canUseHTTPServers != true {
            fields.append("mcpServers.\(name) is not used: the agent cannot talk with servers over HTTP")
        }
        for field in fields { await log.record(.error(Reason("the worker's \(field)"))) }
    }
}
