import AgentHost
import Foundation
import SessionModel
import Support
import Testing
import Workspace

/// Later turns: the remote has moved, or the agent has done something to the working tree.
@Suite struct FollowTests {
    /// A pull request that is checked out and has had its first turn.
    private func pullRequest() async throws -> (GitFixture, Incarnation, head: String) {
        let fixture = try GitFixture()
        let head = try fixture.commit("greet.sh", "echo hi\n")
        try fixture.setPullRequest(1)
        let session = Incarnation(fixture, WorkspaceDescription(repository: "file://" + fixture.remote, pullRequest: 1))
        try await session.prepare()
        return (fixture, session, head)
    }

    private func rebase(_ fixture: GitFixture) throws -> String {
        try fixture.git("reset", "--quiet", "--hard", "HEAD~1", in: fixture.author)
        let new = try fixture.commit("greet.sh", "echo hello\n")
        try fixture.setPullRequest(1)
        return new
    }

    private func head(_ fixture: GitFixture) throws -> String { try fixture.git("rev-parse", "HEAD", in: fixture.checkout) }

    @Test func nothingNewChangesNothing() async throws {
        let (fixture, session, old) = try await pullRequest()
        #expect(try await session.prepare() == [])
        #expect(await session.kinds == [.fetched])
        #expect(try head(fixture) == old)
    }

    @Test func aCleanTreeIsFastForwarded() async throws {
        let (fixture, session, old) = try await pullRequest()
        let new = try fixture.commit("more", "1\n")
        try fixture.setPullRequest(1)
        let notes = try await session.prepare()
        #expect(await session.kinds == [.fetched, .fastForwarded])
        #expect(notes.count == 1 && notes[0].contains(old.prefix(12)) && notes[0].contains(new.prefix(12)))
        #expect(try await session.workspace.state() == WorkspaceState(branch: "pr-1", commit: new, unpushed: 0))
        #expect(try await session.prepare() == [])
    }

    @Test func aLaterIncarnationFollowsToo() async throws {
        let (fixture, _, _) = try await pullRequest()
        let new = try fixture.commit("more", "1\n")
        try fixture.setPullRequest(1)
        // The remote's address may be another one by then.
        let moved = fixture.root + "/moved.git"
        try FileManager.default.moveItem(atPath: fixture.remote, toPath: moved)
        let later = Incarnation(fixture, WorkspaceDescription(repository: moved, pullRequest: 1))
        #expect(try await later.prepare().count == 1)
        #expect(try head(fixture) == new)
    }

    @Test func theDefaultBranchIsFollowedInALaterIncarnation() async throws {
        let fixture = try GitFixture()
        let description = WorkspaceDescription(repository: fixture.remote)
        try await Incarnation(fixture, description).prepare()
        let new = try fixture.commit("more", "1\n")
        try fixture.git("push", "--quiet", "origin", "HEAD:main", in: fixture.author)
        try await Incarnation(fixture, description).prepare()
        #expect(try head(fixture) == new)
    }

    @Test func untrackedFilesStayAndDoNotStandInTheWay() async throws {
        let (fixture, session, _) = try await pullRequest()
        try fixture.write("notes.txt", "mine", in: fixture.checkout)
        let new = try fixture.commit("more", "1\n")
        try fixture.setPullRequest(1)
        try await session.prepare()
        #expect(try head(fixture) == new)
        #expect(fixture.read("notes.txt", in: fixture.checkout) == "mine")
    }

    @Test(arguments: [false, true], [false, true])
    func aFileThatOnlyTheAgentHasIsNeverOverwritten(ignored: Bool, rebased: Bool) async throws {
        let (fixture, session, old) = try await pullRequest()
        try fixture.write("notes.txt", "mine", in: fixture.checkout)
        if ignored { try fixture.write(".git/info/exclude", "notes.txt\n", in: fixture.checkout) }
        if rebased { try fixture.git("reset", "--quiet", "--hard", "HEAD~1", in: fixture.author) }
        try fixture.commit("notes.txt", "theirs")
        try fixture.setPullRequest(1)
        let notes = try await session.prepare()
        #expect(await session.kinds == [.fetched, .dirty])
        #expect(notes.first?.contains("notes.txt") == true)
        #expect(try head(fixture) == old)
        #expect(fixture.read("notes.txt", in: fixture.checkout) == "mine")
    }

    /// Packed: the refs are no files of their own, which the agent's `git gc` does.
    @Test(arguments: [false, true])
    func aRebasedPullRequestIsResetAndTheOldHeadIsKept(packed: Bool) async throws {
        let (fixture, session, old) = try await pullRequest()
        if packed { try fixture.git("pack-refs", "--all", in: fixture.checkout) }
        let new = try rebase(fixture)
        let notes = try await session.prepare()
        #expect(await session.kinds == [.fetched, .reset])
        #expect(try head(fixture) == new)
        #expect(fixture.read("greet.sh", in: fixture.checkout) == "echo hello\n")
        let kept = try fixture.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/holdfast/old", in: fixture.checkout)
        #expect(kept.hasSuffix(old))
        #expect(notes.first?.contains(kept.split(separator: " ")[0]) == true)
        #expect(try await session.workspace.state() == WorkspaceState(branch: "pr-1", commit: new, unpushed: 0))
    }

    @Test func aRebasedPullRequestIsResetAfterTheAgentHasPushedToItsBranch() async throws {
        let (fixture, session, _) = try await pullRequest()
        try fixture.commit("agents", "1", in: fixture.checkout)
        try fixture.git("push", "--quiet", "origin", "HEAD:feature", in: fixture.checkout)
        // The forge's ref lags behind the push: that is no reason to take the agent's commit back.
        let pushed = try head(fixture)
        #expect(try await session.prepare() == [])
        #expect(try head(fixture) == pushed)

        let new = try rebase(fixture)
        try fixture.git("push", "--quiet", "--force", "origin", "HEAD:feature", in: fixture.author)
        try await session.prepare()
        #expect(await session.kinds == [.fetched, .reset])
        #expect(try head(fixture) == new)
    }

    @Test func aPullRequestThatLostItsLastCommitIsReset() async throws {
        let (fixture, session, old) = try await pullRequest()
        try fixture.setPullRequest(1, to: "HEAD~1")
        try await session.prepare()
        #expect(await session.kinds == [.fetched, .reset])
        #expect(try head(fixture) != old)
    }

    @Test func unpushedCommitsAreLeftAloneWhenTheRemoteMoves() async throws {
        let (fixture, session, _) = try await pullRequest()
        let mine = try fixture.commit("mine", "1", in: fixture.checkout)
        #expect(try await session.prepare() == [])
        let theirs = try fixture.commit("theirs", "1")
        try fixture.setPullRequest(1)
        for _ in 1...2 {
            let notes = try await session.prepare()
            #expect(await session.kinds == [.fetched, .diverged])
            #expect(notes.count == 1 && notes[0].contains(mine.prefix(12)) && notes[0].contains(theirs.prefix(12)))
            #expect(notes.first?.contains("origin/pull/1/head") == true)
        }
        #expect(try head(fixture) == mine)
        // The agent merges: nothing more to tell.
        try fixture.git("merge", "--quiet", "--no-edit", "origin/pull/1/head", in: fixture.checkout)
        #expect(try await session.prepare() == [])
    }

    @Test(arguments: [false, true])
    func uncommittedChangesAreLeftAloneAndTheTreeFollowsOnceTheyAreGone(rebased: Bool) async throws {
        let (fixture, session, old) = try await pullRequest()
        try fixture.write("greet.sh", "echo mine\n", in: fixture.checkout)
        #expect(try await session.prepare() == [])
        let new = try rebased ? rebase(fixture) : fixture.commit("more", "1")
        try fixture.setPullRequest(1)
        let notes = try await session.prepare()
        #expect(await session.kinds == [.fetched, .dirty])
        #expect(
            notes.count == 1 && notes[0].contains(old.prefix(12)) && notes[0].contains(new.prefix(12))
                && notes[0].contains("greet.sh"))
        #expect(fixture.read("greet.sh", in: fixture.checkout) == "echo mine\n")
        try fixture.git("checkout", "--quiet", "--", "greet.sh", in: fixture.checkout)
        try await session.prepare()
        #expect(try head(fixture) == new)
    }

    @Test func aBranchDeletedOnTheRemoteIsTold() async throws {
        let fixture = try GitFixture()
        try fixture.git("push", "--quiet", "origin", "HEAD:feature", in: fixture.author)
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote, branch: "feature"))
        try await session.prepare()
        let old = try head(fixture)
        try fixture.git("push", "--quiet", "origin", ":feature", in: fixture.author)
        #expect(try await session.prepare().first?.contains("no longer has branch feature") == true)
        #expect(try head(fixture) == old)
    }

    @Test func aBranchThatTheAgentSwitchedToIsLeftAlone() async throws {
        let (fixture, session, _) = try await pullRequest()
        try fixture.git("checkout", "--quiet", "-b", "experiment", in: fixture.checkout)
        #expect(try await session.prepare() == [])
        let new = try fixture.commit("more", "1")
        try fixture.setPullRequest(1)
        #expect(try await session.prepare().first?.contains("on branch experiment") == true)
        #expect(try await session.workspace.state().branch == "experiment")
        // Back on its branch, it follows again.
        try fixture.git("checkout", "--quiet", "pr-1", in: fixture.checkout)
        try await session.prepare()
        #expect(try head(fixture) == new)
    }

    @Test func aMergeInProgressIsLeftAlone() async throws {
        let (fixture, session, _) = try await pullRequest()
        try fixture.commit("greet.sh", "echo mine\n", in: fixture.checkout)
        try fixture.commit("greet.sh", "echo theirs\n")
        try fixture.setPullRequest(1)
        try await session.prepare()
        #expect(throws: GitFixtureError.self) {
            try fixture.git("merge", "--quiet", "origin/pull/1/head", in: fixture.checkout)
        }
        #expect(try await session.prepare().first?.contains("A merge is in progress") == true)
        #expect(fixture.exists(fixture.checkout + "/.git/MERGE_HEAD"))
        #expect(try await session.workspace.state().dirtyFiles == ["greet.sh"])
    }

    @Test func aCommitThatTheAgentTookBackStaysTakenBack() async throws {
        let (fixture, session, _) = try await pullRequest()
        try fixture.git("reset", "--quiet", "--hard", "HEAD~1", in: fixture.checkout)
        let mine = try head(fixture)
        #expect(try await session.prepare() == [])
        #expect(try head(fixture) == mine)
    }

    @Test func anIndexLockedByTheAgentDoesNotFailTheTurn() async throws {
        let (fixture, session, old) = try await pullRequest()
        try fixture.write(".git/index.lock", "", in: fixture.checkout)
        let new = try fixture.commit("more", "1")
        try fixture.setPullRequest(1)
        #expect(try await session.prepare().first?.contains("index.lock") == true)
        #expect(try head(fixture) == old)
        // Once the agent's processes have been ended, the lock is nobody's.
        await session.workspace.processesEnded()
        try await session.prepare()
        #expect(try head(fixture) == new)
    }

    @Test func aDeletedGitDirectoryIsAnErrorAndNothingElse() async throws {
        let (fixture, session, _) = try await pullRequest()
        try FileManager.default.removeItem(atPath: fixture.checkout + "/.git")
        let error = await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(error?.step == .locate)
        #expect(error?.message.contains(".git") == true)
        #expect(fixture.read("greet.sh", in: fixture.checkout) == "echo hi\n")
        await #expect(throws: WorkspaceError.self) { try await session.workspace.state() }
    }
}
