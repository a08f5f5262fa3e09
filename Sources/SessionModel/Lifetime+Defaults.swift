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
        /// How long a session may sleep, or stay failed, before it ends. Default 14d.
        public var suspendedTTL: TimeSpan
        /// What follows when the pull request or issue is closed and no Task is left. Default `End`.
        public var onScopeClosed: OnScopeClosed
        /// How long the transcript of an ended session can be read. Default 30d.
        public var archiveTTL: TimeSpan
        /// How long a session's process may take to become ready. Default 5m.
        public var startTimeout: TimeSpan
        /// How long an idempotency key is remembered. Default 7d.
        public var dedupeWindow: TimeSpan
        /// What the session's sidecar enforces.
        public var limits: TurnLimits
    }

    /// For a session of any scope; what concerns one of a commit only is missing.
    public var resolved: Resolved { resolved(for: .pullRequest) }

    public func resolved(for scope: ScopeKind) -> Resolved {
        var limits = TurnLimits()
        if let turnTimeout { limits.turnTimeout = turnTimeout }
        if let inputTimeout { limits.inputTimeout = inputTimeout }
        if let agentIdle { limits.agentIdle = agentIdle }
        if let maxQueuedTurns { limits.maxQueuedTurns = maxQueuedTurns }
        if let dedupeWindow { limits.dedupeWindow = dedupeWindow }
        limits.maxTurns = maxTurns
        limits.maxTokens = maxTokens
        limits.countBackground = countBackground ?? false
        if scope == .commit { limits.resultHold = resultHold ?? .minutes(10) }
        return Resolved(
            idleTimeout: idleTimeout ?? .minutes(30), onIdle: onIdle ?? .suspend, ttl: ttl ?? .days(7),
            drainTimeout: drainTimeout ?? .minutes(10), suspendedTTL: suspendedTTL ?? .days(14),
            onScopeClosed: onScopeClosed ?? .end, archiveTTL: archiveTTL ?? .days(30),
            startTimeout: startTimeout ?? .minutes(5), dedupeWindow: limits.dedupeWindow, limits: limits)
    }

    /// What is wrong with it, as one sentence; nil when nothing is.
    public var mistake: String? {
        let positive = [
            ("idleTimeout", idleTimeout), ("ttl", ttl), ("suspendedTTL", suspendedTTL), ("turnTimeout", turnTimeout),
            ("inputTimeout", inputTimeout), ("startTimeout", startTimeout), ("dedupeWindow", dedupeWindow),
            ("resultHold", resultHold),
        ]
        for case (let name, let span?) in positive where span <= .zero { return "lifetime.\(name) must be more than zero" }
        let others = [("drainTimeout", drainTimeout), ("agentIdle", agentIdle), ("archiveTTL", archiveTTL)]
        for case (let name, let span?) in others where span < .zero { return "lifetime.\(name) must not be negative" }
        let counts = [
            ("maxQueuedTurns", maxQueuedTurns.map(Int64.init)), ("maxTurns", maxTurns.map(Int64.init)), ("maxTokens", maxTokens),
        ]
        for case (let name, let count?) in counts where count < 1 { return "lifetime.\(name) must be 1 or more" }
        return nil
    }
}
