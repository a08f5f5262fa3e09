import Foundation
import Logging
import SessionModel

@testable import Supervisor

/// A store with so many sessions in it, as a supervisor that has ended has left them, and the next supervisor.
struct Fleet {
    enum Kind: String, CaseIterable {
        case suspended, live

        /// What a supervisor does to them when their time is up.
        var enforcement: String { self == .live ? "idleTimeout" : "suspendedTTL" }
    }

    let kind: Kind
    let names: [String]
    let store: SQLiteStore
    let sidecars: SimulatedSidecars
    let manager: SessionManager
    private let metrics = Metrics()

    init(directory: String, kind: Kind, count: Int) async throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        self.kind = kind
        store = try SQLiteStore(path: directory + "/store.db")
        let store = store
        var names: [String] = []
        for start in stride(from: 1, through: count, by: 500) {
            names += try await store.write { store in
                try (start..<min(start + 500, count + 1)).map { try Self.makeSession($0, kind, in: store) }
            }
        }
        self.names = names
        sidecars = SimulatedSidecars(names: kind == .live ? names : [])
        var logger = Logger(label: "bench")
        logger.logLevel = .error
        manager = SessionManager(store: store, runtime: sidecars, metrics: metrics, logger: logger)
    }

    /// A session that has worked on one Task to its end.
    private static func makeSession(_ number: Int, _ kind: Kind, in store: any StoreTransaction) throws -> String {
        let now = Timestamp.now
        let spec = TaskSpec(
            prompt: "Review the change.",
            scope: ScopeSpec(kind: .pullRequest, repository: "github.com/acme/widgets", number: number))
        let request = TaskRouting.Request(
            spec: spec, fallback: AgentDescription(driver: .acp, command: ["agent"]), digest: "", name: "task-\(number)",
            uid: Identity.uid(), sessionUID: Identity.uid())
        guard case .created(var task) = try TaskRouting.create(request, at: now, in: store), let key = task.status.session,
            var session = try store.session(named: key.name)
        else { throw Failure("a session was not made") }
        task.status.end(.succeeded, .completed, "", at: now)
        try store.update(task)
        let journal = "0123456789abcdef"
        session.status.epoch = 1
        session.status.journal = journal
        session.status.turns = TurnCounts()
        session.status.usage = Usage()
        session.status.phase = kind == .live ? .ready : .suspended
        session.status.message = kind == .live ? nil : "idle for 30m"
        let phases: [SessionPhase] = [.pending, .starting, .ready] + (kind == .live ? [] : [.draining, .suspended])
        session.status.history = phases.map { PhaseChange(at: now, phase: $0, epoch: $0 == .pending ? 0 : 1, message: nil) }
        session.status.conditions = [
            Condition(
                type: "Ready", status: kind == .live ? .true : .false, reason: session.status.phase.rawValue,
                message: session.status.message ?? "", lastTransitionTime: now)
        ]
        try store.update(session)
        return key.name
    }

    /// Starts the supervisor.
    /// - Returns: how long it took until it was current again.
    func start() async throws -> Duration {
        let begin = ContinuousClock.now
        try await manager.start()
        try await wait(for: "the supervisor to be current") {
            kind == .live ? sidecars.all.allSatisfy(\.isCurrent) : metrics.values.attended == 0
        }
        return .now - begin
    }

    func close() async {
        await manager.close()
        sidecars.stop()
        try? store.close()
    }

    /// Lets the time of some sessions be up, one after the other.
    /// - Returns: how much later than that it was seen to.
    func enforce(on count: Int, within span: TimeSpan) async throws -> [TimeSpan] {
        let chosen = names.shuffled().prefix(count)
        var due: [String: Timestamp] = [:]
        for name in chosen {
            let left = TimeSpan.milliseconds(.random(in: 2000...span.milliseconds))
            let sidecar = sidecars[name]
            let now = Timestamp.now
            due[name] = now + left
            let kind = kind
            try await store.write { store in
                guard let session = try store.session(named: name) else { return }
                var lifetime = Lifetime()
                if kind == .live {
                    lifetime.idleTimeout = now + left - (sidecar?.idleSince ?? now)
                } else {
                    lifetime.suspendedTTL = now + left - session.status.since
                }
                _ = try SessionCommands.set(lifetime, of: name, in: store)
            }
        }
        try await wait(for: "the time of all to be up") {
            if kind == .live { return chosen.allSatisfy { sidecars[$0]?.drainAsked != nil } }
            return try await ended(chosen).count == count
        }
        let seen: [String: Timestamp] =
            kind == .live
            ? Dictionary(uniqueKeysWithValues: chosen.compactMap { name in sidecars[name]?.drainAsked.map { (name, $0) } })
            : try await ended(chosen)
        return chosen.compactMap { name in seen[name].flatMap { seen in due[name].map { seen - $0 } } }
    }

    private func ended(_ chosen: some Sequence<String> & Sendable) async throws -> [String: Timestamp] {
        try await store.read { store in
            var ends: [String: Timestamp] = [:]
            for name in chosen {
                guard let session = try store.session(named: name), session.status.phase == .ended else { continue }
                ends[name] = session.status.since
            }
            return ends
        }
    }

    private func wait(for what: String, _ isSo: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(240)
        while try await !isSo() {
            guard ContinuousClock.now < deadline else { throw Failure("waited in vain for \(what)") }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
