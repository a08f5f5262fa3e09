import Kubernetes
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// Follows the pods of a namespace's sessions and the nodes that they are on, and tells each living epoch what becomes of its pod.
final class PodWatch: Sendable {
    private let pods: Informer<GenericObject>
    /// Those that warn of a pod. They are not waited for: without them less is said, and nothing else is done.
    private let events: Informer<GenericObject>
    /// Nil when this supervisor may not read nodes: then only the kubelet's word counts.
    private let nodes: NodeWatch?
    private let state: NIOLockedValueBox<State>

    private typealias News = (PodIncarnation, GenericObject, PodObservation)

    private struct State {
        var pods: [String: GenericObject] = [:]
        var warnings = PodWarnings()
        let nodes: NodeWatch?
        /// By the pod's uid.
        var incarnations: [String: PodIncarnation] = [:]

        func observe(_ pod: GenericObject) -> PodObservation {
            var node = PodObservation.Node.unseen
            if let nodes, let name = pod["spec"]?["nodeName"]?.string {
                node = nodes.node(named: name)
            }
            let warnings = pod.metadata.uid.map { self.warnings.warnings(of: $0) } ?? []
            return PodObservation(pod, node: node, warnings: warnings, at: .now)
        }

        /// What the living epochs among these pods are to be told.
        func news(of pods: some Sequence<GenericObject>) -> [News] {
            pods.compactMap { pod in
                pod.metadata.uid.flatMap { incarnations[$0] }.map { ($0, pod, observe(pod)) }
            }
        }
    }

    init(_ client: KubernetesClient, namespace: String, nodes: NodeWatch?, logger: Logger) {
        let complain: @Sendable (KubernetesError) -> Void = { error in
            if error.code != .cancelled {
                logger.warning("the API server does not tell\(error.advice)", metadata: ["error": "\(error)"])
            }
        }
        let state = NIOLockedValueBox(State(nodes: nodes))
        self.state = state
        self.nodes = nodes
        pods = Informer(
            client.objects(.pods, in: namespace), selector: Selector(labels: "\(PodLabels.component)=session"),
            onProblem: complain
        ) { changes in
            for change in changes { Self.hear(change, state) }
        }
        // Of events a server sends no bookmarks, for it keeps no watch cache of them: each watch ends before its silence would be
        // taken for a dead connection's.
        var short = Informer<GenericObject>.Options()
        short.watchTime = short.longestSilence / 3
        events = Informer(
            client.objects(.coreEvents, in: namespace), selector: Selector(fields: "involvedObject.kind=Pod,type=Warning"),
            options: short, onProblem: complain
        ) { changes in
            for change in changes { Self.hear(event: change, state) }
        }
    }

    /// Follows the server until the task is cancelled. ``NodeWatch`` is run by whoever made it.
    func run() async {
        let listener = nodes?.addListener { [state] node in Self.hear(node: node, state) }
        defer { if let listener { nodes?.removeListener(listener) } }
        await withTaskGroup { group in
            group.addTask { await self.pods.run() }
            group.addTask { await self.events.run() }
            group.addTask { await self.lookAgain() }
        }
    }

    /// That a deletion is overdue is told by nobody, and that a node is silent for long only once.
    private func lookAgain() async {
        while (try? await Task.sleep(for: Self.lookEvery)) != nil {
            let news = state.withLockedValue { state in
                state.news(of: state.incarnations.values.compactMap { state.pods[$0.name] })
            }
            for (incarnation, pod, seen) in news { incarnation.hear(pod, seen) }
        }
    }

    private static let lookEvery = Duration.seconds(10)

    /// Returns when it has once had everything, or ``run()`` has ended.
    func waitUntilSynced() async {
        await pods.waitUntilSynced()
        await nodes?.waitUntilSynced()
    }

    var isSynced: Bool { pods.isSynced && nodes?.isSynced ?? true }

    /// The pod of that name, as far as this process knows.
    func pod(named name: String) -> GenericObject? { state.withLockedValue { $0.pods[name] } }

    /// All pods of sessions, as far as this process knows.
    var all: [GenericObject] { state.withLockedValue { Array($0.pods.values) } }

    func observe(_ pod: GenericObject) -> PodObservation { state.withLockedValue { $0.observe(pod) } }

    /// From now on the incarnation hears of its pod, and at once of what is known.
    func add(_ incarnation: PodIncarnation) {
        let news = state.withLockedValue { state in
            state.incarnations[incarnation.uid] = incarnation
            return state.news(of: state.pods[incarnation.name].map { [$0] } ?? [])
        }
        for (incarnation, pod, seen) in news { incarnation.hear(pod, seen) }
    }

    func remove(_ incarnation: PodIncarnation) { state.withLockedValue { $0.incarnations[incarnation.uid] = nil } }

    private static func hear(_ change: Kubernetes.Change<GenericObject>, _ state: NIOLockedValueBox<State>) {
        switch change {
        case .added(let pod), .updated(_, let pod):
            let news = state.withLockedValue { state in
                state.pods[pod.metadata.name ?? ""] = pod
                return state.news(of: [pod])
            }
            for (incarnation, pod, seen) in news { incarnation.hear(pod, seen) }
        case .deleted(let pod):
            let gone = state.withLockedValue { state in
                state.pods[pod.metadata.name ?? ""] = nil
                return pod.metadata.uid.flatMap { state.incarnations[$0] }
            }
            gone?.hearItIsGone()
        }
    }

    private static func hear(event change: Kubernetes.Change<GenericObject>, _ state: NIOLockedValueBox<State>) {
        let news = state.withLockedValue { state in
            guard let uid = state.warnings.hear(change), let incarnation = state.incarnations[uid] else { return [] as [News] }
            return state.news(of: state.pods[incarnation.name].map { [$0] } ?? [])
        }
        for (incarnation, pod, seen) in news { incarnation.hear(pod, seen) }
    }

    private static func hear(node name: String, _ state: NIOLockedValueBox<State>) {
        let news = state.withLockedValue { state in
            state.news(of: state.pods.values.filter { $0["spec"]?["nodeName"]?.string == name })
        }
        for (incarnation, pod, seen) in news { incarnation.hear(pod, seen) }
    }
}
