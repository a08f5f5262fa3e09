import Kubernetes
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// What the leader of a cluster does beside the sessions' controllers: it brings Tasks to their sessions, one after the other, and
/// lets deleted Tasks and Sessions go when they have been seen to.
final class TaskRouter: Sendable {
    private let store: KubernetesStore
    /// The agent for Tasks that name none.
    private let fallback: AgentDescription?
    private let logger: Logger
    private let wake: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation
    private let waiting = NIOLockedValueBox(Waiting())

    private struct Waiting {
        var tasks: [String] = []
        var sessions: [String] = []
        var known: Set<String> = []
    }

    /// What could not be done is tried again after this.
    private static let pause = Duration.seconds(1)

    init(store: KubernetesStore, fallback: AgentDescription?, logger: Logger) {
        self.store = store
        self.fallback = fallback
        self.logger = logger
        (wake, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        store.feed.observe { [weak self] change in
            if change.kind == TaskSpec.kind || change.kind == SessionSpec.kind { self?.notice(change.kind, change.name) }
        }
    }

    /// Works until its task is cancelled.
    func run() async {
        let tasks = store.cache.read { Array($0.tasks.objects.values) }.sorted(by: Self.cameFirst)
        waiting.withLockedValue { waiting in
            // Before those that were told of in the meantime.
            let names = tasks.compactMap(\.metadata.name)
            let known = Set(names)
            waiting.tasks = names + waiting.tasks.filter { !known.contains($0) }
            waiting.known.formUnion(known.map { "Task/\($0)" })
        }
        waker.yield()
        for session in store.cache.read({ Array($0.sessions.objects.keys) }) { notice("Session", session) }
        for await _ in wake {
            while !Task.isCancelled, let (kind, name) = next() {
                do {
                    if kind == "Task" { try await route(name) } else { try await look(atSession: name) }
                } catch {
                    logger.warning(
                        "could not be brought further; trying again", metadata: ["\(kind)": "\(name)", "error": "\(error)"])
                    if kind == "Task", (error as? KubernetesError).map(KubernetesStore.mayTryAgain) ?? false {
                        // Those that were made after it wait: a session gets its Tasks in their order.
                        putBack(name)
                        try? await Task.sleep(for: Self.pause)
                    } else {
                        if kind == "Task" { await explain(name, error) }
                        Task { [weak self] in
                            try? await Task.sleep(for: Self.pause)
                            self?.notice(kind, name)
                        }
                    }
                }
            }
        }
    }

    private func notice(_ kind: String, _ name: String) {
        waiting.withLockedValue { waiting in
            guard waiting.known.insert("\(kind)/\(name)").inserted else { return }
            if kind == "Task" { waiting.tasks.append(name) } else { waiting.sessions.append(name) }
        }
        waker.yield()
    }

    private func putBack(_ task: String) {
        waiting.withLockedValue { waiting in
            if !waiting.known.insert("Task/\(task)").inserted { waiting.tasks.removeAll { $0 == task } }
            waiting.tasks.insert(task, at: 0)
        }
    }

    private func next() -> (kind: String, name: String)? {
        waiting.withLockedValue { waiting in
            guard
                let (kind, name) = waiting.sessions.popFirst().map({ ("Session", $0) })
                    ?? waiting.tasks.popFirst().map({ ("Task", $0) })
            else { return nil }
            waiting.known.remove("\(kind)/\(name)")
            return (kind, name)
        }
    }

    private func route(_ name: String) async throws {
        guard let task = store.cache.read({ $0.task(name) }) else { return }
        let isOver = task.status?.phase.isTerminal ?? false
        if task.metadata.deletionTimestamp != nil {
            if isOver { return try await store.letGo(task) }
            try await store.write { _ = try SessionCommands.cancel(task: name, at: .now, in: $0) }
            return
        }
        guard !isOver else { return }
        // Before it can run, so that from then on nobody can make it vanish in the middle of its turn.
        if task.status?.session == nil { try await store.hold(task) }
        let (fallback, uid) = (fallback, Identity.uid())
        try await store.write { try TaskRouting.route(name, fallback: fallback, uid: uid, at: .now, in: $0) }
    }

    /// It waits, and says for what.
    private func explain(_ name: String, _ error: any Error) async {
        let message = "cannot be brought to its session, and is tried again: \(error)"
        try? await store.write { store in
            guard var task = try store.task(named: name), task.status.session == nil, task.status.message != message else {
                return
            }
            task.status.message = message
            try store.update(task)
        }
    }

    /// Its Tasks may have to go on to another one; and if somebody has deleted it and it has ended, it goes.
    private func look(atSession name: String) async throws {
        let session = store.cache.read { $0.session(name) }
        if session?.status?.phase == .ended || session == nil {
            for task in store.cache.read({ $0.tasks(ofSession: name) }) { notice("Task", task) }
        }
        guard let session, session.metadata.deletionTimestamp != nil, session.status?.phase == .ended else { return }
        try await store.letGo(session)
    }

    /// The order of Tasks that were made while nobody looked. Within one second their first versions tell it.
    private static func cameFirst(_ one: TaskObject, _ other: TaskObject) -> Bool {
        func rank(_ task: TaskObject) -> (Int64, Int64, UInt64, String) {
            (
                task.status?.ordinal ?? .max, task.metadata.creationTimestamp?.milliseconds ?? 0,
                UInt64(task.firstVersion) ?? 0, task.metadata.name ?? ""
            )
        }
        return rank(one) < rank(other)
    }
}

extension Array {
    fileprivate mutating func popFirst() -> Element? { isEmpty ? nil : removeFirst() }
}
