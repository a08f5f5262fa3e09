import Foundation
import HTTPServing
import Kubernetes
import Logging
import SessionModel

/// What a supervisor does for one namespace: it keeps copies of the API server's objects, serves the API over them, and, while it
/// leads, runs the sessions.
struct NamespaceSupervisor: Sendable {
    let namespace: String
    private let configuration: KubernetesSupervisor.Configuration
    private let agents: AgentPresets
    private let cache: ClusterCache
    private let pods: PodWatch
    private let store: KubernetesStore
    /// For what every replica does. The leader has another one, whose requests end with its leadership.
    private let runtime: KubernetesRuntime
    /// One for all addresses: it knows how much is being read. Any replica takes deliveries; the leader hears of them from the API
    /// server.
    private let webhooks: WebhookHandler?
    private let authority: @Sendable () -> Authority?
    private let metrics = Metrics()
    private let logger: Logger

    /// - Parameter authority: nil until it is known.
    init(
        _ namespace: String, _ client: KubernetesClient, _ configuration: KubernetesSupervisor.Configuration,
        agents: AgentPresets, nodes: NodeWatch?, authority: @escaping @Sendable () -> Authority?, logger: Logger
    ) {
        var logger = logger
        if configuration.servesLabelled { logger[metadataKey: "namespace"] = "\(namespace)" }
        self.namespace = namespace
        self.configuration = configuration
        self.agents = agents
        self.authority = authority
        self.logger = logger
        cache = ClusterCache(client, namespace: namespace, hearsForge: configuration.github != nil, logger: logger)
        pods = PodWatch(client, namespace: namespace, nodes: nodes, logger: logger)
        let store = KubernetesStore(cache, client: client)
        self.store = store
        webhooks = configuration.github.map { WebhookHandler(store: store, secretFile: $0.secretFile, onDelivery: {}) }
        runtime = KubernetesRuntime(
            client, namespace: namespace, settings: configuration.pod, authority: authority, watch: pods, logger: logger)
    }

    /// Follows the API server until the task is cancelled.
    func follow() async {
        await withTaskGroup { group in
            group.addTask { await cache.run() }
            group.addTask { await pods.run() }
        }
    }

    /// - Parameter loopbackOnly: see ``SupervisorAPI/loopbackOnly``.
    func api(loopbackOnly: Bool) -> SupervisorAPI {
        let sidecar = { @Sendable [cache, runtime] name in
            cache.read { $0.session(name)?.document }.flatMap { runtime.client(of: $0) }
        }
        let gateways = configuration.pod.gitGateway.map { _ in
            GatewayHandlers(
                token: { [authority] in authority().map { BearerToken($0.gatewayToken) } },
                keep: { [store, hears = configuration.github != nil] push in
                    // Where no events come, nobody has to know whose they are, and nobody would take the record away.
                    guard hears else { return }
                    try await store.access { try $0.keep(pushed: push.commits, of: push.session, at: .now) }
                }, sidecar: sidecar)
        }
        return SupervisorAPI(
            store: store, sidecar: sidecar, metrics: metrics, runtime: runtime, gateway: nil, webhooks: webhooks,
            spawners: webhooks.map { _ in SpawnerHandlers(store: store, runsPods: true) }, gateways: gateways, agents: agents,
            version: SupervisorVersion.current, loopbackOnly: loopbackOnly)
    }

    /// What the leader does, until its task is cancelled.
    /// - Parameter client: the leader's, fenced.
    func lead(_ client: KubernetesClient, _ authority: Authority) async {
        await cache.waitUntilSynced()
        await pods.waitUntilSynced()
        // What is not known must not be decided upon.
        guard !Task.isCancelled else { return }
        let store = KubernetesStore(cache, client: client)
        let runtime = KubernetesRuntime(
            client, namespace: namespace, settings: configuration.pod, authority: { authority }, watch: pods, logger: logger)
        let manager = SessionManager(store: store, runtime: runtime, metrics: metrics, logger: logger)
        let router = TaskRouter(store: store, fallback: agents.fallback, logger: logger)
        let reaper = Reaper(store: store, runtime: runtime, logger: logger)
        let recorder = EventRecorder(client, controller: "holdfast.dev/supervisor", instance: configuration.identity) { error in
            logger.debug("an event could not be written", metadata: ["error": "\(error)"])
        }
        let events = SessionEvents(cache, recorder: recorder)
        do { try await manager.start() } catch {
            logger.error("the sessions could not be taken up", metadata: ["error": "\(error)"])
            return
        }
        await withTaskGroup { group in
            group.addTask { await router.run() }
            group.addTask { await reaper.run() }
            group.addTask { await recorder.run() }
            if let github = configuration.github {
                let forge = ForgeFacts(github: github.client)
                let reporter = Reporter(store: store, forge: forge, secrets: github.secrets, logger: logger)
                let worker = WebhookWorker(store: store, agents: agents, forge: forge, reporter: reporter, logger: logger)
                group.addTask { await worker.run() }
                group.addTask { await reporter.run() }
            }
        }
        await manager.close()
        withExtendedLifetime(events) {}
    }
}
