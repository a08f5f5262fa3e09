import NIOConcurrencyHelpers

/// The right to act, for as long as it lasts.
public final class Leadership: Sendable {
    /// Grows with every change of hands: what a later leader wrote can be told from what an earlier one did.
    public let term: Int
    private let end: NIOLockedValueBox<ContinuousClock.Instant?>

    init(term: Int, until: ContinuousClock.Instant) {
        self.term = term
        end = NIOLockedValueBox(until)
    }

    /// Until when acting is allowed for certain; a renewal moves it. Nil when it is over.
    public var until: ContinuousClock.Instant? { end.withLockedValue { $0 } }

    /// - Throws: when it is over: nothing may be done any more.
    public func check() throws(KubernetesError) {
        guard let until, until > .now else { throw Self.over }
    }

    func extend(to until: ContinuousClock.Instant) { end.withLockedValue { if $0 != nil { $0 = until } } }
    func finish() { end.withLockedValue { $0 = nil } }

    static let over = KubernetesError(.conflict, "this process is no longer the leader: it must not act")
}

/// Lets one of several processes act at a time, by a Lease.
///
/// ```swift
/// let elector = LeaderElector(client, namespace: "holdfast", lease: "supervisor", identity: podName + "_" + uuid)
/// await elector.run { leadership in
///     let fenced = client.fenced(by: leadership)      // its requests end with the leadership
///     …
/// }
/// ```
/// When the leadership ends, `act` is cancelled, and ``Leadership/check()`` and the fenced client refuse at once, whether `act`
/// has noticed or not. `run` ends when its task is cancelled; then it lets go of the lease once `act` has returned.
public struct LeaderElector: Sendable {
    public struct Timing: Sendable, Hashable {
        public var leaseDuration: Duration
        public var renewDeadline: Duration
        public var retryPeriod: Duration

        public init(
            leaseDuration: Duration = .seconds(15), renewDeadline: Duration = .seconds(10), retryPeriod: Duration = .seconds(2)
        ) {
            precondition(
                leaseDuration > renewDeadline && renewDeadline > retryPeriod * 1.2, "each is shorter than the one before")
            precondition(leaseDuration.components.attoseconds == 0, "a lease lasts whole seconds")
            self.leaseDuration = leaseDuration
            self.renewDeadline = renewDeadline
            self.retryPeriod = retryPeriod
        }
    }

    private let leases: Objects<Lease>
    private let name: String
    private let identity: String
    private let timing: Timing
    private let onChange: @Sendable (String) -> Void

    /// - Parameters:
    ///   - client: one without a rate limit of its own, so that renewals do not wait behind other requests.
    ///   - identity: never used twice, so that a process that is started again is another candidate.
    ///   - onChange: is told when leadership begins and why it ends.
    public init(
        _ client: KubernetesClient, namespace: String, lease: String, identity: String, timing: Timing = Timing(),
        onChange: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        leases = client.objects(.leases, as: Lease.self, in: namespace)
        name = lease
        self.identity = identity
        self.timing = timing
        self.onChange = onChange
    }

    /// Takes part until the task is cancelled; `act` runs whenever this process leads.
    public func run(_ act: @escaping @Sendable (Leadership) async -> Void) async {
        let (inputs, feed) = AsyncStream.makeStream(of: LeaderMachine.Input.self)
        let shell = Shell(leases: leases, name: name, timing: timing, feed: feed, act: act, onChange: onChange)
        feed.yield(.tick)
        // In a task of its own, which goes on after this one is cancelled: the lease is to be let go of in order.
        let loop = Task { [identity, timing] in
            var machine = LeaderMachine(identity: identity, timing: timing, random: SystemRandomNumberGenerator())
            for await input in inputs { await shell.perform(machine.handle(input, at: .now, wallClock: .wallClock)) }
        }
        await withTaskCancellationHandler {
            await loop.value
        } onCancel: {
            feed.yield(.resign)
        }
    }
}

/// Performs what the machine says.
private actor Shell {
    private let leases: Objects<Lease>
    private let name: String
    private let timing: LeaderElector.Timing
    private let feed: AsyncStream<LeaderMachine.Input>.Continuation
    private let act: @Sendable (Leadership) async -> Void
    private let onChange: @Sendable (String) -> Void
    private var timer: Task<Void, Never>?
    private var current: (leadership: Leadership, work: Task<Void, Never>)?
    /// Work of an earlier leadership that has been told to stop.
    private var stopping: Task<Void, Never>?
    private var pending: Task<Void, Never>?

    init(
        leases: Objects<Lease>, name: String, timing: LeaderElector.Timing,
        feed: AsyncStream<LeaderMachine.Input>.Continuation, act: @escaping @Sendable (Leadership) async -> Void,
        onChange: @escaping @Sendable (String) -> Void
    ) {
        self.leases = leases
        self.name = name
        self.timing = timing
        self.feed = feed
        self.act = act
        self.onChange = onChange
    }

    func perform(_ effects: [LeaderMachine.Effect]) async {
        for effect in effects {
            switch effect {
            case .read: request { [self] in .read(await read()) }
            case .create(let spec):
                let lease = Lease(metadata: ObjectMeta(name: name, namespace: leases.namespace), spec: spec)
                request { [leases] in
                    .written(await Self.result { () async throws(KubernetesError) in try await leases.create(lease) })
                }
            case .update(let lease): request { [self] in .written(await write(lease)) }
            case .lead(let until, let term): lead(until: until, term: term)
            case .stopLeading(let why): stop(why)
            case .wake(let instant): wake(at: instant)
            case .end(let release):
                timer?.cancel()
                pending?.cancel()
                await stopping?.value
                if let release { _ = await write(release) }
                feed.finish()
            }
        }
    }

    private func read() async -> Result<Lease?, KubernetesError> {
        do throws(KubernetesError) { return .success(try await leases.get(name)) } catch {
            return error.code == .notFound ? .success(nil) : .failure(error)
        }
    }

    private func write(_ lease: Lease) async -> Result<Lease, KubernetesError> {
        await Self.result { [leases, timing] () async throws(KubernetesError) in
            try await leases.replace(lease, timeout: timing.renewDeadline)
        }
    }

    private static func result(
        _ body: () async throws(KubernetesError) -> Lease
    ) async -> Result<Lease, KubernetesError> {
        do throws(KubernetesError) { return .success(try await body()) } catch { return .failure(error) }
    }

    /// Not on this actor: the end of a leadership must not wait for an answer.
    private func request(_ perform: @escaping @Sendable () async -> LeaderMachine.Input) {
        pending = Task { [feed] in _ = feed.yield(await perform()) }
    }

    private func lead(until: ContinuousClock.Instant, term: Int) {
        if let current {
            current.leadership.extend(to: until)
            return
        }
        let leadership = Leadership(term: term, until: until)
        let earlier = stopping
        onChange("this process leads (term \(term))")
        let work = Task { [act] in
            // One at a time here as well.
            await earlier?.value
            if !Task.isCancelled { await act(leadership) }
        }
        current = (leadership, work)
    }

    private func stop(_ why: String) {
        guard let (leadership, work) = current else { return }
        current = nil
        leadership.finish()
        work.cancel()
        let earlier = stopping
        stopping = Task {
            await earlier?.value
            await work.value
        }
        onChange("this process no longer leads: \(why)")
    }

    private func wake(at instant: ContinuousClock.Instant) {
        timer?.cancel()
        timer = Task { [feed] in
            do { try await Task.sleep(until: instant, clock: .continuous) } catch { return }
            feed.yield(.tick)
        }
    }
}
