extension Lifetime {
    /// A lifetime with every default filled in: what is enforced.
    public struct Resolved: Sendable, Hashable {
        /// How long a session may be idle before it is asked to drain. Default 30m.
        public var idleTimeout: TimeSpan
        /// What follows then. Default `Suspend`.
        public var onIdle: OnIdle
        /// How old a session may become. Default 7d.
        public var ttl: TimeSpan
        /// How long a running turn may go on after a drain was asked for. Default 10m.
        public var drainTimeout: TimeSpan
        /// How long one turn may take, without the time spent waiting for a person. Default 1h.
        public var turnTimeout: TimeSpan
        /// How long an agent's question waits for a person. Default 1h.
        public var inputTimeout: TimeSpan
        /// How long an idle agent process is kept. Default 5m.
        public var agentIdle: TimeSpan
        /// How long a session's process may take to become ready. Default 5m.
        public var startTimeout: TimeSpan
        /// Default 100.
        public var maxQueuedTurns: Int
        /// How long an idempotency key is remembered. Default 7d.
        public var dedupeWindow: TimeSpan
    }

    public var resolved: Resolved {
        Resolved(
            idleTimeout: idleTimeout ?? .minutes(30), onIdle: onIdle ?? .suspend, ttl: ttl ?? .days(7),
            drainTimeout: drainTimeout ?? .minutes(10), turnTimeout: turnTimeout ?? .hours(1),
            inputTimeout: inputTimeout ?? .hours(1), agentIdle: agentIdle ?? .minutes(5),
            startTimeout: startTimeout ?? .minutes(5), maxQueuedTurns: maxQueuedTurns ?? 100,
            dedupeWindow: dedupeWindow ?? .days(7))
    }

    /// What is wrong with it, as one sentence; nil when nothing is.
    public var mistake: String? {
        let spans = [
            ("idleTimeout", idleTimeout), ("ttl", ttl), ("turnTimeout", turnTimeout), ("inputTimeout", inputTimeout),
            ("startTimeout", startTimeout), ("dedupeWindow", dedupeWindow),
        ]
        for case (let name, let span?) in spans where span <= .zero { return "lifetime.\(name) must be more than zero" }
        for case (let name, let span?) in [("drainTimeout", drainTimeout), ("agentIdle", agentIdle)] where span < .zero {
            return "lifetime.\(name) must not be negative"
        }
        if let maxQueuedTurns, maxQueuedTurns < 1 { return "lifetime.maxQueuedTurns must be 1 or more" }
        return nil
    }
}
