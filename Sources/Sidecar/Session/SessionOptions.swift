import Glibc
public import SessionModel

/// How a sidecar is set up: what the command line and its files say.
public struct SessionOptions: Sendable {
    /// The session's state: journal, blobs, the agent's own state.
    public var state: String
    public var key: SessionKey?
    /// Nil for the one after the last.
    public var epoch: UInt32?
    public var agent: AgentDescription?
    public var workspace: WorkspaceDescription
    /// The working directory.
    public var directory: String
    /// A short path for the host's socket and secret.
    public var runtime: String
    public var limits: TurnLimits
    /// Record every frame of the agent's protocol, unless a turn says otherwise.
    public var raw = false
    /// How long processes have to end after SIGTERM.
    public var processGrace = TimeSpan.seconds(5)
    /// The program that is the agent host: this one.
    public var hostProgram: [String]

    public init(
        state: String, key: SessionKey?, epoch: UInt32?, agent: AgentDescription?, workspace: WorkspaceDescription,
        directory: String,
        runtime: String, limits: TurnLimits, hostProgram: [String]
    ) {
        self.state = state
        self.key = key
        self.epoch = epoch
        self.agent = agent
        self.workspace = workspace
        self.directory = directory
        self.runtime = runtime
        self.limits = limits
        self.hostProgram = hostProgram
    }

    /// By this entry of their environment the processes of a session are found when everything that knew them is dead.
    var marker: String { "HOLDFAST_STATE=\(state)" }

    /// What is to be redacted, credentials' files aside.
    var secrets: [String] {
        Secrets.values(ofEnvironment: environment) + (agent.map(Secrets.values) ?? [])
            + (workspace.repository.flatMap(Secrets.password).map { [$0] } ?? [])
    }

    /// What the agent, git and the set-up command get of this process's own environment: all but what is Holdfast's.
    var environment: [String: String] {
        var variables: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, !parts[0].hasPrefix("HOLDFAST_") { variables[String(parts[0])] = String(parts[1]) }
            entry += 1
        }
        return variables
    }
}
