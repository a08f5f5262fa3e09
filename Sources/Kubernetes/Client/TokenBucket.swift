/// A client's own limit on its requests: so many a second, after a burst of so many.
///
/// Pure: it says how long a caller has to wait, and counts the caller as served at that moment, so that those who wait are served
/// in the order in which they asked.
public struct TokenBucket: Sendable {
    public let perSecond: Double
    public let burst: Int
    /// How many are left at `updated`; below zero, so many are promised to those who wait.
    private var tokens: Double
    private var updated: ContinuousClock.Instant

    public init(perSecond: Double, burst: Int, at now: ContinuousClock.Instant) {
        precondition(perSecond > 0 && burst > 0, "a limit of nothing would never let anything through")
        self.perSecond = perSecond
        self.burst = burst
        tokens = Double(burst)
        updated = now
    }

    /// Takes one, and returns how long to wait for it.
    public mutating func take(at now: ContinuousClock.Instant) -> Duration {
        refill(at: now)
        tokens -= 1
        return tokens >= 0 ? .zero : .seconds(-tokens / perSecond)
    }

    /// Takes one if there is one at this moment.
    public mutating func takeIfAvailable(at now: ContinuousClock.Instant) -> Bool {
        refill(at: now)
        guard tokens >= 1 else { return false }
        tokens -= 1
        return true
    }

    /// Gives one back that was taken by someone who went away before it came.
    public mutating func giveBack() { tokens = min(Double(burst), tokens + 1) }

    private mutating func refill(at now: ContinuousClock.Instant) {
        guard now > updated else { return }
        tokens = min(Double(burst), tokens + (now - updated) / .seconds(1) * perSecond)
        updated = now
    }
}
