import NIOConcurrencyHelpers

/// The sidecar's end of a process's output: holds what the host sent and nobody has read yet, at most ``HostFrame/window`` bytes.
final class IncomingBytes: Sendable {
    private struct State {
        var chunks: [[UInt8]] = []
        var ended = false
        var waiters: [Int: CheckedContinuation<[UInt8]?, Never>] = [:]
        var next = 0
        /// Bytes read here for which the host has not got its credit back.
        var owed = 0
        /// Bytes that came and for which the host has not got its credit back.
        var outstanding = 0
    }
    private let state = NIOLockedValueBox(State())
    private let giveCredit: @Sendable (UInt32) -> Void

    init(giveCredit: @escaping @Sendable (UInt32) -> Void) { self.giveCredit = giveCredit }

    var hasEnded: Bool { state.withLockedValue { $0.ended } }

    /// - Returns: false if the host sent more than it has credit for.
    func receive(_ bytes: [UInt8]) -> Bool {
        guard !bytes.isEmpty else { return true }
        let (accepted, waiter, credit) = state.withLockedValue {
            state -> (Bool, CheckedContinuation<[UInt8]?, Never>?, UInt32) in
            state.outstanding += bytes.count
            guard state.outstanding <= HostFrame.window, !state.ended else { return (false, nil, 0) }
            if let (number, waiter) = state.waiters.first {
                state.waiters[number] = nil
                return (true, waiter, Self.taken(bytes.count, &state))
            }
            // Many small pieces become a few large ones.
            if let last = state.chunks.indices.last, state.chunks[last].count + bytes.count <= HostFrame.chunk {
                state.chunks[last] += bytes
            } else {
                state.chunks.append(bytes)
            }
            return (true, nil, 0)
        }
        waiter?.resume(returning: bytes)
        if credit > 0 { giveCredit(credit) }
        return accepted
    }

    /// No more will come; what is here can still be read.
    func finish() {
        let waiters = state.withLockedValue { state in
            state.ended = true
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume(returning: nil) }
    }

    /// The next bytes; nil at the end, or when this task is cancelled.
    func next() async -> [UInt8]? {
        let number = state.withLockedValue { state in
            state.next += 1
            return state.next
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<[UInt8]?, Never>) in
                let (now, bytes, credit) = state.withLockedValue { state -> (Bool, [UInt8]?, UInt32) in
                    if Task.isCancelled { return (true, nil, 0) }
                    if !state.chunks.isEmpty {
                        let bytes = state.chunks.removeFirst()
                        return (true, bytes, Self.taken(bytes.count, &state))
                    }
                    if state.ended { return (true, nil, 0) }
                    state.waiters[number] = continuation
                    return (false, nil, 0)
                }
                if credit > 0 { giveCredit(credit) }
                if now { continuation.resume(returning: bytes) }
            }
        } onCancel: {
            state.withLockedValue { $0.waiters.removeValue(forKey: number) }?.resume(returning: nil)
        }
    }

    /// - Returns: the credit to give back now; small amounts are gathered.
    private static func taken(_ count: Int, _ state: inout State) -> UInt32 {
        state.owed += count
        guard state.owed >= HostFrame.chunk, !state.ended else { return 0 }
        defer { state.owed = 0 }
        state.outstanding -= state.owed
        return UInt32(state.owed)
    }
}

/// The sidecar's end of a process's standard input: sends as the host gives credit, one write after the other.
final class OutgoingBytes: Sendable {
    private struct Write {
        var number: Int
        var rest: ArraySlice<UInt8>
        var begun = false
        /// Nil once the writer has been cancelled; a write that has begun is still finished, so that the stream stays whole.
        var waiter: CheckedContinuation<HostError?, Never>?
    }
    private struct State {
        var credit = HostFrame.window
        var queue: [Write] = []
        var next = 0
        /// No more writes; the end is sent after those that wait.
        var closing = false
        /// Why nothing can be written any more.
        var failure: HostError?
    }
    private let state = NIOLockedValueBox(State())
    /// Called with the lock held, so that frames leave in order.
    private let send: @Sendable (HostFrame) -> Void
    private let id: UInt32

    init(id: UInt32, send: @escaping @Sendable (HostFrame) -> Void) {
        self.id = id
        self.send = send
    }

    func write(_ bytes: [UInt8]) async throws(HostError) {
        let number = state.withLockedValue { state in
            state.next += 1
            return state.next
        }
        let failure = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<HostError?, Never>) in
                finish { state in
                    if let failure = state.failure { return [(continuation, failure)] }
                    if Task.isCancelled { return [(continuation, Self.cancelled)] }
                    if state.closing {
                        return [(continuation, HostError(.brokenPipe, "Cannot write to the process: its input was closed here"))]
                    }
                    state.queue.append(Write(number: number, rest: bytes[...], waiter: continuation))
                    return pump(&state)
                }
            }
        } onCancel: {
            finish { state in
                guard let index = state.queue.firstIndex(where: { $0.number == number }), let waiter = state.queue[index].waiter
                else { return [] }
                state.queue[index].waiter = nil
                if !state.queue[index].begun { state.queue.remove(at: index) }
                return [(waiter, Self.cancelled)]
            }
        }
        if let failure { throw failure }
    }

    func close() {
        finish { state in
            guard !state.closing, state.failure == nil else { return [] }
            state.closing = true
            return pump(&state)
        }
    }

    /// - Returns: false if the host gave back more credit than it was sent bytes.
    func give(_ credit: Int) -> Bool {
        var valid = true
        finish { state in
            state.credit += credit
            valid = state.credit <= HostFrame.window
            return valid ? pump(&state) : []
        }
        return valid
    }

    /// Nothing can be written any more, for this reason.
    func fail(_ error: HostError) {
        finish { state in
            guard state.failure == nil else { return [] }
            state.failure = error
            defer { state.queue = [] }
            return state.queue.compactMap { write in write.waiter.map { ($0, error) } }
        }
    }

    private static let cancelled = HostError(.cancelled, "Writing to the process was cancelled")

    private typealias Finished = [(CheckedContinuation<HostError?, Never>, HostError?)]

    private func finish(_ body: (inout State) -> Finished) {
        for (waiter, error) in state.withLockedValue(body) { waiter.resume(returning: error) }
    }

    /// Sends what there is credit for.
    private func pump(_ state: inout State) -> Finished {
        guard state.failure == nil else { return [] }
        var finished: Finished = []
        while let first = state.queue.first {
            let count = min(first.rest.count, state.credit, HostFrame.chunk)
            if count > 0 {
                send(.data(id, .input, Array(first.rest.prefix(count))))
                state.credit -= count
                state.queue[0].rest = first.rest.dropFirst(count)
                state.queue[0].begun = true
            }
            guard state.queue[0].rest.isEmpty else {
                if state.credit == 0 { break }
                continue
            }
            if let waiter = state.queue.removeFirst().waiter { finished.append((waiter, nil)) }
        }
        if state.closing, state.queue.isEmpty {
            state.failure = HostError(.brokenPipe, "Cannot write to the process: its input was closed here")
            send(.end(id, .input))
        }
        return finished
    }
}
