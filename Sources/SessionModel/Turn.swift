/// A turn's name within its session: `t1`, `t2`, … in the order of acceptance.
public struct TurnID: Sendable, Hashable, Comparable {
    public var ordinal: UInt64
    public init(_ ordinal: UInt64) { self.ordinal = ordinal }
    public static func < (a: TurnID, b: TurnID) -> Bool { a.ordinal < b.ordinal }
}

extension TurnID: CustomStringConvertible, LosslessStringConvertible {
    public var description: String { "t\(ordinal)" }
    public init?(_ text: String) {
        guard text.utf8.first == UInt8(ascii: "t"), let ordinal = UInt64(text.dropFirst()), ordinal > 0, "t\(ordinal)" == text
        else { return nil }
        self.init(ordinal)
    }
}

extension TurnID: Codable, CodingKeyRepresentable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = TurnID(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected a turn's id such as t12")
        }
        self = value
    }
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
    public var codingKey: any CodingKey { Key(stringValue: description) }
    public init?(codingKey: some CodingKey) { self.init(codingKey.stringValue) }

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }
}

/// `queued → running ⇄ awaitingInput → succeeded / failed / cancelled / interrupted`
public enum TurnState: String, Sendable, Hashable, Codable, CaseIterable {
    case queued, running, awaitingInput, succeeded, failed, cancelled, interrupted

    public var isTerminal: Bool {
        switch self {
        case .queued, .running, .awaitingInput: false
        case .succeeded, .failed, .cancelled, .interrupted: true
        }
    }
}

/// What to do with a new turn while another is queued or running.
public enum WhenBusy: String, Sendable, Hashable, Codable, CaseIterable {
    case queue = "Queue"
    /// Refuse it (409).
    case reject = "Reject"
    /// Cancel the queued and interrupt the running turns that have the same `supersedeKey`, then queue.
    case supersede = "Supersede"
}

/// What a client sends to have a turn run: the body of `POST /v1/turns`.
public struct TurnRequest: Sendable, Hashable, Codable {
    public var prompt: String
    public var whenBusy: WhenBusy?
    public var supersedeKey: String?
    /// How long the agent may work on it, not counting time spent waiting for a person. Default: the session's `turnTimeout`.
    public var timeout: TimeSpan?
    public var model: String?
    public var effort: String?
    /// Default `Fail`.
    public var onInterrupt: OnInterrupt?
    /// True records every frame of the agent's protocol, for debugging.
    public var raw: Bool?

    public init(
        prompt: String, whenBusy: WhenBusy? = nil, supersedeKey: String? = nil, timeout: TimeSpan? = nil, model: String? = nil,
        effort: String? = nil, onInterrupt: OnInterrupt? = nil, raw: Bool? = nil
    ) {
        self.onInterrupt = onInterrupt
        self.raw = raw
        self.prompt = prompt
        self.whenBusy = whenBusy
        self.supersedeKey = supersedeKey
        self.timeout = timeout
        self.model = model
        self.effort = effort
    }

    /// What is wrong with it, as one sentence; nil when nothing is.
    public var mistake: String? {
        if prompt.isEmpty { return "prompt is empty: say what the agent is to do" }
        if whenBusy == .supersede, supersedeKey == nil { return "whenBusy Supersede needs a supersedeKey" }
        if let timeout, timeout <= .zero { return "timeout must be more than zero" }
        for (name, value) in [("supersedeKey", supersedeKey), ("model", model), ("effort", effort)] {
            if let value, value.isEmpty || value.utf8.count > 256 { return "\(name) must have 1 to 256 bytes" }
        }
        return nil
    }
}

/// Why a turn ended as it did. Stable words that a client may switch on; `message` has the details.
public enum EndReason: String, Sendable, Hashable, Codable, CaseIterable {
    /// The agent said that it is done.
    case completed = "Completed"
    /// The agent stopped at its own limit of tokens or of steps.
    case agentLimit = "AgentLimit"
    /// The agent or its model refused.
    case refused = "Refused"
    /// The agent reported an error.
    case agentError = "AgentError"
    /// The agent's process ended in the middle of the turn.
    case agentExited = "AgentExited"
    /// The agent's process could not be started or did not answer in time.
    case agentStart = "AgentStart"
    /// A git or set-up step of the workspace failed.
    case workspace = "Workspace"
    /// The turn ran longer than its timeout.
    case timeout = "Timeout"
    /// Nobody answered the agent's question in time.
    case inputTimeout = "InputTimeout"
    /// Someone cancelled it.
    case cancelled = "Cancelled"
    /// A newer turn with the same supersedeKey took its place.
    case superseded = "Superseded"
    /// The sidecar ended while the turn was running.
    case sidecarLost = "SidecarLost"
    /// The agent host ended while the turn was running.
    case hostLost = "HostLost"
    /// The session was drained and the turn did not end by the deadline.
    case drained = "Drained"
    /// The disk was full, so that what the agent did could not be recorded.
    case storageFull = "StorageFull"
    /// The part of the journal that held the turn is damaged.
    case journalDamaged = "JournalDamaged"
    /// The session has used up its `maxTokens`, or has had its `maxTurns`.
    case limitReached = "LimitReached"
    /// The supervisor only: the journal that the turn was sent to is gone.
    case journalLost = "JournalLost"
    /// The supervisor only: the session ended before the turn could run.
    case sessionEnded = "SessionEnded"
    /// The supervisor only: no sidecar could be started for the session.
    case sessionFailed = "SessionFailed"
    /// The supervisor only: the session did not accept the turn.
    case rejected = "Rejected"
    /// The supervisor only: the session has another worker or works in another repository.
    case workerMismatch = "WorkerMismatch"
}

/// Tokens and money of one turn, as the agent reports them. Absent figures were not reported.
public struct Usage: Sendable, Hashable, Codable {
    public var inputTokens: Int64?
    public var outputTokens: Int64?
    public var cachedInputTokens: Int64?
    public var costUSD: Double?

    public init(
        inputTokens: Int64? = nil, outputTokens: Int64? = nil, cachedInputTokens: Int64? = nil, costUSD: Double? = nil
    ) {
        self.inputTokens = inputTokens
        self.outputTokens = outputTokens
        self.cachedInputTokens = cachedInputTokens
        self.costUSD = costUSD
    }
}

/// How the working directory stood when a turn ended.
public struct WorkspaceState: Sendable, Hashable, Codable {
    /// Nil when HEAD is detached.
    public var branch: String?
    /// The full object name of HEAD; nil before the first commit.
    public var commit: String?
    /// Commits on HEAD that were not on it when the turn began; nil when there are none.
    public var commits: Int?
    /// Commits on HEAD that no branch of the remote has; nil before the first commit.
    public var unpushed: Int?
    /// Files that differ from HEAD or are not tracked, at most 100 of them.
    public var dirtyFiles: [String]
    /// How many there are in all.
    public var dirtyFileCount: Int
    /// `git diff --shortstat` between the turn's start and its end, the working tree included.
    public var diffstat: String?

    public init(
        branch: String? = nil, commit: String? = nil, commits: Int? = nil, unpushed: Int? = nil, dirtyFiles: [String] = [],
        dirtyFileCount: Int = 0, diffstat: String? = nil
    ) {
        self.branch = branch
        self.commit = commit
        self.commits = commits
        self.unpushed = unpushed
        self.dirtyFiles = dirtyFiles
        self.dirtyFileCount = dirtyFileCount
        self.diffstat = diffstat
    }
}

extension WorkspaceState {
    /// What would be lost with the working directory, as a clause; nil when nothing would.
    public var unsaved: String? {
        let files = dirtyFileCount == 0 ? nil : "\(dirtyFileCount) uncommitted file\(dirtyFileCount == 1 ? "" : "s")"
        let commits = unpushed.flatMap { $0 == 0 ? nil : "\($0) unpushed commit\($0 == 1 ? "" : "s")" }
        let parts = [files, commits].compactMap(\.self)
        guard !parts.isEmpty else { return nil }
        return parts.joined(separator: " and ")
            + (branch.map { " on branch \($0)" } ?? commit.map { " on \($0.prefix(12))" } ?? "")
    }
}

/// What a turn came to: written with its end, and kept with the Task.
public struct TurnResults: Sendable, Hashable, Codable {
    /// The agent's last message, cut to 16 KiB.
    public var answer: String?
    public var usage: Usage?
    public var workspace: WorkspaceState?
    public var toolCalls: Int?
    /// The pull request that the agent says it opened or worked on.
    public var pr: String?
    /// What else the agent's image reported, by its keys.
    public var outputs: [String: String]?

    public init(
        answer: String? = nil, usage: Usage? = nil, workspace: WorkspaceState? = nil, toolCalls: Int? = nil, pr: String? = nil,
        outputs: [String: String]? = nil
    ) {
        self.answer = answer
        self.usage = usage
        self.workspace = workspace
        self.toolCalls = toolCalls
        self.pr = pr
        self.outputs = outputs
    }
}

/// What an agent asks a person.
public struct InputRequest: Sendable, Hashable, Codable {
    public struct Option: Sendable, Hashable, Codable {
        public var id: String
        public var name: String
        /// `allow_once`, `allow_always`, `reject_once`, `reject_always`, or what else the agent says.
        public var kind: String?
        public init(id: String, name: String, kind: String? = nil) {
            self.id = id
            self.name = name
            self.kind = kind
        }
    }

    /// Unique within the session.
    public var id: String
    public var question: String
    public var options: [Option]
    /// When it is answered with the refusal instead.
    public var deadline: Timestamp

    public init(id: String, question: String, options: [Option], deadline: Timestamp) {
        self.id = id
        self.question = question
        self.options = options
        self.deadline = deadline
    }
}

/// The body of `POST /v1/turns/{id}/input`.
public struct InputAnswer: Sendable, Hashable, Codable {
    /// The request that is answered; without it, the one that is open.
    public var request: String?
    /// The id of the chosen option; nil refuses.
    public var option: String?
    public var text: String?

    public init(request: String? = nil, option: String? = nil, text: String? = nil) {
        self.request = request
        self.option = option
        self.text = text
    }
}

/// How a turn was cut off that is taken up again: see ``OnInterrupt``.
public struct Interruption: Sendable, Hashable, Codable {
    public enum Next: String, Sendable, Hashable, Codable { case retry = "Retry", `continue` = "Continue" }

    public var reason: EndReason
    public var message: String?
    /// Which attempt was cut off, 1 for the first.
    public var attempt: Int
    public var next: Next
    /// What the attempt had used, as far as the agent had said.
    public var usage: Usage?

    public init(reason: EndReason, message: String?, attempt: Int, next: Next, usage: Usage? = nil) {
        self.reason = reason
        self.message = message
        self.attempt = attempt
        self.next = next
        self.usage = usage
    }
}

/// One prompt and all that the agent did with it, as the API shows it.
public struct Turn: Sendable, Hashable, Codable {
    public var id: TurnID
    public var state: TurnState
    /// Cut to its first 64 KiB in the API when it is longer; `promptBytes` has the whole length.
    public var prompt: String
    public var promptBytes: Int
    public var createdAt: Timestamp
    public var startedAt: Timestamp?
    public var endedAt: Timestamp?
    /// 1 for the next to run; only while queued.
    public var position: Int?
    public var whenBusy: WhenBusy
    public var supersedeKey: String?
    public var timeout: TimeSpan?
    public var model: String?
    public var effort: String?
    public var onInterrupt: OnInterrupt?
    public var raw: Bool?
    /// How often it was handed to the agent; absent before the first time.
    public var attempts: Int?
    /// The last time it was cut off and not ended by that.
    public var interruption: Interruption?
    /// What its user should know although it may have succeeded, each as a sentence.
    public var notices: [String]?
    /// True from the moment a cancellation was accepted.
    public var cancelRequested: Bool
    /// What the agent waits for; only while awaitingInput.
    public var input: InputRequest?
    public var reason: EndReason?
    public var message: String?
    public var results: TurnResults?
    /// The cursor before the turn's first event: read the transcript after it to see the turn whole.
    public var cursor: Cursor?

    public init(id: TurnID, request: TurnRequest, createdAt: Timestamp) {
        self.id = id
        state = .queued
        prompt = request.prompt
        promptBytes = request.prompt.utf8.count
        self.createdAt = createdAt
        whenBusy = request.whenBusy ?? .queue
        supersedeKey = request.supersedeKey
        timeout = request.timeout
        model = request.model
        effort = request.effort
        onInterrupt = request.onInterrupt
        raw = request.raw
        cancelRequested = false
    }
}
