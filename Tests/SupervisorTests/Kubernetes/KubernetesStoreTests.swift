import Foundation
import Kubernetes
import KubernetesDouble
import SessionModel
import Testing

@testable import Supervisor

@Suite(.serialized, .timeLimit(.minutes(5))) struct KubernetesStoreTests {
    private static let key = try! SessionKey(parsing: "pr:acme/widgets#12")

    private func withRouter(
        _ namespace: TestNamespace, store: KubernetesStore? = nil, _ body: () async throws -> Void
    ) async throws {
        let router = TaskRouter(store: store ?? namespace.store, fallback: nil, logger: TestNamespace.quiet)
        let running = Task { await router.run() }
        do { try await body() } catch {
            running.cancel()
            throw error
        }
        running.cancel()
        await running.value
    }

    // MARK: Idempotency keys

    @Test func aKeyMakesOneTask() async throws {
        try await TestNamespace.with { namespace in
            let names = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        switch try await namespace.create(TestNamespace.task("one", key: "delivery/1")) {
                        case .created(let task), .repeated(let task): task.metadata.name
                        }
                    }
                }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(names.count == 1)
            #expect(try await namespace.tasks.list().items.count == 1)
            let error = await #expect(throws: Problem.self) {
                _ = try await namespace.create(TestNamespace.task("another", key: "delivery/1"))
            }
            #expect(error?.kind == .idempotencyMismatch)
        }
    }

    /// Not even by another replica, which has not heard of the deletion: the leader decides.
    @Test func aKeyOutlivesItsTask() async throws {
        try await TestNamespace.with { namespace in
            try await withRouter(namespace) {
                guard case .created(let task) = try await namespace.create(TestNamespace.task("one", key: "delivery/1")) else {
                    Issue.record("it is not new")
                    return
                }
                let name = task.metadata.name
                try await namespace.until { try $0.task(named: name)?.status.session != nil }
                try await namespace.tasks.delete(name)
                // It was not handed over yet, so it is cancelled at once, and goes.
                try await namespace.until { try $0.task(named: name) == nil }
                let error = await #expect(throws: Problem.self) {
                    _ = try await namespace.create(TestNamespace.task("one", key: "delivery/1"))
                }
                #expect(error?.kind == .conflict)
                #expect(error?.detail.contains("deleted") == true)
                // A Task of the same key by another name, and one that was made as if nobody knew of the first.
                try await namespace.apply("by-hand", TestNamespace.task("one", key: "delivery/1"))
                try await namespace.until { try $0.task(named: "by-hand")?.status.phase == .failed }
                let refused = try await namespace.tasks.get("by-hand")
                #expect(refused.status?.reason == .rejected)
                #expect(refused.status?.message?.contains(name) == true)
            }
        }
    }

    @Test func aKeysTimeIsUpWithItsWindow() throws {
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        let entry = KeyRecord(digest: "d", task: "t", until: now + .days(7))
        var record = try KeyRecord.adding(entry, for: "a/b c", to: nil, in: "n", at: now)
        #expect(KeyRecord.entry(of: "a/b c", in: record) == entry)
        // Of one shard: the first one's time is up by then.
        let other = (0...).lazy.map { "key \($0)" }.first { KeyRecord.shard(of: $0) == KeyRecord.shard(of: "a/b c") }!
        record = try KeyRecord.adding(entry, for: other, to: record, in: "n", at: now + .days(8))
        #expect(KeyRecord.entry(of: "a/b c", in: record) == nil)
        #expect(record["data"]?.object?.count == 1)
    }

    // MARK: Routing

    @Test func theTasksOfOnePullRequestShareASession() async throws {
        try await TestNamespace.with { namespace in
            // Made before anybody looks, within one second.
            for index in 0..<20 { try await namespace.apply("task-\(19 - index)", TestNamespace.task("\(index)")) }
            try await withRouter(namespace) {
                try await namespace.until { try $0.openTasks(session: Self.key.name).count == 20 }
            }
            let sessions = try await namespace.sessions.list().items
            #expect(sessions.map(\.spec.key) == [Self.key])
            let open = try await namespace.store.read { try $0.openTasks(session: Self.key.name) }
            #expect(open.map(\.spec.prompt) == (0..<20).map(String.init))
        }
    }

    /// The ended session is in the way for a while, and only it knows with what it was made.
    @Test func whoWaitedGoesOnWithTheAgentOfTheSessionThatEnded() async throws {
        try await TestNamespace.with { namespace in
            try await withRouter(namespace) {
                var first = TestNamespace.task("one")
                first.workspace = WorkspaceSpec(repository: "https://github.com/acme/widgets.git", setupCommand: "make")
                try await namespace.apply("first", first)
                try await namespace.until { try $0.task(named: "first")?.status.session != nil }
                try await namespace.apply("second", TaskSpec(prompt: "two", scope: TestNamespace.pullRequest))
                try await namespace.until { try $0.task(named: "second")?.status.session != nil }

                let name = Self.key.name
                let old = try #require(try await namespace.store.read { try $0.session(named: name) })
                var status = old.status
                (status.phase, status.message) = (.ended, "its ttl is over")
                let write = SessionReconciler.StatusWrite(
                    name: name, uid: old.metadata.uid, status: status, expecting: old.status, settles: true)
                _ = try await namespace.store.write { try write.perform(at: .now, newUID: "new", in: $0) }

                try await namespace.until { store in
                    try store.session(named: name).map { $0.metadata.uid != old.metadata.uid } ?? false
                }
                let new = try await namespace.sessions.get(name)
                #expect(new.spec.worker == first.worker)
                #expect(new.spec.workspace == first.workspace)
                let second = String(describing: try await namespace.tasks.get("second").status)
                #expect(try await namespace.tasks.get("second").status?.phase == .pending, "\(second)")
            }
        }
    }

    /// For a moment there is neither the ended session nor the next one, and the Task itself names no agent.
    @Test func aSessionThatIsGoneIsFollowedByOneLikeIt() async throws {
        try await TestNamespace.with { namespace in
            try await withRouter(namespace) {
                try await namespace.apply("first", TestNamespace.task("one"))
                try await namespace.until { try $0.task(named: "first")?.status.session != nil }
                try await namespace.apply("second", TaskSpec(prompt: "two", scope: TestNamespace.pullRequest))
                try await namespace.until { try $0.task(named: "second")?.status.session != nil }
                try await namespace.tasks.delete("first")
                try await namespace.until { try $0.task(named: "first") == nil }

                var old = try await namespace.sessions.get(Self.key.name)
                old.metadata.finalizers = nil
                _ = try await namespace.sessions.replace(old)
                try await namespace.sessions.delete(Self.key.name)
                let uid = old.metadata.uid
                try await namespace.until { try $0.session(named: Self.key.name).map { $0.metadata.uid != uid } ?? false }
                #expect(try await namespace.sessions.get(Self.key.name).spec.worker == TestNamespace.agent)
                #expect(try await namespace.tasks.list().items.map(\.status?.phase) == [.pending])
            }
        }
    }

    @Test func whatCannotRunSaysWhy() async throws {
        try await TestNamespace.with { namespace in
            try await withRouter(namespace) {
                try await namespace.apply("nobody", TaskSpec(prompt: "hello"))
                try await namespace.until { try $0.task(named: "nobody")?.status.phase == .failed }
                let task = try await namespace.tasks.get("nobody")
                #expect(task.status?.message?.contains("--default-agent") == true)
            }
        }
    }

    // MARK: Writes of several objects

    /// One that others have changed is read again, and the rule is asked again.
    @Test func concurrentWritersLoseNothing() async throws {
        try await TestNamespace.with { namespace in
            try await namespace.apply("counter", TestNamespace.task("count"))
            try await namespace.until { try $0.task(named: "counter") != nil }
            // Two replicas, whose copies are both behind.
            let other = KubernetesStore(namespace.cache, client: namespace.client)
            try await withThrowingTaskGroup { group in
                for index in 0..<20 {
                    let store = index % 2 == 0 ? namespace.store : other
                    group.addTask {
                        try await store.write { store in
                            var task = try #require(try store.task(named: "counter"))
                            task.status.attempts = (task.status.attempts ?? 0) + 1
                            _ = try store.update(task)
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await namespace.tasks.get("counter").status?.attempts == 20)
        }
    }

    /// The session ends with one Task waiting and one handed over, and whoever writes that down dies after so many requests. The
    /// next leader finishes it: the one goes to a new session, and the other is told.
    @Test(arguments: 0..<7) func dyingBetweenTwoWritesDoesNoHarm(after writes: Int) async throws {
        try await TestNamespace.with { namespace in
            try await namespace.apply("first", TestNamespace.task("1"))
            try await namespace.apply("second", TestNamespace.task("2"))
            try await withRouter(namespace) {
                try await namespace.until { try $0.openTasks(session: Self.key.name).count == 2 }
            }
            let session = try await namespace.store.write { store in
                var task = try #require(try store.task(named: "first"))
                task.status.sentTo = "0123456789abcdef"
                _ = try store.update(task)
                return try #require(try store.session(named: Self.key.name))
            }
            var ended = session.status
            ended.phase = .ended
            ended.message = "ended by a user"
            let write = SessionReconciler.StatusWrite(
                name: Self.key.name, uid: session.metadata.uid, status: ended, expecting: session.status, settles: true)
            let budget = Counter(writes)
            namespace.double.inject(
                Fault(.answer(403, reason: "Forbidden", message: "it is dead"), count: 1000) { request in
                    request.method != "GET" && budget.isSpent
                })
            _ = try? await namespace.store.write { try write.perform(at: .now, newUID: "new", in: $0) }
            namespace.double.clearFaults()
            // The next leader knows nothing but what the server has.
            let cache = ClusterCache(namespace.client, namespace: namespace.namespace, logger: TestNamespace.quiet)
            let following = Task { await cache.run() }
            await cache.waitUntilSynced()
            let store = KubernetesStore(cache, client: namespace.client)
            // A controller that the first leader left in the middle starts from what is stored.
            if try await store.read({ try $0.session(named: Self.key.name)?.status.phase != .ended }) {
                _ = try await store.write { try write.perform(at: .now, newUID: "new", in: $0) }
            }
            try await withRouter(namespace, store: store) {
                try await namespace.until { try $0.task(named: "first")?.status.phase.isTerminal == true }
                try await namespace.until {
                    let next = try $0.session(named: Self.key.name)
                    return next != nil && next?.metadata.uid != session.metadata.uid
                }
                #expect(try await namespace.tasks.get("first").status?.reason == .sessionEnded)
                let second = try await namespace.tasks.get("second")
                #expect(second.status?.phase == .pending)
                #expect(try await namespace.sessions.list().items.count == 1)
            }
            following.cancel()
            await following.value
        }
    }

    /// The answer is lost, and what was asked for was done.
    @Test func aLostAnswerMakesNothingTwice() async throws {
        try await TestNamespace.with { namespace in
            try await withRouter(namespace) {
                namespace.double.inject(Fault(.dropAfter, count: 6) { $0.method != "GET" && $0.path.contains("team-a") })
                _ = try await namespace.create(TestNamespace.task("one", key: "k"))
                _ = try await namespace.create(TestNamespace.task("one", key: "k"))
                try await namespace.until { try $0.openTasks(session: Self.key.name).count == 1 }
            }
            #expect(try await namespace.tasks.list().items.count == 1)
            #expect(try await namespace.sessions.list().items.count == 1)
        }
    }

    // MARK: Deletion

    @Test func aDeletedSessionEndsFirst() async throws {
        try await TestNamespace.with { namespace in
            try await withRouter(namespace) {
                try await namespace.apply("one", TestNamespace.task("1"))
                try await namespace.until { try $0.openTasks(session: Self.key.name).count == 1 }
                try await namespace.sessions.delete(Self.key.name)
                try await namespace.until { try $0.session(named: Self.key.name)?.spec.end == true }
                // Held until it has ended.
                let held = try await namespace.sessions.get(Self.key.name)
                #expect(held.metadata.finalizers == [Finalizer.session])
                #expect(held.spec.end == nil)
                try await namespace.store.write { store in
                    var task = try #require(try store.task(named: "one"))
                    task.status.end(.succeeded, .completed, "done", at: .now)
                    _ = try store.update(task)
                    var session = try #require(try store.session(named: Self.key.name))
                    session.status.phase = .ended
                    _ = try store.update(session)
                }
                try await namespace.until { try $0.session(named: Self.key.name) == nil }
            }
        }
    }

    @Test func aRunningTaskThatIsDeletedIsCancelledFirst() async throws {
        try await TestNamespace.with { namespace in
            try await withRouter(namespace) {
                try await namespace.apply("one", TestNamespace.task("1"))
                try await namespace.until { try $0.task(named: "one")?.status.session != nil }
                try await namespace.store.write { store in
                    var task = try #require(try store.task(named: "one"))
                    task.status.sentTo = "0123456789abcdef"
                    _ = try store.update(task)
                }
                try await namespace.tasks.delete("one")
                try await namespace.until { try $0.task(named: "one")?.status.cancelRequested == true }
                try await namespace.store.write { store in
                    var task = try #require(try store.task(named: "one"))
                    task.status.end(.cancelled, .cancelled, "done", at: .now)
                    _ = try store.update(task)
                }
                try await namespace.until { try $0.task(named: "one") == nil }
            }
        }
    }

    /// The watch tells of the Task's end before the answer to its last write arrives.
    @Test func anAnswerThatComesAfterItsTaskIsGoneDoesNotBringItBack() async throws {
        try await TestNamespace.with { namespace in
            try await withRouter(namespace) {
                try await namespace.apply("one", TestNamespace.task("1"))
                try await namespace.until { try $0.task(named: "one")?.status.session != nil }
                try await namespace.store.write { store in
                    var task = try #require(try store.task(named: "one"))
                    task.status.sentTo = "0123456789abcdef"
                    _ = try store.update(task)
                }
                try await namespace.tasks.delete("one")
                try await namespace.until { try $0.task(named: "one")?.status.cancelRequested == true }
                let (gate, opener) = AsyncStream.makeStream(of: Never.self)
                namespace.double.inject(
                    Fault(.answerAfter { for await _ in gate {} }) {
                        $0.method == "PUT" && $0.path.hasSuffix("/tasks/one/status")
                    })
                async let answer: Void = namespace.store.write { store in
                    var task = try #require(try store.task(named: "one"))
                    task.status.end(.cancelled, .cancelled, "done", at: .now)
                    _ = try store.update(task)
                }
                try await namespace.until { try $0.task(named: "one") == nil }
                opener.finish()
                try await answer
                #expect(try await namespace.store.read { try $0.task(named: "one") } == nil)
            }
        }
    }
}

/// Says from the call after so many on that it is spent.
private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var left: Int

    init(_ count: Int) { left = count }

    var isSpent: Bool {
        lock.withLock {
            left -= 1
            return left < 0
        }
    }
}
