import Foundation
import SessionModel
import Support
import Testing
import Workspace

@Suite struct SetupTests {
    @Test func itRunsOncePerIncarnationInTheCheckout() async throws {
        let fixture = try GitFixture()
        let description = WorkspaceDescription(
            repository: fixture.remote, setupCommand: "test -f README.md && echo run >> ../log; echo $MARK >> ../log")
        for _ in 1...2 {
            let session = Incarnation(fixture, description, environment: ["MARK": "marked"])
            try await session.prepare()
            #expect(await session.kinds.last == .setup)
            try await session.prepare()
            #expect(await session.kinds.last == .fetched)
        }
        #expect(fixture.read("session/log", in: fixture.root) == "run\nmarked\nrun\nmarked\n")
    }

    @Test func itsFailureHasItsLastLinesAndItRunsAgain() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(
            fixture,
            WorkspaceDescription(setupCommand: "[ -f ok ] || { seq 1 100000; echo no such thing >&2; touch ok; exit 3; }"))
        let error = await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(error?.step == .setup)
        #expect(error?.message.contains("exit code 3: no such thing") == true)
        #expect(error?.message.hasSuffix("99999\n100000") == true)
        #expect((error?.message.utf8.count ?? 0) < 10_000)
        try await session.prepare()
        #expect(await session.kinds == [.setup])
    }

    @Test func itsTimeLimitEndsItAndWhatItStarted() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(
            fixture,
            WorkspaceDescription(setupCommand: "echo $$ > pid; echo waiting; exec sleep 1000", stepTimeout: .seconds(10)))
        let error = await #expect(throws: WorkspaceError.self) { try await session.prepare() }
        #expect(error?.message.contains("did not end within 10s and was stopped: waiting") == true)
        let process = try #require(fixture.number("pid", in: fixture.checkout))
        #expect(kill(process, 0) == -1)
    }

    @Test func aServerThatItLeavesBehindDoesNotHoldTheTurn() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(fixture, WorkspaceDescription(setupCommand: "sleep 1000 & echo $! > pid"))
        try await session.prepare()
        #expect(await session.kinds == [.created, .setup])
        let server = try #require(fixture.number("pid", in: fixture.checkout))
        #expect(kill(server, SIGKILL) == 0)
    }

    @Test func cancellingTheTurnStopsIt() async throws {
        let fixture = try GitFixture()
        let session = Incarnation(
            fixture, WorkspaceDescription(setupCommand: "echo $$ > pid; touch started; exec sleep 1000"))
        try await session.prepareUntilCancelled { fixture.exists(fixture.checkout + "/started") }
        let process = try #require(fixture.number("pid", in: fixture.checkout))
        #expect(kill(process, 0) == -1)
    }
}

extension Incarnation {
    /// Prepares in a task that is cancelled once `ready` holds, and expects it to say so.
    fileprivate func prepareUntilCancelled(_ ready: @Sendable () -> Bool) async throws {
        let turn = Task { try await prepare() }
        for _ in 0..<1000 where !ready() { try await Task.sleep(for: .milliseconds(10)) }
        turn.cancel()
        let error = await #expect(throws: WorkspaceError.self) { try await turn.value }
        #expect(error?.message.contains("was stopped") == true)
    }
}
