import Curl
import Foundation
import GitHub
import HTTPServing
import HTTPTypes
import Logging
import SessionModel
import Support
import Testing

@testable import Supervisor

/// Deliveries as GitHub makes them, a store on the disk, and a forge that answers. No session runs here: the Tasks are looked at.
@Suite(.timeLimit(.minutes(5)))
final class WebhookTests {
    private static let secret = "It's a Secret to Everybody"
    private let directory: TemporaryDirectory
    private let forge: GitHubDouble
    private var store: SQLiteStore
    private var worker: WebhookWorker
    private var running: Task<Void, Never>?

    init() throws {
        directory = try TemporaryDirectory()
        forge = try GitHubDouble()
        forge.change { $0.permissions = ["ada": "write", "eve": "read"] }
        try Data("ghp_double".utf8).write(to: URL(filePath: directory.path + "/token"))
        try Data("\(Self.secret)\n".utf8).write(to: URL(filePath: directory.path + "/secret"))
        store = try SQLiteStore(path: directory.path + "/store.db")
        worker = try Self.worker(store, forge, directory)
    }

    deinit {
        running?.cancel()
        forge.stop()
    }

    private static func worker(_ store: SQLiteStore, _ forge: GitHubDouble, _ directory: TemporaryDirectory) throws
        -> WebhookWorker
    {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return WebhookWorker(
            store: store, agents: try AgentPresets(directory: nil, demo: "/bin/true", fallback: "demo"),
            forge: ForgeFacts(
                github: GitHubClient(
                    host: "github.com", tokenFile: directory.path + "/token", api: forge.url, pause: .milliseconds(1))),
            logger: logger)
    }

    /// As a supervisor that was killed and started again.
    private func restart() async throws {
        running?.cancel()
        await running?.value
        try store.close()
        store = try SQLiteStore(path: directory.path + "/store.db")
        worker = try Self.worker(store, forge, directory)
        let worker = worker
        running = Task { await worker.run() }
    }

    private func apply(_ name: String = "fixer", _ change: (inout SpawnerSpec) -> Void = { _ in }) async throws {
        var spec = SpawnerSpec(
            when: SpawnerTrigger(
                githubWebhook: GitHubWebhook(repository: "acme/*", events: ["issues", "issue_comment", "pull_request"])))
        change(&spec)
        #expect(spec.mistake == nil, "\(spec.mistake ?? "")")
        let spawner = SpawnerResource(
            kind: "Spawner", metadata: Metadata(name: name, uid: name, resourceVersion: "", creationTimestamp: .now), spec: spec,
            status: SpawnerStatus())
        try await store.transact { _ = try $0.insert(spawner) }
    }

    private static func issue(_ number: Int, action: String = "opened", by login: String = "ada") -> String {
        """
        {"action": "\(action)", "sender": {"login": "\(login)"}, "repository": {"id": 1, "full_name": "acme/widgets"},
         "issue": {"number": \(number), "title": "t\(number)", "body": "b", "state": "open", "updated_at": "x"}}
        """
    }

    private static func comment(_ id: Int, on number: Int, _ text: String, by login: String = "ada") -> String {
        """
        {"action": "created", "sender": {"login": "\(login)"}, "repository": {"id": 1, "full_name": "acme/widgets"},
         "comment": {"id": \(id), "body": "\(text)", "user": {"login": "\(login)"}}, "issue": {"number": \(number)}}
        """
    }

    private func deliver(_ id: String, _ event: String, _ payload: String) async throws {
        let subject = try GitHubEvent(event: event, payload: JSON.decode(from: payload))?.place ?? ""
        let delivery = WebhookDelivery(id: id, event: event, payload: Data(payload.utf8), received: .now)
        _ = try await store.transact { try $0.keep(delivery, subject: subject) }
        worker.wake()
    }

    /// Waits until nothing is left to do.
    private func settle() async throws -> [DeliveryReport] {
        let deadline = ContinuousClock.now + .seconds(90)
        while ContinuousClock.now < deadline {
            worker.wake()
            if try await store.transact({ try $0.openDeliveries() }) == 0 { break }
            try await Task.sleep(for: .milliseconds(10))
        }
        return try await store.transact { try $0.deliveries(after: nil, limit: 5000).items }
    }

    private func tasks() async throws -> [TaskResource] {
        try await store.read { try $0.tasks(session: nil, limit: 5000) }.reversed()
    }

    // MARK: The worker

    @Test func anEventBecomesATaskOfItsSession() async throws {
        try await apply { spec in
            spec.profile = "fixer"
            spec.lifetime = Lifetime()
            spec.lifetime?.maxTurns = 9
            spec.taskTemplate.prompt = "Fix #{{subject.number}}: {{subject.title}}"
            spec.taskTemplate.credentials = WorkspaceCredentials(tokenFile: "/t")
        }
        try await restart()
        try await deliver("1", "issues", Self.issue(7))
        let reports = try await settle()
        let task = try #require(try await tasks().first, "\(reports)")
        #expect(task.spec.prompt == "Fix #7: t7")
        #expect(task.status.session?.description == "issue:github.com/acme/widgets#7~fixer")
        #expect(
            task.spec.workspace
                == WorkspaceSpec(
                    repository: "https://github.com/acme/widgets.git", credentials: WorkspaceCredentials(tokenFile: "/t")))
        #expect(task.spec.lifetime?.maxTurns == 9)
        #expect(reports.first?.outcome?.contains("fixer: made \(task.metadata.name)") == true)
        let spawner = try await store.transact { try $0.get(SpawnerResource.self, "fixer") }
        #expect(spawner?.status.tasks == 1 && spawner?.status.sessions?.count == 1 && spawner?.status.lastEventTime != nil)
    }

    /// Many deliveries, some of them twice under the same or another id, in any order, while the supervisor dies again and again.
    @Test(arguments: [1, 2] as [UInt64])
    func everyIntendedTurnIsMadeOnceHoweverOftenItIsToldAndWhoeverDies(seed: UInt64) async throws {
        try await apply()
        try await restart()
        var random = SeededRandom(seed: seed)
        var deliveries: [(id: String, event: String, payload: String)] = []
        var intended: [Int: [String]] = [:]
        for index in 0..<500 {
            let number = Int.random(in: 1...20, using: &random)
            let stranger = index % 7 == 0
            deliveries.append(
                ("d\(index)", "issue_comment", Self.comment(index + 1, on: number, "c\(index)", by: stranger ? "eve" : "ada")))
            if !stranger { intended[number, default: []].append("c\(index)") }
        }
        // A comment comes after those before it, but its repeats come whenever they like.
        var schedule = deliveries
        for delivery in deliveries.shuffled(using: &random).prefix(500) {
            let again = Bool.random(using: &random) ? delivery.id : delivery.id + "-again"
            let first = schedule.firstIndex { $0.id == delivery.id }!
            schedule.insert(
                (again, delivery.event, delivery.payload), at: Int.random(in: (first + 1)...schedule.count, using: &random))
        }
        for (index, delivery) in schedule.enumerated() {
            if index % 97 == 96 { forge.change { $0.moods = [.init(502), .init(502), .init(502)] } }
            if index % 110 == 109 { try await restart() }
            try await deliver(delivery.id, delivery.event, delivery.payload)
        }
        // The forge's faults make deliveries wait for seconds: where nothing moves, a restart looks at once.
        var left = Int.max
        var deadline = ContinuousClock.now
        while case let open = try await store.transact({ try $0.openDeliveries() }), open > 0 {
            if open < left {
                (left, deadline) = (open, .now + .seconds(60))
            } else {
                guard ContinuousClock.now < deadline else { break }
                try await restart()
            }
            try await Task.sleep(for: .milliseconds(300))
        }
        var made: [Int: [String]] = [:]
        for task in try await tasks() {
            let words = task.spec.prompt.split(separator: "\n").last.map(String.init) ?? ""
            made[task.spec.scope?.number ?? 0, default: []].append(words)
        }
        #expect(made == intended, "seed \(seed)")
    }

    /// A repository is known by its number: under another name, or another owner's, its issues keep their sessions. Who takes over the
    /// name that it had does not get them.
    @Test func aRenamedRepositoryKeepsItsSessions() async throws {
        try await apply()
        try await restart()
        func comment(_ id: Int, in name: String, repository: Int) -> String {
            Self.comment(id, on: 7, "c\(id)").replacing(
                #""id": 1, "full_name": "acme/widgets""#, with: #""id": \#(repository), "full_name": "\#(name)""#)
        }
        try await deliver("1", "issue_comment", comment(1, in: "acme/widgets", repository: 1))
        _ = try await settle()
        try await deliver("2", "issue_comment", comment(2, in: "acme/gadgets", repository: 1))
        try await deliver("3", "issue_comment", comment(3, in: "acme/widgets", repository: 2))
        let reports = try await settle()
        let tasks = try await tasks()
        #expect(tasks.count == 3, "\(reports)")
        let keys = try tasks.map { try #require($0.status.session).description }
        #expect(keys[0] == "issue:github.com/acme/widgets#7" && keys[1] == keys[0] && keys[2] != keys[0], "\(keys)")
        // The forge is told under the name that it has now.
        let report = try await store.transact { try $0.report(try SessionKey(parsing: keys[0]).name) }
        #expect(report?.repository == "acme/gadgets")
    }

    @Test func aKeyOutlivesItsTask() async throws {
        try await apply()
        try await restart()
        try await deliver("1", "issue_comment", Self.comment(5, on: 7, "x"))
        _ = try await settle()
        let task = try #require(try await tasks().first)
        try await store.write { try $0.delete(task) }
        try await deliver("2", "issue_comment", Self.comment(5, on: 7, "x"))
        let reports = try await settle()
        #expect(try await tasks().isEmpty)
        #expect(reports.first?.outcome?.contains("which was deleted since") == true, "\(reports)")
    }

    @Test func commandsActOnceAndOnlyForWhoMay() async throws {
        try await apply()
        try await restart()
        try await deliver("1", "issues", Self.issue(7))
        try await deliver("2", "issue_comment", Self.comment(1, on: 7, "/stop", by: "eve"))
        _ = try await settle()
        #expect(try await tasks().map(\.status.phase) == [.pending])
        try await deliver("3", "issue_comment", Self.comment(2, on: 7, "/stop"))
        _ = try await settle()
        #expect(try await tasks().map(\.status.phase) == [.cancelled])
        try await deliver("4", "issue_comment", Self.comment(3, on: 7, "/continue and now this"))
        // The same “/stop” again, under another id.
        try await deliver("5", "issue_comment", Self.comment(2, on: 7, "/stop"))
        let reports = try await settle()
        #expect(try await tasks().map(\.status.phase) == [.cancelled, .pending])
        #expect(try await tasks().last?.spec.prompt == "and now this")
        #expect(reports.first?.outcome == "fixer: known already", "\(reports)")
        try await deliver("6", "issue_comment", Self.comment(4, on: 7, "/end"))
        _ = try await settle()
        let name = try #require(try await tasks().first?.status.session).name
        #expect(try await store.read { try $0.session(named: name) }?.spec.end == true)
    }

    @Test func anOldCloseDoesNotCloseWhatWasOpenedAgain() async throws {
        try await apply()
        try await restart()
        try await deliver("1", "issues", Self.issue(7))
        try await deliver("2", "issues", Self.issue(7, action: "closed"))
        _ = try await settle()
        let name = try #require(try await tasks().first?.status.session).name
        #expect(try await store.read { try $0.session(named: name) }?.spec.scopeClosed == true)
        try await deliver("3", "issues", Self.issue(7, action: "reopened"))
        _ = try await settle()
        #expect(try await store.read { try $0.session(named: name) }?.spec.scopeClosed == nil)
        try await deliver("2-again", "issues", Self.issue(7, action: "closed"))
        let reports = try await settle()
        #expect(reports.first?.outcome == "fixer: known already", "\(reports)")
        #expect(try await store.read { try $0.session(named: name) }?.spec.scopeClosed == nil)
    }

    @Test func whatIsTooMuchWaitsAndNothingIsDropped() async throws {
        try await apply { $0.maxConcurrentSessions = 2 }
        try await restart()
        for number in 1...4 { try await deliver("\(number)", "issues", Self.issue(number)) }
        // What concerns a session that is there goes on.
        try await deliver("5", "issue_comment", Self.comment(1, on: 2, "more"))
        let deadline = ContinuousClock.now + .seconds(30)
        while try await tasks().count < 3, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
        #expect(try await tasks().compactMap(\.spec.scope?.number) == [1, 2, 2])
        let waiting = try await store.transact { try $0.deliveries(after: nil, limit: 10).items }.filter { $0.handled == nil }
        #expect(waiting.count == 2 && waiting.allSatisfy { $0.outcome?.contains("it may have 2") == true }, "\(waiting)")
        // One has ended: the next begins.
        try await store.write { store in
            var session = try store.session(named: SessionKey(parsing: "issue:acme/widgets#1").name)!
            session.status.phase = .suspended
            try store.update(session)
        }
        try await restart()
        while try await tasks().count < 4, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
        #expect(try await tasks().compactMap(\.spec.scope?.number) == [1, 2, 2, 3])
    }

    @Test func aTokenThatIsRefusedMakesDeliveriesWait() async throws {
        try await apply()
        forge.change { $0.token = "ghp_new" }
        try await restart()
        try await deliver("1", "issues", Self.issue(7))
        let deadline = ContinuousClock.now + .seconds(30)
        var report: DeliveryReport?
        while report?.outcome == nil, ContinuousClock.now < deadline {
            report = try await store.transact { try $0.deliveries(after: nil, limit: 1).items }.first
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(
            report?.outcome?.contains("waits: GET /user: Bad credentials") == true && report?.handled == nil,
            "\(String(describing: report))")
        try Data("ghp_new".utf8).write(to: URL(filePath: directory.path + "/token"))
        try await restart()
        _ = try await settle()
        #expect(try await tasks().count == 1)
    }

    @Test func aStrangersCodeDoesNotJoinASessionWithCredentials() async throws {
        try await apply { spec in
            spec.when.githubWebhook?.allow = GitHubAllow(users: ["eve"])
            spec.taskTemplate.credentials = WorkspaceCredentials(tokenFile: "/t")
        }
        try await restart()
        func fork(_ id: String, by login: String, sha: String) async throws {
            try await deliver(
                id, "pull_request",
                """
                {"action": "synchronize", "sender": {"login": "\(login)"}, "repository": {"id": 1, "full_name": "acme/widgets"},
                 "before": "0", "after": "\(sha)", "pull_request": {"number": 12, "head": {"ref": "x", "sha": "\(sha)",
                 "repo": {"full_name": "eve/widgets"}}, "base": {"ref": "main", "sha": "b"}}}
                """)
        }
        try await fork("1", by: "eve", sha: "1")
        _ = try await settle()
        #expect(try await tasks().map(\.spec.workspace?.credentials) == [nil])
        let name = try #require(try await tasks().first?.status.session).name
        // Had somebody who may write begun it, it would have credentials.
        try await store.write { store in
            var session = try store.session(named: name)!
            session.spec.workspace?.credentials = WorkspaceCredentials(tokenFile: "/t")
            try store.update(session)
        }
        try await fork("2", by: "eve", sha: "2")
        let reports = try await settle()
        #expect(reports.first?.outcome?.contains("somebody who may write has to ask") == true, "\(reports)")
        try await fork("3", by: "ada", sha: "3")
        _ = try await settle()
        #expect(try await tasks().count == 2)
    }

    // MARK: The endpoint

    @Test func onlySignedDeliveriesAreTakenAndEachOnce() async throws {
        try await apply()
        let handler = WebhookHandler(
            store: store, secretFile: directory.path + "/secret", onDelivery: { [worker] in worker.wake() })
        var routes = Routes()
        routes.on(.post, "/v1/webhooks/github", handler.receive)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let (ports, announce) = AsyncStream.makeStream(of: Int.self)
        let service = HTTPService(.tcp(host: "127.0.0.1", port: 0), routes: routes, clientTimeout: .seconds(5), logger: logger)
        let server = Task { try? await service.run { announce.yield($0 ?? 0) } }
        defer { server.cancel() }
        let url = "http://127.0.0.1:\(await ports.first { _ in true } ?? 0)/v1/webhooks/github"
        func send(
            _ body: [UInt8], event: String? = "issues", id: String? = "d1", signature: String?? = .none,
            type: String = "application/json"
        ) async throws -> Int {
            var request = CurlRequest("POST", url, headers: [("Content-Type", type)], body: body)
            let header = signature ?? WebhookSignature.header(body: body, secret: Self.secret)
            for (name, value) in [("X-GitHub-Event", event), ("X-GitHub-Delivery", id), ("X-Hub-Signature-256", header)] {
                if let value { request.headers.append((name, value)) }
            }
            return try await CurlClient.shared.execute(request).status
        }
        let body = Array(Self.issue(7).utf8)
        let good = WebhookSignature.header(body: body, secret: Self.secret)
        for wrong in [nil, "", "sha256=", String(good.dropLast(2)), good.replacing("a", with: "b"), "sha1=00"] as [String?]
        where wrong != good {
            #expect(try await send(body, signature: wrong) == 401, "\(wrong ?? "none")")
        }
        #expect(try await send(body + [32], signature: good) == 401)
        // What is not signed is not even looked at: it may be anything.
        #expect(try await send([0xff, 0xfe], signature: good) == 401)
        #expect(try await store.transact { try $0.deliveries(after: nil, limit: 10).items }.isEmpty)

        #expect(try await send(Array("{}".utf8), event: "ping") == 200)
        #expect(try await send(body, event: "star") == 204)
        #expect(try await send(body, event: nil) == 400)
        #expect(try await send(body, id: nil) == 400)
        #expect(try await send(body, id: String(repeating: "x", count: 200)) == 400)
        #expect(try await send(body, type: "application/x-www-form-urlencoded") == 400)
        #expect(try await send(Array("{".utf8)) == 400)
        #expect(try await store.transact { try $0.deliveries(after: nil, limit: 10).items }.isEmpty)

        #expect(try await send(body) == 202)
        #expect(try await send(body) == 202)
        #expect(try await store.transact { try $0.deliveries(after: nil, limit: 10).items }.map(\.id) == ["d1"])

        var huge = CurlRequest("POST", url, timeout: .seconds(60))
        huge.upload = CurlUpload(length: 100 << 20) { writer in
            for _ in 0..<1600 { try await writer.write([UInt8](repeating: 32, count: 64 << 10)) }
        }
        #expect((try? await CurlClient.shared.execute(huge).status) ?? 413 == 413)
        try FileManager.default.removeItem(atPath: directory.path + "/secret")
        #expect(try await send(body, id: "d2") == 503)
    }
}
