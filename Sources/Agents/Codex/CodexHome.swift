import AgentHost
import SessionModel

/// Where Codex keeps its state: in the session's directory, unless the agent's environment names another place.
struct CodexHome: Sendable, Hashable {
    let path: String
    /// Nobody but this session uses it.
    private let isOwn: Bool

    /// Nil when neither names a place; Codex then has its own.
    init?(_ environment: AgentEnvironment) {
        if let path = environment["CODEX_HOME"] {
            self.path = path
            isOwn = false
        } else if let state = environment["HOLDFAST_AGENT_STATE"] {
            path = state + "/codex"
            isOwn = true
        } else {
            return nil
        }
    }

    /// Makes the directory, without which Codex does not start.
    ///
    /// Codex indexes its threads by absolute path and finds none in a directory that was moved. Without the index it makes another one,
    /// so that is what is removed then.
    func make(on host: any ProcessHost) async throws(TurnStop) {
        try await HostFile.makeDirectory(path, removingWhenMoved: isOwn ? "state_*.sqlite*" : nil, on: host)
    }
}
