import Foundation
import NIOConcurrencyHelpers
import SessionModel
import Support
import Testing

@testable import Holdfast

/// Following: what is shown, how it ends, and what happens when the server goes away meanwhile.
@Suite(.timeLimit(.minutes(1)))
struct FollowTests {
    /// Answers like a supervisor whose one Task runs as the turn's events say, and whose stream breaks after `breaksAfter` lines.
    private func serve(ending phase: TaskPhase, notices: [String]? = nil, breaksAfter: Int? = nil) throws -> FakeServer {
        let end: TurnState =
            phase == .succeeded ? .succeeded : phase == .cancelled ? .cancelled : phase == .interrupted ? .interrupted : .failed
        let lines = [
            try Fixture.line(4, .turnQueued(TurnQueued(request: TurnRequest(prompt: "Fix it"), key: nil))),
            try Fixture.line(5, .turnDispatched), "{\"delta\":\"I am \",\"turn\":\"t1\"}\n",
            "{\"delta\":\"on it.\",\"turn\":\"t1\"}\n", try Fixture.line(6, .message(Message(text: "I am on it."))),
            try Fixture.line(7, .toolCall(ToolCall(id: "a", title: "make test"))),
            try Fixture.line(8, .toolResult(ToolResult(id: "a", status: "completed", output: "ok"))),
            try Fixture.line(9, .turnEnded(TurnEnded(state: end, reason: .completed))),
        ]
        let ended = Gate()
        let breaks = NIOLockedValueBox(breaksAfter)
        return try FakeServer { request, connection in
            switch (request.method, request.path) {
            case ("POST", _): try connection.respond(Fixture.task(), status: 201)
            case (_, "/v1/tasks/task-1"):
                if request.query.contains("after=1&") {
                    try connection.respond(Fixture.task(.running, version: 2) { $0.turn = TurnID(1) })
                } else {
                    ended.wait()
                    try connection.respond(
                        Fixture.task(phase, version: 3) {
                            $0.turn = TurnID(1)
                            $0.notices = notices
                        })
                }
            case (_, let path) where path.hasSuffix("/transcript"):
                try connection.beginChunks(type: "application/x-ndjson")
                let after =
                    request.query.split(separator: "&").first { $0.hasPrefix("after=") }.flatMap {
                        Int($0.split(separator: "-").last ?? "")
                    } ?? 0
                let limit = breaks.withLockedValue { value in
                    defer { value = nil }
                    return value
                }
                // Whatever the reader has seen already is not sent again, deltas never are.
                let fresh =
                    after == 0
                    ? lines : lines.filter { line in (4...9).contains { $0 > after && line.contains("\"seq\":\($0),") } }
                for line in limit.map({ Array(fresh.prefix($0)) }) ?? fresh { try connection.chunk(line) }
                if limit != nil { return connection.close() }
                ended.open()
                connection.waitForClientToLeave()
            default: try connection.respond(Fixture.session())
            }
        }
    }

    private let expected = """

        ━━ t1 ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 2026-11-23 18:14:05 UTC ━━
        ❯ Fix it

          I am on it.

          ● make test
            │ ok
            └ done

        """

    @Test(arguments: [(TaskPhase.succeeded, Int32(0)), (.failed, 1), (.cancelled, 3), (.interrupted, 4)])
    func runFollowShowsTheTurnAndExitsByItsOutcome(phase: TaskPhase, status: Int32) async throws {
        let fake = try serve(ending: phase)
        defer { fake.stop() }
        let outcome = await fake.run("run", "--follow", "Fix it")
        #expect(outcome.status == status)
        #expect(outcome.output.hasPrefix(expected), "\(outcome.output)")
        #expect(outcome.output.contains("\(phase.rawValue.lowercased()) in 0ms"))
        #expect(outcome.errors.contains("task-1 waiting: the session is being prepared\n"))
    }

    @Test func whatAUserShouldKnowIsShownAlsoOfASuccess() async throws {
        let fake = try serve(ending: .succeeded, notices: ["The agent's memory was lost."])
        defer { fake.stop() }
        let outcome = await fake.run("run", "--follow", "Fix it")
        #expect(outcome.status == 0)
        #expect(outcome.errors.hasSuffix("note: The agent's memory was lost.\n"), "\(outcome.errors)")
    }

    @Test(arguments: 0...7)
    func aLostConnectionShowsNothingTwiceAndLosesNothing(breaksAfter: Int) async throws {
        let fake = try serve(ending: .succeeded, breaksAfter: breaksAfter)
        defer { fake.stop() }
        let outcome = await fake.run("run", "--follow", "Fix it")
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(outcome.output.hasPrefix(expected), "broken after \(breaksAfter): \(outcome.output)")
        #expect(outcome.output.components(separatedBy: "succeeded").count == 2)
    }

    @Test func onATerminalProgressIsOverwritten() async throws {
        let fake = try serve(ending: .succeeded)
        defer { fake.stop() }
        let outcome = await fake.run("run", "--follow", "Fix it", terminal: true)
        #expect(outcome.status == 0)
        #expect(outcome.errors.contains("\r\u{1B}[2Kwaiting: the session is being prepared\r\u{1B}[2K"))
        #expect(outcome.errors.contains("\r\u{1B}[2Kworking"))
        #expect(outcome.errors.hasSuffix("\r\u{1B}[2K"), "nothing is left behind")
    }

    @Test func controlCDetachesAndSaysHowToComeBack() async throws {
        let streaming = Gate()
        let fake = try FakeServer { request, connection in
            switch (request.method, request.path) {
            case ("POST", _): try connection.respond(Fixture.task(.running, version: 2) { $0.turn = TurnID(7) }, status: 201)
            case (_, let path) where path.hasSuffix("/transcript"):
                try connection.beginChunks()
                streaming.open()
                connection.waitForClientToLeave()
            default: connection.waitForClientToLeave()
            }
        }
        defer { fake.stop() }
        let outcome = await fake.run("run", "--follow", "Fix it") {
            await withCheckedContinuation { done in
                Thread.detachNewThread {
                    streaming.wait()
                    done.resume()
                }
            }
        }
        #expect(outcome.status == 130)
        #expect(
            outcome.errors.hasSuffix(
                "detached; task-1 goes on. Come back with: holdfast transcript 'pr:github.com/acme/widgets#12' --turn t7 --follow\n"
            ))
        #expect(!fake.seen.contains { $0.hasPrefix("DELETE") })
    }

    @Test func aTaskThatEndsWithoutATurnSaysWhy() async throws {
        let fake = try FakeServer { request, connection in
            if request.method == "POST" { return try connection.respond(Fixture.task(), status: 201) }
            try connection.respond(
                Fixture.task(.failed, version: 2) {
                    $0.reason = .sessionFailed
                    $0.message = "no sidecar could be started: the disk is full"
                })
        }
        defer { fake.stop() }
        let outcome = await fake.run("run", "--follow", "Fix it")
        #expect(outcome.status == 1)
        #expect(outcome.errors.hasSuffix("task-1 failed (SessionFailed): no sidecar could be started: the disk is full\n"))
    }

    /// In a cluster the transcript of a Task without a scope goes with its pod, which may be before anybody has read it.
    @Test func aTranscriptThatIsGoneDoesNotMakeAFailureOfASuccess() async throws {
        let fake = try FakeServer { request, connection in
            if request.method == "POST" { return try connection.respond(Fixture.task(), status: 201) }
            guard request.path.hasSuffix("/transcript") else {
                return try connection.respond(Fixture.task(.succeeded, version: 2) { $0.turn = TurnID(1) })
            }
            try connection.respond(Problem(.notFound, "The transcript went with its pod."), status: 404)
        }
        defer { fake.stop() }
        let outcome = await fake.run("run", "--follow", "Fix it")
        #expect(outcome.status == 0)
        #expect(outcome.errors.contains("the transcript cannot be shown: The transcript went with its pod.\n"))
        #expect(outcome.errors.hasSuffix("task-1 succeeded\n"))
    }

    @Test func transcriptsHaveThreeFormsAndCanBeSearched() async throws {
        let lines = [
            try Fixture.line(1, .message(Message(text: "one apple"))), try Fixture.line(2, .message(Message(text: "two pears"))),
            #"{"seq":5,"type":"journal.gap","data":{"from":3,"to":5,"file":"f","reason":"bad checksum"}}"# + "\n",
        ]
        let fake = try FakeServer { request, connection in
            try connection.respond(200, lines.joined(), type: "application/x-ndjson")
        }
        defer { fake.stop() }
        let text = await fake.run("transcript", "pr:acme/widgets#12", "--turn", "t1", "--after", "\(Fixture.journal)-0")
        #expect(text.output == "\n  one apple\n\n  two pears\nevents 3 to 5 are damaged: bad checksum\n")
        #expect(
            fake.seen.last
                == "GET /v1/sessions/pr%3Agithub.com%2Facme%2Fwidgets%2312/transcript?after=\(Fixture.journal)-0&turn=t1")
        #expect(await fake.run("transcript", "x", "--format", "jsonl").output == lines.joined())
        #expect(await fake.run("transcript", "x", "--format", "markdown").output.hasPrefix("one apple\n\ntwo pears\n\n"))
        #expect(await fake.run("transcript", "x", "--grep", "p[ea]{2}rs").output.hasPrefix("\n  two pears\n"))
        #expect(await fake.run("transcript", "x", "--grep", "(").status == 2)
        #expect(await fake.run("transcript", "x", "--turn", "3").status == 2)
    }

    @Test func aProblemInTheStreamIsAnError() async throws {
        let fake = try FakeServer { _, connection in
            let problem = try JSON.string(Problem(.cursorGone, "The cursor is of another journal."))
            try connection.respond(200, problem + "\n", type: "application/x-ndjson")
        }
        defer { fake.stop() }
        let outcome = await fake.run("transcript", "x", "--follow")
        #expect(outcome.status == 6)
        #expect(outcome.errors == "holdfast: The cursor is of another journal.\n")
    }

    @Test func followingEndsWithTheSession() async throws {
        let fake = try FakeServer { request, connection in
            if request.path.hasSuffix("/transcript") {
                return try connection.respond(200, Fixture.line(1, .sessionDrained), type: "application/x-ndjson")
            }
            // It sleeps, something of it changes, and then someone ends it.
            let next =
                switch request.query {
                case let query where query.contains("after=5"): Fixture.session(.ended, version: 6)
                case let query where query.contains("after=4"): Fixture.session(.suspended, version: 5)
                default: Fixture.session(.suspended, version: 4)
                }
            try connection.respond(next)
        }
        defer { fake.stop() }
        let outcome = await fake.run("transcript", "x", "--follow")
        #expect(outcome.status == 0)
        #expect(outcome.output == "18:14:05 · drained\n")
        // While it sleeps nothing is written: what was written before is read, and then nothing is read in vain.
        #expect(fake.seen.filter { $0.contains("/transcript") }.count == 2)
    }
}
