import Foundation
import HTTPServing
import Kubernetes
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// The supervisor of one namespace of a cluster: its copies of the API server's objects, its API, and, while it leads, its sessions.
struct KubernetesSupervisor: Sendable {
    struct Configuration: Sendable {
        var host = "127.0.0.1"
        /// 0 takes a free one.
        var port = 0
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
        let token = try BearerToken(file: configuration.tokenFile)
        let agents = try AgentPresets(
            directory: configuration.agentsDirectory, demo: nil, fallback: configuration.defaultAgent)
        var options = KubernetesClient.Options()
        options.userAgent = "holdfast-supervisor/\(SupervisorVersion.current)"
        options.rateLimit = (100, 200)
        let client = KubernetesClient(cluster, options: options)
        let own = cluster.namespace
        let namespace = configuration.namespace ?? own
        for type in [ResourceType.tasks, .sessions] where try await !client.has(type) {
            throw LocalError("\(cluster.server) does not know \(type.qualifiedName): apply deploy/crds first")
        }
        let authority = try await authority(client, namespace: own)

        let cache = ClusterCache(client, namespace: namespace, logger: logger)
        let pods = PodWatch(client, namespace: namespace, readsNodes: configuration.readsNodes, logger: logger)
        let following = Task {
            await withTaskGroup { group in
                group.addTask { await cache.run() }
                group.addTask { await pods.run() }
            }
        }
        let metrics = Metrics()
        let store = KubernetesStore(cache, client: client)
        let runtime = KubernetesRuntime(
            client, namespace: namespace, settings: configuration.pod, authority: authority, watch: pods, logger: logger)
        let api = SupervisorAPI(
            store: store,
            sidecar: { name in cache.read { $0.session(name)?.document }.flatMap { runtime.client(of: $0) } },
            metrics: metrics, runtime: runtime, gateway: nil, agents: agents, version: SupervisorVersion.current,
            loopbackOnly: ["127.0.0.1", "::1", "localhost"].contains(configuration.host))
        let service = HTTPService(
            .tcp(host: configuration.host, port: configuration.port), access: .token(token, except: SupervisorAPI.open),
            routes: api.routes(), logger: logger)

        // Renewals do not wait behind other requests.
        options.rateLimit = nil
        let elector = LeaderElector(
            KubernetesClient(cluster, options: options), namespace: own, lease: configuration.lease,
            identity: configuration.identity, timing: configuration.timing
        ) { [logger] news in logger.notice("\(news)") }
        let (configuration, logger) = (configuration, logger)
        let leading = Task {
            await elector.run { leadership in
                await Self.lead(
                    client.fenced(by: leadership), cache, pods, authority, metrics, configuration, fallback: agents.fallback,
                    namespace, logger)
            }
        }

        let server = Task {
            try await service.run { port in
                logger.notice("serving", metadata: ["port": "\(port ?? 0)", "namespace": "\(namespace)"])
                onServing(port ?? configuration.port)
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
            throw LocalError("cannot serve on \(configuration.host):\(configuration.port): \(error)")
        }
    }

    /// What the leader does, until its task is cancelled.
    private static func lead(
        _ client: KubernetesClient, _ cache: ClusterCache, _ pods: PodWatch, _ authority: Authority, _ metrics: Metrics,
        _ configuration: Configuration, fallback: AgentDescription?, _ namespace: String, _ logger: Logger
    ) async {
        await cache.waitUntilSynced()
        await pods.waitUntilSynced()
        let store = KubernetesStore(cache, client: client)
        let runtime = KubernetesRuntime(
            client, namespace: namespace, settings: configuration.pod, authority: authority, watch: pods, logger: logger)
        let manager = SessionManager(store: store, runtime: runtime, metrics: metrics, logger: logger)
        let router = TaskRouter(store: store, fallback: fallback, logger: logger)
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
        }
        await manager.close()
        withExtendedLifetime(events) {}
    }

    /// The authority of this supervisor's Secret, which is made if there is none.
    private func authority(_ client: KubernetesClient, namespace: String) async throws -> Authority {
        let secrets: Objects<GenericObject> = client.objects(.secrets, in: namespace)
        while true {
            do throws(KubernetesError) {
                let secret = try await secrets.get(Authority.secretName)
                return try use(secret)
            } catch {
                guard error.code == .notFound else { throw error }
            }
            do throws(KubernetesError) {
                let made: Authority
                do { made = try Authority() } catch {
                    throw KubernetesError(.configuration, "no authority could be made: \(error)")
                }
                try await secrets.create(made.secret(namespace: namespace))
                return made
            } catch {
                // Another replica was faster.
                guard error.code == .alreadyExists else { throw error }
            }
        }
    }

    private func use(_ secret: GenericObject) throws(KubernetesError) -> Authority {
        do { return try Authority(secret) } catch { throw KubernetesError(.configuration, "\(error)") }
    }
}
