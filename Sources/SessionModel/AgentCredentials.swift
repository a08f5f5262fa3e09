/// The secrets of an agent: files that the sidecar reads whenever the agent starts, so that a rotated one is taken up then.
/// Their values reach the agent's environment only; in the transcript and in logs they are replaced.
///
/// ```json
/// {"env": {"ANTHROPIC_API_KEY": "/run/secrets/anthropic"}, "token": "/run/secrets/github", "expose": "Token"}
/// ```
public struct AgentCredentials: Sendable, Hashable, Codable {
    /// What the agent is given although it could do without.
    public enum Exposure: String, Sendable, Hashable, Codable, CaseIterable {
        /// The forge's token itself, as images made for other systems need it. Such an agent can do on the forge whatever the token
        /// allows, so the Session shows it (`TokenExposed`).
        case token = "Token"
    }

    /// The name of an environment variable → the absolute path of the file that holds its value.
    public var env: [String: String]?
    /// The absolute path of a directory in which every file is such a variable: its name, and the value in it.
    public var directory: String?
    /// A Secret in which every key is such a variable: what a pod has instead of files.
    public var secretRef: SecretReference?
    /// The absolute path of the file that holds the forge's token, for ``Exposure/token``.
    public var token: String?
    public var expose: Exposure?

    public init(
        env: [String: String]? = nil, directory: String? = nil, secretRef: SecretReference? = nil, token: String? = nil,
        expose: Exposure? = nil
    ) {
        self.env = env
        self.directory = directory
        self.secretRef = secretRef
        self.token = token
        self.expose = expose
    }

    /// The variables by which agents and their tools know the forge's token. No other field can set them, so that none gets it unseen.
    public static let forgeVariables = ["GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"]

    /// What is wrong with it, as one sentence; nil when nothing is.
    var mistake: String? {
        for (name, path) in (env ?? [:]).sorted(by: { $0.key < $1.key }) where !Self.isFile(path) {
            return "agent.credentials.env.\(name) must be the absolute path of a file that holds the value"
        }
        if let directory, !Self.isFile(directory) {
            return "agent.credentials.directory must be the absolute path of a directory"
        }
        switch (token, expose) {
        case (let path?, .token?) where !Self.isFile(path):
            return "agent.credentials.token must be the absolute path of a file that holds the forge's token"
        case (nil, .token?) where secretRef == nil:
            return "agent.credentials.expose is Token, and agent.credentials.token does not name the file that holds it"
        case (_?, nil):
            return
                "agent.credentials.token is not used without expose: Token, by which the agent gets it: add that, or leave the token out"
        default: return nil
        }
    }

    private static func isFile(_ path: String) -> Bool { path.hasPrefix("/") && !path.contains("\0") }
}
