import NIOConcurrencyHelpers
import SessionModel

/// Parts of messages on their way to live followers. They have no cursor and are kept nowhere: a follower that is behind misses
/// them, and reads the whole message when it is recorded.
final class LiveDeltas: Sendable {
    struct Delta: Sendable, Encodable {
        var delta: String
        var turn: TurnID?
        /// The last event that was appended before it: a follower shows that first.
        var after: UInt64

        private enum CodingKeys: String, CodingKey { case delta, turn }
    }

    private struct State {
        var subscribers: [UInt64: @Sendable (Delta) -> Void] = [:]
        var next: UInt64 = 0
    }

    private let state = NIOLockedValueBox(State())

    /// Calls `receive` with each delta from now on.
    /// - Returns: what ``unsubscribe(_:)`` takes.
    func subscribe(_ receive: @escaping @Sendable (Delta) -> Void) -> UInt64 {
        state.withLockedValue { state in
            state.next += 1
            state.subscribers[state.next] = receive
            return state.next
        }
    }

    func unsubscribe(_ id: UInt64) {
        state.withLockedValue { $0.subscribers[id] = nil }
    }

    func publish(_ text: String, turn: TurnID?, after sequence: UInt64) {
        let subscribers = state.withLockedValue { $0.subscribers }
        for receive in subscribers.values { receive(Delta(delta: text, turn: turn, after: sequence)) }
    }
}
