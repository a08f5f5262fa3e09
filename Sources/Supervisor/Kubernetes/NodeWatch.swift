import Kubernetes
import Logging
import NIOConcurrencyHelpers

/// Follows the nodes of the cluster, once for all namespaces.
final class NodeWatch: Sendable {
    private let informer: Informer<GenericObject>
    private let state: NIOLockedValueBox<State>

    private struct State {
        var nodes: [String: GenericObject] = [:]
        var listeners: [UInt64: @Sendable (String) -> Void] = [:]
        var next: UInt64 = 0
    }

    init(_ client: KubernetesClient, logger: Logger) {
        let state = NIOLockedValueBox(State())
        self.state = state
        informer = Informer(
            client.objects(.nodes),
            onProblem: { error in
                guard error.code != .cancelled else { return }
                let advice =
                    error.code == .forbidden
                    ? ": give the supervisor the rights of deploy/overlays/cluster/nodes.yaml, or start it with --without-nodes"
                    : ""
                logger.warning("the API server does not tell of nodes\(advice)", metadata: ["error": "\(error)"])
            }
        ) { changes in
            for change in changes {
                let name = change.key.name
                let listeners = state.withLockedValue { state in
                    switch change {
                    case .added(let node), .updated(_, let node): state.nodes[name] = node
                    case .deleted: state.nodes[name] = nil
                    }
                    return state.listeners.values
                }
                for listener in listeners { listener(name) }
            }
        }
    }

    /// Follows the server until the task is cancelled.
    func run() async { await informer.run() }

    func waitUntilSynced() async { await informer.waitUntilSynced() }

    var isSynced: Bool { informer.isSynced }

    func node(named name: String) -> GenericObject? { state.withLockedValue { $0.nodes[name] } }

    /// From now on `hear` is told the name of each node that changes, until ``removeListener(_:)``.
    func addListener(_ hear: @escaping @Sendable (String) -> Void) -> UInt64 {
        state.withLockedValue { state in
            state.next += 1
            state.listeners[state.next] = hear
            return state.next
        }
    }

    func removeListener(_ id: UInt64) { state.withLockedValue { $0.listeners[id] = nil } }
}
