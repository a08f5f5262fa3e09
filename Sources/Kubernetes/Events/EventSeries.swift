import SessionModel

/// What is written of all that is said: pure.
///
/// The same thing said again within `window` does not make a second event: the first one gets a count, written at most once in
/// `pause`. About one object there are at most `burst` events at once and one more every `refill`; what goes beyond is counted in
/// ``suppressed``, not sent.
struct EventSeries: Sendable {
    typealias Instant = ContinuousClock.Instant

    struct Limits: Sendable {
        var window = Duration.seconds(360)
        var pause = Duration.seconds(30)
        var burst = 25
        var refill = Duration.seconds(300)
        /// Things that are remembered at a time.
        var capacity = 4096
    }

    enum Action: Sendable, Hashable {
        case create(Event)
        case update(name: String, namespace: String, Event.Series)
    }

    private struct Entry: Sendable {
        var name: String
        var namespace: String
        var series: Event.Series
        /// The count that the server knows.
        var sent: Int
        var sentAt: Instant
        var lastSaid: Instant
    }

    let controller: String
    let instance: String
    private let limits: Limits
    private var entries: [EventDraft: Entry] = [:]
    private var budgets: [Event.Reference: TokenBucket] = [:]
    private var random: any RandomNumberGenerator & Sendable
    private(set) var suppressed = 0

    init(
        controller: String, instance: String, limits: Limits = Limits(),
        random: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()
    ) {
        self.controller = controller
        self.instance = instance
        self.limits = limits
        self.random = random
    }

    /// When ``flush(at:)`` has something to do next.
    var nextFlush: Instant? { entries.values.filter { $0.series.count > $0.sent }.map { $0.sentAt + limits.pause }.min() }

    /// How many things it knows about.
    var remembered: Int { max(entries.count, budgets.count) }

    mutating func record(_ draft: EventDraft, at now: Instant, wallClock: Timestamp) -> Action? {
        if var entry = entries[draft], now - entry.lastSaid < limits.window {
            entry.series.count += 1
            entry.series.lastObservedTime = MicroTime(wallClock)
            entry.lastSaid = now
            entries[draft] = entry
            return send(draft, at: now)
        }
        forget(at: now)
        var budget =
            budgets[draft.regarding]
            ?? TokenBucket(perSecond: .seconds(1) / limits.refill, burst: limits.burst, at: now)
        let isAllowed = budget.takeIfAvailable(at: now)
        budgets[draft.regarding] = budget
        guard isAllowed else {
            suppressed += 1
            return nil
        }
        let event = event(draft, wallClock)
        entries[draft] = Entry(
            name: event.metadata.name!, namespace: event.metadata.namespace!,
            series: .init(count: 1, lastObservedTime: MicroTime(wallClock)), sent: 1, sentAt: now, lastSaid: now)
        return .create(event)
    }

    /// The counts that have waited long enough.
    mutating func flush(at now: Instant) -> [Action] {
        let waiting = entries.filter { $0.value.series.count > $0.value.sent }.keys
        return waiting.compactMap { send($0, at: now) }
    }

    /// The server has it no longer, or never got it: the next time it is a new one.
    mutating func lost(_ name: String) { entries = entries.filter { $0.value.name != name } }

    private mutating func send(_ draft: EventDraft, at now: Instant) -> Action? {
        guard var entry = entries[draft], now >= entry.sentAt + limits.pause else { return nil }
        entry.sent = entry.series.count
        entry.sentAt = now
        entries[draft] = entry
        return .update(name: entry.name, namespace: entry.namespace, entry.series)
    }

    /// Makes room: what has ended goes first, and then what was said longest ago.
    private mutating func forget(at now: Instant) {
        guard entries.count >= limits.capacity || budgets.count >= limits.capacity else { return }
        entries = entries.filter { now - $0.value.lastSaid < limits.window }
        while entries.count >= limits.capacity, let oldest = entries.min(by: { $0.value.lastSaid < $1.value.lastSaid }) {
            entries[oldest.key] = nil
        }
        let objects = Set(entries.keys.map(\.regarding))
        budgets = budgets.filter { objects.contains($0.key) }
    }

    private mutating func event(_ draft: EventDraft, _ wallClock: Timestamp) -> Event {
        let suffix = String(UInt64.random(in: .min ... .max, using: &random), radix: 36)
        var base = (draft.regarding.name ?? "object").prefix(200)
        while base.hasSuffix(".") || base.hasSuffix("-") { base.removeLast() }
        return Event(
            apiVersion: ResourceType.events.apiVersion, kind: ResourceType.events.kind,
            // What has no namespace is spoken of in the default one: that is the server's rule.
            metadata: ObjectMeta(name: "\(base).\(suffix)", namespace: draft.regarding.namespace ?? "default"),
            eventTime: MicroTime(wallClock), reportingController: controller, reportingInstance: instance, action: draft.action,
            reason: draft.reason, type: draft.severity.rawValue, note: draft.note, regarding: draft.regarding)
    }
}
