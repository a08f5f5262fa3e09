import SessionModel

/// A version number that grows, and those who wait for it to. Used inside one actor.
struct ChangeSignal {
    private(set) var version: Int64
    private var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    private var next: UInt64 = 0

    /// Versions of a later incarnation are higher than all of an earlier one.
    init(startingAt moment: Timestamp) { version = moment.milliseconds << 20 }

    mutating func change() {
        version += 1
        for waiter in waiters.values { waiter.resume() }
        waiters.removeAll(keepingCapacity: true)
    }

    mutating func ticket() -> UInt64 {
        next += 1
        return next
    }

    mutating func park(_ continuation: CheckedContinuation<Void, Never>, ticket: UInt64) { waiters[ticket] = continuation }

    mutating func release(_ ticket: UInt64) { waiters.removeValue(forKey: ticket)?.resume() }
}
