public import AgentHost

/// Why a workspace could not be prepared or looked at.
///
/// The workspace stays usable: the next ``Workspace/prepare(report:)`` starts over.
public struct WorkspaceError: Error, Sendable, Hashable {
    public enum Step: String, Sendable, Hashable, Codable, CaseIterable {
        /// The description itself is wrong.
        case describe
        /// Looking at the directory, or making it.
        case locate
        case clone
        case checkout
        case fetch
        /// Bringing the working tree to the remote's new head.
        case update
        case setup
        /// Reading branch, HEAD and changes after a turn.
        case inspect
    }

    public var step: Step
    /// What happened, with the last words of git or of the set-up command. No credentials.
    public var message: String
    /// What to do about it.
    public var advice: String
    /// Set when the agent host, and not git, failed.
    public var host: HostError?

    public init(_ step: Step, _ message: String, advice: String, host: HostError? = nil) {
        self.step = step
        self.message = message
        self.advice = advice
        self.host = host
    }
}

extension WorkspaceError: CustomStringConvertible {
    public var description: String { "\(message)\n\(advice)" }
}

extension WorkspaceError {
    /// The remote did not answer, as opposed to having said no. git passes on what curl and ssh say, and nothing more exact.
    var isUnreachable: Bool {
        let words = [
            "Failed to connect to", "Couldn't connect to", "Connection refused", "Connection reset", "Empty reply from server",
            "returned error: 502", "returned error: 503", "returned error: 504",
        ]
        return (step == .clone || step == .fetch) && words.contains { message.contains($0) }
    }
}
