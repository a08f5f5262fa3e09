import Kubernetes
import Logging
import NIOConcurrencyHelpers

/// Follows the nodes of the cluster, once for all namespaces.
final class NodeWatch: Sendable {
    private let informer: Informer<GenericObject>
    private let objects: Objects<GenericObject>
    private let state: NIOLockedValueBox<State>

    private struct State {
        var nodes: [String: GenericObject] = [:]
        /// The API server has said that there is none of this name.
        var gone: Set<String> = []
        var asked: Set<String> = []
        var listeners: [UInt64: @Sendable (String) -> Void] = [:]
        var next: UInt64 = 0
    }

    init(_ client: KubernetesClient, logger: Logger) {
        let state = NIOLockedValueBox(State())
        self.state = state
        objects = client.objects(.nodes)
        informer = Informer(
            objects,
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
                    case .added(let node), .updated(_, let node):
                        state.nodes[name] = node
                        state.gone.remove(name)
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

    /// A node that the copy does not have may be new, so that only the API server's own word counts that it is gone. It is asked
    /// then, and the listeners are told.
    func node(named name: String) -> PodObservation.Node {
        let (known, isNews) = state.withLockedValue { state -> (PodObservation.Node, Bool) in
            if let node = state.nodes[name] { return (.found(node), false) }
            if state.gone.contains(name) { return (.missing, false) }
            return (.unseen, state.asked.insert(name).inserted)
        }
        if isNews { Task { await ask(name) } }
        return known
    }

    private func ask(_ name: String) async {
        do throws(KubernetesError) {
            _ = try await objects.get(name)
        } catch {
            if error.code == .notFound {
                let listeners = state.withLockedValue { state in
                    state.gone.insert(name)
                    return state.listeners.values
                }
                for listener in listeners { listener(name) }
            }
        }
        // If nobody tells of it until then, it is asked for again.
        try? await Task.sleep(for: Self.pause)
        state.withLockedValue { _ = $0.asked.remove(name) }
    }

    private static let pause = Duration.seconds(5)

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
