import ArgumentParser
import SessionModel
import Yams

/// The options of `run` that make up a Task.
struct TaskOptions: ParsableArguments, Sendable {
    @Option(
        help: ArgumentHelp(
            "What the session belongs to: pr:OWNER/REPO#N, issue:OWNER/REPO#N, commit:SHA. Without it the Task gets a session of its own.",
            valueName: "scope"))
    var scope: String?

    @Option(help: "Keeps two sessions of one pull request or issue apart, such as “reviewer” and “fixer”.")
    var profile: String?

    @Option(help: ArgumentHelp("A URL or path that git can clone. Default: the scope's repository.", valueName: "url"))
    var repo: String?

    @Option(help: "A branch or commit to check out. Default: what the scope says.")
    var ref: String?

    @Option(help: ArgumentHelp("A command to run in the working directory whenever the session starts.", valueName: "command"))
    var setup: String?

    @Option(
        help: ArgumentHelp(
            "A file on the server's machine with the forge's token for the repository: git reaches it through the git gateway, and the agent never sees the token.",
            valueName: "file"))
    var gitToken: String?

    @Option(
        help: ArgumentHelp(
            "A branch that the session may push beside its own; may be given several times. Needs --git-token.",
            valueName: "branch"
        ))
    var pushBranch: [String] = []

    @Option(
        help: ArgumentHelp(
            "An agent that the server knows by name, or a .json or .yaml file that describes one.", valueName: "name|file"))
    var agent: String?

    @Option(help: "The model for this Task.")
    var model: String?

    @Option(help: "The reasoning effort for this Task, as the agent names it.")
    var effort: String?

    @Option(help: "How long the agent may work on it, such as 30m.", transform: Reading.span)
    var timeout: TimeSpan?

    @Option(
        help: ArgumentHelp("What to do while another Task runs in the session.", valueName: "queue|reject|supersede"),
        transform: Reading.word)
    var whenBusy: WhenBusy?

    @Option(help: ArgumentHelp("Which earlier Tasks `--when-busy supersede` takes the place of.", valueName: "key"))
    var supersedeKey: String?

    @Option(
        help: ArgumentHelp(
            "What becomes of it when it is cut off: it fails (the default), its prompt is sent again, or the agent is told to go on.",
            valueName: "Fail|Retry:N|Continue:N"), transform: Reading.onInterrupt)
    var onInterrupt: OnInterrupt?

    @Flag(help: "Record every frame of the agent's protocol; see them with `holdfast transcript --raw`.")
    var raw = false

    @OptionGroup(title: "Lifetime of a new session") var lifetime: LifetimeOptions

    /// An option that was given and means nothing without a repository.
    var needingRepository: String? {
        [("ref", ref != nil), ("setup", setup != nil), ("git-token", gitToken != nil), ("push-branch", !pushBranch.isEmpty)]
            .first { $0.1 }?.0
    }
}

/// A Task as the command line asks for it: what goes to the server, and the preset it is to use.
struct TaskDraft: Sendable, Hashable {
    var spec: TaskSpec
    /// An agent that the server knows by name.
    var agent: String?

    /// - Parameter read: the contents of a file, or nil when it cannot be read.
    init(_ options: TaskOptions, prompt: String, directory: String, read: (String) -> String?) throws(Failure) {
        guard prompt.contains(where: { !$0.isWhitespace }) else {
            throw Failure(.usage, "the prompt is empty: say what the agent is to do")
        }
        spec = TaskSpec(prompt: prompt)
        if let text = options.scope {
            spec.scope = try ScopeArgument.parse(text, profile: options.profile, directory: directory)
        } else if let profile = options.profile {
            throw Failure(
                .usage, "--profile \(profile) needs a --scope: it tells two sessions of one pull request or issue apart")
        }
        let repository = options.repo.map { ScopeArgument.absolute($0, directory) } ?? spec.scope.flatMap(ScopeArgument.cloneURL)
        if let repository {
            spec.workspace = WorkspaceSpec(
                repository: repository, ref: options.ref, setupCommand: options.setup,
                credentials: options.gitToken.map { file in
                    WorkspaceCredentials(
                        tokenFile: ScopeArgument.absolute(file.hasPrefix("/") ? file : "./\(file)", directory))
                },
                push: options.pushBranch.isEmpty ? nil : PushRules(branches: options.pushBranch))
        } else if let option = options.needingRepository {
            throw Failure(.usage, "--\(option) needs a repository: give --repo or a --scope that has one")
        }
        if let name = options.agent {
            if name.contains("/") || [".json", ".yaml", ".yml"].contains(where: name.hasSuffix) {
                spec.worker = try Self.description(file: name, read)
            } else {
                agent = name
            }
        }
        if options.whenBusy == .supersede, options.supersedeKey == nil {
            throw Failure(.usage, "--when-busy supersede needs --supersede-key: it says which earlier Tasks this one replaces")
        }
        let turn = TurnSpec(
            timeout: options.timeout, whenBusy: options.whenBusy, supersedeKey: options.supersedeKey, model: options.model,
            effort: options.effort, onInterrupt: options.onInterrupt, raw: options.raw ? true : nil)
        if turn != TurnSpec() { spec.turn = turn }
        let lifetime = options.lifetime.lifetime
        if lifetime != Lifetime() { spec.lifetime = lifetime }
    }

    private static func description(file: String, _ read: (String) -> String?) throws(Failure) -> AgentDescription {
        guard let text = read(file) else { throw Failure(.usage, "--agent \(file): the file cannot be read") }
        let description: AgentDescription
        do {
            description = file.hasSuffix(".json") ? try JSON.decode(from: text) : try YAMLDecoder().decode(from: text)
        } catch {
            throw Failure(
                .usage, "--agent \(file) does not describe an agent: \((error as? DecodingError)?.clause ?? "\(error)")")
        }
        if let mistake = description.mistake { throw Failure(.usage, "--agent \(file): \(mistake)") }
        return description
    }
}
