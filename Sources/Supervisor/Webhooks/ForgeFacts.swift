import GitHub
import SessionModel

/// What the forge was asked, remembered for a minute: a burst of events about one person asks once.
actor ForgeFacts {
    private struct Entry {
        var permission: ForgePermission
        var until: Timestamp
    }
    private static let kept = TimeSpan.minutes(1)
    private static let most = 1000

    nonisolated let github: GitHubClient
    private var permissions: [String: Entry] = [:]
    private var login: (name: String, until: Timestamp)?

    init(github: GitHubClient) { self.github = github }

    /// Whose token it is.
    func own() async throws(GitHubError) -> String {
        if let login, login.until > .now { return login.name }
        let name = try await github.login()
        login = (name, .now + .minutes(10))
        return name
    }

    func isProtected(_ branch: String, in repository: String) async throws(GitHubError) -> Bool {
        try await github.isProtected(branch, in: repository)
    }

    func learn(
        _ need: WebhookRules.Need, about event: inout GitHubEvent, into facts: inout WebhookRules.Facts
    ) async throws(GitHubError) {
        guard case .permission(let login) = need else { return try await facts.learn(need, about: &event, from: github) }
        let key = "\(event.repository.name) \(login.lowercased())"
        if let entry = permissions[key], entry.until > .now {
            facts.permissions[login] = entry.permission
            return
        }
        try await facts.learn(need, about: &event, from: github)
        if permissions.count >= Self.most { permissions = permissions.filter { $0.value.until > .now } }
        if let permission = facts.permissions[login], permissions.count < Self.most {
            permissions[key] = Entry(permission: permission, until: .now + Self.kept)
        }
    }
}
