public typealias SpawnerResource = Resource<SpawnerSpec, SpawnerStatus>

/// Turns events of a forge into Tasks.
public struct SpawnerSpec: Sendable, Hashable, Codable {
    public var when: SpawnerTrigger
    /// Which session an event belongs to. Default: that of the pull request or the issue it is about.
    public var scope: ScopeKind?
    public var profile: String?
    public var taskTemplate: TaskTemplate
    public var lifetime: Lifetime?
    /// Events of further sessions wait until one of so many has gone to sleep or ended. Default: any number.
    public var maxConcurrentSessions: Int?
    /// True makes nothing of events that come from now on.
    public var suspend: Bool?
    /// What the forge is told of its sessions. Default: everything.
    public var report: SpawnerReport?

    public init(
        when: SpawnerTrigger, scope: ScopeKind? = nil, profile: String? = nil, taskTemplate: TaskTemplate = TaskTemplate(),
        lifetime: Lifetime? = nil, maxConcurrentSessions: Int? = nil, suspend: Bool? = nil, report: SpawnerReport? = nil
    ) {
        self.when = when
        self.scope = scope
        self.profile = profile
        self.taskTemplate = taskTemplate
        self.lifetime = lifetime
        self.maxConcurrentSessions = maxConcurrentSessions
        self.suspend = suspend
        self.report = report
    }
}

/// What of its sessions is told on the forge.
public struct SpawnerReport: Sendable, Hashable, Codable {
    public enum PullRequest: String, Sendable, Hashable, Codable, CaseIterable {
        case open = "Open"
        case draft = "Draft"
        case never = "Never"
    }
    /// Whether a session has a comment that says how it stands. Default: yes.
    public var comment: Bool?
    /// Whether what a Task was made of gets a reaction. Default: yes.
    public var reactions: Bool?
    /// How a pull request is opened for the branch that an issue's session has pushed. Default `Open`.
    public var pullRequest: PullRequest?

    public init(comment: Bool? = nil, reactions: Bool? = nil, pullRequest: PullRequest? = nil) {
        self.comment = comment
        self.reactions = reactions
        self.pullRequest = pullRequest
    }
}

public struct SpawnerTrigger: Sendable, Hashable, Codable {
    public var githubWebhook: GitHubWebhook?

    public init(githubWebhook: GitHubWebhook? = nil) { self.githubWebhook = githubWebhook }
}

/// Which events of GitHub make Tasks.
public struct GitHubWebhook: Sendable, Hashable, Codable {
    /// `owner/name` or `host/owner/name`; `*` stands for any characters.
    public var repository: String
    /// As GitHub names them: `issues`, `issue_comment`, `pull_request`, `pull_request_review` …
    public var events: [String]
    /// An event must fit one of those for its kind. Without any for its kind it fits.
    public var filters: [GitHubFilter]?
    /// Who makes no Tasks: logins.
    public var excludeAuthors: [String]?
    public var allow: GitHubAllow?
    public var commands: CommentCommands?

    public init(
        repository: String, events: [String], filters: [GitHubFilter]? = nil, excludeAuthors: [String]? = nil,
        allow: GitHubAllow? = nil, commands: CommentCommands? = nil
    ) {
        self.repository = repository
        self.events = events
        self.filters = filters
        self.excludeAuthors = excludeAuthors
        self.allow = allow
        self.commands = commands
    }
}

/// All that is given must be so.
public struct GitHubFilter: Sendable, Hashable, Codable {
    public var event: String
    public var action: String?
    /// The issue or pull request has all of these.
    public var labels: [String]?
    /// It has none of these.
    public var excludeLabels: [String]?
    /// `open` or `closed`
    public var state: String?
    /// The pull request's base branch; `*` stands for any characters.
    public var branch: String?
    public var draft: Bool?
    /// Who did it: a login.
    public var author: String?
    /// The pull request changes a file that fits one of these; `*` stands for any characters, slashes too.
    public var paths: [String]?
    /// A line of the comment, the review, or else of the or pull request's own text fits; `*` stands for any characters.
    public var bodyPattern: String?

    public init(
        event: String, action: String? = nil, labels: [String]? = nil, excludeLabels: [String]? = nil, state: String? = nil,
        branch: String? = nil, draft: Bool? = nil, author: String? = nil, paths: [String]? = nil, bodyPattern: String? = nil
    ) {
        self.event = event
        self.action = action
        self.labels = labels
        self.excludeLabels = excludeLabels
        self.state = state
        self.branch = branch
        self.draft = draft
        self.author = author
        self.paths = paths
        self.bodyPattern = bodyPattern
    }
}

/// Who may trigger: anyone with the permission, and anyone of the lists.
public struct GitHubAllow: Sendable, Hashable, Codable {
    /// What a person may do with the repository, as the forge says when it is asked.
    public enum Permission: String, Sendable, Hashable, Codable, CaseIterable {
        case read = "Read"
        case write = "Write"
        case admin = "Admin"
    }
    /// Default `Write`.
    public var permission: Permission?
    /// Logins.
    public var users: [String]?
    /// `organisation/slug`
    public var teams: [String]?

    public init(permission: Permission? = nil, users: [String]? = nil, teams: [String]? = nil) {
        self.permission = permission
        self.users = users
        self.teams = teams
    }
}

/// What a line of a comment says to Holdfast, when it is the whole line. An empty text turns a command off.
public struct CommentCommands: Sendable, Hashable, Codable {
    /// Default `/continue`: another turn; what follows on the line is its prompt.
    public var `continue`: String?
    /// Default `/stop`
    public var stop: String?
    /// Default `/status`
    public var status: String?
    /// Default `/end`
    public var end: String?

    public init(continue: String? = nil, stop: String? = nil, status: String? = nil, end: String? = nil) {
        self.continue = `continue`
        self.stop = stop
        self.status = status
        self.end = end
    }
}

/// What a Task that an event makes looks like.
public struct TaskTemplate: Sendable, Hashable, Codable {
    /// Mustache. Default: what happened, with all its texts.
    public var prompt: String?
    public var worker: AgentDescription?
    /// Its repository is the event's; only how it is reached and set up is said here.
    public var setupCommand: String?
    public var credentials: WorkspaceCredentials?
    public var push: PushRules?
    /// With `whenBusy: Supersede` a new push takes the place of the Tasks that earlier ones made; comments and reviews queue.
    public var turn: TurnSpec?
    public var ttlSecondsAfterFinished: Int?

    public init(
        prompt: String? = nil, worker: AgentDescription? = nil, setupCommand: String? = nil,
        credentials: WorkspaceCredentials? = nil, push: PushRules? = nil, turn: TurnSpec? = nil,
        ttlSecondsAfterFinished: Int? = nil
    ) {
        self.prompt = prompt
        self.worker = worker
        self.setupCommand = setupCommand
        self.credentials = credentials
        self.push = push
        self.turn = turn
        self.ttlSecondsAfterFinished = ttlSecondsAfterFinished
    }
}

public struct SpawnerStatus: Sendable, Hashable, Codable {
    /// `Ready` is false when its template cannot be rendered.
    public var conditions: [Condition]
    /// How many Tasks it has made.
    public var tasks: Int?
    /// The names of the last of them, the newest last, at most ``recentLimit``.
    public var recentTasks: [String]?
    /// The names of the sessions that it has made and that have not ended.
    public var sessions: [String]?
    public var lastEventTime: Timestamp?

    public init() { conditions = [] }

    public static let recentLimit = 16

    /// Counts a Task, once: where several objects cannot be written together, it may be asked to again.
    public mutating func count(_ task: String) {
        let recent = recentTasks ?? []
        guard !recent.contains(task) else { return }
        tasks = (tasks ?? 0) + 1
        recentTasks = Array((recent + [task]).suffix(Self.recentLimit))
    }
}
