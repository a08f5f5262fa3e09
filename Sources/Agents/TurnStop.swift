import AgentHost
import SessionModel

/// How a driver ends a turn: with the agent's own end, or before it.
struct TurnStop: Error, Sendable, Hashable {
    var state: TurnState
    var reason: EndReason
    var message: String?
    /// The agent's process is alive, idle and fit for the next turn.
    var clean: Bool

    init(_ state: TurnState, _ reason: EndReason, _ message: String?, clean: Bool) {
        self.state = state
        self.reason = reason
        self.message = message
        self.clean = clean
    }

    static func cancelled(clean: Bool) -> TurnStop { TurnStop(.cancelled, .cancelled, nil, clean: clean) }

    /// The process ended or was given up while the turn needed it.
    static func endedEarly(_ closing: ConnectionClosing?, lastWords: String) -> TurnStop {
        let what =
            switch closing {
            case .exited(let status): "the agent's process ended (\(status)) in the middle of the turn"
            case .broken(let reason): "the agent cannot be talked with any more: \(reason)"
            case nil: "the agent's process ended in the middle of the turn"
            }
        return TurnStop(.failed, .agentExited, what + lastWords, clean: false)
    }

    /// The host could not start the process.
    static func notStarted(_ error: HostError) -> TurnStop {
        TurnStop(.failed, .agentStart, "the agent could not be started: \(error.message)", clean: false)
    }

    /// The process ended or was given up before the first prompt.
    static func endedAtStart(_ closing: ConnectionClosing, lastWords: String) -> TurnStop {
        let what =
            switch closing {
            case .exited(let status): "the agent's process ended at its start (\(status))"
            case .broken(let reason): "the agent did not start: \(reason)"
            }
        return TurnStop(.failed, .agentStart, what + lastWords, clean: false)
    }
}
