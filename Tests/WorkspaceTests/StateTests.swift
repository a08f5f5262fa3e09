import Foundation
import SessionModel
import Support
import Testing
import Workspace

/// What is said of the working tree after a turn.
@Suite struct StateTests {
    @Test func commitsChangesAndUntrackedFilesAreSeen() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        try await session.prepare()
        let head = try fixture.commit("new", "1\n2\n", in: fixture.checkout)
        try fixture.write("README.md", "changed\n", in: fixture.checkout)
        try fixture.write("untracked", "1\n", in: fixture.checkout)
        #expect(
            try await session.workspace.state()
                == WorkspaceState(
                    branch: "main", commit: head, commits: 1, unpushed: 1, dirtyFiles: ["README.md", "untracked"],
                    dirtyFileCount: 2,
                    diffstat: "2 files changed, 3 insertions(+), 1 deletion(-)"))
        // The next turn starts where this one ended, as far as it was committed.
        try fixture.git("checkout", "--quiet", "--", ".", in: fixture.checkout)
        try await session.prepare()
        let next = try await session.workspace.state()
        #expect(next.diffstat == nil && next.commits == nil)
        // What was taken away is no new commit.
        try fixture.git("reset", "--quiet", "--hard", "HEAD~1", in: fixture.checkout)
        #expect(try await session.workspace.state().commits == nil)
    }

    @Test func manyFilesAreCountedAndAHundredListed() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        try await session.prepare()
        for number in 0..<2000 { try fixture.write("a-rather-long-name-to-fill-the-output-\(number)", "", in: fixture.checkout) }
        let state = try await session.workspace.state()
        #expect(state.dirtyFileCount == 2000 && state.dirtyFiles.count == 100)
    }

    @Test func namesThatAreNotUTF8DoNoHarm() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        try await session.prepare()
        let name = Array((fixture.checkout + "/f").utf8CString.dropLast()) + [CChar(bitPattern: 0xFF), 0]
        let descriptor = open(name, O_CREAT | O_WRONLY, 0o644)
        #expect(descriptor >= 0)
        close(descriptor)
        #expect(try await session.workspace.state().dirtyFiles == ["f\u{FFFD}"])
    }

    @Test func aDetachedHeadHasNoBranch() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(repository: fixture.remote))
        try await session.prepare()
        try fixture.git("checkout", "--quiet", "--detach", in: fixture.checkout)
        #expect(try await session.workspace.state().branch == nil)
    }
}
