import SessionModel

/// The decisions of one candidate for a lease: pure.
///
/// Who holds it renews it every `retryPeriod`. A leader whose last successful renewal was *sent* `renewDeadline` ago stops acting;
/// another candidate takes the lease only when it has *seen* no renewal for the `leaseDuration` that the holder wrote into it. Both
/// measure by their own clocks from moments that cannot lie on the wrong side of the server's write; no clock of another machine is
/// compared with. As `renewDeadline` is the shorter one, the leader has stopped before another begins, and what lies between is for
/// requests that are still on their way and for clocks that run at different speeds.
struct LeaderMachine: Sendable {
    typealias Instant = ContinuousClock.Instant

    enum Input: Sendable {
        /// A moment that ``Effect/wake(_:)`` asked for has come.
        case tick
        /// What the server has; nil: there is no such lease.
        case read(Result<Lease?, KubernetesError>)
        /// What became of a `create` or `update`.
        case written(Result<Lease, KubernetesError>)
        /// Stop acting, and let another one take over at once.
        case resign
    }

    /// The shell performs them in this order. At most one of them is a request, and its result comes back as an input.
    enum Effect: Sendable, Hashable {
        case read
        case create(Lease.Spec)
        case update(Lease)
        /// Acting is allowed until then, and a later one of these moves the end. The term grows with every change of hands.
        case lead(until: Instant, term: Int)
        case stopLeading(why: String)
        /// Nothing more is to come; `release` is what to write once nobody acts any more.
        case end(release: Lease?)
        /// Replaces every earlier one.
        case wake(Instant)
    }

    let identity: String
    let timing: LeaderElector.Timing
    private var random: any RandomNumberGenerator & Sendable
    /// The lease as last seen, and since when it has been seen like this.
    private var seen: (lease: Lease, since: Instant)?
    private var leadership: (until: Instant, term: Int)?
    /// A request is under way; a write since that moment.
    private var request: Request?
    private var hasResigned = false

    private enum Request: Sendable {
        case read
        case write(sent: Instant)
    }

    init(identity: String, timing: LeaderElector.Timing, random: any RandomNumberGenerator & Sendable) {
        self.identity = identity
        self.timing = timing
        self.random = random
    }

    var isLeading: Bool { leadership != nil }

    mutating func handle(_ input: Input, at now: Instant, wallClock: Timestamp) -> [Effect] {
        // Before anything else: the end of the leadership does not wait for an answer.
        var effects = endOverdueLeadership(at: now)
        switch input {
        case .tick:
            if request != nil || hasResigned { return effects + nextWake(at: now) }
            if leadership != nil, let lease = seen?.lease { return effects + renew(lease, at: now, wallClock) }
            request = .read
            return effects + [.read] + nextWake(at: now)
        case .read(let result):
            request = nil
            guard !hasResigned else { return effects }
            switch result {
            case .failure: return effects + pause(at: now)
            case .success(nil):
                effects += stop("the lease was deleted")
                seen = nil
                return effects + write(.create(spec(taking: nil, wallClock)), at: now)
            case .success(let lease?): return effects + consider(lease, at: now, wallClock)
            }
        case .written(let result):
            guard case .write(let sent) = request else { return effects }
            request = nil
            return effects + written(result, sent: sent, at: now)
        case .resign:
            guard !hasResigned else { return effects }
            hasResigned = true
            let lease = leadership == nil ? nil : seen?.lease
            effects += stop("it resigned")
            // A write that is under way may still win the lease: then the lease runs out by itself.
            return effects + [.end(release: lease.map { released($0, wallClock) })]
        }
    }

    // MARK: Deciding

    private mutating func consider(_ lease: Lease, at now: Instant, _ wallClock: Timestamp) -> [Effect] {
        observe(lease, at: now)
        let holder = lease.spec.holderIdentity ?? ""
        // A write whose answer was lost has reached the server: it counts from the next one that is answered.
        if holder == identity { return renew(lease, at: now, wallClock) }
        var effects = stop("\(holder.isEmpty ? "nobody" : holder) holds the lease")
        if holder.isEmpty || now >= expiry(at: now) {
            var taken = lease
            taken.spec = spec(taking: lease, wallClock)
            effects += write(.update(taken), at: now)
            return effects
        }
        return effects + pause(at: now, atMost: expiry(at: now))
    }

    private mutating func observe(_ lease: Lease, at now: Instant) {
        // Any write is a sign of life, also one whose author's clock stands still.
        if let seen, seen.lease == lease { return }
        seen = (lease, now)
    }

    /// When the lease that was seen may be taken.
    private func expiry(at now: Instant) -> Instant {
        guard let seen else { return now }
        return seen.since + (seen.lease.spec.leaseDurationSeconds.map { .seconds($0) } ?? timing.leaseDuration)
    }

    private mutating func renew(_ lease: Lease, at now: Instant, _ wallClock: Timestamp) -> [Effect] {
        var renewed = lease
        renewed.spec.renewTime = MicroTime(wallClock)
        renewed.spec.leaseDurationSeconds = Int(timing.leaseDuration.components.seconds)
        return write(.update(renewed), at: now)
    }

    private mutating func written(_ result: Result<Lease, KubernetesError>, sent: Instant, at now: Instant) -> [Effect] {
        switch result {
        case .success(let lease):
            observe(lease, at: now)
            guard !hasResigned else { return [] }
            let until = sent + timing.renewDeadline
            // An answer that took so long is worth nothing: the lease is renewed at once.
            guard until > now else { return [.wake(now)] }
            leadership = (until, lease.spec.leaseTransitions ?? 0)
            return [.lead(until: until, term: lease.spec.leaseTransitions ?? 0)] + pause(at: now)
        case .failure(let error):
            guard !hasResigned else { return [] }
            switch error.code {
            case .conflict, .alreadyExists:
                request = .read
                return [.read] + nextWake(at: now)
            case .notFound:
                // Another candidate may make it anew and lead at once.
                seen = nil
                return stop("the lease was deleted") + pause(at: now)
            default: return pause(at: now)
            }
        }
    }

    // MARK: Effects

    private mutating func endOverdueLeadership(at now: Instant) -> [Effect] {
        guard let leadership, now >= leadership.until else { return [] }
        return stop("the lease could not be renewed for \(timing.renewDeadline)")
    }

    private mutating func stop(_ why: String) -> [Effect] {
        guard leadership != nil else { return [] }
        leadership = nil
        return [.stopLeading(why: why)]
    }

    private mutating func write(_ effect: Effect, at now: Instant) -> [Effect] {
        request = .write(sent: now)
        return [effect] + nextWake(at: now)
    }

    /// Nothing to do before the end of the leadership.
    private func nextWake(at now: Instant) -> [Effect] { leadership.map { [.wake($0.until)] } ?? [] }

    private mutating func pause(at now: Instant, atMost limit: Instant? = nil) -> [Effect] {
        let pause = timing.retryPeriod * Double.random(in: 1..<1.2, using: &random)
        return [.wake([now + pause, limit, leadership?.until].compactMap(\.self).min()!)]
    }

    private func spec(taking lease: Lease?, _ wallClock: Timestamp) -> Lease.Spec {
        var spec = lease?.spec ?? Lease.Spec()
        spec.leaseTransitions = lease.map { ($0.spec.leaseTransitions ?? 0) + 1 } ?? 0
        spec.holderIdentity = identity
        spec.leaseDurationSeconds = Int(timing.leaseDuration.components.seconds)
        spec.acquireTime = MicroTime(wallClock)
        spec.renewTime = MicroTime(wallClock)
        return spec
    }

    private func released(_ lease: Lease, _ wallClock: Timestamp) -> Lease {
        var lease = lease
        lease.spec.holderIdentity = ""
        lease.spec.leaseDurationSeconds = 1
        lease.spec.renewTime = MicroTime(wallClock)
        return lease
    }
}
