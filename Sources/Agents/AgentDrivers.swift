public import AgentHost
public import SessionModel

/// Makes the driver that an agent's description asks for.
public enum AgentDrivers {
    /// - Parameters:
    ///   - description: the agent to run.
    ///   - host: where its processes run; the driver starts none by itself.
    ///   - environment: what the agent's process gets, its credentials among it.
    ///   - workspace: what the working directory holds, for agents that are told.
    ///   - digest: a summary of what was done in the session so far, for an agent that has lost its conversation.
    public static func make(
        description: AgentDescription, host: any ProcessHost, environment: AgentEnvironment,
        workspace: WorkspaceDescription? = nil, digest: @escaping @Sendable () async -> String
    ) -> any AgentDriver {
        switch description.driver {
        case .acp: ACPDriver(description: description, host: host, environment: environment, digest: digest)
        case .claudeCode: ClaudeCodeDriver(description: description, host: host, environment: environment, digest: digest)
        case .codex: CodexDriver(description: description, host: host, environment: environment, digest: digest)
        case .command:
            CommandDriver(
                description: description, host: host, environment: environment, workspace: workspace, digest: digest)
        }
    }
}
