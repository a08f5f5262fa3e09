import AgentHost
import FoundationEssentials
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
    /// How long a running turn may go on after SIGTERM.
    public var grace = TimeSpan.seconds(25)
    public var hostPlacement: HostPlacement

    /// Where the agent host is.
    public enum HostPlacement: Sendable {
        /// A child of the sidecar, by this program and its first arguments; everything that it runs gets the sidecar's environment.
        case child(program: [String])
        /// In another container, as this user; what it runs gets that container's environment.
        case container(user: UInt32)
    }

    public init(
        state: String, key: SessionKey?, epoch: UInt32?, agent: AgentDescription?, workspace: WorkspaceDescription,
        directory: String,
        runtime: String, limits: TurnLimits, hostPlacement: HostPlacement
    ) {
        self.state = state
        self.key = key
        self.epoch = epoch
        self.agent = agent
        self.workspace = workspace
        self.directory = directory
        self.runtime = runtime
        self.limits = limits
        self.hostPlacement = hostPlacement
    }

    /// By this entry of their environment the processes of a session are found when everything that knew them is dead.
    var marker: String { "HOLDFAST_STATE=\(state)" }

    /// What is to be redacted, credentials' files aside.
    var secrets: [String] {
        Secrets.values(ofEnvironment: environment) + (agent.map(Secrets.values) ?? [])
            + (workspace.repository.flatMap(Secrets.password).map { [$0] } ?? []) + gatewayCredential
    }

    /// What the session shows to the git gateway: the last word of a header in git's configuration.
    private var gatewayCredential: [String] {
        guard let file = workspace.gitConfig, let data = try? Data(contentsOf: URL(filePath: file)) else { return [] }
        return String(decoding: data, as: UTF8.self).split(separator: "\n").filter { $0.contains("Authorization:") }
            .compactMap { $0.split(separator: " ").last.map(String.init) }
    }

    /// What the agent, git and the set-up command get of this process's own environment: all but what is Holdfast's.
    var environment: [String: String] { ownEnvironment().filter { !$0.key.hasPrefix("HOLDFAST_") } }
}
