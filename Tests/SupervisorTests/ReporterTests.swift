import Foundation
import GitHub
import Logging
import SessionModel
import Support
import Testing

@testable import Supervisor

/// What the forge is told of sessions: a store on the disk and a forge that answers, or does not.
@Suite(.timeLimit(.minutes(2)))
final class ReporterTests {
    private let directory: TemporaryDirectory
    private let forge: GitHubDouble
    private var store: SQLiteStore
    private var running: Task<Void, Never>?
    private static let key = try! SessionKey(parsing: "issue:acme/widgets#7")

    init() throws {
        directory = try TemporaryDirectory()
        forge = try GitHubDouble()
        try Data("ghp_double".utf8).write(to: URL(filePath: directory.path + "/token"))
        store = try SQLiteStore(path: directory.path + "/store.db")
    }

    deinit {
        running?.cancel()
        forge.stop()
    }

    /// As a supervisor that was killed and started again.
    private func restart() async throws {
        running?.cancel()
        await running?.value
        try store.close()
        store = try SQLiteStore(path: directory.path + "/store.db")
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let github = GitHubClient(
            host: "github.com", tokenFile: directory.path + "/token", api: forge.url, pause: .milliseconds(1))
        let reporter = Reporter(
            store: store, forge: ForgeFacts(github: github), secrets: { ["ghp_double"] },
            outbox: Outbox(pause: .milliseconds(1), interval: .milliseconds(1)), logger: logger)
        running = Task { await reporter.run() }
    }

    /// A session that an event has made, and its first Task.
    private func begin(_ change: (inout SpawnerSpec) -> Void = { _ in }) async throws {
        var spec = SpawnerSpec(
            when: SpawnerTrigger(githubWebhook: GitHubWebhook(repository: "acme/widgets", events: ["issues"])))
        change(&spec)
        let spawner = SpawnerResource(
            kind: "Spawner", metadata: Metadata(name: "fixer", uid: "s", resourceVersion: "", creationTimestamp: .now),
            spec: spec, status: SpawnerStatus())
        try await store.transact { _ = try $0.insert(spawner) }
        try await task("t1")
        try await store.transact { store in
            try store.keep(
                ForgeReport(
                    name: Self.key.name, uid: "", spawner: "fixer", place: "github.com/acme/widgets",
                    repository: "acme/widgets", number: 7, defaultBranch: "main"))
        }
    }

    private func task(_ name: String) async throws {
        let request = TaskRouting.Request(
            spec: TaskSpec(prompt: "p", scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7)),
            fallback: AgentDescription(driver: .codex), digest: "d", name: name, uid: name + UUID().uuidString,
            sessionUID: UUID().uuidString)
        _ = try await store.create(request)
    }

    private func become(_ phase: TaskPhase, _ name: String = "t1", answer: String? = nil) async throws {
        try await store.write { store in
            var task = try store.task(named: name)!
            task.status.phase = phase
            task.status.startTime = task.status.startTime ?? .now
            if phase.isTerminal { task.status.completionTime = .now }
            if let answer { task.status.results = TurnResults(answer: answer) }
            try store.update(task)
        }
    }

    private func pushed() async throws {
        try await store.transact { store in
            var report = try store.report(Self.key.name)!
            report.pushed = true
            try store.keep(report)
        }
    }

    private func end() async throws {
        try await store.write { store in
            var session = try store.session(named: Self.key.name)!
            session.status.phase = .ended
            try store.update(session)
        }
    }

    /// Waits until it is so.
    private func until(_ isSo: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(30)
        while try await !isSo() {
            guard ContinuousClock.now < deadline else {
                Issue.record("waited in vain: \(forge.comments(7)) \(forge.requests.suffix(5)) \(forge.pullRequests)")
                return
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    private func says(_ text: String) -> Bool { forge.comments(7).first?.contains(text) == true }

    @Test func oneCommentTellsItAllAlongAlsoAcrossRestarts() async throws {
        try await begin()
        try await restart()
        try await until { says("Holdfast: queued") }
        try await become(.running)
        try await until { says("Holdfast: working") }
        try await restart()
        try await become(.succeeded, answer: "I did it, said ghp_double. @ada")
        try await until { says("Holdfast: done") && says("***") }
        #expect(!says("ghp_double") && !says("@ada"))
        let writes = forge.requests.filter { !$0.hasPrefix("GET") }.count
        // Nothing is new: nothing is written.
        try await restart()
        try await task("t2")
        try await until { says("Holdfast: queued") }
        #expect(forge.requests.filter { !$0.hasPrefix("GET") }.count == writes + 1)
        try await become(.failed, "t2")
        try await end()
        try await until { says("Holdfast: ended, failed") }
        try await until { try await store.transact { try $0.openReports() }.isEmpty }
        #expect(forge.comments(7).count == 1)
    }

    @Test(arguments: [true, false]) func neitherALostAnswerNorAFaultMakesASecondComment(isDone: Bool) async throws {
        try await begin()
        forge.change { state in
            state.comments = [7: [["id": 1, "body": "<!-- holdfast: session x -->", "user": ["login": "robot"]]]]
            state.writeMoods = [.init(502, isDone: isDone)]
        }
        try await restart()
        // It waits for five seconds before it looks again; a restart looks at once.
        try await until { forge.requests.contains { $0.hasPrefix("POST") } }
        try await restart()
        try await until { forge.comments(7).last?.contains("queued") == true }
        try await become(.running)
        try await until { forge.comments(7).last?.contains("working") == true }
        #expect(forge.comments(7).count == 2)
    }

    /// Somebody else writes what looks like the comment: it is not taken for it.
    @Test func aForgedMarkerIsNotTakenForTheComment() async throws {
        try await begin()
        try await restart()
        try await until { says("queued") }
        let text = forge.comments(7)[0]
        // Not while it stores what it has just written.
        running?.cancel()
        await running?.value
        try await store.transact { store in
            var report = try store.report(Self.key.name)!
            (report.comment, report.written) = (nil, nil)
            try store.keep(report)
        }
        forge.change { $0.comments = [7: [["id": 1, "body": .string(text), "user": ["login": "eve"]]]] }
        try await restart()
        try await until { forge.comments(7).count == 2 }
    }

    @Test func whatTheForgeRefusesIsSeenAtTheSpawner() async throws {
        try await begin()
        forge.change { $0.writeMoods = [.init(403, #"{"message": "Resource not accessible by personal access token"}"#)] }
        try await restart()
        func condition() async throws -> Condition? {
            try await store.transact { try $0.get(SpawnerResource.self, "fixer") }?.status.conditions.first {
                $0.type == "Reporting"
            }
        }
        try await until { try await condition()?.status == .false }
        #expect(try await condition()?.message.contains("not accessible") == true)
        try await become(.running)
        try await until { says("working") }
        try await until { try await condition()?.status == .true }
    }

    @Test func aSpawnerMayKeepQuiet() async throws {
        try await begin { $0.report = SpawnerReport(comment: false, pullRequest: .never) }
        try await pushed()
        try await restart()
        try await become(.succeeded, answer: "done")
        try await end()
        try await until { try await store.transact { try $0.openReports() }.isEmpty }
        #expect(forge.requests.isEmpty)
    }

    @Test(arguments: [SpawnerReport.PullRequest.open, .draft])
    func aPullRequestIsOpenedOnceForWhatWasPushed(kind: SpawnerReport.PullRequest) async throws {
        try await begin { $0.report = SpawnerReport(pullRequest: kind) }
        try await restart()
        try await become(.running)
        try await pushed()
        try await until { says("working") }
        #expect(forge.pullRequests.isEmpty)
        // The answer to the first attempt is lost, and the supervisor dies.
        forge.change { $0.writeMoods = [.init(502, isDone: true), .init(502, isDone: true)] }
        try await become(.succeeded, answer: "Frob the widget\n\nAs asked.")
        try await until { !forge.pullRequests.isEmpty }
        try await restart()
        try await until { says("ull request #") }
        #expect(forge.pullRequests.count == 1)
        let (number, pull) = try #require(forge.pullRequests.first)
        #expect(pull["title"]?.string == "Frob the widget" && pull["draft"]?.bool == (kind == .draft))
        #expect(pull["head"]?["ref"]?.string == "holdfast/issue-7" && pull["base"]?["ref"]?.string == "main")
        #expect(pull["body"]?.string?.contains("Closes #7.") == true && pull["body"]?.string?.contains("As asked.") == true)
        // A person closes it: no other one is opened.
        forge.change { $0.pullRequests[number] = .object(pull.object!.merging(["state": "closed"]) { $1 }) }
        try await task("t2")
        try await become(.succeeded, "t2", answer: "More.")
        try await until { says("More.") }
        #expect(forge.pullRequests.count == 1)
        #expect(
            try await store.transact { try $0.report(place: "github.com/acme/widgets", pullRequest: number) }?.name
                == Self.key.name)
    }

    @Test func aPullRequestThatAPersonHasOpenedIsTaken() async throws {
        try await begin()
        forge.change {
            $0.pullRequests = [
                5: ["number": 5, "state": "open", "user": ["login": "ada"], "head": ["ref": "holdfast/issue-7"]],
                4: ["number": 4, "state": "closed", "user": ["login": "ada"], "head": ["ref": "holdfast/issue-7"]],
            ]
        }
        try await pushed()
        try await restart()
        try await become(.succeeded, answer: "Done.")
        try await until { says("ull request #5") }
        #expect(forge.pullRequests.count == 2)
    }

    @Test func reactionsAndAnswersAreSentOnce() async throws {
        try await begin()
        forge.change { $0.writeMoods = [.init(502, isDone: true), .init(502, isDone: true), .init(502, isDone: true)] }
        try await store.transact { store in
            let name = Self.key.name
            try store.add(
                OutgoingMessage(
                    session: name, repository: "acme/widgets", number: 7, target: "issues/7", reaction: "eyes", made: .now))
            try store.add(
                OutgoingMessage(session: name, repository: "acme/widgets", number: 7, answers: 31, made: .now))
        }
        try await restart()
        try await until { forge.comments(7).count == 2 && !forge.reactions.isEmpty }
        try await restart()
        try await until { try await store.transact { try $0.outgoing(after: 0) }.isEmpty }
        #expect(forge.reactions == ["eyes issues/7"])
        #expect(forge.comments(7).filter { $0.hasPrefix("<!-- holdfast: answer 31 -->") }.count == 1)
        #expect(forge.comments(7).filter { $0.hasPrefix("<!-- holdfast: session ") }.count == 1)
    }

    @Test func aNewSessionOfTheSameIssueHasACommentOfItsOwn() async throws {
        try await begin()
        try await restart()
        try await until { says("queued") }
        try await become(.succeeded)
        try await end()
        try await until { says("ended") }
        try await task("t2")
        try await store.transact { store in
            var report = try store.report(Self.key.name)!
            report.closed = false
            try store.keep(report)
        }
        try await become(.running, "t2")
        try await until { forge.comments(7).last?.contains("working") == true }
        #expect(forge.comments(7).count == 2 && says("ended, done"))
    }
}
