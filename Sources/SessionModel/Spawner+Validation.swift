extension SpawnerSpec {
    /// What is wrong with it, as one sentence; nil when nothing is. The template's names are looked at where it is rendered.
    public var mistake: String? {
        guard let webhook = when.githubWebhook else { return "when names no trigger: give when.githubWebhook" }
        if let mistake = webhook.mistake { return mistake }
        if let most = maxConcurrentSessions, most < 1 { return "maxConcurrentSessions must be 1 or more" }
        if let profile, profile.isEmpty { return "profile is empty" }
        if taskTemplate.turn?.whenBusy == .reject {
            return "taskTemplate.turn.whenBusy Reject would drop events: take Queue or Supersede"
        }
        // As a Task of it will look, without its prompt and its address.
        var task = TaskSpec(
            prompt: "x", worker: taskTemplate.worker,
            workspace: WorkspaceSpec(
                repository: "https://github.com/acme/widgets.git", setupCommand: taskTemplate.setupCommand,
                credentials: taskTemplate.credentials, push: taskTemplate.push), turn: taskTemplate.turn, lifetime: lifetime)
        task.ttlSecondsAfterFinished = taskTemplate.ttlSecondsAfterFinished
        if task.turn?.whenBusy == .supersede, task.turn?.supersedeKey == nil { task.turn?.supersedeKey = "x" }
        return task.mistake.map { "taskTemplate: \($0)" }
    }
}

extension GitHubWebhook {
    /// The kinds of events that Tasks are made of.
    public static let knownEvents = [
        "issues", "issue_comment", "pull_request", "pull_request_review", "pull_request_review_comment",
    ]

    var mistake: String? {
        let parts = repository.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count < 2 || parts.contains(where: \.isEmpty) || repository.contains(where: \.isWhitespace) {
            return "when.githubWebhook.repository “\(repository)” is not owner/name"
        }
        if events.isEmpty { return "when.githubWebhook.events is empty: name \(Self.knownEvents.joined(separator: ", "))" }
        for event in events + (filters ?? []).map(\.event) where !Self.knownEvents.contains(event) {
            return "when.githubWebhook has the event “\(event)”, and there are only \(Self.knownEvents.joined(separator: ", "))"
        }
        for filter in filters ?? [] where !events.contains(filter.event) {
            return "when.githubWebhook.filters has one for \(filter.event), which is not among its events"
        }
        for team in allow?.teams ?? [] where team.split(separator: "/").count != 2 {
            return "when.githubWebhook.allow.teams has “\(team)”: write organisation/slug"
        }
        let words = CommentCommand.allCases.compactMap { (commands ?? CommentCommands()).word($0) }
        if Set(words).count != words.count { return "when.githubWebhook.commands has two commands of one name" }
        if let word = words.first(where: { $0.contains(where: \.isWhitespace) }) {
            return "when.githubWebhook.commands has “\(word)”: a command is one word"
        }
        return nil
    }
}

/// What a comment can ask for.
public enum CommentCommand: String, Sendable, Hashable, CaseIterable { case `continue`, stop, status, end }

extension CommentCommands {
    /// How a command is written; nil when it is turned off.
    public func word(_ command: CommentCommand) -> String? {
        let own: String? =
            switch command {
            case .continue: self.continue
            case .stop: stop
            case .status: status
            case .end: end
            }
        let word = own ?? "/\(command.rawValue)"
        return word.isEmpty ? nil : word
    }
}
