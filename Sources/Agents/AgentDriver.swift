public import SessionModel

/// How one agent's protocol maps to turns and transcript events.
///
/// A driver owns the agent's process between turns, so that it stays warm. It is never asked to run two turns at once, and it
/// holds no policy: when to dispatch, to stop or to release is ``SessionModel/TurnQueue``'s to decide.
public protocol AgentDriver: Sendable {
    /// Runs one turn to its last frame. Starts the agent and opens or resumes its conversation when that is needed.
    ///
    /// Everything that can go wrong is an outcome, never a thrown error. If the task is cancelled it returns as soon as it can.
    func run(_ prompt: AgentPrompt, reporting reporter: any TurnReporter) async -> TurnOutcome

    /// Asks the agent to stop the running turn, by its own protocol. ``run(_:reporting:)`` then returns by itself.
    func interrupt() async

    /// Answers the open question; without an option it is a refusal.
    func answer(_ answer: InputAnswered) async

    /// Every process of the agent has been ended (by the host): forget it. The next turn starts it again.
    func processesEnded() async

    var status: AgentStatus { get async }
}

/// What a driver is given for one turn.
public struct AgentPrompt: Sendable, Hashable {
    public var turn: TurnID
    /// The prompt, with what the agent must know of the workspace before it.
    public var text: String
    public var model: String?
    public var effort: String?
    /// The working directory, an absolute path.
    public var directory: String
    /// The provider's id of the session's conversation; nil before the first turn.
    public var conversation: String?
    /// Why that conversation was begun in the place of a lost one, if its agent may not have been told yet what that held.
    public var lostMemory: String?
    /// When a question to a person that is asked now would be refused.
    public var inputTimeout: TimeSpan
    /// Every frame of the agent's protocol is recorded.
    public var raw: Bool

    public init(
        turn: TurnID, text: String, model: String? = nil, effort: String? = nil, directory: String, conversation: String? = nil,
        lostMemory: String? = nil, inputTimeout: TimeSpan = .hours(1), raw: Bool = false
    ) {
        self.raw = raw
        self.lostMemory = lostMemory
        self.turn = turn
        self.text = text
        self.model = model
        self.effort = effort
        self.directory = directory
        self.conversation = conversation
        self.inputTimeout = inputTimeout
    }
}

extension AgentPrompt {
    /// The prompt as the agent gets it.
    /// - Parameter reason: why its conversation was lost, if it is to be told what that held.
    func text(afterLoss reason: String?, _ digest: () async -> String) async -> String {
        guard let reason else { return text }
        return """
            You worked on this before, but your conversation was lost (\(reason)). This is what is known of it:

            \(await digest())

            \(text)
            """
    }
}

/// How a turn ended, as the driver tells it.
public struct TurnOutcome: Sendable, Hashable {
    public var end: TurnEnded
    /// The agent's process is alive, idle and fit for the next turn.
    public var clean: Bool

    public init(_ end: TurnEnded, clean: Bool) {
        self.end = end
        self.clean = clean
    }
}

/// Where a driver reports what the agent does: the session's journal and its live followers.
public protocol TurnReporter: Sendable {
    /// Appends an event to the transcript. Waits while too much is not yet on disk: this is the back-pressure on the agent.
    func record(_ body: EventBody) async

    /// Appends an event and returns when it is durable. Used for the conversation's id, before the first prompt leaves.
    /// - Throws: ``Problem`` when it cannot be kept.
    func recordDurably(_ body: EventBody) async throws(Problem)

    /// Shows a part of a message to live followers only. The whole message is recorded when it is complete.
    func delta(_ text: String) async

    /// Asks a person; the answer comes through ``AgentDriver/answer(_:)``, at the request's deadline at the latest.
    func ask(_ request: InputRequest) async

    /// The turn is to be stopped. Asked once the turn can be interrupted: an interruption that came just before found none.
    var isStopping: Bool { get async }

    /// The agent took its open question back.
    func withdrawQuestion() async
}
