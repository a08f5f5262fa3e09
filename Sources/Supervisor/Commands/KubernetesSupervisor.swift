import Foundation
import HTTPServing
import Kubernetes
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// The supervisor of one namespace of a cluster: its copies of the API server's objects, its API, and, while it leads, its sessions.
struct KubernetesSupervisor: Sendable {
    struct Configuration: Sendable {
        /// Of its API; port 0 takes a free one.
        var addresses: [(host: String, port: Int)]
        /// With the bearer token of the API's callers.
        var tokenFile: String
        /// Where the Tasks and Sessions are; nil for the supervisor's own.
        var namespace: String?
        var pod: SessionPod.Settings
        var agentsDirectory: String?
        var defaultAgent: String?
        var lease = "holdfast-supervisor"
        /// Of this process: never used twice.
        var identity: String
        var timing = LeaderElector.Timing()
        var readsNodes = true
        var github: GitHubConfiguration?
    }

    private let configuration: Configuration
    private let cluster: ClusterConfiguration
    private let logger: Logger

    init(_ configuration: Configuration, cluster: ClusterConfiguration, logger: Logger) {
        self.configuration = configuration
        self.cluster = cluster
        self.logger = logger
    }

    /// Serves until the first of `signals`. Sessions go on without it, and the next leader finds them.
    /// - Parameter onServing: told the port, once it serves.
    func run(until signals: AsyncStream<Int32>, onServing: @escaping @Sendable (Int) -> Void = { _ in }) async throws {
        let (configuration, logger) = (configuration, logger)
        let token = try BearerToken(file: configuration.tokenFile)
        let agents = try AgentPresets(
            directory: configuration.agentsDirectory, demo: nil, fallback: configuration.defaultAgent)
        var options = KubernetesClient.Options()
        options.userAgent = "holdfast-supervisor/\(SupervisorVersion.current)"
        options.rateLimit = (100, 200)
        let client = KubernetesClient(cluster, options: options)
        let own = cluster.namespace
        let namespace = configuration.namespace ?? own
        let cache = ClusterCache(
            client, namespace: namespace, hearsForge: configuration.github != nil, logger: logger)
        let pods = PodWatch(client, namespace: namespace, readsNodes: configuration.readsNodes, logger: logger)
        let following = Task {
            await withTaskGroup { group in
                group.addTask { await cache.run() }
                group.addTask { await pods.run() }
            }
        }
        let metrics = Metrics()
        let store = KubernetesStore(cache, client: client)
        // Known when the server has answered for the first time.
        let known = NIOLockedValueBox<Authority?>(nil)
        let runtime = KubernetesRuntime(
            client, namespace: namespace, settings: configuration.pod, authority: { known.withLockedValue(\.self) }, watch: pods,
            logger: logger)
        let gateways = configuration.pod.gitGateway.map { _ in
            GatewayHandlers(
                token: { known.withLockedValue(\.self).map { BearerToken($0.gatewayToken) } },
                keep: { [hears = configuration.github != nil] push in
                    // Where no events come, nobody has to know whose they are, and nobody would take the record away.
                    guard hears else { return }
                    try await store.access { try $0.keep(pushed: push.commits, of: push.session, at: .now) }
                },
                sidecar: { name in cache.read { $0.session(name)?.document }.flatMap { runtime.client(of: $0) } })
        }
        // Any replica takes deliveries; the leader hears of them from the API server.
        let webhooks = configuration.github.map {
            WebhookHandler(store: store, secretFile: $0.secretFile, onDelivery: {})
        }
        let spawners = webhooks.map { _ in SpawnerHandlers(store: store, runsPods: true) }
        let api = { [agents, version = SupervisorVersion.current] (host: String) in
            SupervisorAPI(
                store: store,
                sidecar: { name in cache.read { $0.session(name)?.document }.flatMap { runtime.client(of: $0) } },
                metrics: metrics, runtime: runtime, gateway: nil, webhooks: webhooks, spawners: spawners, gateways: gateways,
                agents: agents, version: version,
                loopbackOnly: ["127.0.0.1", "::1", "localhost"].contains(host))
        }
        let services = configuration.addresses.map { host, port in
            HTTPService(
                .tcp(host: host, port: port),
                access: .token(token, except: SupervisorAPI.open.union(SupervisorAPI.otherwiseProven)),
                routes: api(host).routes(),
                logger: logger)
        }

        // Renewals do not wait behind other requests.
        options.rateLimit = nil
        let elector = LeaderElector(
            KubernetesClient(cluster, options: options), namespace: own, lease: configuration.lease,
            identity: configuration.identity, timing: configuration.timing
        ) { [logger] news in logger.notice("\(news)") }
        let preparation = Preparation(
            client: client, server: cluster.server, own: own, sessions: namespace, hearsForge: configuration.github != nil,
            gatewayHost: configuration.pod.gitGateway.flatMap { URL(string: $0)?.host() }, logger: logger)
        let leading = Task {
            guard let authority = await preparation.run() else { return }
            known.withLockedValue { $0 = authority }
            await elector.run { leadership in
                await Self.lead(
                    client.fenced(by: leadership), cache, pods, authority, metrics, configuration, agents, namespace, logger)
            }
        }

        let server = Task {
            try await withThrowingTaskGroup { group in
                for service in services {
                    group.addTask {
                        try await service.run { port in
                            logger.notice("serving", metadata: ["port": "\(port ?? 0)", "namespace": "\(namespace)"])
                            onServing(port ?? 0)
                        }
                    }
                }
                // None serves without the others.
                try await group.next()
                group.cancelAll()
            }
        }
        let stop = Task {
            var iterator = signals.makeAsyncIterator()
            if await iterator.next() != nil { server.cancel() }
        }
        let result = await server.result
        stop.cancel()
        // The lease is let go of when nothing acts any more, so that another replica need not wait for its end.
        leading.cancel()
        await leading.value
        following.cancel()
        await following.value
        await client.shutdown()
        if case .failure(let error) = result, !(error is CancellationError) {
            let places = configuration.addresses.map { "\($0.host):\($0.port)" }.joined(separator: ", ")
            throw LocalError("cannot serve on \(places): \(error)")
        }
    }

    /// What the leader does, until its task is cancelled.
    private static func lead(
        _ client: KubernetesClient, _ cache: ClusterCache, _ pods: PodWatch, _ authority: Authority, _ metrics: Metrics,
        _ configuration: Configuration, _ agents: AgentPresets, _ namespace: String, _ logger: Logger
    ) async {
        await cache.waitUntilSynced()
        await pods.waitUntilSynced()
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
