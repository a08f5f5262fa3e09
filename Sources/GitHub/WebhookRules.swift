public import SessionModel

/// What an event means to a Spawner. All of the policy, and none of the asking: what has to be asked of the forge is a ``Need``, and
/// the rules are asked again when the answer is known.
///
/// ```swift
/// var facts = WebhookRules.Facts()
/// while case .needs(let need) = rules.decide(event, facts) { try await facts.learn(need, from: github) }
/// ```
public struct WebhookRules: Sendable {
    public let name: String
    public let spec: SpawnerSpec

    public init(name: String, spec: SpawnerSpec) {
        self.name = name
        self.spec = spec
    }

    public enum Need: Sendable, Hashable {
        /// The pull request of a comment, whose payload does not say its branches.
        case pullRequest
        case permission(of: String)
        case membership(of: String, team: String)
        case files
        /// The comments of a review, with what they answer.
        case reviewComments(Int64)
    }

    /// What is known besides the event.
    public struct Facts: Sendable {
        public var permissions: [String: ForgePermission] = [:]
        /// By login and team.
        public var memberships: [String: Bool] = [:]
        public var files: [String]?
        public var comments: [ReviewComment]?
        public var knowsPullRequest = false
        /// Sessions that have not ended.
        public var sessions: Set<SessionKey> = []
        /// Commits that sessions have pushed.
        public var pushed: Set<String> = []
        /// The issue whose session has opened the event's pull request.
        public var openedFor: Int?
        /// Who the supervisor itself is at the forge: the token's owner.
        public var own: String?
        /// Tasks that events have made in the event's session within the last hour.
        public var recent = 0

        public init() {}

        static func membership(_ login: String, _ team: String) -> String { "\(login.lowercased()) \(team.lowercased())" }
    }

    public enum Decision: Sendable, Hashable {
        case ignore(String)
        case needs(Need)
        case task(Draft)
        case command(CommentCommand, ScopeSpec)
        /// The pull request or issue is closed, or open again.
        case scope(ScopeSpec, closed: Bool)
    }

    /// A Task that the event is to become; its prompt is written when it is made.
    public struct Draft: Sendable, Hashable {
        public var scope: ScopeSpec
        /// Of `/continue`; nil for the template's.
        public var prompt: String?
        /// The same for whatever tells of the same thing.
        public var key: String
        public var supersedes: Bool
        /// Whether the session may have the repository's credentials.
        public var trusted: Bool
    }

    /// The second wall against events that make each other.
    public static let mostPerHour = 60

    /// What the supervisor's own comments carry, so that they are known again.
    public static let marker = "<!-- holdfast:"

    /// Whether its repository is one of the Spawner's.
    public func concerns(_ event: GitHubEvent) -> Bool {
        spec.when.githubWebhook.map { Self.matches(event.repository, $0.repository) } ?? false
    }

    /// The sessions that the event can belong to: whether they exist is asked of the store.
    /// - Parameter openedFor: the issue whose session has opened the event's pull request.
    public func sessions(of event: GitHubEvent, openedFor: Int? = nil) -> [SessionKey] {
        let plain = [scope(of: event, Facts())].compactMap { try? $0.key(task: "x") }
        guard let number = issue(of: event, openedFor) else { return plain }
        let issue = ScopeSpec(kind: .issue, repository: event.repository.name, number: number, profile: spec.profile)
        guard let key = try? issue.key(task: "x") else { return plain }
        return plain + [key]
    }

    public func decide(_ event: GitHubEvent, _ facts: Facts) -> Decision {
        guard let webhook = spec.when.githubWebhook else { return .ignore("the Spawner has no webhook") }
        guard Self.matches(event.repository, webhook.repository) else { return .ignore("it is of another repository") }
        // Whose session it is can depend on the pull request's branch.
        if event.subject.isPullRequest, event.subject.head == nil, !facts.knowsPullRequest { return .needs(.pullRequest) }
        let scope = scope(of: event, facts)

        switch (event.kind, event.action) {
        case (.issues, "closed"), (.pullRequest, "closed"):
            // A pull request that an issue's session has opened closes that session when it is merged: the work is done.
            if scope.kind == .issue, event.subject.isPullRequest, !event.subject.isMerged {
                return .ignore("the pull request of the issue's session was closed without being merged; the issue is open")
            }
            return exists(scope, facts) ? .scope(scope, closed: true) : .ignore("it has no session")
        default: break
        }
        if spec.suspend == true { return .ignore("the Spawner is suspended") }
        if let reason = loop(event, facts) { return .ignore(reason) }
        guard let sender = event.sender else { return .ignore("nobody is named who did it") }
        if webhook.excludeAuthors?.contains(where: { $0.lowercased() == sender.lowercased() }) == true {
            return .ignore("\(sender) is among excludeAuthors")
        }

        if event.action == "created" || event.action == "submitted", let text = event.comment?.body,
            let (command, argument) = CommentText.command(in: text, webhook.commands ?? CommentCommands())
        {
            guard exists(scope, facts) else { return .ignore("\(command.rawValue) was asked for, and there is no session") }
            if let other = mayTrigger(sender, webhook, facts) { return other }
            guard command == .continue else { return .command(command, scope) }
            return task(event, scope, facts, prompt: argument.isEmpty ? "Continue." : argument)
        }

        switch fits(event, webhook, facts) {
        case .ignore(let reason): return .ignore(reason)
        case .needs(let need): return .needs(need)
        default: break
        }
        if let other = mayTrigger(sender, webhook, facts) { return other }
        if event.kind == .review || event.kind == .reviewComment, let review = event.comment?.review, facts.comments == nil {
            return .needs(.reviewComments(review))
        }
        if event.kind == .review, event.comment?.body.isEmpty == true, facts.comments?.isEmpty == true,
            event.comment?.reviewState != "changes_requested"
        {
            return .ignore("the review says nothing")
        }
        return task(event, scope, facts, prompt: nil)
    }

    private func task(_ event: GitHubEvent, _ scope: ScopeSpec, _ facts: Facts, prompt: String?) -> Decision {
        if facts.recent >= Self.mostPerHour {
            return .ignore("events have made \(facts.recent) Tasks in this session within an hour: something answers itself")
        }
        let supersedes = event.kind == .pullRequest && spec.taskTemplate.turn?.whenBusy == .supersede
        return .task(
            Draft(
                scope: scope, prompt: prompt, key: "\(name):\(event.meaning)", supersedes: supersedes,
                trusted: isTrusted(event, facts)))
    }

    // MARK: Which events

    /// `.ignore` or `.needs`, or `.task` without meaning anything by it when the event fits.
    private enum Fit { case yes, ignore(String), needs(Need) }

    private func fits(_ event: GitHubEvent, _ webhook: GitHubWebhook, _ facts: Facts) -> Fit {
        guard webhook.events.contains(event.kind.rawValue) else {
            return .ignore("\(event.kind.rawValue) is not among its events")
        }
        // An edited comment, a dismissed review and the like are no new requests unless a filter says so.
        let own = (webhook.filters ?? []).filter { $0.event == event.kind.rawValue }
        if own.isEmpty {
            return Self.plainActions.contains(event.action)
                ? .yes : .ignore("“\(event.action)” makes a Task only where a filter names it")
        }
        var reason = "no filter fits"
        for filter in own {
            switch fits(event, filter, facts) {
            case .yes: return .yes
            case .needs(let need): return .needs(need)
            case .ignore(let why): reason = why
            }
        }
        return .ignore(reason)
    }

    /// What makes a Task when no filter names an action.
    static let plainActions: Set<String> = [
        "opened", "reopened", "created", "submitted", "synchronize", "ready_for_review", "labeled", "assigned",
    ]

    private func fits(_ event: GitHubEvent, _ filter: GitHubFilter, _ facts: Facts) -> Fit {
        let subject = event.subject
        func lower(_ names: [String]) -> Set<String> { Set(names.map { $0.lowercased() }) }
        if let action = filter.action {
            if action != event.action { return .ignore("the action is “\(event.action)”, not “\(action)”") }
        } else if !Self.plainActions.contains(event.action) {
            return .ignore("“\(event.action)” makes a Task only where a filter names it")
        }
        if let wanted = filter.labels, !lower(wanted).isSubset(of: lower(subject.labels)) { return .ignore("a label is missing") }
        // That one of several labels was put on is news only if it is one of those that are waited for.
        if event.action == "labeled", let wanted = filter.labels, let label = event.label,
            !lower(wanted).contains(label.lowercased())
        {
            return .ignore("the label “\(label)” is not one of those waited for")
        }
        if let unwanted = filter.excludeLabels, !lower(unwanted).isDisjoint(with: lower(subject.labels)) {
            return .ignore("it has an excluded label")
        }
        if let state = filter.state, state != subject.state { return .ignore("it is not \(state)") }
        if let author = filter.author, author.lowercased() != event.sender?.lowercased() {
            return .ignore("\(author) did not do it")
        }
        if let draft = filter.draft, draft != (subject.isDraft ?? false) {
            return .ignore(draft ? "it is no draft" : "it is a draft")
        }
        if let branch = filter.branch, !Wildcard.matches(subject.base?.ref ?? "", branch) {
            return .ignore("its base branch is not \(branch)")
        }
        if let pattern = filter.bodyPattern {
            let text = event.comment?.body ?? subject.body
            if !CommentText.lines(text).contains(where: { Wildcard.matches($0, pattern) }) {
                return .ignore("no line is “\(pattern)”")
            }
        }
        if let paths = filter.paths {
            guard subject.isPullRequest else { return .ignore("an issue changes no files") }
            guard let files = facts.files else { return .needs(.files) }
            if !files.contains(where: { file in paths.contains { Wildcard.matches(file, $0) } }) {
                return .ignore("it changes no such file")
            }
        }
        return .yes
    }

    static func matches(_ repository: GitHubEvent.Repository, _ pattern: String) -> Bool {
        let pattern = pattern.lowercased()
        let full = pattern.split(separator: "/").count == 2 ? "github.com/\(pattern)" : pattern
        // By its present name only: who has been given a repository has not been given its Spawners.
        return Wildcard.matches(repository.presentName.lowercased(), full)
    }

    // MARK: Whose session

    func scope(of event: GitHubEvent, _ facts: Facts) -> ScopeSpec {
        let subject = event.subject
        let repository = event.repository.name
        if spec.scope == .commit { return ScopeSpec(kind: .commit, repository: repository, sha: subject.head?.sha) }
        guard subject.isPullRequest else {
            return ScopeSpec(kind: .issue, repository: repository, number: subject.number, profile: spec.profile)
        }
        if let number = issue(of: event, facts.openedFor) {
            let issue = ScopeSpec(kind: .issue, repository: repository, number: number, profile: spec.profile)
            if exists(issue, facts) { return issue }
        }
        return ScopeSpec(kind: .pullRequest, repository: repository, number: subject.number, profile: spec.profile)
    }

    /// The issue whose session a pull request may be of: that session has opened it, or its head is that session's branch, in the
    /// repository itself, where only who may write can have made it.
    private func issue(of event: GitHubEvent, _ openedFor: Int?) -> Int? {
        if event.subject.isPullRequest, let openedFor { return openedFor }
        guard let head = event.subject.head, head.repository?.lowercased() == event.repository.fullName.lowercased(),
            head.ref.hasPrefix(Self.issueBranch), let number = Int(head.ref.dropFirst(Self.issueBranch.count)), number > 0
        else { return nil }
        return number
    }

    /// What ``SessionModel/SessionSpec/branch`` begins with for an issue.
    private static let issueBranch = "holdfast/issue-"

    private func exists(_ scope: ScopeSpec, _ facts: Facts) -> Bool {
        guard scope.kind != .commit, let key = try? scope.key(task: "x") else { return false }
        return facts.sessions.contains(key)
    }

    // MARK: Who

    private func loop(_ event: GitHubEvent, _ facts: Facts) -> String? {
        if let own = facts.own?.lowercased(), event.comment?.author?.lowercased() == own,
            event.comment?.body.contains(Self.marker) == true
        {
            return "it is a comment of Holdfast's own"
        }
        if event.kind == .pullRequest, event.action == "opened", let own = facts.own?.lowercased(),
            event.subject.author?.lowercased() == own, event.subject.body.hasPrefix(Self.marker)
        {
            return "Holdfast has opened it itself"
        }
        if event.kind == .pullRequest, event.action == "synchronize", let after = event.after ?? event.subject.head?.sha,
            facts.pushed.contains(after)
        {
            return "the session has pushed it itself"
        }
        return nil
    }

    /// Nil when they may.
    private func mayTrigger(_ login: String, _ webhook: GitHubWebhook, _ facts: Facts) -> Decision? {
        let allow = webhook.allow ?? GitHubAllow()
        guard let permission = facts.permissions[login] else { return .needs(.permission(of: login)) }
        if permission >= ForgePermission(allow.permission ?? .write) { return nil }
        if allow.users?.contains(where: { $0.lowercased() == login.lowercased() }) == true { return nil }
        for team in allow.teams ?? [] {
            guard let isMember = facts.memberships[Facts.membership(login, team)] else {
                return .needs(.membership(of: login, team: team))
            }
            if isMember { return nil }
        }
        return .ignore("\(login) may not trigger: the forge says “\(permission)” for this repository")
    }

    /// Somebody else's code with the repository's credentials needs a person who could do the same themselves.
    private func isTrusted(_ event: GitHubEvent, _ facts: Facts) -> Bool {
        let head = event.subject.head
        let isFork = event.subject.isPullRequest && head?.repository?.lowercased() != event.repository.fullName.lowercased()
        guard isFork else { return true }
        return event.sender.flatMap { facts.permissions[$0] }.map { $0 >= .write } ?? false
    }
}

/// What a person may do with a repository, from nothing upwards.
public enum ForgePermission: Int, Sendable, Hashable, Comparable, CustomStringConvertible, CaseIterable {
    case none, read, write, admin

    init(_ permission: GitHubAllow.Permission) {
        self =
            switch permission {
            case .read: .read
            case .write: .write
            case .admin: .admin
            }
    }

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    public var description: String { ["none", "read", "write", "admin"][rawValue] }
}

/// A comment on a line of a pull request.
public struct ReviewComment: Sendable, Hashable {
    public struct Answered: Sendable, Hashable {
        public var author: String
        public var body: String
        public init(author: String, body: String) {
            self.author = author
            self.body = body
        }
    }
    public var path: String
    public var line: Int?
    public var hunk: String
    public var body: String
    public var author: String
    public var url: String
    /// What was said before on the same line, the oldest first.
    public var thread: [Answered]

    public init(path: String, line: Int?, hunk: String, body: String, author: String, url: String, thread: [Answered]) {
        self.path = path
        self.line = line
        self.hunk = hunk
        self.body = body
        self.author = author
        self.url = url
        self.thread = thread
    }
}
