public import AgentHost
import FoundationEssentials
public import SessionModel

/// The working directory of a session: cloned once, brought up to date before each turn, described after it.
///
/// ```swift
/// let workspace = Workspace(description, directory: "/session/workspace", host: host, environment: environment)
/// let notes = try await workspace.prepare { step in journal.append(.workspaceStep(step)) }
/// // … the turn …
/// let state = try await workspace.state()
/// ```
///
/// One value stands for one incarnation of the session; nothing else may run in the directory when it is made. Everything runs
/// through the agent host. A turn is prepared, run and looked at, in this order; no two commands that write run at once.
public actor Workspace {
    private let description: WorkspaceDescription
    private let directory: String
    private let environment: [String: String]
    private let target: CheckoutTarget
    private let git: Git
    private let runner: CommandRunner
    private let redact: Redaction

    /// Counts the containers that this incarnation has had its processes in.
    private var container = 0
    /// The one that the set-up command has succeeded in.
    private var setUpContainer: Int?
    /// The remote's address was written to the clone in this incarnation: it may have changed since the last one.
    private var isAddressed = false
    /// A git that is dead now may have left locks.
    private var locksAreStale = true
    /// The branch that follows the remote, for a workspace on the default branch.
    private var defaultBranch: String?
    /// Where the turn started.
    private var start: Start?

    private enum Start {
        case commit(String)
        case beforeFirstCommit
    }

    /// - Parameters:
    ///   - directory: the checkout itself, an absolute path; a clone is made beside it, so the directory above it must be
    ///     writable and on the same file system.
    ///   - environment: the whole environment of git and of the set-up command, with `PATH` and `HOME`.
    public init(
        _ description: WorkspaceDescription, directory: String, host: any ProcessHost, environment: [String: String]
    ) {
        var directory = directory
        while directory.count > 1, directory.hasSuffix("/") { directory.removeLast() }
        self.description = description
        self.directory = directory
        self.environment = environment
        target = CheckoutTarget(description)
        git = Git(directory: directory, environment: environment, configuration: description.gitConfig)
        runner = CommandRunner(host: host, timeout: description.stepTimeout ?? .minutes(10))
        redact = Redaction(url: description.repository)
    }

    /// Makes the directory ready for a turn: the first time a clone and a checkout, afterwards a fetch and what
    /// `WorkspacePlan` makes of it; and once per incarnation and container the set-up command.
    /// - Parameters:
    ///   - isStopped: asked before a remote that cannot be reached is tried again.
    ///   - report: called with each step as it happens, and with the failing one before the error is thrown.
    /// - Returns: what the agent must be told before its prompt, each a sentence or two.
    public func prepare(
        unless isStopped: @Sendable () async -> Bool = { false }, report: @Sendable (WorkspaceStep) async -> Void
    ) async throws(WorkspaceError) -> [String] {
        do throws(WorkspaceError) {
            if let mistake { throw WorkspaceError(.describe, redact(mistake), advice: advice(.describe)) }
            var notes: [String] = []
            if let repository = description.repository {
                notes = try await placePatiently(repository, isStopped, report)
            } else {
                try await makeDirectory(report)
            }
            try await setUp(report)
            return notes
        } catch {
            await report(WorkspaceStep(.failed, error.message))
            throw error
        }
    }

    /// What the working tree looks like: branch, HEAD, changed and untracked files, commits that no branch of the remote has, and
    /// the new commits and the diffstat since ``prepare(report:)`` returned.
    ///
    /// The diffstat counts commits and changes to tracked files; files that git does not track are left out of it and are among
    /// the dirty files. Without a repository everything is empty.
    public func state() async throws(WorkspaceError) -> WorkspaceState {
        guard description.repository != nil else { return WorkspaceState() }
        let status = try await status(.inspect)
        var state = WorkspaceState(
            branch: status.branch, commit: status.head,
            dirtyFiles: Array((status.changed.paths + status.untracked.paths).prefix(GitStatus.listed)),
            dirtyFileCount: status.changed.count + status.untracked.count)
        if status.head != nil {
            state.unpushed = Int(try await line(["rev-list", "--count", "HEAD", "--not", "--remotes=origin"], .inspect))
        }
        let base: String
        switch start {
        case .commit(let commit):
            base = commit
            if let head = status.head, head != commit {
                let count = Int(try await line(["rev-list", "--count", head, "^\(commit)"], .inspect)) ?? 0
                state.commits = count > 0 ? count : nil
            }
        case .beforeFirstCommit: base = try await line(["hash-object", "-t", "tree", "--stdin"], .inspect)
        case nil: return state
        }
        let diff = try await line(["diff", "--shortstat", "--no-ext-diff", "--no-renames", base, "--"], .inspect)
        state.diffstat = diff.isEmpty ? nil : String(diff.drop(while: \.isWhitespace))
        return state
    }

    /// Every process that ran in the directory has been ended, by a cancel or a release: the locks that they left are stale.
    public func processesEnded() { locksAreStale = true }

    /// What runs from now on has another root file system: what the set-up command did to that of the one before is gone.
    public func containerReplaced() { container += 1 }

    private var mistake: String? {
        if let mistake = description.mistake { return mistake }
        guard let repository = description.repository, !repository.hasPrefix("/") else { return nil }
        // `host:path` as ssh has it, or a URL. git would take anything else relative to a directory that the user cannot know.
        let colon = repository.firstIndex(of: ":")
        let slash = repository.firstIndex(of: "/")
        guard let colon, slash.map({ colon < $0 }) ?? true else {
            return "workspace.repository “\(repository)” is a relative path: give an absolute one"
        }
        return nil
    }
}

// MARK: - The directory

extension Workspace {
    private func makeDirectory(_ report: (WorkspaceStep) async -> Void) async throws(WorkspaceError) {
        let made = try await shell(#"[ -d "$1" ] || { mkdir -p "$1" && echo made; }"#, [directory], .locate)
        if !made.isEmpty { await report(WorkspaceStep(.created, "Made an empty working directory.")) }
    }

    /// A remote that cannot be reached is tried so often, a second apart: a git gateway is away while its process is replaced.
    private static var attempts: Int { 15 }

    private func placePatiently(
        _ repository: String, _ isStopped: @Sendable () async -> Bool, _ report: (WorkspaceStep) async -> Void
    ) async throws(WorkspaceError) -> [String] {
        for attempt in 1..<Self.attempts {
            do throws(WorkspaceError) {
                return try await place(repository, report)
            } catch {
                guard error.isUnreachable, !Task.isCancelled else { throw error }
                if attempt == 1 { await report(WorkspaceStep(.failed, error.message + " It is tried again for some seconds.")) }
                await Alarm.wait(.seconds(1))
                if await isStopped() { throw error }
            }
        }
        return try await place(repository, report)
    }

    private func place(_ repository: String, _ report: (WorkspaceStep) async -> Void) async throws(WorkspaceError) -> [String] {
        let found = try await look(repository)
        switch found.found {
        case "checkout":
            return try await follow(repository, found, report)
        case "absent", "empty":
            try await clone(repository, report)
            return []
        default:
            throw WorkspaceError(
                .locate,
                "The working directory \(directory) has files but no .git: somebody deleted it, so nothing was done to the directory.",
                advice: "Save what you need of it, then empty the directory: the next turn clones it again.")
        }
    }

    /// Looks at what is there, and brings what a checkout knows of the remote up to date.
    private func look(_ repository: String) async throws(WorkspaceError) -> FollowReport {
        let place = [directory, temporary, locksAreStale ? "stale" : ""]
        let remote = [isAddressed ? "" : repository, description.gitConfig ?? "", remoteRef ?? ""]
        let refspecs = [CheckoutTarget.branches] + [target.refspec].compactMap(\.self)
        let result = try await perform(shell(Scripts.follow, place + remote + refspecs), named: Self.preparing, .locate)
        let found = FollowReport(result.stdout.text)
        guard result.exit.isSuccess, !result.timedOut else {
            throw found.command.map { failure(result, named: "git \($0)", .fetch) }
                ?? failure(result, named: Self.preparing, .locate)
        }
        locksAreStale = false
        if found.found == "checkout" { isAddressed = true }
        if case .defaultBranch = target { defaultBranch = defaultBranch ?? found.defaultBranch }
        return found
    }

    private func setUp(_ report: (WorkspaceStep) async -> Void) async throws(WorkspaceError) {
        let container = container
        guard let command = description.setupCommand, setUpContainer != container else { return }
        let spec = ProcessSpec(arguments: ["sh", "-c", command], environment: environment, directory: directory)
        _ = try await run(spec, named: "The set-up command", .setup)
        setUpContainer = container
        await report(WorkspaceStep(.setup, "The set-up command succeeded."))
    }
}

// MARK: - The first time

extension Workspace {
    /// Where a clone is made. It gets the checkout's name when it is whole, so that a half one is never taken for one.
    private var temporary: String { directory + ".holdfast-clone" }

    private func clone(_ repository: String, _ report: (WorkspaceStep) async -> Void) async throws(WorkspaceError) {
        do {
            try await cloneBeside(repository, report)
        } catch {
            // Half a clone may be what filled the disk. Should this fail too, the next turn removes it.
            _ = try? await shell(#"rm -rf "$1""#, [temporary], .clone)
            throw error
        }
    }

    private func cloneBeside(_ repository: String, _ report: (WorkspaceStep) async -> Void) async throws(WorkspaceError) {
        if case .branch(let name) = target {
            let check = try await runGit(["check-ref-format", "refs/heads/\(name)"], .describe, in: "/", accepting: [0, 1])
            if check.exit == .code(1) {
                throw WorkspaceError(
                    .describe, "“\(name)” cannot be the name of a branch.", advice: "Correct the workspace's ref.")
            }
        }
        _ = try await shell(#"mkdir -p "$1""#, [parent(of: directory)], .clone)
        var arguments = ["clone", "--no-checkout", "--filter=blob:none", "--origin", "origin", "--no-recurse-submodules"]
        if let mirror = description.mirror { arguments += ["--reference-if-able", mirror, "--dissociate"] }
        let cloned = try await runGit(arguments + ["--", repository, temporary], .clone, in: parent(of: directory))
        var message = "Cloned \(redact(repository))."
        if let complaint = cloned.stderr.text.split(separator: "\n").first(where: { $0.contains("add alternate") }) {
            message += " The mirror could not be used: \(redact(String(complaint)))"
        }
        await report(WorkspaceStep(.cloned, message))

        let place = try await checkOut()
        try await identify()
        // For the agent's own git.
        if let file = description.gitConfig { try await configure("include.path", file) }
        _ = try await shell(Scripts.publish, [temporary, directory], .checkout)
        isAddressed = true
        start = place.head.map(Start.commit) ?? .beforeFirstCommit
        await report(WorkspaceStep(.checkedOut, place.message))
    }

    private func checkOut() async throws(WorkspaceError) -> (head: String?, message: String) {
        let fresh = try await status(.checkout, in: temporary)
        switch target {
        case .pullRequest(let number):
            guard let refspec = target.refspec else { break }
            let remote = "refs/remotes/origin/pull/\(number)/head"
            try await fetch([refspec], in: temporary)
            // For the agent's own `git fetch`, which would otherwise prune it.
            try await configure("remote.origin.fetch", refspec, adding: true)
            return try await checkOut("pr-\(number)", at: remote, following: "refs/pull/\(number)/head")

        case .branch(let name):
            let remote = "refs/remotes/origin/\(name)"
            if try await commit(remote, .checkout, in: temporary) != nil {
                return try await checkOut(name, at: remote, following: "refs/heads/\(name)")
            }
            if let head = fresh.head {
                try await runGit(["checkout", "--quiet", "--no-track", "-B", name, head], .checkout, in: temporary)
                try await track(name, "refs/heads/\(name)")
                return (head, "Made branch \(name) from \(fresh.branch ?? "the remote's HEAD") at \(short(head)).")
            }
            try await requireEmptyRemote()
            try await runGit(["symbolic-ref", "HEAD", "refs/heads/\(name)"], .checkout, in: temporary)
            try await track(name, "refs/heads/\(name)")
            return (nil, "The remote has no commit yet; HEAD is on the new branch \(name).")

        case .commit(let name):
            if try await commit(name, .checkout, in: temporary) == nil { try await fetch([name], in: temporary) }
            guard let head = try await commit(name, .checkout, in: temporary) else {
                throw WorkspaceError(
                    .checkout, "The remote has no commit \(name) that could be found.",
                    advice: "Give the commit's full name, and check that it was pushed.")
            }
            try await runGit(["checkout", "--quiet", "--detach", head], .checkout, in: temporary)
            return (head, "Checked out commit \(short(head)), detached.")

        case .defaultBranch:
            if let branch = fresh.branch {
                try await configure("holdfast.branch", branch)
                defaultBranch = branch
                guard fresh.head != nil else {
                    try await requireEmptyRemote()
                    return (nil, "The remote has no commit yet; HEAD is on branch \(branch).")
                }
                return try await checkOut(branch, at: "refs/remotes/origin/\(branch)", following: "refs/heads/\(branch)")
            }
            guard let head = fresh.head else { break }
            try await runGit(["checkout", "--quiet", "--detach", head], .checkout, in: temporary)
            return (head, "Checked out the remote's detached HEAD, \(short(head)).")
        }
        throw WorkspaceError(.checkout, "The clone has no HEAD.", advice: "Check the remote repository with `git fsck`.")
    }

    private func checkOut(
        _ branch: String, at remote: String, following upstream: String
    ) async throws(WorkspaceError) -> (head: String?, message: String) {
        try await runGit(["checkout", "--quiet", "--no-track", "-B", branch, remote], .checkout, in: temporary)
        try await track(branch, upstream)
        try await runGit(["update-ref", Scripts.last, remote], .checkout, in: temporary)
        let head = try await line(["rev-parse", "HEAD"], .checkout, in: temporary)
        return (head, "Checked out \(target.subject) at \(short(head)) on branch \(branch).")
    }

    /// A remote whose HEAD names no branch is empty, or it is broken and would look like an empty one.
    private func requireEmptyRemote() async throws(WorkspaceError) {
        let names = ["for-each-ref", "--count=1", "--format=%(refname:lstrip=3)", "refs/remotes/origin"]
        guard let other = try await lines(names, .checkout, in: temporary).first else { return }
        throw WorkspaceError(
            .checkout, "The remote's HEAD names a branch that does not exist, but it has others (\(other)).",
            advice: "Set the remote's default branch, or name a branch that exists as the workspace's ref.")
    }

    private func track(_ branch: String, _ upstream: String) async throws(WorkspaceError) {
        try await configure("branch.\(branch).remote", "origin")
        try await configure("branch.\(branch).merge", upstream)
    }

    /// Lets the agent commit where the image has no identity of its own.
    private func identify() async throws(WorkspaceError) {
        for (key, value) in [("user.name", "Holdfast agent"), ("user.email", "agent@holdfast.invalid")] {
            let known = try await runGit(["config", "--get", key], .checkout, in: temporary, accepting: [0, 1])
            if known.exit == .code(1) { try await configure(key, value) }
        }
    }

    private func configure(_ key: String, _ value: String, adding: Bool = false) async throws(WorkspaceError) {
        try await runGit(["config", adding ? "--add" : "--replace-all", key, value], .checkout, in: temporary)
    }
}

// MARK: - Every other time

extension Workspace {
    private func follow(
        _ repository: String, _ found: FollowReport, _ report: (WorkspaceStep) async -> Void
    ) async throws(WorkspaceError) -> [String] {
        var facts = WorkspacePlan.Facts(subject: target.subject)
        facts.operation = found.operation
        facts.expectedBranch = followedBranch
        facts.head = found.head
        facts.remote = found.remote
        facts.last = found.last
        // Mostly it has not, and then nobody has to look at the tree.
        if found.head == nil || !found.hasNotMoved { try await lookAtTree(&facts, hasUnpushed: found.hasUnpushed) }
        await report(
            WorkspaceStep(
                .fetched,
                "Fetched \(redact(repository))."
                    + (facts.remote.map { " \(target.subject.capitalizedFirst) is at \(short($0))." } ?? "")))
        return try await carryOut(WorkspacePlan(facts), facts, report)
    }

    private func lookAtTree(_ facts: inout WorkspacePlan.Facts, hasUnpushed: Bool) async throws(WorkspaceError) {
        let status = try await status(.fetch)
        facts.branch = status.branch
        facts.head = status.head
        facts.changed = status.changed.paths
        facts.changedCount = status.changed.count
        facts.wasPushed = status.head != nil && !hasUnpushed
        guard let remote = facts.remote else { return }
        if let head = facts.head, head != remote {
            let counts = try await line(["rev-list", "--left-right", "--count", "\(head)...\(remote)"], .fetch).split(
                separator: "\t")
            facts.ahead = counts.first.flatMap { Int($0) } ?? 0
            facts.behind = counts.last.flatMap { Int($0) } ?? 0
        } else if facts.head == nil {
            facts.behind = Int(try await line(["rev-list", "--count", remote], .fetch)) ?? 0
        }
    }

    private func carryOut(
        _ plan: WorkspacePlan, _ facts: WorkspacePlan.Facts, _ report: (WorkspaceStep) async -> Void
    ) async throws(WorkspaceError) -> [String] {
        var head = facts.head
        var notes: [String] = []
        if let step = plan.step { await report(step) }
        if let note = plan.note { notes.append(note + pointer) }

        var obstacle: String?
        switch plan.move {
        case .none: break
        case .fastForward(let remote):
            obstacle = try await move(["merge", "--quiet", "--ff-only", "--no-overwrite-ignore", remote])
            guard obstacle == nil else { break }
            head = remote
            let from = facts.head.map(short) ?? "nothing"
            await report(
                WorkspaceStep(.fastForwarded, "Fast-forwarded from \(from) to \(short(remote)), \(commits(facts.behind))."))
            notes.append(
                "\(target.subject.capitalizedFirst) has moved on the remote: your working tree was fast-forwarded from \(from) to \(short(remote)) (\(commits(facts.behind)))."
            )
        case .reset(let remote, let old):
            let kept = "refs/holdfast/old/\(refTime)-\(short(old))"
            try await runGit(["update-ref", kept, old], .update)
            let branch = facts.expectedBranch ?? ""
            obstacle = try await move(["checkout", "--quiet", "--no-overwrite-ignore", "--no-track", "-B", branch, remote])
            guard obstacle == nil else { break }
            head = remote
            await report(WorkspaceStep(.reset, "Reset from \(short(old)) to \(short(remote)); the old HEAD is kept as \(kept)."))
            notes.append(
                "The history of \(target.subject) was rewritten on the remote. You had nothing unpushed, so your branch \(branch) was reset from \(short(old)) to \(short(remote)); the old HEAD is kept as \(kept)."
            )
        }
        if let obstacle, let remote = facts.remote {
            await report(WorkspaceStep(.dirty, "Left alone at \(head.map(short) ?? "no commit"): \(obstacle)"))
            notes.append(
                "\(target.subject.capitalizedFirst) has moved on the remote to \(short(remote)), but your working tree could not be moved there without overwriting something, so it was left alone. git says: \(obstacle)"
                    + pointer)
        } else if plan.followsRemote, let remote = facts.remote, remote != facts.last {
            try await runGit(["update-ref", Scripts.last, remote], .update)
        }
        start = head.map(Start.commit) ?? .beforeFirstCommit
        return notes
    }

    /// - Returns: what stands in the way, in git's words; nil when the tree has moved.
    private func move(_ arguments: [String]) async throws(WorkspaceError) -> String? {
        let result = try await runGit(arguments, .update, accepting: [0, 1, 128])
        guard !result.exit.isSuccess else { return nil }
        let words = result.stderr.text
        guard words.contains("would be overwritten") || words.contains("index.lock") else {
            throw failure(result, named: "git \(arguments[0])", .update)
        }
        return redact(result.stderr.lastLines())
    }

    /// What a note that left the tree alone ends with.
    private var pointer: String { remoteRef.map { " The remote's head is \($0.dropFirst("refs/remotes/".count)) here." } ?? "" }

    private var remoteRef: String? {
        switch target {
        case .pullRequest(let number): "refs/remotes/origin/pull/\(number)/head"
        case .branch(let name): "refs/remotes/origin/\(name)"
        case .commit: nil
        case .defaultBranch: defaultBranch.map { "refs/remotes/origin/\($0)" }
        }
    }

    private var followedBranch: String? {
        switch target {
        case .pullRequest(let number): "pr-\(number)"
        case .branch(let name): name
        case .commit: nil
        case .defaultBranch: defaultBranch
        }
    }

    /// Now, as a part of a ref's name: `20261123T184044Z`.
    private var refTime: String {
        let now = Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)).description
        return now.prefix(19).filter { $0 != "-" && $0 != ":" } + "Z"
    }
}

// MARK: - Running

extension Workspace {
    private func fetch(_ refspecs: [String], in place: String? = nil) async throws(WorkspaceError) {
        try await runGit(["fetch"] + Scripts.fetchOptions + ["--", "origin"] + refspecs, .fetch, in: place)
    }

    private func status(_ step: WorkspaceError.Step, in place: String? = nil) async throws(WorkspaceError) -> GitStatus {
        let reader = StatusReader()
        let arguments = [
            "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--no-renames", "--no-ahead-behind",
        ]
        let spec = git.spec(["--no-optional-locks"] + arguments, in: place)
        let result = try await run(spec, named: "git status", step) { await reader.consume($0) }
        guard result.complete else { throw failure(result, named: "git status", step) }
        return await reader.status
    }

    /// The commit that a name stands for; nil when there is none.
    private func commit(
        _ name: String, _ step: WorkspaceError.Step, in place: String? = nil
    ) async throws(WorkspaceError) -> String? {
        let arguments = ["rev-parse", "--quiet", "--verify", "--end-of-options", "\(name)^{commit}"]
        let result = try await runGit(arguments, step, in: place, accepting: [0, 1, 128])
        return result.exit.isSuccess ? result.stdout.text.split(separator: "\n").first.map(String.init) : nil
    }

    private func line(
        _ arguments: [String], _ step: WorkspaceError.Step, in place: String? = nil
    ) async throws(WorkspaceError) -> String {
        try await lines(arguments, step, in: place).first ?? ""
    }

    private func lines(
        _ arguments: [String], _ step: WorkspaceError.Step, in place: String? = nil
    ) async throws(WorkspaceError) -> [String] {
        try await runGit(arguments, step, in: place).stdout.text.split(separator: "\n").map(String.init)
    }

    private static let preparing = "Preparing the working directory"

    private func shell(_ script: String, _ arguments: [String]) -> ProcessSpec {
        ProcessSpec(arguments: ["sh", "-c", script, "sh"] + arguments, environment: git.environment, directory: "/")
    }

    private func shell(
        _ script: String, _ arguments: [String], _ step: WorkspaceError.Step
    ) async throws(WorkspaceError) -> [String] {
        let result = try await run(shell(script, arguments), named: Self.preparing, step)
        return result.stdout.text.split(separator: "\n").map(String.init)
    }

    @discardableResult
    private func runGit(
        _ arguments: [String], _ step: WorkspaceError.Step, in place: String? = nil, accepting codes: Set<Int32> = [0]
    ) async throws(WorkspaceError) -> CommandRunner.Result {
        try await run(git.spec(arguments, in: place), named: "git \(arguments[0])", step, accepting: codes)
    }

    private func run(
        _ spec: ProcessSpec, named name: String, _ step: WorkspaceError.Step, accepting codes: Set<Int32> = [0],
        consume: (@Sendable ([UInt8]) async -> Void)? = nil
    ) async throws(WorkspaceError) -> CommandRunner.Result {
        let result = try await perform(spec, named: name, step, consume: consume)
        if case .code(let code) = result.exit, codes.contains(code), !result.timedOut { return result }
        throw failure(result, named: name, step)
    }

    /// However it ends.
    private func perform(
        _ spec: ProcessSpec, named name: String, _ step: WorkspaceError.Step,
        consume: (@Sendable ([UInt8]) async -> Void)? = nil
    ) async throws(WorkspaceError) -> CommandRunner.Result {
        do {
            return try await runner.run(spec, consume: consume)
        } catch let error as HostError {
            throw WorkspaceError(
                step, redact("\(name) could not be run: \(error.message)"),
                advice: "Check that git and sh are in the agent's image and that its container is alive.", host: error)
        } catch {
            locksAreStale = true
            throw WorkspaceError(step, "\(name) was stopped, because the turn was.", advice: "The next turn starts it over.")
        }
    }

    private func failure(
        _ result: CommandRunner.Result, named name: String, _ step: WorkspaceError.Step
    ) -> WorkspaceError {
        // A git that was killed may have left its locks; any other removes them. A shell gives a signal as 128 and its number.
        if case .code(0...128) = result.exit {} else { locksAreStale = true }
        var words = result.stderr.lastLines()
        if words.isEmpty || step == .setup {
            words = [words, result.stdout.lastLines()].filter { !$0.isEmpty }.joined(separator: "\n")
        }
        if words.contains("not a git repository"), step != .clone {
            return WorkspaceError(
                step, "The checkout at \(directory) has no usable .git any more; git says: \(redact(words))",
                advice: "Save what you need of the directory, then empty it: the next turn clones it again.")
        }
        let how =
            result.timedOut
            ? "did not end within \(runner.timeout) and was stopped"
            : result.complete ? "failed with \(result.exit)" : "left its output open"
        return WorkspaceError(step, redact(name + " " + how + (words.isEmpty ? "." : ": " + words)), advice: advice(step))
    }

    private func advice(_ step: WorkspaceError.Step) -> String {
        switch step {
        case .describe: "Correct the session's workspace."
        case .clone: "Check the repository's address and that the session may read it. The next turn clones it again."
        case .fetch: "Check that the remote can be reached and that the session may read it. The next turn fetches again."
        case .checkout: "Check that what the session works on exists on the remote. The next turn starts over."
        case .update, .inspect: "Look at the working directory with `git status`. The next turn tries again."
        case .locate: "Check that the directory can be written and that its disk is not full."
        case .setup: "Correct the set-up command or raise workspace.stepTimeout. The next turn runs it again."
        }
    }
}

private actor StatusReader {
    private(set) var status = GitStatus()
    func consume(_ bytes: [UInt8]) { status.consume(bytes) }
}
