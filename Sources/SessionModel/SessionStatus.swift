/// What keeps a session alive or lets it sleep: the answer of `GET /v1/activity`.
public struct Activity: Sendable, Hashable, Codable {
    /// Changes whenever anything here does; pass it as `after` to wait for the next change.
    public var version: Int64
    /// The journal that holds all of this. Another journal than the one a Task was sent to means that the Task is lost.
    public var journal: String
    public var epoch: UInt32
    /// True when a turn is queued, running or awaiting input, a client is attached, or a keep-alive lease holds.
    public var busy: Bool
    /// When the session last stopped being busy; absent while it is.
    public var idleSince: Timestamp?
    public var running: TurnID?
    public var awaitingInput: InputRequest?
    public var queued: Int
    /// Attached clients: followers that asked to count.
    public var attached: Int
    /// Until when a keep-alive lease holds.
    public var keepAliveUntil: Timestamp?
    public var draining: Bool
    /// True once a drain is complete: nothing runs, nothing will.
    public var drained: Bool
    /// Why turns are not dispatched, when one is waiting and none is running.
    public var waitingFor: String?
    /// The cursor of the newest durable event.
    public var cursor: Cursor

    public init(
        version: Int64, journal: String, epoch: UInt32, busy: Bool, idleSince: Timestamp?, running: TurnID?,
        awaitingInput: InputRequest?, queued: Int, attached: Int, keepAliveUntil: Timestamp?, draining: Bool, drained: Bool,
        waitingFor: String?, cursor: Cursor
    ) {
        self.version = version
        self.journal = journal
        self.epoch = epoch
        self.busy = busy
        self.idleSince = idleSince
        self.running = running
        self.awaitingInput = awaitingInput
        self.queued = queued
        self.attached = attached
        self.keepAliveUntil = keepAliveUntil
        self.draining = draining
        self.drained = drained
        self.waitingFor = waitingFor
        self.cursor = cursor
    }
}

/// The answer of `GET /v1/session`.
public struct SessionStatus: Sendable, Hashable, Codable {
    public var session: SessionKey?
    /// The sidecar's version.
    public var version: String
    public var startedAt: Timestamp
    public var ready: Bool
    /// Why it is not ready, each as a sentence.
    public var notReady: [String]
    public var agent: AgentStatus
    public var workspace: WorkspaceState?
    public var directory: String
    public var turns: TurnCounts
    /// Tokens and money of all turns so far.
    public var usage: Usage
    public var activity: Activity
    public var limits: TurnLimits

    public init(
        session: SessionKey?, version: String, startedAt: Timestamp, ready: Bool, notReady: [String], agent: AgentStatus,
        workspace: WorkspaceState?, directory: String, turns: TurnCounts, usage: Usage, activity: Activity, limits: TurnLimits
    ) {
        self.session = session
        self.version = version
        self.startedAt = startedAt
        self.ready = ready
        self.notReady = notReady
        self.agent = agent
        self.workspace = workspace
        self.directory = directory
        self.turns = turns
        self.usage = usage
        self.activity = activity
        self.limits = limits
    }
}

/// The agent as the sidecar sees it.
public struct AgentStatus: Sendable, Hashable, Codable {
    public var driver: String?
    public var name: String?
    /// The agent's process is up and keeps its conversation in memory.
    public var warm: Bool
    /// The provider's own name of the conversation.
    public var conversation: String?

    public init(driver: String? = nil, name: String? = nil, warm: Bool = false, conversation: String? = nil) {
        self.driver = driver
        self.name = name
        self.warm = warm
        self.conversation = conversation
    }
}

/// How many turns a session has had, by state.
public struct TurnCounts: Sendable, Hashable, Codable {
    public var queued = 0
    public var running = 0
    public var succeeded = 0
    public var failed = 0
    public var cancelled = 0
    public var interrupted = 0
    public init() {}
}

/// The limits a queue enforces. Each has a default.
public struct TurnLimits: Sendable, Hashable, Codable {
    public var maxQueuedTurns = 100
    /// All queued prompts together, bytes.
    public var maxQueuedBytes = 16 << 20
    /// One prompt, bytes.
    public var maxPromptBytes = 1 << 20
    public var turnTimeout = TimeSpan.hours(1)
    public var inputTimeout = TimeSpan.hours(1)
    /// How long a cancelled turn may take to stop by the agent's own protocol before its processes are ended.
    public var cancelGrace = TimeSpan.seconds(10)
    /// How long an idempotency key is remembered.
    public var dedupeWindow = TimeSpan.days(7)
    /// How long an idle agent process is kept.
    public var agentIdle = TimeSpan.minutes(5)
    /// How many turns are accepted in the session's whole life; nil is any number.
    public var maxTurns: Int?
    /// After so many input and output tokens no further turn begins; nil is any number.
    public var maxTokens: Int64?
    /// Whether processes that the agent left running count as work.
    public var countBackground = false
    /// Of a session of one Task: how long its result is kept for whoever asks, before it drains and ends by itself; nil is for ever.
    public var resultHold: TimeSpan?
    public init() {}

    /// What is wrong with them, as one sentence; nil when nothing is.
    public var mistake: String? {
        for (name, span) in [
            ("turnTimeout", turnTimeout), ("inputTimeout", inputTimeout), ("dedupeWindow", dedupeWindow),
            ("resultHold", resultHold ?? dedupeWindow),
        ]
        where span <= .zero { return "\(name) must be more than zero" }
        for (name, span) in [("cancelGrace", cancelGrace), ("agentIdle", agentIdle)] where span < .zero {
            return "\(name) must not be negative"
        }
        let counts: [(String, Int64)] = [
            ("maxQueuedTurns", Int64(maxQueuedTurns)), ("maxQueuedBytes", Int64(maxQueuedBytes)),
            ("maxPromptBytes", Int64(maxPromptBytes)), ("maxTurns", maxTurns.map(Int64.init) ?? 1), ("maxTokens", maxTokens ?? 1),
        ]
        for (name, count) in counts where count < 1 { return "\(name) must be 1 or more" }
        return nil
    }
}

/// The body of `POST /v1/drain`.
public struct DrainRequest: Sendable, Hashable, Codable {
    /// Drain only if the session has been idle for at least this long; otherwise answer 409 with the activity.
    public var ifIdleFor: TimeSpan?
    /// How long a running turn may go on. Default 10m.
    public var deadline: TimeSpan?
    public var reason: String?

    public init(ifIdleFor: TimeSpan? = nil, deadline: TimeSpan? = nil, reason: String? = nil) {
        self.ifIdleFor = ifIdleFor
        self.deadline = deadline
        self.reason = reason
    }
}

/// The body of `POST /v1/keepalive`.
public struct KeepAliveRequest: Sendable, Hashable, Codable {
    /// At most 24h at a time.
    public var `for`: TimeSpan
    public init(for span: TimeSpan) { `for` = span }
}

/// The answer of `GET /v1/turns`.
public struct TurnList: Sendable, Hashable, Codable {
    /// All live turns and the last ended ones, oldest first.
    public var turns: [Turn]
    /// How many turns the session has had in all; older ones are at `GET /v1/turns/{id}`.
    public var total: UInt64
    public init(turns: [Turn], total: UInt64) {
        self.turns = turns
        self.total = total
    }
}
