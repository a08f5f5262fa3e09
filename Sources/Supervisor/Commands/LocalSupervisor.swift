import Foundation
import GitHub
import Glibc
import HTTPServing
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// The supervisor of one machine: its store, its sessions and its API, wired together.
struct LocalSupervisor: Sendable {
    struct Configuration: Sendable {
        var host = "127.0.0.1"
        /// 0 takes a free one.
        var port = 0
        var dataDirectory: String
        var sidecar: String
        var demoAgent: String?
        var agentsDirectory: String?
        var defaultAgent: String?
        var stopSessionsOnExit = false
        var github: GitHubConfiguration?
        var environment: [String: String] = [:]
    }

    /// The file that tells clients where the server is.
    struct ServerFile: Codable {
        var url: String
        var tokenFile: String
        var pid: Int32
    }

    private let configuration: Configuration
    private let logger: Logger

    init(_ configuration: Configuration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// Serves until the first of `signals`; a second one ends it without waiting for sessions to sleep.
    /// - Parameter onServing: told where it serves, once it does.
    func run(until signals: AsyncStream<Int32>, onServing: @escaping @Sendable (ServerFile) -> Void = { _ in }) async throws {
        let data = configuration.dataDirectory
        try Files.makeDirectory(data)
        let lock = try FileLock(path: "\(data)/lock")
        let token = try Self.token("\(data)/token")
        let store = try SQLiteStore(path: "\(data)/store.db")
        let gateway = try await LocalGateway(dataDirectory: data, store: store, logger: logger)
        let runtime = try LocalRuntime(
            dataDirectory: data, sidecar: configuration.sidecar, environment: configuration.environment, gateway: gateway.url)
        let agents = try AgentPresets(
            directory: configuration.agentsDirectory, demo: configuration.demoAgent, fallback: configuration.defaultAgent)
        let metrics = Metrics()
        let manager = SessionManager(store: store, runtime: runtime, metrics: metrics, logger: logger)
        gateway.report(to: manager)
        let isLoopback = ["127.0.0.1", "::1", "localhost"].contains(configuration.host)
        let forge = configuration.github.map { github in
            ForgeFacts(github: github.client)
        }
        let reporter = configuration.github.flatMap { github in
            forge.map { Reporter(store: store, forge: $0, secrets: github.secrets, logger: logger) }
        }
        let worker = forge.map {
            WebhookWorker(store: store, agents: agents, forge: $0, reporter: reporter, logger: logger)
        }
        let webhooks = configuration.github.flatMap { github in
            worker.map { worker in
                WebhookHandler(store: store, secretFile: github.secretFile, onDelivery: { worker.wake() })
            }
        }
        let api = SupervisorAPI(
            store: store, sidecar: { manager.client(of: $0) }, metrics: metrics, runtime: runtime, gateway: gateway.metrics,
            webhooks: webhooks, spawners: webhooks.map { _ in SpawnerHandlers(store: store, runsPods: false) },
            agents: agents, version: SupervisorVersion.current, loopbackOnly: isLoopback)
        let service = HTTPService(
            .tcp(host: configuration.host, port: configuration.port), access: .token(token), routes: api.routes(), logger: logger)
        try await manager.start()
        let deliveries = Task { await worker?.run() }
        let reports = Task { await reporter?.run() }
        let reaper = Task { await Reaper(store: store, runtime: runtime, logger: logger).run() }

        let serverFile = "\(data)/server.json"
        let server = Task {
            try await service.run { port in
                let host = configuration.host.contains(":") ? "[\(configuration.host)]" : configuration.host
                let file = ServerFile(
                    url: "http://\(host):\(port ?? configuration.port)", tokenFile: "\(data)/token", pid: getpid())
                do {
                    try Files.write(json: file, to: serverFile)
                    logger.notice("serving", metadata: ["url": "\(file.url)", "data": "\(data)"])
                } catch {
                    logger.error(
                        "\(serverFile) could not be written, so clients cannot find this server", metadata: ["error": "\(error)"])
                }
                onServing(file)
            }
        }
        // Whichever is first: a signal, or the end of the server by itself, which is an error.
        let stop = Task {
            var iterator = signals.makeAsyncIterator()
            guard await iterator.next() != nil else { return }
            server.cancel()
            guard configuration.stopSessionsOnExit else { return }
            logger.notice("putting sessions to sleep; once more to leave them running")
            let suspension = Task { await manager.suspendAll(within: .seconds(40)) }
            let second = Task {
                var iterator = iterator
                if await iterator.next() != nil { manager.abandonSuspension() }
            }
            await suspension.value
            second.cancel()
        }
        let result = await server.result
        if case .failure(let error) = result, !(error is CancellationError) { stop.cancel() }
        await stop.value
        unlink(serverFile)
        await manager.close()
        deliveries.cancel()
        await deliveries.value
        reports.cancel()
        await reports.value
        reaper.cancel()
        await reaper.value
        await gateway.close()
        try store.close()
        withExtendedLifetime(lock) {}
        if case .failure(let error) = result, !(error is CancellationError) {
            throw LocalError("cannot serve on \(configuration.host):\(configuration.port): \(error)")
        }
    }

    /// The API's token, made at the first start.
    private static func token(_ path: String) throws -> BearerToken {
        if access(path, F_OK) != 0 {
            try Files.write(Array((Identity.uid() + Identity.uid() + "\n").utf8), to: path, durably: true)
        }
        return try BearerToken(file: path)
    }
}
