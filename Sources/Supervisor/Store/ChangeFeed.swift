import NIOConcurrencyHelpers

/// A resource was written.
struct Change: Sendable, Hashable {
    var kind: String
    var name: String
    /// The name of the Session that a Task belongs to.
    var session: String?
    var created: Bool
    /// It is to be deleted at some time.
    var expires: Bool
    /// Nothing of it runs.
    var rests = false
}

/// Tells observers of changes, in the order of their commits, and lets others wait for the next change of one resource.
final class ChangeFeed: Sendable {
    private struct Resource: Hashable {
        var kind: String
        var name: String
    }
    private struct State {
        var observers: [@Sendable (Change) -> Void] = []
        var waiters: [Resource: [UInt64: AsyncStream<Void>.Continuation]] = [:]
        var lastID: UInt64 = 0
    }
    private let state = NIOLockedValueBox(State())

    /// `observer` is called with every change from now on. It must not block: it is called between a commit and its answer.
    func observe(_ observer: @escaping @Sendable (Change) -> Void) {
        state.withLockedValue { $0.observers.append(observer) }
    }

    func publish(_ changes: [Change]) {
        guard !changes.isEmpty else { return }
        let (observers, waiters) = state.withLockedValue { state in
            (
                state.observers,
                changes.flatMap { state.waiters[Resource(kind: $0.kind, name: $0.name)].map { Array($0.values) } ?? [] }
            )
        }
        for change in changes { for observer in observers { observer(change) } }
        for waiter in waiters { waiter.yield() }
    }

    /// What `read` gives, as soon as `isNews` says so of it, or when `timeout` has passed.
    func value<Value: Sendable>(
        of kind: String, _ name: String, within timeout: Duration, read: () async throws -> Value,
        isNews: (Value) -> Bool
    ) async throws -> Value {
        // Registered before the first read, so that no change is missed between the two.
        let (news, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let resource = Resource(kind: kind, name: name)
        let id = state.withLockedValue { state in
            state.lastID += 1
            state.waiters[resource, default: [:]][state.lastID] = continuation
            return state.lastID
        }
        let timer = Task {
            try? await Task.sleep(for: timeout)
            continuation.finish()
        }
        defer {
            timer.cancel()
            state.withLockedValue { state in
                state.waiters[resource]?[id] = nil
                if state.waiters[resource]?.isEmpty == true { state.waiters[resource] = nil }
            }
        }
        var iterator = news.makeAsyncIterator()
        while true {
            let value = try await read()
            if isNews(value) { return value }
            guard await iterator.next() != nil else { return value }
        }
    }
}
