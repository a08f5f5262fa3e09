import AgentHost
import SessionModel

/// How every git command of the workspace is run: without questions, without hooks, in one repository and no other.
struct Git: Sendable {
    let directory: String
    /// The environment of git: the session's own, and what keeps git quiet.
    let environment: [String: String]
    /// A file of settings for every command: how the remote is reached.
    let configuration: String?

    init(directory: String, environment base: [String: String], configuration: String? = nil) {
        self.directory = directory
        self.configuration = configuration
        var environment = base
        // They would point git at another repository (the list is `git rev-parse --local-env-vars`).
        for name in [
            "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_CONFIG",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_REPLACE_REF_BASE", "GIT_NAMESPACE",
        ] {
            environment[name] = nil
        }
        // A checkout that lost its .git must not be mistaken for a part of a repository above it.
        environment["GIT_CEILING_DIRECTORIES"] = parent(of: directory)
        environment["GIT_TERMINAL_PROMPT"] = "0"
        environment["SSH_ASKPASS_REQUIRE"] = "never"
        environment["LC_ALL"] = "C"
        // An askpass that the session was given holds its credentials; any other would be a question.
        environment["GIT_ASKPASS"] = base["GIT_ASKPASS"] ?? ""
        // The transports that git itself calls safe, and files: never `ext::`, which runs what the URL says.
        environment["GIT_ALLOW_PROTOCOL"] = base["GIT_ALLOW_PROTOCOL"] ?? "file:git:http:https:ssh"
        self.environment = environment
    }

    /// For every command, beside `safe.directory`.
    static let settings = [
        "core.hooksPath=/dev/null", "core.fsmonitor=false", "gc.auto=0", "maintenance.auto=false", "submodule.recurse=false",
        "fetch.recurseSubmodules=false", "advice.detachedHead=false", "merge.autoStash=false",
    ]

    /// What to run in `place`, by default the checkout.
    func spec(_ arguments: [String], in place: String? = nil) -> ProcessSpec {
        let settings =
            Self.settings + ["safe.directory=\(place ?? directory)"] + (configuration.map { ["include.path=\($0)"] } ?? [])
        return ProcessSpec(
            arguments: ["git"] + settings.flatMap { ["-c", $0] } + arguments, environment: environment,
            directory: place ?? directory)
    }
}

/// The directory that holds `path`, an absolute path.
func parent(of path: String) -> String {
    let parts = path.split(separator: "/")
    return "/" + parts.dropLast().joined(separator: "/")
}
