public import SessionModel

/// What the forge is to be told, and when: a pure machine. Whoever performs its actions tells it what became of them.
///
/// Each message has one request under way at most, and all together one. What changes while a message waits is told once, as it is
/// then. Something whose answer was lost is looked for before it is made again.
///
/// ```swift
/// outbox.want("a", text: "working", place: .unknown, at: now)
/// while case .perform(let id, let action) = outbox.next(at: .now) { outbox.handle(id, perform(action), at: .now) }
/// ```
public struct Outbox: Sendable {
    public enum Kind: Sendable, Hashable {
        /// Written once and kept up to date.
        case comment
        case reaction
        case pullRequest
    }

    /// Where a message is on the forge.
    public enum Place: Sendable, Hashable {
        /// It may be there: somebody died, or an answer was lost.
        case unknown
        case absent
        case at(Int64)
    }

    public enum Action: Sendable, Hashable {
        case find
        case create(String)
        case update(Int64, String)
    }

    public enum Result: Sendable, Hashable {
        /// Of `find`.
        case found(Int64?)
        /// Of `create` and `update`.
        case written(at: Int64)
        case failed(GitHubError)
    }

    public enum Next: Sendable, Hashable {
        case perform(id: String, Action)
        /// Nothing is to be done before this time; nil when nothing is left at all.
        case wait(until: Timestamp?)
    }

    /// What is news for whoever keeps all this.
    public enum News: Sendable, Hashable {
        /// It is there, and says this.
        case stands(id: String, at: Int64, text: String)
        /// The forge will not have it as it is.
        case refused(id: String, why: String)
        case none
    }

    private struct Message {
        var kind: Kind
        var place: Place
        var wanted: String
        /// What is known to stand there.
        var written: String?
        /// What the forge refused.
        var refused: String?
        var notBefore: Timestamp
        var failures = 0
        var sending: String?
    }

    /// Between two writes of anything, and of one message: what GitHub asks of programs, and what people can read.
    let pause: TimeSpan
    let interval: TimeSpan
    static let longestPause = TimeSpan.minutes(5)

    private var messages: [String: Message] = [:]
    private var notBefore = Timestamp.earliest

    public init(pause: TimeSpan = .seconds(1), interval: TimeSpan = .seconds(10)) {
        self.pause = pause
        self.interval = interval
    }

    public var isEmpty: Bool { messages.isEmpty }

    /// A message is to say this from now on.
    /// - Parameters:
    ///   - place: where it was when it was last seen; looked at only for a message that is new here.
    ///   - written: what it said then.
    public mutating func want(
        _ id: String, _ kind: Kind = .comment, text: String, place: Place, written: String? = nil, at now: Timestamp
    ) {
        if messages[id] == nil {
            messages[id] = Message(kind: kind, place: place, wanted: text, written: written, notBefore: now)
        }
        messages[id]?.wanted = text
        if messages[id]?.refused != text { messages[id]?.refused = nil }
    }

    /// The message stays as it is.
    public mutating func forget(_ id: String) { messages[id] = nil }

    /// Whether it says what it is to say, or is not going to.
    public func isSettled(_ id: String) -> Bool { messages[id].map { !Self.isDue($0) } ?? true }

    private static func isDue(_ message: Message) -> Bool {
        message.sending == nil && message.written != message.wanted && message.refused != message.wanted
    }

    public mutating func next(at now: Timestamp) -> Next {
        // The one that has waited longest; names decide between equals, so that it is the same one every time.
        let due = messages.filter { Self.isDue($0.value) }.min { ($0.value.notBefore, $0.key) < ($1.value.notBefore, $1.key) }
        guard let (id, message) = due else { return .wait(until: nil) }
        let time = max(message.notBefore, notBefore)
        guard time <= now else { return .wait(until: time) }
        messages[id]?.sending = message.wanted
        switch message.place {
        case .unknown: return .perform(id: id, .find)
        case .absent: return .perform(id: id, .create(message.wanted))
        case .at(let place): return .perform(id: id, .update(place, message.wanted))
        }
    }

    public mutating func handle(_ id: String, _ action: Action, _ result: Result, at now: Timestamp) -> News {
        if case .find = action {} else { notBefore = max(notBefore, now + pause) }
        if case .failed(let error) = result, case .rateLimited(let end) = error.code { notBefore = max(notBefore, end) }
        guard var message = messages[id] else { return .none }
        let sent = message.sending ?? ""
        message.sending = nil
        defer { messages[id] = message }
        switch result {
        case .found(let place):
            message.failures = 0
            message.place = place.map { .at($0) } ?? .absent
            // A pull request is not written again: people have the word there.
            guard message.kind == .pullRequest, let place else { return .none }
            message.written = message.wanted
            return .stands(id: id, at: place, text: sent)
        case .written(let place):
            message.failures = 0
            message.place = .at(place)
            message.written = sent
            message.notBefore = now + interval
            return .stands(id: id, at: place, text: sent)
        case .failed(let error):
            return failed(&message, id, action, sent, error, at: now)
        }
    }

    private func failed(
        _ message: inout Message, _ id: String, _ action: Action, _ sent: String, _ error: GitHubError, at now: Timestamp
    ) -> News {
        message.failures += 1
        let pause = TimeSpan(milliseconds: 5000 << min(message.failures - 1, 6))
        message.notBefore = now + min(pause, Self.longestPause)
        switch (error.code, action) {
        case (.rateLimited, _):
            message.failures -= 1
            message.notBefore = now
            return .none
        case (.unavailable, .create):
            message.place = .unknown
            return .none
        case (.unavailable, _), (.unauthorized, _):
            return .none
        case (.notFound, .update):
            // A person has deleted it. What comes next is told in a new one.
            message.place = .absent
            message.written = sent
            return .none
        case (.forbidden, _), (.notFound, _), (.rejected, _):
            // It may be there already, and others may have made it.
            if case .create = action { message.place = .unknown }
            message.refused = sent
            message.failures = 0
            return .refused(id: id, why: error.message)
        }
    }
}
