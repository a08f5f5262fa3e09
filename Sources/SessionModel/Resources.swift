/// A document of the supervisor's store: in Kubernetes a custom resource, in local mode a row of SQLite.
public struct Resource<Spec: Sendable & Hashable & Codable, Status: Sendable & Hashable & Codable>: Sendable, Hashable, Codable {
    public var apiVersion: String
    public var kind: String
    public var metadata: Metadata
    public var spec: Spec
    public var status: Status

    public init(kind: String, metadata: Metadata, spec: Spec, status: Status) {
        apiVersion = "holdfast.dev/v1alpha1"
        self.kind = kind
        self.metadata = metadata
        self.spec = spec
        self.status = status
    }
}

public struct Metadata: Sendable, Hashable, Codable {
    /// A DNS label, unique among the resources of a kind.
    public var name: String
    /// Never used twice.
    public var uid: String
    /// Changes with every write, and says nothing else: it is only compared. A write that names an older one is refused with 409.
    public var resourceVersion: String
    public var creationTimestamp: Timestamp

    public init(name: String, uid: String, resourceVersion: String, creationTimestamp: Timestamp) {
        self.name = name
        self.uid = uid
        self.resourceVersion = resourceVersion
        self.creationTimestamp = creationTimestamp
    }
}

public typealias TaskResource = Resource<TaskSpec, TaskStatus>
public typealias SessionResource = Resource<SessionSpec, SessionResourceStatus>

/// What is true of a resource, why, and since when.
public struct Condition: Sendable, Hashable, Codable {
    public enum Status: String, Sendable, Hashable, Codable, CaseIterable {
        case `true` = "True", `false` = "False", unknown = "Unknown"
    }
    public var type: String
    public var status: Status
    /// One word in CamelCase that a program may switch on.
    public var reason: String
    /// A sentence for people: what happened, and what to do.
    public var message: String
    public var lastTransitionTime: Timestamp

    public init(type: String, status: Status, reason: String, message: String, lastTransitionTime: Timestamp) {
        self.type = type
        self.status = status
        self.reason = reason
        self.message = message
        self.lastTransitionTime = lastTransitionTime
    }
}

// MARK: - Task

public struct ScopeSpec: Sendable, Hashable, Codable {
    public var kind: ScopeKind
    /// `host/owner/name`; `owner/name` means github.com.
    public var repository: String?
    public var number: Int?
    public var sha: String?
    public var profile: String?

    public init(
        kind: ScopeKind, repository: String? = nil, number: Int? = nil, sha: String? = nil, profile: String? = nil
    ) {
        self.kind = kind
        self.repository = repository
        self.number = number
        self.sha = sha
        self.profile = profile
    }
}

public struct WorkspaceSpec: Sendable, Hashable, Codable {
    /// Any URL or path that git can clone.
    public var repository: String
    /// A branch or commit; without one, what the scope says.
    public var ref: String?
    public var setupCommand: String?
    public var mirror: String?
    /// With them the session's git goes through the git gateway, and only there is the token known.
    public var credentials: WorkspaceCredentials?
    /// What the session may push beside its own branch. It needs credentials.
    public var push: PushRules?

    public init(
        repository: String, ref: String? = nil, setupCommand: String? = nil, mirror: String? = nil,
        credentials: WorkspaceCredentials? = nil, push: PushRules? = nil
    ) {
        self.repository = repository
        self.ref = ref
        self.setupCommand = setupCommand
        self.mirror = mirror
        self.credentials = credentials
        self.push = push
    }
}

/// Where the forge's token for a repository is.
public struct WorkspaceCredentials: Sendable, Hashable, Codable {
    /// In local mode: the absolute path of a file that holds it. It is read at every request, so that a new token is used at once.
    public var tokenFile: String?
    /// In a cluster: a Secret of the session's namespace whose key ``tokenKey`` holds it. It is read at every request, too.
    public var secretRef: SecretReference?

    public init(tokenFile: String? = nil, secretRef: SecretReference? = nil) {
        self.tokenFile = tokenFile
        self.secretRef = secretRef
    }

    /// Kelos' name for it.
    public static let tokenKey = "GITHUB_TOKEN"
}

/// Which refs a session may push.
public struct PushRules: Sendable, Hashable, Codable {
    /// Branches that it may make, move and rewrite, by their whole names.
    public var branches: [String]?
    /// Branches that it may not push even so; `*` stands for any characters. The repository's default branch is always one of them.
    public var protected: [String]?
    /// Whether it may remove its branches. Default: no.
    public var deletions: Bool?
    /// Whether it may make and move tags. Default: no.
    public var tags: Bool?

    public init(branches: [String]? = nil, protected: [String]? = nil, deletions: Bool? = nil, tags: Bool? = nil) {
        self.branches = branches
        self.protected = protected
        self.deletions = deletions
        self.tags = tags
    }
}

public struct TurnSpec: Sendable, Hashable, Codable {
    public var timeout: TimeSpan?
    public var whenBusy: WhenBusy?
    public var supersedeKey: String?
    public var model: String?
    public var effort: String?
    public var onInterrupt: OnInterrupt?
    public var raw: Bool?

    public init(
        timeout: TimeSpan? = nil, whenBusy: WhenBusy? = nil, supersedeKey: String? = nil, model: String? = nil,
        effort: String? = nil, onInterrupt: OnInterrupt? = nil, raw: Bool? = nil
    ) {
        self.onInterrupt = onInterrupt
        self.raw = raw
        self.timeout = timeout
        self.whenBusy = whenBusy
        self.supersedeKey = supersedeKey
        self.model = model
        self.effort = effort
    }
}

public struct TaskSpec: Sendable, Hashable, Codable {
    public var prompt: String
    /// Default: commit scope, a session of its own.
    public var scope: ScopeSpec?
    /// Which agent works on it. Default: the supervisor's own default agent.
    public var worker: AgentDescription?
    public var workspace: WorkspaceSpec?
    public var turn: TurnSpec?
    /// For a session that this Task makes; ignored when the session exists.
    public var lifetime: Lifetime?
    public var idempotencyKey: String?
    /// So many seconds after its end it is deleted. Its idempotency key is remembered all the same.
    public var ttlSecondsAfterFinished: Int?

    public init(
        prompt: String, scope: ScopeSpec? = nil, worker: AgentDescription? = nil, workspace: WorkspaceSpec? = nil,
        turn: TurnSpec? = nil, lifetime: Lifetime? = nil, idempotencyKey: String? = nil
    ) {
        self.prompt = prompt
        self.scope = scope
        self.worker = worker
        self.workspace = workspace
        self.turn = turn
        self.lifetime = lifetime
        self.idempotencyKey = idempotencyKey
    }
}

public enum TaskPhase: String, Sendable, Hashable, Codable, CaseIterable {
    /// Waits: for its session to start, wake or drain, or for room in the queue. `message` says for what.
    case pending = "Pending"
    /// Accepted by the session; its turn is queued there.
    case queued = "Queued"
    case running = "Running"
    case awaitingInput = "AwaitingInput"
    case succeeded = "Succeeded"
    case failed = "Failed"
    case cancelled = "Cancelled"
    case interrupted = "Interrupted"

    public var isTerminal: Bool {
        switch self {
        case .pending, .queued, .running, .awaitingInput: false
        case .succeeded, .failed, .cancelled, .interrupted: true
        }
    }

    public init(_ state: TurnState) {
        self =
            switch state {
            case .queued: .queued
            case .running: .running
            case .awaitingInput: .awaitingInput
            case .succeeded: .succeeded
            case .failed: .failed
            case .cancelled: .cancelled
            case .interrupted: .interrupted
            }
    }
}

public struct TaskStatus: Sendable, Hashable, Codable {
    public var phase: TaskPhase
    /// The key of the session it belongs to, resolved once.
    public var session: SessionKey?
    /// The journal it is handed to, written before it is sent: if that journal is gone, the Task is interrupted (JournalLost).
    public var sentTo: String?
    public var turn: TurnID?
    public var cursor: Cursor?
    /// Someone asked for its cancellation.
    public var cancelRequested: Bool?
    public var startTime: Timestamp?
    public var completionTime: Timestamp?
    public var reason: EndReason?
    /// Why it waits, or how it ended, as a sentence.
    public var message: String?
    /// What its user should know although it may have succeeded, each as a sentence.
    public var notices: [String]?
    /// How often its turn was handed to the agent.
    public var attempts: Int?
    /// 1 for the next to run in its session.
    public var position: Int?
    /// In a cluster: which of all Tasks it was, when it came to its session. The Tasks of a session run in this order.
    public var ordinal: Int64?
    public var results: TurnResults?

    public init(phase: TaskPhase = .pending) { self.phase = phase }
}

// MARK: - Session

/// How long a session lives. Every field is optional; docs/operations.md has the defaults.
public struct Lifetime: Sendable, Hashable, Codable {
    public enum OnIdle: String, Sendable, Hashable, Codable, CaseIterable {
        case suspend = "Suspend"
        case end = "End"
    }
    public enum OnScopeClosed: String, Sendable, Hashable, Codable, CaseIterable {
        case end = "End"
        case keep = "Keep"
    }
    public var idleTimeout: TimeSpan?
    public var onIdle: OnIdle?
    public var countBackground: Bool?
    public var ttl: TimeSpan?
    public var drainTimeout: TimeSpan?
    public var suspendedTTL: TimeSpan?
    public var onScopeClosed: OnScopeClosed?
    public var archiveTTL: TimeSpan?
    public var turnTimeout: TimeSpan?
    public var inputTimeout: TimeSpan?
    public var agentIdle: TimeSpan?
    public var startTimeout: TimeSpan?
    public var maxQueuedTurns: Int?
    public var maxTurns: Int?
    public var maxTokens: Int64?
    public var dedupeWindow: TimeSpan?
    public var resultHold: TimeSpan?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case idleTimeout, onIdle, countBackground, ttl, drainTimeout, suspendedTTL, onScopeClosed, archiveTTL
        case turnTimeout, inputTimeout, agentIdle, startTimeout, maxQueuedTurns, maxTurns, maxTokens, dedupeWindow, resultHold
    }

    public init() {}
}

public struct SessionSpec: Sendable, Hashable, Codable {
    public var key: SessionKey
    public var scope: ScopeSpec
    public var worker: AgentDescription
    public var workspace: WorkspaceSpec?
    public var lifetime: Lifetime?
    /// True keeps it asleep until it is set to false or a Task wakes it.
    public var suspend: Bool?
    /// True asks for its end: it is drained, then its processes go and its transcript stays.
    public var end: Bool?
    /// True when its pull request or issue is closed.
    public var scopeClosed: Bool?
    /// The epoch that is to run although no Task needs it: what `holdfast resume` asks for.
    public var wake: UInt32?

    public init(
        key: SessionKey, scope: ScopeSpec, worker: AgentDescription, workspace: WorkspaceSpec? = nil, lifetime: Lifetime? = nil
    ) {
        self.key = key
        self.scope = scope
        self.worker = worker
        self.workspace = workspace
        self.lifetime = lifetime
    }
}

/// `Pending → Starting → Ready → Draining → Suspended → Starting …`, `Ended`, `Failed`
public enum SessionPhase: String, Sendable, Hashable, Codable, CaseIterable {
    case pending = "Pending"
    case starting = "Starting"
    case ready = "Ready"
    case draining = "Draining"
    case suspended = "Suspended"
    case ended = "Ended"
    case failed = "Failed"
}

public struct SessionResourceStatus: Sendable, Hashable, Codable {
    public var phase: SessionPhase
    /// The incarnation that is alive, or the last one that was.
    public var epoch: UInt32
    /// The journal's id, once a sidecar has answered.
    public var journal: String?
    /// The sidecar's process, on one machine.
    public var pid: Int32?
    public var activity: Activity?
    public var turns: TurnCounts?
    public var usage: Usage?
    public var workspace: WorkspaceState?
    /// When the phase was entered.
    public var since: Timestamp
    /// When the present incarnation became ready.
    public var startedAt: Timestamp?
    /// What ``SessionSpec/startDigest`` was when the present incarnation was made.
    public var startedWith: String?
    /// Why it is in this phase, as a sentence.
    public var message: String?
    public var conditions: [Condition]
    /// The last phases, the present one last; at most ``historyLimit``.
    public var history: [PhaseChange]?

    public static let historyLimit = 50

    public init(phase: SessionPhase = .pending, since: Timestamp) {
        self.phase = phase
        epoch = 0
        self.since = since
        conditions = []
    }

    /// That epoch's process is the session's own. Epoch and phase are stored before it is started, so any other one is a stray:
    /// what a supervisor has started that was superseded meanwhile, and could not end any more.
    public func owns(epoch: UInt32) -> Bool {
        switch phase {
        case .starting, .ready, .draining: epoch == self.epoch
        case .pending, .suspended, .ended, .failed: false
        }
    }
}

/// When a session entered a phase, and why.
public struct PhaseChange: Sendable, Hashable, Codable {
    public var at: Timestamp
    public var phase: SessionPhase
    public var epoch: UInt32
    public var message: String?

    public init(at: Timestamp, phase: SessionPhase, epoch: UInt32, message: String?) {
        self.at = at
        self.phase = phase
        self.epoch = epoch
        self.message = message
    }
}
