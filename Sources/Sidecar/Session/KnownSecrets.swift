import NIOConcurrencyHelpers
import SessionModel

/// The secrets that this incarnation has met. It forgets none: what was rotated may still be in the agent's memory.
final class KnownSecrets: Sendable {
    private struct State {
        var values: Set<String>
        var redactor: Redactor
    }

    private let state: NIOLockedValueBox<State>

    init(_ values: [String]) {
        let values = Set(values)
        state = NIOLockedValueBox(State(values: values, redactor: Redactor(values)))
    }

    func learn(_ values: [String]) {
        state.withLockedValue { state in
            guard !state.values.isSuperset(of: values) else { return }
            state.values.formUnion(values)
            state.redactor = Redactor(state.values)
        }
    }

    var redactor: Redactor { state.withLockedValue { $0.redactor } }
    var values: [String] { state.withLockedValue { $0.values.sorted() } }

    /// A text that comes in parts, to be redacted with what is known while it comes.
    struct Stream {
        private let secrets: KnownSecrets
        private var stream: Redactor.Stream
        /// How many secrets the stream knows.
        private var count: Int

        fileprivate init(_ secrets: KnownSecrets) {
            self.secrets = secrets
            (stream, count) = secrets.state.withLockedValue { ($0.redactor.stream(), $0.values.count) }
        }

        mutating func feed(_ part: String) -> String {
            if stream.isSettled, count != secrets.state.withLockedValue({ $0.values.count }) { self = Stream(secrets) }
            return stream.feed(part)
        }

        mutating func finish() -> String { stream.finish() }
    }

    func stream() -> Stream { Stream(self) }
}
