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
    private let keys: Informer<GenericObject>

    init(_ client: KubernetesClient, namespace: String, logger: Logger) {
        self.namespace = namespace
        let hear: @Sendable ((inout ClusterView, ContinuousClock.Instant) -> [Change]) -> Void = { [view, feed] body in
            // Told under the lock, so that the order is that of the changes.
            view.withLockedValue { view in feed.publish(body(&view, .now)) }
        }
        let complain: @Sendable (KubernetesError) -> Void = { error in
            if error.code != .cancelled { logger.warning("the API server does not tell", metadata: ["error": "\(error)"]) }
        }
        tasks = Informer(client.objects(.tasks, as: TaskObject.self, in: namespace), onProblem: complain) { changes in
            hear { view, now in changes.flatMap { view.hear($0, at: now) } }
        }
        sessions = Informer(client.objects(.sessions, as: SessionObject.self, in: namespace), onProblem: complain) { changes in
            hear { view, now in changes.flatMap { view.hear($0, at: now) } }
        }
        keys = Informer(
            client.objects(.configMaps, in: namespace),
            selector: Selector(labels: "\(KeyRecord.label)=\(KeyRecord.labelValue)"), onProblem: complain
        ) { changes in
            hear { view, now in
                for change in changes { view.hear(change, at: now) }
                return []
            }
        }
    }

    /// Follows the server until the task is cancelled.
    func run() async {
        await withTaskGroup { group in
            group.addTask { await self.tasks.run() }
            group.addTask { await self.sessions.run() }
            group.addTask { await self.keys.run() }
        }
    }

    /// Returns when it has once had everything, or ``run()`` has ended.
    func waitUntilSynced() async {
        await tasks.waitUntilSynced()
        await sessions.waitUntilSynced()
        await keys.waitUntilSynced()
    }

    var isSynced: Bool { tasks.isSynced && sessions.isSynced && keys.isSynced }

    func read<Value>(_ body: (ClusterView) throws -> Value) rethrows -> Value { try view.withLockedValue { try body($0) } }

    /// Takes note of what the server has answered to a write.
    func note(_ body: (inout ClusterView, ContinuousClock.Instant) -> Change?) {
        view.withLockedValue { view in feed.publish(body(&view, .now).map { [$0] } ?? []) }
    }

    /// The same for what nobody else waits for.
    func noteQuietly(_ body: (inout ClusterView, ContinuousClock.Instant) -> Void) {
        view.withLockedValue { body(&$0, .now) }
    }
}
