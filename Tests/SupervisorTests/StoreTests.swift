import Foundation
import GRDB
import SessionModel
import Testing

@testable import Supervisor

@Suite struct StoreTests {
    @Test func commitsAreSynced() throws {
        let directory = try TemporaryDirectory()
        #expect(try SQLiteStore(path: directory.path + "/store.db").synchronous == 2)
    }

    @Test func aStaleVersionIsRefused() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        let task = try await store.create(TaskSpec(prompt: "one"))
        var first = task
        first.status.message = "first"
        let stored = first
        try await store.write { try $0.update(stored) }
        await #expect(throws: StoreError.self) { try await store.write { try $0.update(task) } }
        let read = try await store.read { try $0.task(named: task.metadata.name) }
        #expect(read?.status.message == "first")
        #expect(read.flatMap { Int($0.metadata.resourceVersion) } ?? 0 > Int(task.metadata.resourceVersion) ?? 0)
    }

    @Test func aFailedTransactionLeavesAndTellsNothing() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        let before = try await store.read { try $0.version }
        await #expect(throws: Problem.self) { try await store.create(TaskSpec(prompt: "no agent"), fallback: nil) }
        #expect(try await store.read { try $0.version } == before)
        #expect(try await store.read { try $0.tasks(session: nil, limit: 10) }.isEmpty)
    }

    @Test func oneKeyMakesOneTaskHoweverOftenAndHoweverFast() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        var spec = TaskSpec(prompt: "once")
        spec.idempotencyKey = "delivery-1"
        let request = spec
        let names = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<100 { group.addTask { try await store.create(request).metadata.name } }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(names.count == 1)
        spec.prompt = "something else"
        let other = spec
        let problem = await #expect(throws: Problem.self) { try await store.create(other) }
        #expect(problem?.kind == .idempotencyMismatch)
    }

    @Test func aKeyIsForgottenAfterItsWindow() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        var spec = TaskSpec(prompt: "once")
        spec.idempotencyKey = "k"
        let request = spec
        let first = try await store.create(request)
        #expect(try await store.create(request, at: .now + .days(6)).metadata.name == first.metadata.name)
        #expect(try await store.create(request, at: .now + .days(8)).metadata.name != first.metadata.name)
    }

    @Test func twoTasksForOneNewScopeMakeOneSession() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        let scope = ScopeSpec(kind: .pullRequest, repository: "acme/widgets", number: 12)
        let keys = try await withThrowingTaskGroup(of: SessionKey?.self) { group in
            for index in 0..<20 {
                group.addTask { try await store.create(TaskSpec(prompt: "task \(index)", scope: scope)).status.session }
            }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(keys.count == 1)
        let sessions = try await store.read { try $0.sessions(after: nil, limit: 10).items }
        #expect(sessions.map(\.spec.key.description) == ["pr:github.com/acme/widgets#12"])
        let open = try await store.read { try $0.openTasks(session: sessions[0].metadata.name) }
        #expect(open.count == 20)
        let waiting = try await store.read { try $0.waitingTasks() }
        #expect(waiting.map(\.phase) == ["Pending"] && waiting.map(\.count) == [20])
        #expect(open.map { Int($0.metadata.resourceVersion) ?? 0 } == open.map { Int($0.metadata.resourceVersion) ?? 0 }.sorted())
    }

    /// Until the second migration nothing was written down of when a resource is to be deleted.
    @Test func whatEndedLongAgoIsGivenATimeToBeDeleted() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/store.db"
        let store = try SQLiteStore(path: path)
        let task = try await store.create(TaskSpec(prompt: "one"))
        let name = try #require(task.status.session).name
        try await store.write { store in
            guard var session = try store.session(named: name) else { return }
            session.status.phase = .ended
            try store.update(session)
        }
        let expiry = try #require(try await store.read { try $0.nextExpiry })
        try store.close()
        let old = try DatabaseQueue(path: path)
        try await old.write { database in
            try database.execute(sql: "UPDATE resource SET expires = NULL")
            try database.execute(sql: "DELETE FROM grdb_migrations WHERE identifier = '4'")
        }
        try old.close()
        let reopened = try SQLiteStore(path: path)
        #expect(try await reopened.read { try $0.nextExpiry } == expiry)
        try reopened.close()
    }

    /// A number that is no moment's distance any more: it is kept, and the supervisor lives.
    @Test func aTaskCanBeKeptForEver() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        var spec = TaskSpec(prompt: "one")
        spec.ttlSecondsAfterFinished = .max
        var task = try await store.create(spec)
        task.status.end(.succeeded, .completed, "", at: .now)
        let ended = task
        try await store.write { _ = try $0.update(ended) }
        #expect(try await store.read { try $0.nextExpiry } == .latest)
    }

    @Test func anotherWorkerFailsTheTaskAndSaysWhy() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        let scope = ScopeSpec(kind: .issue, repository: "acme/widgets", number: 3)
        _ = try await store.create(TaskSpec(prompt: "one", scope: scope))
        let task = try await store.create(
            TaskSpec(prompt: "two", scope: scope, worker: AgentDescription(driver: .acp, command: ["other"])))
        #expect(task.status.phase == .failed)
        #expect(task.status.reason == .workerMismatch)
        #expect(task.status.message?.contains("they differ in command.") == true, "\(task)")
    }

    /// A webhook makes a session with the forge's own address of the repository; people write it as they like.
    @Test(arguments: [
        "https://github.com/acme/widgets", "https://github.com/Acme/Widgets.git", "git@github.com:acme/widgets.git",
        "ssh://git@github.com/acme/widgets",
    ])
    func aRepositoryIsTheSameHoweverItIsWritten(address: String) async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        for (number, workspace) in [nil, WorkspaceSpec(repository: "https://github.com/acme/widgets.git")].enumerated() {
            let scope = ScopeSpec(kind: .issue, repository: "acme/widgets", number: number + 1)
            try await store.create(TaskSpec(prompt: "one", scope: scope, workspace: workspace))
            let same = try await store.create(
                TaskSpec(prompt: "two", scope: scope, workspace: WorkspaceSpec(repository: address)))
            #expect(same.status.phase == .pending, "\(same.status)")
            let other = try await store.create(
                TaskSpec(prompt: "three", scope: scope, workspace: WorkspaceSpec(repository: address + "-2")))
            #expect(other.status.reason == .workerMismatch)
        }
    }

    /// Only the Task that made the session has said with what.
    @Test func aTaskThatWaitedGoesOnInASessionLikeTheOneThatEnded() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        var first = TaskSpec(prompt: "one", scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 3))
        first.worker = AgentDescription(driver: .acp, command: ["special"])
        first.workspace = WorkspaceSpec(
            repository: "https://github.com/acme/widgets.git", setupCommand: "make",
            credentials: WorkspaceCredentials(tokenFile: "/t"))
        first.lifetime = Lifetime()
        first.lifetime?.maxTurns = 7
        let name = try #require(try await store.create(first).status.session?.name)
        let waiting = try await store.create(TaskSpec(prompt: "two", scope: first.scope))
        let old = try #require(try await store.read { try $0.session(named: name) })
        var status = old.status
        (status.phase, status.message) = (.ended, "its ttl is over")
        let write = SessionReconciler.StatusWrite(
            name: name, uid: old.metadata.uid, status: status, expecting: old.status, settles: true)
        _ = try await store.write { try write.perform(at: .now, newUID: "new", in: $0) }

        let new = try #require(try await store.read { try $0.session(named: name) })
        #expect(new.metadata.uid == "new")
        #expect(new.spec.worker == first.worker)
        #expect(new.spec.workspace == first.workspace)
        #expect(new.spec.lifetime == first.lifetime)
        #expect(try await store.read { try $0.task(named: waiting.metadata.name) }?.status.phase == .pending)
    }

    @Test func waitersSeeAChangeThatCommitsBeforeTheyWait() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        let task = try await store.create(TaskSpec(prompt: "one"))
        let name = task.metadata.name
        async let seen = store.feed.value(
            of: "Task", name, within: .seconds(20),
            read: { try await store.read { try $0.task(named: name) } },
            isNews: { $0?.metadata.resourceVersion != task.metadata.resourceVersion })
        var changed = task
        changed.status.message = "changed"
        let write = changed
        try await store.write { try $0.update(write) }
        #expect(try await seen?.status.message == "changed")
        let same = try await store.feed.value(
            of: "Task", name, within: .milliseconds(5), read: { 1 }, isNews: { _ in false })
        #expect(same == 1)
    }
}

extension Store {
    @discardableResult
    func create(
        _ spec: TaskSpec, fallback: AgentDescription? = AgentDescription(driver: .acp, command: ["agent"]),
        at now: Timestamp = .now
    ) async throws -> TaskResource {
        let digest = Identity.digest(try JSON.encode(spec))
        let request = TaskRouting.Request(
            spec: spec, fallback: fallback, digest: digest, name: Identity.taskName(), uid: Identity.uid(),
            sessionUID: Identity.uid())
        let answer = try await write { try TaskRouting.create(request, at: now, in: $0) }
        switch answer {
        case .created(let task), .repeated(let task): return task
        }
    }
}

/// A directory with a short path that is removed with its owner.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = "/tmp/hf-" + String(UInt32.random(in: .min ... .max), radix: 36)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
