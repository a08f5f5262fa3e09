import Kubernetes
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// A ``ClusterView`` that follows the API server, whoever writes there.
final class ClusterCache: Sendable {
    let feed = ChangeFeed()
    let namespace: String
    private let view = NIOLockedValueBox(ClusterView())
    private let tasks: Informer<TaskObject>
    private let sessions: Informer<SessionObject>
    private let records: Informer<GenericObject>
    /// Nil where no events come from a forge.
    private let spawners: Informer<SpawnerObject>?

    /// - Parameter hearsForge: whether it follows Spawners.
    init(_ client: KubernetesClient, namespace: String, hearsForge: Bool = false, logger: Logger) {
        self.namespace = namespace
        let hear: @Sendable ((inout ClusterView, ContinuousClock.Instant) -> [Change]) -> Void = { [view, feed] body in
            // Told under the lock, so that the order is that of the changes.
            view.withLockedValue { view in feed.publish(body(&view, .now)) }
        }
        let complain: @Sendable (KubernetesError) -> Void = { error in
            if error.code != .cancelled {
                logger.warning("the API server does not tell\(error.advice)", metadata: ["error": "\(error)"])
            }
        }
        tasks = Informer(client.objects(.tasks, as: TaskObject.self, in: namespace), onProblem: complain) { changes in
            hear { view, now in changes.flatMap { view.hear($0, at: now) } }
        }
        sessions = Informer(client.objects(.sessions, as: SessionObject.self, in: namespace), onProblem: complain) { changes in
            hear { view, now in changes.flatMap { view.hear($0, at: now) } }
        }
        let components = ([KeyRecord.labelValue] + ForgeRecords.Component.allCases.map(\.rawValue)).joined(separator: ",")
        records = Informer(
            client.objects(.configMaps, in: namespace), selector: Selector(labels: "\(KeyRecord.label) in (\(components))"),
            onProblem: complain
        ) { changes in
            hear { view, now in changes.flatMap { view.hear($0, at: now) } }
        }
        spawners =
            hearsForge
            ? Informer(client.objects(.spawners, as: SpawnerObject.self, in: namespace), onProblem: complain) { changes in
                hear { view, now in changes.flatMap { view.hear($0, at: now) } }
            } : nil
    }

    /// Follows the server until the task is cancelled.
    func run() async {
        await withTaskGroup { group in
            group.addTask { await self.tasks.run() }
            group.addTask { await self.sessions.run() }
            group.addTask { await self.records.run() }
            if let spawners { group.addTask { await spawners.run() } }
        }
    }

    /// Returns when it has once had everything, or ``run()`` has ended.
    func waitUntilSynced() async {
        await tasks.waitUntilSynced()
        await sessions.waitUntilSynced()
        await records.waitUntilSynced()
        await spawners?.waitUntilSynced()
    }

    var isSynced: Bool {
        tasks.isSynced && sessions.isSynced && records.isSynced && spawners.map(\.isSynced) ?? true
    }

    func read<Value>(_ body: (ClusterView) throws -> Value) rethrows -> Value { try view.withLockedValue { try body($0) } }

    /// Takes note of what the server has answered to a write.
    func note(_ body: (inout ClusterView, ContinuousClock.Instant) -> Change?) {
        view.withLockedValue { view in feed.publish(body(&view, .now).map { [$0] } ?? []) }
    }
}
