import AgentHost
import Foundation
import SessionModel
import Support
import Testing
import Workspace

/// The first turn: what is cloned and what is checked out.
@Suite struct CheckoutTests {
    @Test(arguments: ["", "file://"])
    func aPullRequestIsCheckedOutOnABranchThatRemembersIt(scheme: String) async throws {
        let fixture = try GitFixture()
        let head = try fixture.commit("greet.sh", "echo hi\n")
        try fixture.setPullRequest(7)
        let session = Incarnation(fixture, WorkspaceDescription(repository: scheme + fixture.remote, pullRequest: 7))

        #expect(try await session.prepare() == [])
        #expect(await session.kinds == [.cloned, .checkedOut])
        #expect(fixture.read("greet.sh", in: fixture.checkout) == "echo hi\n")
        #expect(try fixture.git("config", "branch.pr-7.merge", in: fixture.checkout) == "refs/pull/7/head")
        #expect(try fixture.git("rev-parse", "pr-7@{upstream}", in: fixture.checkout) == head)
        #expect(try await session.workspace.state() == WorkspaceState(branch: "pr-7", commit: head, unpushed: 0))
        // The agent's own fetch keeps the pull request's head.
        try fixture.git("fetch", "--prune", in: fixture.checkout)
        #expect(try fixture.git("rev-parse", "origin/pull/7/head", in: fixture.checkout) == head)
    }

    @Test func aCloneIsPartialWhereTheServerAllowsItAndWholeWhereItDoesNot() async throws {
        for allowed in ["true", "false"] {
            let fixture = try GitFixture()
            try fixture.commit("old.txt", "old\n")
            try fixture.commit("old.txt", "new\n")
            try fixture.git("push", "--quiet", "origin", "HEAD:main", in: fixture.author)
            try fixture.git("config", "uploadpack.allowFilter", allowed, in: fixture.remote)
            let session = Incarnation(fixture, WorkspaceDescription(repository: "file://" + fixture.remote))
            try await session.prepare()
            let missing = try fixture.git(
                "rev-list", "--objects", "--missing=print", "HEAD", in: fixture.checkout
            ).split(separator: "\n").filter { $0.hasPrefix("?") }
            #expect(missing.isEmpty == (allowed == "false"))
        }
    }

    @Test func withoutATargetTheDefaultBranchIsCheckedOut() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        try await session.prepare()
        let state = try await session.workspace.state()
        #expect(state.branch == "main")
        #expect(try state.commit == fixture.git("rev-parse", "HEAD", in: fixture.author))
    }

    @Test func aBranchOfTheRemoteIsTracked() async throws {
        let fixture = try GitFixture()
        let head = try fixture.commit("a", "1")
        try fixture.git("push", "--quiet", "origin", "HEAD:feature/x", in: fixture.author)
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote, branch: "feature/x"))
        try await session.prepare()
        #expect(try await session.workspace.state() == WorkspaceState(branch: "feature/x", commit: head, unpushed: 0))
        #expect(try fixture.git("rev-parse", "@{upstream}", in: fixture.checkout) == head)
    }

    @Test func aBranchThatTheRemoteLacksIsMadeFromTheDefaultBranchAndCanBePushed() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote, branch: "holdfast/issue-3"))
        try await session.prepare()
        let head = try fixture.commit("fix", "1", in: fixture.checkout)
        #expect(try await session.workspace.state().unpushed == 1)
        #expect(try await session.prepare() == [])

        try fixture.git("push", "--quiet", in: fixture.checkout)
        #expect(try fixture.git("rev-parse", "holdfast/issue-3", in: fixture.remote) == head)
        #expect(try await session.prepare() == [])
        #expect(try await session.workspace.state().unpushed == 0)
        // From now on the branch is followed.
        try fixture.git("fetch", "--quiet", in: fixture.author)
        try fixture.git("checkout", "--quiet", "-B", "fix", "origin/holdfast/issue-3", in: fixture.author)
        let moved = try fixture.commit("more", "1")
        try fixture.git("push", "--quiet", "origin", "HEAD:holdfast/issue-3", in: fixture.author)
        #expect(try await session.prepare().count == 1)
        #expect(try await session.workspace.state().commit == moved)
    }

    @Test func aCommitIsCheckedOutDetachedAndNeverMoves() async throws {
        let fixture = try GitFixture()
        let head = try fixture.git("rev-parse", "HEAD", in: fixture.author)
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote, commit: head))
        try await session.prepare()
        try fixture.commit("later", "1")
        try fixture.git("push", "--quiet", "origin", "HEAD:main", in: fixture.author)
        #expect(try await session.prepare() == [])
        #expect(await session.kinds == [.fetched])
        let state = try await session.workspace.state()
        #expect(state.branch == nil)
        #expect(state.commit == head)
    }

    @Test func aCommitOnNoBranchIsFetched() async throws {
        let fixture = try GitFixture()
        let head = try fixture.commit("hidden", "1")
        try fixture.setPullRequest(1)
        try fixture.git("config", "uploadpack.allowAnySHA1InWant", "true", in: fixture.remote)
        let session = Incarnation(fixture, WorkspaceDescription(repository: "file://" + fixture.remote, commit: head))
        try await session.prepare()
        #expect(try await session.workspace.state().commit == head)
    }

    @Test(arguments: [nil, "holdfast/issue-1"])
    func anEmptyRemoteWorks(branch: String?) async throws {
        let fixture = try GitFixture(empty: true)
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote, branch: branch))
        #expect(try await session.prepare() == [])
        #expect(try await session.workspace.state() == WorkspaceState(branch: branch ?? "main"))
        #expect(try await session.prepare() == [])
        try fixture.write("new", "1\n2\n", in: fixture.checkout)
        try fixture.git("add", "new", in: fixture.checkout)
        let state = try await session.workspace.state()
        #expect(state.dirtyFiles == ["new"])
        #expect(state.diffstat == "1 file changed, 2 insertions(+)")
    }

    @Test func theFirstCommitOfAnEmptyRemoteArrives() async throws {
        let fixture = try GitFixture(empty: true)
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        try await session.prepare()
        let head = try fixture.commit("first", "1")
        try fixture.git("push", "--quiet", "origin", "HEAD:main", in: fixture.author)
        #expect(try await session.prepare().count == 1)
        #expect(await session.kinds == [.fetched, .fastForwarded])
        #expect(try await session.workspace.state() == WorkspaceState(branch: "main", commit: head, unpushed: 0))
    }

    @Test func withoutARepositoryThereIsAnEmptyDirectory() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription())
        #expect(try await session.prepare() == [])
        #expect(await session.kinds == [.created])
        #expect(fixture.exists(fixture.checkout))
        #expect(!fixture.exists(fixture.checkout + "/.git"))
        #expect(try await session.workspace.state() == WorkspaceState())
        try await session.prepare()
        #expect(await session.kinds == [])
    }

    @Test func aMirrorLendsItsObjectsAndIsThenNoLongerNeeded() async throws {
        let fixture = try GitFixture()
        let mirror = fixture.root + "/mirror.git"
        try fixture.git("clone", "--quiet", "--mirror", fixture.remote, mirror, in: fixture.root)
        try fixture.commit("a", "1")
        try fixture.setPullRequest(1)
        let description = WorkspaceDescription(repository: "file://" + fixture.remote, pullRequest: 1, mirror: mirror)
        let session = Incarnation(fixture, description)
        try await session.prepare()
        #expect(!fixture.exists(fixture.checkout + "/.git/objects/info/alternates"))
        try FileManager.default.removeItem(atPath: mirror)
        try fixture.git("fsck", in: fixture.checkout)
        #expect(fixture.read("README.md", in: fixture.checkout) == "hello\n")
    }

    @Test func aMirrorThatIsMissingIsSaid() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote, mirror: "/nowhere/mirror.git"))
        try await session.prepare()
        #expect(await session.reported.first?.message.contains("/nowhere/mirror.git") == true)
    }

    @Test func theAgentCanCommit() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        try await session.prepare()
        #expect(try fixture.git("config", "--local", "user.name", in: fixture.checkout) == "Holdfast agent")
        // A name of its own stays.
        let other = try GitFixture()
        try other.write(".gitconfig", "[user]\nname = Grace\n", in: other.root)
        try await Incarnation(other, WorkspaceDescription(repository: other.remote)).prepare()
        #expect(throws: GitFixtureError.self) { try other.git("config", "--local", "user.name", in: other.checkout) }
        #expect(try other.git("config", "--local", "user.email", in: other.checkout) == "agent@holdfast.invalid")
    }

    @Test func anEmptyDirectoryInThePlaceIsUsed() async throws {
        let fixture = try GitFixture()
        try FileManager.default.createDirectory(atPath: fixture.checkout, withIntermediateDirectories: true)
        try await Incarnation(fixture, WorkspaceDescription(repository: fixture.remote)).prepare()
        #expect(fixture.exists(fixture.checkout + "/README.md"))
    }
}
