/// Something that goes wrong with the next requests of a kind.
public struct Fault: Sendable {
    public enum Action: Sendable {
        /// Answers with this status instead.
        case answer(Int, reason: String, message: String, retryAfter: Int? = nil)
        /// Breaks the connection before anything is done.
        case drop
        /// Does what is asked, and breaks the connection before the answer: the client cannot know.
        case dropAfter
        /// Never answers.
        case silence
        /// Does what is asked, and answers when this has returned.
        case answerAfter(@Sendable () async -> Void)
        /// Answers later.
        case delay(Duration)
    }

    public var action: Action
    /// How many requests it meets.
    public var count: Int
    public var matches: @Sendable (APIRequest) -> Bool

    public init(_ action: Action, count: Int = 1, where matches: @escaping @Sendable (APIRequest) -> Bool = { _ in true }) {
        self.action = action
        self.count = count
        self.matches = matches
    }
}
