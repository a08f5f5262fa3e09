import Foundation
import HTTPServing
import Kubernetes
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// The supervisor of a cluster: of one namespace, or of all that have its label.
struct KubernetesSupervisor: Sendable {
    struct Configuration: Sendable {
        /// Of its API; port 0 takes a free one.
        var addresses: [(host: String, port: Int)]
        /// With the bearer token of the API's callers.
        var tokenFile: String
        /// Where the Tasks and Sessions are; nil for the supervisor's own.
        var namespace: String?
        /// Whether it serves the namespaces that ``LabelledNamespaces`` finds, instead of one.
        var servesLabelled = false
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

    /// Which namespaces are served.
    private enum Served {
        case one(NamespaceSupervisor)
        case labelled(LabelledNamespaces)

        /// Follows the API server until the task is cancelled.
        func follow() async {
            switch self {
            case .one(let supervisor): await supervisor.follow()
            case .labelled(let namespaces): await namespaces.run()
            }
        }

        func lead(_ client: KubernetesClient, _ authority: Authority) async {
            switch self {
            case .one(let supervisor): await supervisor.lead(client, authority)
            case .labelled(let namespaces): await namespaces.lead(client, authority)
            }
        }

        func routes(loopbackOnly: Bool) -> Routes {
            switch self {
            case .one(let supervisor): supervisor.api(loopbackOnly: loopbackOnly).routes()
            case .labelled(let namespaces): namespaces.routes(loopbackOnly: loopbackOnly)
            }
        }
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
        // Known when the server has answered for the first time.
        let known = NIOLockedValueBox<Authority?>(nil)
        let nodes = configuration.readsNodes ? NodeWatch(client, logger: logger) : nil
        let make = { @Sendable namespace in
            NamespaceSupervisor(
                namespace, client, configuration, agents: agents, nodes: nodes, authority: { known.withLockedValue(\.self) },
                logger: logger)
        }
        let namespace = configuration.servesLabelled ? nil : configuration.namespace ?? own
        let served: Served =
            if let namespace { .one(make(namespace)) } else {
                .labelled(LabelledNamespaces(client, supervisor: own, logger: logger, make: make))
            }
        let following = Task {
            await withTaskGroup { group in
                group.addTask { await served.follow() }
                if let nodes { group.addTask { await nodes.run() } }
            }
        }
        let services = configuration.addresses.map { host, port in
            HTTPService(
                .tcp(host: host, port: port), access: .token(token),
                routes: served.routes(loopbackOnly: ["127.0.0.1", "::1", "localhost"].contains(host)), logger: logger)
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
            await elector.run { leadership in await served.lead(client.fenced(by: leadership), authority) }
        }

        let server = Task {
            try await withThrowingTaskGroup { group in
                for service in services {
                    group.addTask {
                        try await service.run { port in
                            logger.notice(
                                "serving", metadata: ["port": "\(port ?? 0)", "namespace": "\(namespace ?? "labelled ones")"])
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
}
