import AgentHost
import Foundation
import SessionModel
import Support
import Testing
import Workspace

/// What goes wrong, what is said then, and that the session goes on.
@Suite struct FailureTests {
    @Test func aMissingRepositoryFailsWithGitsOwnWordsAndTheNextTurnWorks() async throws {
        let fixture = try GitFixture()
        let hidden = fixture.root + "/hidden.git"
        try FileManager.default.moveItem(atPath: fixture.remote, toPath: hidden)
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        let error = await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(error?.step == .clone)
        #expect(error?.message.contains("fatal: repository '\(fixture.remote)' does not exist") == true)
        #expect(await session.kinds == [.failed])
        #expect(!fixture.exists(fixture.checkout))
        try FileManager.default.moveItem(atPath: hidden, toPath: fixture.remote)
        try await session.prepare()
        #expect(await session.kinds == [.cloned, .checkedOut])
        // The same of a fetch.
        try FileManager.default.moveItem(atPath: fixture.remote, toPath: hidden)
        #expect(await #expect(throws: WorkspaceError.self) { try await session.prepare() }?.step == .fetch)
        try FileManager.default.moveItem(atPath: hidden, toPath: fixture.remote)
        #expect(try await session.prepare() == [])
    }

    @Test func aMissingPullRequestFailsAndLeavesNothingBehind() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote, pullRequest: 9))
        let error = await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(error?.message.contains("refs/pull/9/head") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.root + "/session") == [])
        try fixture.setPullRequest(9)
        try await session.prepare()
        #expect(try await session.workspace.state().branch == "pr-9")
    }

    @Test func aMissingCommitFails() async throws {
        let fixture = try GitFixture()
        let description = WorkspaceDescription(repository: fixture.remote, commit: String(repeating: "1", count: 40))
        let session = Incarnation(fixture, description)
        await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(!fixture.exists(fixture.checkout))
    }

    @Test func aRemoteWhoseHeadIsBrokenIsNotTakenForAnEmptyOne() async throws {
        let fixture = try GitFixture()
        try fixture.git("symbolic-ref", "HEAD", "refs/heads/gone", in: fixture.remote)
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        let error = await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(error?.message.contains("others (main)") == true)
    }

    /// Every git command of the first turn in its turn is killed, as a crash would: the next incarnation ends up whole.
    @Test func aCrashInAnyStepOfTheFirstTurnIsMadeGoodByTheNextIncarnation() async throws {
        let fixture = try GitFixture()
        let head = try fixture.commit("greet.sh", "echo hi\n")
        try fixture.setPullRequest(1)
        let description = WorkspaceDescription(repository: "file://" + fixture.remote, pullRequest: 1, setupCommand: "true")
        let whole = Incarnation(fixture, description)
        try await whole.prepare()
        let steps = whole.host.commands.count
        #expect(steps > 8)
        for step in 0..<steps {
            try FileManager.default.removeItem(atPath: fixture.checkout)
            let crashing = Incarnation(fixture, description)
            let count = Counter()
            crashing.host.kill { _ in count.next() == step }
            // A process may have done its work before the signal arrives; then nothing failed.
            _ = try? await crashing.prepare()
            let next = Incarnation(fixture, description)
            try await next.prepare()
            #expect(try await next.workspace.state() == WorkspaceState(branch: "pr-1", commit: head, unpushed: 0), "\(step)")
            #expect(try fixture.git("status", "--porcelain", in: fixture.checkout) == "")
        }
    }

    /// Every git that a later turn runs is killed with all that runs beside it in its group, as it starts.
    @Test(arguments: [false, true])
    func aCrashInAnyStepOfALaterTurnIsMadeGoodByTheNextIncarnation(rebased: Bool) async throws {
        let fixture = try GitFixture()
        try fixture.commit("greet.sh", "echo hi\n")
        try fixture.setPullRequest(1)
        let description = WorkspaceDescription(repository: "file://" + fixture.remote, pullRequest: 1)
        try await Incarnation(fixture, description).prepare()
        var step = 0
        while true {
            if rebased { try fixture.git("reset", "--quiet", "--hard", "HEAD~1", in: fixture.author) }
            let head = try fixture.commit("greet.sh", "echo \(step)\n")
            try fixture.setPullRequest(1)
            let counted = try CountedGit(fixture, killing: step)
            let crashing = Incarnation(fixture, description, environment: ["PATH": counted.path])
            var failed = false
            do { try await crashing.prepare() } catch { failed = true }
            #expect(try failed == (counted.count > step))
            let next = Incarnation(fixture, description)
            try await next.prepare()
            #expect(try await next.workspace.state() == WorkspaceState(branch: "pr-1", commit: head, unpushed: 0), "\(step)")
            if try counted.count <= step { break }
            step += 1
        }
        #expect(step >= 6)
    }

    @Test func theLeftoversOfADeadEpochAreRemoved() async throws {
        let fixture = try GitFixture()
        let session = fixture.root + "/session"
        try fixture.git(
            "clone", "--quiet", "--no-checkout", fixture.remote, session + "/workspace.holdfast-clone", in: fixture.root)
        let description = WorkspaceDescription(repository: fixture.remote)
        try await Incarnation(fixture, description).prepare()
        #expect(try FileManager.default.contentsOfDirectory(atPath: session) == ["workspace"])

        let git = fixture.checkout + "/.git/"
        for lock in ["index.lock", "config.lock", "packed-refs.lock", "refs/remotes/origin/main.lock", "refs/heads/main.lock"] {
            try fixture.write(lock, "", in: git)
        }
        try fixture.commit("more", "1")
        try fixture.git("push", "--quiet", "origin", "HEAD:main", in: fixture.author)
        let later = Incarnation(fixture, description)
        try await later.prepare()
        #expect(await later.kinds == [.fetched, .fastForwarded])
    }

    @Test func filesInThePlaceOfTheCheckoutAreLeftAlone() async throws {
        let fixture = try GitFixture()
        try FileManager.default.createDirectory(atPath: fixture.checkout, withIntermediateDirectories: true)
        try fixture.write(".hidden", "mine", in: fixture.checkout)
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(fixture.read(".hidden", in: fixture.checkout) == "mine")
    }

    @Test func aRepositoryAboveTheCheckoutIsNotTakenForIt() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        try await session.prepare()
        try fixture.git("init", "--quiet", in: fixture.root + "/session")
        try FileManager.default.removeItem(atPath: fixture.checkout + "/.git/HEAD")
        let error = await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(error?.message.contains("not a git repository") == true)
    }

    @Test func hooksAndMonitorsThatTheAgentPlantedNeverRun() async throws {
        let fixture = try GitFixture()
        try fixture.setPullRequest(1)
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote, pullRequest: 1))
        try await session.prepare()
        let evidence = fixture.root + "/ran"
        let script = fixture.checkout + "/.git/evil"
        try fixture.write("evil", "#!/bin/sh\necho \"$0\" >> '\(evidence)'\n", in: fixture.checkout + "/.git")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: script)
        for hook in [
            "post-checkout", "post-merge", "pre-merge-commit", "reference-transaction", "post-index-change", "pre-auto-gc",
            "fsmonitor-watchman", "post-rewrite",
        ] {
            try? FileManager.default.removeItem(atPath: fixture.checkout + "/.git/hooks/" + hook)
            try FileManager.default.copyItem(atPath: script, toPath: fixture.checkout + "/.git/hooks/" + hook)
        }
        try fixture.git("config", "core.fsmonitor", script, in: fixture.checkout)
        for rebased in [false, true] {
            if rebased { try fixture.git("reset", "--quiet", "--hard", "HEAD~1", in: fixture.author) }
            try fixture.commit("more", "\(rebased)")
            try fixture.setPullRequest(1)
            try await session.prepare()
            #expect(await session.kinds == [.fetched, rebased ? .reset : .fastForwarded])
            _ = try await session.workspace.state()
        }
        #expect(fixture.read("ran", in: fixture.root) == nil)
    }

    @Test(arguments: [
        "--upload-pack=touch ran", "ext::sh -c touch% ran", "relative/path", "-x",
    ])
    func dangerousAddressesAreRefused(repository: String) async throws {
        let fixture = try GitFixture()
        try FileManager.default.createDirectory(atPath: fixture.root + "/session", withIntermediateDirectories: true)
        let session = Incarnation(fixture, WorkspaceDescription(repository: repository))
        await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(!fixture.exists(fixture.root + "/ran") && !fixture.exists(fixture.root + "/session/ran"))
    }

    @Test(arguments: ["a b", "x..y", "@{-1}", "HEAD.lock"])
    func namesThatNoBranchCanHaveAreRefused(branch: String) async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote, branch: branch))
        let error = await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(error?.step == .describe)
    }

    /// As when a git gateway is replaced just then.
    @Test func aRemoteThatIsAwayForAMomentIsTriedAgain() async throws {
        let fixture = try GitFixture()
        let bare = fixture.root + "/forge/acme/widgets.git"
        _ = try fixture.git("clone", "--quiet", "--bare", fixture.remote, bare, in: fixture.root)
        var forge = try GitBackend(root: fixture.root + "/forge", token: "t")
        let url = forge.url
        forge.stop()
        let session = Incarnation(
            fixture, WorkspaceDescription(repository: "http://x:t@\(url.dropFirst("http://".count))/acme/widgets.git"))
        async let prepared = session.prepare()
        while await session.reported.isEmpty { await Task.yield() }
        #expect(await session.reported.first?.message.contains("tried again") == true)
        forge = try GitBackend(
            root: fixture.root + "/forge", token: "t", port: #require(UInt16(url.split(separator: ":").last ?? "")))
        defer { forge.stop() }
        _ = try await prepared
        #expect(await session.reported.contains { $0.step == .cloned })
    }

    @Test func credentialsAreInNoStepAndNoError() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(
            fixture, WorkspaceDescription(repository: "http://bot:s3cr3t-token@127.0.0.1:1/acme/widgets.git"))
        let error = await #expect(throws: WorkspaceError.self) { try await session.prepare(unless: { true }) }
        let said = await [error?.description ?? ""] + session.reported.map(\.message)
        #expect(said.allSatisfy { !$0.contains("s3cr3t") && !$0.contains("bot:") })
        #expect(error?.message.contains("127.0.0.1") == true)
    }

    @Test func withoutAHostThereIsNoWorkspace() async throws {
        let fixture = try GitFixture()
        let workspace = Workspace(
            WorkspaceDescription(repository: fixture.remote), directory: fixture.checkout, host: LostHost(), environment: [:])
        let error = await #expect(throws: WorkspaceError.self) { _ = try await workspace.prepare { _ in } }
        #expect(error?.host?.code == .lost)
    }

    private struct LostHost: ProcessHost {
        func start(_ spec: ProcessSpec) async throws(HostError) -> any HostedProcess {
            throw HostError(.lost, "The host is gone.")
        }
        func endAll(grace: TimeSpan) async throws(HostError) {}
        func processes() async throws(HostError) -> [HostedProcessInfo] { [] }
    }
}

/// A `git` for PATH that counts its calls, and kills itself and its process group in one of them, just as the real one starts.
private struct CountedGit {
    private let directory: String
    let path: String

    init(_ fixture: GitFixture, killing fatal: Int) throws {
        directory = "\(fixture.root)/counted-\(fatal)"
        path = directory + ":" + (fixture.environment["PATH"] ?? "")
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        // Making a directory is what no two calls at once can both do.
        let script = """
            #!/bin/sh
            PATH=${PATH#*:}
            call=0
            until mkdir "$0.$call" 2>/dev/null; do call=$((call + 1)); done
            [ "$call" != \(fatal) ] || { git "$@" & kill -9 0; }
            exec git "$@"
            """
        try fixture.write("git", script, in: directory)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: directory + "/git")
    }

    var count: Int { get throws { try FileManager.default.contentsOfDirectory(atPath: directory).count - 1 } }
}

private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var count = -1
    func next() -> Int {
        lock.withLock {
            count += 1
            return count
        }
    }
}
