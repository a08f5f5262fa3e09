import NIOConcurrencyHelpers

/// A value that comes once. Any number of tasks wait for it; a cancelled one stops waiting.
package final class Promise<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var waiters: [Int: CheckedContinuation<Value?, Never>] = [:]
        var next = 0
    }
    private let state = NIOLockedValueBox(State())

    package init() {}

    package var value: Value? { state.withLockedValue { $0.value } }

    /// The first value counts.
    package func fulfil(_ value: Value) {
        let waiters = state.withLockedValue { state in
            guard state.value == nil else { return [CheckedContinuation<Value?, Never>]() }
            state.value = value
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume(returning: value) }
    }

    /// The value, or nil if this task is cancelled or the time is over first.
    package func wait(atMost limit: Duration? = nil) async -> Value? {
        let number = state.withLockedValue { state in
            state.next += 1
            return state.next
        }
        var alarm: Alarm?
        defer { alarm?.cancel() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // A cancellation before this point is seen here; one after it finds the continuation.
                let (now, answer) = state.withLockedValue { state -> (Bool, Value?) in
                    if let value = state.value { return (true, value) }
                    if Task.isCancelled { return (true, nil) }
                    state.waiters[number] = continuation
                    return (false, nil)
                }
                if now { return continuation.resume(returning: answer) }
                if let limit { alarm = Alarm(in: limit) { self.giveUp(number) } }
            }
        } onCancel: {
            giveUp(number)
        }
    }

    private func giveUp(_ number: Int) {
        state.withLockedValue { $0.waiters.removeValue(forKey: number) }?.resume(returning: nil)
    }
}
