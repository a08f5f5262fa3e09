/// Which agent a session runs and how: the document that `--agent FILE` names.
///
/// ```json
/// {"driver": "acp", "command": ["holdfast-demo-agent"], "env": {"LANG": "C.UTF-8"}}
/// ```
public struct AgentDescription: Sendable, Hashable, Codable {
    public enum Driver: String, Sendable, Hashable, Codable, CaseIterable {
        /// The Agent Client Protocol, version 1, over the process's standard streams.
        case acp
        /// Claude Code's own stream-json.
        case claudeCode = "claude-code"
        /// Codex's app server.
        case codex
        /// Any program, run once for every turn.
        case command
    }

    /// What happens when the agent asks for permission.
    public enum Permissions: String, Sendable, Hashable, Codable, CaseIterable {
        /// Every request is allowed at once: the pod is the boundary.
        case bypass = "Bypass"
        /// A person is asked; the turn is `awaitingInput` until then.
        case ask = "Ask"
    }

    public var driver: Driver
    /// The program and its arguments; the program is looked for in PATH. Default: that of the driver, where there is one.
    public var command: [String]?
    /// How the `command` driver runs it.
    public var invocation: Invocation?
    /// Added to the environment that every agent gets. It is part of the Session and readable: secrets go into `credentials`.
    public var env: [String: String]?
    public var credentials: AgentCredentials?
    /// Default `Bypass`.
    public var permissions: Permissions?
    /// The agent's own mode to set after a conversation starts.
    public var mode: String?
    /// What a turn gets that asks for no model and no effort of its own. Default: the agent's own.
    public var model: String?
    public var effort: String?
    /// Added to the agent's own instructions.
    public var systemPrompt: String?
    /// The tools that the agent may use, in its own words. Default: all it has.
    public var allowedTools: [String]?
    /// Servers of the Model Context Protocol, by name.
    public var mcpServers: [String: MCPServer]?
    /// How long the agent may take to start and to open its conversation. Default 2m.
    public var startTimeout: TimeSpan?

    /// The agent's container image; its user is 61100. Default: the supervisor's.
    public var image: String?
    /// A partial PodTemplateSpec that is merged onto the session's pod as `kubectl patch --type strategic` would.
    public var podTemplate: JSONValue?
    /// Default `PersistentVolumeClaim` for a pull request or an issue, `EmptyDir` for a commit.
    public var storage: SessionStorage?
    /// A partial PersistentVolumeClaimSpec: the size, the class.
    public var volumeClaimTemplate: JSONValue?

    public init(
        driver: Driver, command: [String]? = nil, invocation: Invocation? = nil, env: [String: String]? = nil,
        credentials: AgentCredentials? = nil,
        permissions: Permissions? = nil, mode: String? = nil, model: String? = nil, effort: String? = nil,
        systemPrompt: String? = nil, allowedTools: [String]? = nil, mcpServers: [String: MCPServer]? = nil,
        startTimeout: TimeSpan? = nil
    ) {
        self.driver = driver
        self.command = command
        self.invocation = invocation
        self.env = env
        self.credentials = credentials
        self.permissions = permissions
        self.mode = mode
        self.model = model
        self.effort = effort
        self.systemPrompt = systemPrompt
        self.allowedTools = allowedTools
        self.mcpServers = mcpServers
        self.startTimeout = startTimeout
    }

    /// What is wrong with it, as one sentence; nil when nothing is.
    public var mistake: String? {
        if arguments.first?.isEmpty ?? true { return "agent.command is empty: name the program to run" }
        if let startTimeout, startTimeout <= .zero { return "agent.startTimeout must be more than zero" }
        if let podMistake { return podMistake }
        let servers = (mcpServers ?? [:]).sorted { $0.key < $1.key }
        let environments =
            [("env", env), ("credentials.env", credentials?.env)] + servers.map { ("mcpServers.\($0.key).env", $0.value.env) }
        for (field, names) in environments {
            for name in (names ?? [:]).keys.sorted() {
                if name.isEmpty || name.contains("=") || name.contains("\0") {
                    return "agent.\(field) has a variable named “\(name)”"
                }
                if AgentCredentials.forgeVariables.contains(name) {
                    return
                        "agent.\(field) has \(name): an agent gets the forge's token by credentials.token and credentials.expose: Token only, so that its session shows it"
                }
            }
        }
        for name in (credentials?.env ?? [:]).keys.sorted() where env?[name] != nil {
            return "agent.env and agent.credentials.env both have \(name): choose one"
        }
        if let mistake = credentials?.mistake { return mistake }
        for (name, server) in servers {
            if (server.command == nil) == (server.url == nil) {
                return "agent.mcpServers.\(name) must have either a command or a url"
            }
        }
        return driverMistake
    }
}

/// A server of the Model Context Protocol that the agent is to use: a program it starts, or a URL.
public struct MCPServer: Sendable, Hashable, Codable {
    /// The program and its arguments, talked with over its standard streams.
    public var command: [String]?
    public var env: [String: String]?
    /// Streamable HTTP.
    public var url: String?
    public var headers: [String: String]?

    public init(
        command: [String]? = nil, env: [String: String]? = nil, url: String? = nil, headers: [String: String]? = nil
    ) {
        self.command = command
        self.env = env
        self.url = url
        self.headers = headers
    }
}

/// Which working directory a session has: the document that `--workspace FILE` names.
///
/// At most one of `pullRequest`, `branch` and `commit` is given; with none, the remote's default branch is checked out.
public struct WorkspaceDescription: Sendable, Hashable, Codable {
    /// Any URL or path that git can clone. Without one the workspace is an empty directory.
    public var repository: String?
    /// The pull request whose head (`refs/pull/N/head`) is checked out.
    public var pullRequest: Int?
    /// A branch to check out. For an issue: made from the default branch when the remote does not have it.
    public var branch: String?
    /// A commit to check out, detached.
    public var commit: String?
    /// A local clone whose objects may be borrowed (`git clone --reference-if-able --dissociate`).
    public var mirror: String?
    /// Run with `sh -c` in the workspace whenever a sidecar starts.
    public var setupCommand: String?
    /// The absolute path of a file that the clone's configuration includes: how its git reaches the git gateway.
    public var gitConfig: String?
    /// How long one git or set-up step may take. Default 10m.
    public var stepTimeout: TimeSpan?

    public init(
        repository: String? = nil, pullRequest: Int? = nil, branch: String? = nil, commit: String? = nil, mirror: String? = nil,
        setupCommand: String? = nil, stepTimeout: TimeSpan? = nil
    ) {
        self.repository = repository
        self.pullRequest = pullRequest
        self.branch = branch
        self.commit = commit
        self.mirror = mirror
        self.setupCommand = setupCommand
        self.stepTimeout = stepTimeout
    }

    /// What is wrong with it, as one sentence; nil when nothing is.
    public var mistake: String? {
        let chosen = [pullRequest.map { "pullRequest \($0)" }, branch.map { "branch \($0)" }, commit.map { "commit \($0)" }]
            .compactMap(\.self)
        if chosen.count > 1 { return "workspace names \(chosen.joined(separator: " and ")): choose one" }
        if let first = chosen.first, repository == nil { return "workspace has \(first) but no repository" }
        if let pullRequest, pullRequest < 1 { return "workspace.pullRequest must be 1 or more" }
        for (name, value) in [("repository", repository), ("branch", branch), ("commit", commit), ("mirror", mirror)] {
            guard let value else { continue }
            if value.isEmpty || value.hasPrefix("-") || value.contains("\0") || value.contains("\n") {
                return "workspace.\(name) “\(value)” is empty, starts with '-' or has a control character"
            }
        }
        if let commit, commit.utf8.count < 7 || commit.utf8.count > 64 || !commit.allSatisfy(\.isHexDigit) {
            return "workspace.commit “\(commit)” is not a commit's object name"
        }
        if let gitConfig, !gitConfig.hasPrefix("/") || gitConfig.contains("\0") {
            return "workspace.gitConfig “\(gitConfig)” is not an absolute path"
        }
        if let stepTimeout, stepTimeout <= .zero { return "workspace.stepTimeout must be more than zero" }
        return nil
    }
}
