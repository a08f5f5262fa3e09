import Foundation
import Glibc
import Logging
import SessionModel
import Testing

@testable import Supervisor

@Suite(.timeLimit(.minutes(2))) struct ReconcilerTests {
    @Test func twoTasksReachOneLivingSession() async throws {
        let world = try await World()
        let first = try await world.run("one")
        #expect(first.status.phase == .succeeded)
        #expect(first.status.results?.answer == "one")
        #expect(first.status.sentTo != nil)
        let second = try await world.run("two")
        #expect(second.status.phase == .succeeded)
        #expect(second.status.turn == TurnID(2))
        let session = try await world.session { $0.status.phase == .ready }
        #expect(session.status.epoch == 1)
        #expect(world.fake.dispatched == ["one", "two"])
        await world.end()
    }

    @Test func tasksRunInTheOrderOfTheirCreation() async throws {
        let world = try await World()
        var names: [String] = []
        for index in 0..<20 { names.append(try await world.create("task \(index)").metadata.name) }
        for name in names { #expect(try await world.task(name) { $0.status.phase.isTerminal }.status.phase == .succeeded) }
        #expect(world.fake.dispatched == (0..<20).map { "task \($0)" })
        await world.end()
    }

    @Test func aFullQueueMakesTasksWaitVisiblyAndInOrder() async throws {
        var lifetime = Lifetime()
        lifetime.maxQueuedTurns = 1
        let world = try await World()
        var names: [String] = []
        for index in 0..<4 { names.append(try await world.create("hold \(index)", lifetime: lifetime).metadata.name) }
        let waiting = try await world.task(names[2]) { $0.status.message?.contains("limits are 1 turns") == true }
        #expect(waiting.status.phase == .pending)
        #expect(waiting.status.sentTo == nil)
        for (index, name) in names.enumerated() {
            _ = try await world.task(name) { $0.status.phase == .running }
            world.fake.finish("done \(index)")
            #expect(try await world.task(name) { $0.status.phase.isTerminal }.status.results?.answer == "done \(index)")
        }
        #expect(world.fake.dispatched == (0..<4).map { "hold \($0)" })
        await world.end()
    }

    @Test func aCrashInterruptsTheRunningTurnAndRunsTheNextInANewEpoch() async throws {
        let world = try await World()
        let running = try await world.create("hold 1").metadata.name
        let queued = try await world.create("two").metadata.name
        _ = try await world.task(running) { $0.status.phase == .running }
        _ = try await world.task(queued) { $0.status.phase == .queued }
        try await world.killSidecar()
        let interrupted = try await world.task(running) { $0.status.phase.isTerminal }
        #expect(interrupted.status.phase == .interrupted)
        #expect(interrupted.status.reason == .sidecarLost)
        #expect(try await world.task(queued) { $0.status.phase.isTerminal }.status.phase == .succeeded)
        #expect(world.fake.epoch == 2)
        #expect(world.fake.dispatched == ["hold 1", "two"])
        await world.end()
    }

    @Test func aLostJournalInterruptsWhatWasSentToIt() async throws {
        let world = try await World()
        let name = try await world.create("hold 1").metadata.name
        _ = try await world.task(name) { $0.status.phase == .running }
        world.fake.loseJournal()
        try await world.killSidecar()
        let task = try await world.task(name) { $0.status.phase.isTerminal }
        #expect(task.status.phase == .interrupted)
        #expect(task.status.reason == .journalLost)
        #expect(world.fake.dispatched == ["hold 1"])
        await world.end()
    }

    @Test func aRestartedSupervisorAdoptsTheSidecarAndSendsNothingTwice() async throws {
        let world = try await World()
        let running = try await world.create("hold 1").metadata.name
        let queued = try await world.create("two").metadata.name
        _ = try await world.task(running) { $0.status.phase == .running }
        _ = try await world.task(queued) { $0.status.phase == .queued }
        let pid = try await world.session { $0.status.pid != nil }.status.pid
        try await world.restartSupervisor()
        world.fake.finish("done")
        #expect(try await world.task(running) { $0.status.phase.isTerminal }.status.results?.answer == "done")
        #expect(try await world.task(queued) { $0.status.phase.isTerminal }.status.phase == .succeeded)
        let session = try await world.session { $0.status.phase == .ready }
        #expect(session.status.pid == pid)
        #expect(session.status.epoch == 1)
        #expect(world.fake.dispatched == ["hold 1", "two"])
        // An adopted sidecar's death is noticed as a child's is.
        try await world.killSidecar()
        _ = try await world.session { $0.status.phase == .ready && $0.status.epoch == 2 }
        await world.end()
    }

    @Test func idleSessionsSleepAndWakeWithTheirMemory() async throws {
        var lifetime = Lifetime()
        lifetime.idleTimeout = .milliseconds(30)
        let world = try await World()
        #expect(try await world.run("one", lifetime: lifetime).status.phase == .succeeded)
        let asleep = try await world.session { $0.status.phase == .suspended }
        #expect(asleep.status.pid == nil)
        #expect(asleep.status.turns?.succeeded == 1)
        let second = try await world.run("two")
        #expect(second.status.turn == TurnID(2))
        #expect(world.fake.epoch == 2)
        await world.end()
    }

    @Test func cancellingWorksBeforeAndAfterTheHandover() async throws {
        let world = try await World()
        let running = try await world.create("hold 1").metadata.name
        let queued = try await world.create("two").metadata.name
        _ = try await world.task(running) { $0.status.phase == .running }
        _ = try await world.task(queued) { $0.status.phase == .queued }
        try await world.cancel(queued)
        #expect(try await world.task(queued) { $0.status.phase.isTerminal }.status.phase == .cancelled)
        try await world.cancel(running)
        #expect(try await world.task(running) { $0.status.phase.isTerminal }.status.phase == .cancelled)
        #expect(world.fake.dispatched == ["hold 1"])
        await world.end()
    }

    @Test func aCommitSessionEndsWithItsTask() async throws {
        let world = try await World()
        let task = try await world.create("alone", scope: ScopeSpec(kind: .commit))
        let key = try #require(task.status.session)
        #expect(try await world.task(task.metadata.name) { $0.status.phase.isTerminal }.status.phase == .succeeded)
        _ = try await world.session(key) { $0.status.phase == .ended }
        await world.end()
    }

    @Test func anEndedSessionIsFollowedByANewOne() async throws {
        let world = try await World()
        let first = try await world.create("hold 1").metadata.name
        _ = try await world.task(first) { $0.status.phase == .running }
        let old = try await world.session { $0.status.phase == .ready }
        try await world.store.write { store in
            guard var session = try store.session(named: old.metadata.name) else { return }
            session.spec.end = true
            try store.update(session)
        }
        _ = try await world.session { $0.status.phase == .draining }
        let second = try await world.create("two")
        #expect(second.status.message?.contains("to end") == true)
        world.fake.finish("done")
        #expect(try await world.task(first) { $0.status.phase.isTerminal }.status.phase == .succeeded)
        world.fake.loseJournal()
        #expect(try await world.task(second.metadata.name) { $0.status.phase.isTerminal }.status.phase == .succeeded)
        #expect(try await world.session { _ in true }.metadata.uid != old.metadata.uid)
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(world.directory.path)/data/archive").count == 1)
        await world.end()
    }

    @Test func twoSupervisorsOnOneDirectoryAreRefused() throws {
        let directory = try TemporaryDirectory()
        let first = try FileLock(path: "\(directory.path)/lock")
        let error = #expect(throws: LocalError.self) { _ = try FileLock(path: "\(directory.path)/lock") }
        #expect(error?.description.contains("process \(getpid())") == true)
        withExtendedLifetime(first) {}
    }
}

/// A supervisor without its API, fake sidecars, and one pull request.
private final class World {
    let directory: TemporaryDirectory
    let store: SQLiteStore
    let sidecars: FakeSidecars
    private let runtime: LocalRuntime
    private var manager: SessionManager
    static let key = try! SessionKey(parsing: "pr:acme/widgets#1")

    init() async throws {
        directory = try TemporaryDirectory()
        store = try SQLiteStore(path: directory.path + "/store.db")
        sidecars = try FakeSidecars(directory: directory.path)
        runtime = try LocalRuntime(
            dataDirectory: directory.path + "/data", sidecar: sidecars.program,
            environment: ["PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": directory.path])
        manager = Self.manager(store, runtime)
        try await manager.start()
    }

    private static func manager(_ store: any Store, _ runtime: LocalRuntime) -> SessionManager {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return SessionManager(store: store, runtime: runtime, metrics: Metrics(), logger: logger)
    }

    var fake: FakeSession { sidecars.session(Self.key) }

    func create(
        _ prompt: String, lifetime: Lifetime? = nil,
        scope: ScopeSpec = ScopeSpec(kind: .pullRequest, repository: "acme/widgets", number: 1)
    ) async throws -> TaskResource {
        try await store.create(TaskSpec(prompt: prompt, scope: scope, lifetime: lifetime))
    }

    func run(_ prompt: String, lifetime: Lifetime? = nil) async throws -> TaskResource {
        let task = try await create(prompt, lifetime: lifetime)
        return try await self.task(task.metadata.name) { $0.status.phase.isTerminal }
    }

    func task(_ name: String, until: @Sendable (TaskResource) -> Bool) async throws -> TaskResource {
        try await wait("Task", name, { try $0.task(named: name) }, until)
    }

    func session(_ key: SessionKey = key, until: @Sendable (SessionResource) -> Bool) async throws -> SessionResource {
        try await wait("Session", key.name, { try $0.session(named: key.name) }, until)
    }

    private func wait<Document: StoredResource & Sendable>(
        _ kind: String, _ name: String, _ read: @escaping @Sendable (any StoreTransaction) throws -> Document?,
        _ until: @Sendable (Document) -> Bool
    ) async throws -> Document {
        let store = store
        let found = try await store.feed.value(
            of: kind, name, within: .seconds(30), read: { try await store.read(read) }, isNews: { $0.map(until) ?? false })
        let document = try #require(found)
        try #require(until(document), "\(document)")
        return document
    }

    func cancel(_ name: String) async throws {
        try await store.write { store in
            guard var task = try store.task(named: name) else { return }
            task.status.cancelRequested = true
            try store.update(task)
        }
    }

    func killSidecar() async throws {
        let pid = try #require(try await session { $0.status.pid != nil }.status.pid)
        kill(pid, SIGKILL)
    }

    func restartSupervisor() async throws {
        await manager.close()
        manager = Self.manager(store, runtime)
        try await manager.start()
    }

    /// Ends the sidecars' processes.
    func end() async {
        await manager.close()
        for session in (try? await store.read({ try $0.sessions(after: nil, limit: 1000).items })) ?? [] {
            if let pid = session.status.pid { kill(pid, SIGKILL) }
        }
    }
}
