/// How long to wait before the next attempt: longer with every failure, up to a limit, and never twice the same for two clients.
public struct Backoff: Sendable, Hashable {
    public var base: Duration
    public var limit: Duration
    /// How many times in a row it failed.
    public private(set) var failures = 0

    public init(base: Duration = .milliseconds(500), limit: Duration = .seconds(30)) {
        self.base = base
        self.limit = limit
    }

    /// Half of the step for certain, the other half by chance, so that those who failed together do not come back together.
    /// - Parameter atLeast: what the server asks for: chance only adds to it.
    public mutating func next(atLeast floor: Duration = .zero, using random: inout some RandomNumberGenerator) -> Duration {
        let doublings = min(failures, 20)
        failures += 1
        let step = min(limit, base * (1 << doublings))
        let chance = Double.random(in: 0..<1, using: &random)
        return max(step / 2, floor) + step * (chance / 2)
    }

    public mutating func reset() { failures = 0 }
}
