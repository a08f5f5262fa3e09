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
        var subscribers: [UInt64: AsyncStream<Delta>.Continuation] = [:]
        var next: UInt64 = 0
    }

    private let state = NIOLockedValueBox(State())

    /// The deltas from now on; at most 64 wait for a slow follower, older ones give way.
    func subscribe() -> AsyncStream<Delta> {
        AsyncStream(bufferingPolicy: .bufferingNewest(64)) { continuation in
            let id = state.withLockedValue { state in
                state.next += 1
                state.subscribers[state.next] = continuation
                return state.next
            }
            continuation.onTermination = { [state] _ in state.withLockedValue { $0.subscribers[id] = nil } }
        }
    }

    func publish(_ text: String, turn: TurnID?, after sequence: UInt64) {
        let subscribers = state.withLockedValue { Array($0.subscribers.values) }
        for subscriber in subscribers { subscriber.yield(Delta(delta: text, turn: turn, after: sequence)) }
    }
}
