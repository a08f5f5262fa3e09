extension AgentDescription {
    /// What is run: the command, or what the driver runs without one.
    public var arguments: [String] {
        if let command { return command }
        return switch driver {
        case .claudeCode: ["claude"]
        case .codex: ["codex", "app-server"]
        case .command where invocation?.kelos != nil: ["/kelos_entrypoint.sh"]
        case .acp, .command: []
        }
    }

    /// What the driver cannot do for the agent, as one sentence: a wish that is not met must not look as if it were.
    var driverMistake: String? {
        if invocation != nil, driver != .command { return "agent.invocation is for the command driver only" }
        switch driver {
        case .acp, .claudeCode: return nil
        case .codex:
            if allowedTools != nil { return "agent.allowedTools cannot be set for Codex, which has no such choice: leave it out" }
            return (mcpServers ?? [:]).keys.sorted().first { name in
                !name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "_:@/.-".contains($0)) }
            }.map { "agent.mcpServers has “\($0)”: Codex takes only letters, digits and _ : @ / . - in a name" }
        case .command:
            var unmet: [String] = []
            if permissions == .ask { unmet.append("permissions: Ask") }
            if mode != nil { unmet.append("mode") }
            if allowedTools != nil { unmet.append("allowedTools") }
            if invocation?.kelos == nil {
                if systemPrompt != nil { unmet.append("systemPrompt") }
                if mcpServers != nil { unmet.append("mcpServers") }
            }
            if let first = unmet.first {
                return "agent.\(first) cannot be set for the command driver: say it in the command's own arguments"
            }
            return (invocation ?? Invocation()).mistake(command: arguments)
        }
    }

    /// The fields in which two descriptions differ, by name; values are nobody's business, for some are secret.
    func differences(from other: AgentDescription) -> [String] {
        func fields(_ description: AgentDescription) -> [String: JSONValue] {
            (try? JSON.decode(JSONValue.self, from: JSON.encode(description)))?.object ?? [:]
        }
        let (own, others) = (fields(self), fields(other))
        return Set(own.keys).union(others.keys).filter { own[$0] != others[$0] }.sorted()
    }
}
