import Curl
import Foundation
import Kubernetes
import KubernetesDouble
import Logging
import SessionModel
import TLSServer

@testable import Supervisor

struct CopyFigures: Codable {
    var count: Int
    /// Seconds.
    var sync: Double
    var list: Double
    var bytesPerObject: Double
}

struct LiveFigures: Codable {
    var count: Int
    /// Seconds until every session was looked at and stored.
    var restart: Double
    /// Milliseconds.
    var latencyP50: Double
    var latencyP99: Double
    /// One write of a status, alone, in milliseconds.
    var write: Double
    var atRest: Double
    var requestsPerSessionHour: Double
    var requestsPerChange: Double
}

/// The supervisor on a cluster: its API server is the tests' double, in this process and over TLS, and its sidecars are simulated.
struct ClusterBenchmark {
    let count: Int
    private static let namespace = "bench"

    /// What the copies of all Sessions cost that the supervisor decides by.
    func copies() async throws -> CopyFigures {
        let cluster = try await Cluster(sessions: count)
        // What connections, code and the first pages need is there once.
        let list = try await cluster.list()
        Memory.giveBackFree()
        let before = try Memory.resident()
        let begin = ContinuousClock.now
        let following = Task { [cache = cluster.cache] in await cache.run() }
        await cluster.cache.waitUntilSynced()
        let sync = ContinuousClock.now - begin
        try await Task.sleep(for: .seconds(1))
        Memory.giveBackFree()
        let after = try Memory.resident()
        following.cancel()
        await following.value
        await cluster.end()
        return CopyFigures(
            count: count, sync: sync.seconds, list: list.seconds, bytesPerObject: (after - before) / Double(count))
    }

    /// What living sessions cost, and how soon what their sidecars say is stored.
    func live() async throws -> LiveFigures {
        let cluster = try await Cluster(sessions: count)
        let (cache, double) = (cluster.cache, cluster.double)
        let following = Task { await cache.run() }
        await cache.waitUntilSynced()
        let sidecars = SimulatedSidecars(names: cluster.names)
        var logger = Logger(label: "bench")
        logger.logLevel = .error
        let store = KubernetesStore(cache, client: cluster.client)
        let manager = SessionManager(store: store, runtime: sidecars, metrics: Metrics(), logger: logger)
        let begin = ContinuousClock.now
        try await manager.start()
        while !sidecars.all.allSatisfy(\.isCurrent) {
            guard ContinuousClock.now - begin < .seconds(200) else { throw Failure("the supervisor is not current in time") }
            try await Task.sleep(for: .milliseconds(20))
        }
        // Each of them is stored once more, as fast as a client may ask.
        var (last, quietSince) = (double.requests.count, ContinuousClock.now)
        while ContinuousClock.now - quietSince < .seconds(2) {
            try await Task.sleep(for: .milliseconds(100))
            if double.requests.count != last { (last, quietSince) = (double.requests.count, .now) }
        }
        let restart = quietSince - begin

        let (used, time, asked) = (SessionBenchmark.processorTime(), ContinuousClock.now, double.requests.count)
        try await Task.sleep(for: .seconds(10))
        let span = (ContinuousClock.now - time).seconds
        let atRest = (SessionBenchmark.processorTime() - used) / span
        let requests = Double(double.requests.count - asked) / span * 3600 / Double(count)

        // One after the other, so that it is the way that is measured and no queue.
        let changes = double.requests.count
        var latencies: [Double] = []
        for name in cluster.names.shuffled().prefix(200) {
            let start = ContinuousClock.now
            sidecars[name]?.begin()
            let session = try await store.feed.value(
                of: "Session", name, within: .seconds(10), read: { cache.read { $0.session(name) } },
                isNews: { $0?.status?.activity?.busy == true })
            guard session?.status?.activity?.busy == true else { throw Failure("a change was not stored") }
            latencies.append((ContinuousClock.now - start).seconds * 1000)
        }
        latencies.sort()
        let perChange = Double(double.requests.count - changes) / Double(latencies.count)
        let write = try await cluster.write()
        await manager.close()
        sidecars.stop()
        following.cancel()
        await following.value
        await cluster.end()
        return LiveFigures(
            count: count, restart: restart.seconds, latencyP50: latencies[latencies.count / 2],
            latencyP99: latencies[latencies.count * 99 / 100], write: write, atRest: atRest, requestsPerSessionHour: requests,
            requestsPerChange: perChange)
    }

    /// An API server with so many Sessions that are ready, and what follows it.
    private struct Cluster {
        let double: KubernetesDouble
        /// The supervisor's, and another one that asks as fast as it can.
        let client: KubernetesClient
        private let maker: KubernetesClient
        let cache: ClusterCache
        let names: [String]
        private let sessions: Objects<SessionObject>

        init(sessions count: Int) async throws {
            var options = KubernetesDouble.Options()
            options.bookmarkInterval = .seconds(60)
            double = try KubernetesDouble(options: options)
            var configuration = ClusterConfiguration(server: double.url, origin: "the double")
            configuration.authorities = .pem(Array(double.authority.certificate.utf8))
            var clientOptions = KubernetesClient.Options()
            clientOptions.rateLimit = nil
            let maker = KubernetesClient(configuration, options: clientOptions)
            // As the supervisor has it.
            clientOptions.rateLimit = (100, 200)
            let client = KubernetesClient(configuration, options: clientOptions)
            (self.maker, self.client) = (maker, client)
            try await maker.objects(.namespaces).create(
                GenericObject(.namespaces, metadata: ObjectMeta(name: ClusterBenchmark.namespace)))
            for definition in try CustomResources.definitions() { try await maker.objects(.definitions).create(definition) }
            var logger = Logger(label: "bench")
            logger.logLevel = .error
            cache = ClusterCache(client, namespace: ClusterBenchmark.namespace, logger: logger)
            let sessions = maker.objects(.sessions, as: SessionObject.self, in: ClusterBenchmark.namespace)
            self.sessions = sessions
            names = try await withThrowingTaskGroup(of: String.self) { group in
                var names: [String] = []
                for number in 1...count {
                    if number > 16, let name = try await group.next() { names.append(name) }
                    group.addTask { try await Self.make(number, sessions) }
                }
                for try await name in group { names.append(name) }
                return names
            }
        }

        private static func make(_ number: Int, _ sessions: Objects<SessionObject>) async throws -> String {
            let key = try SessionKey(parsing: "pr:github.com/acme/widgets#\(number)")
            let spec = SessionSpec(
                key: key, scope: ScopeSpec(kind: .pullRequest, repository: "github.com/acme/widgets", number: number),
                worker: AgentDescription(driver: .acp, command: ["agent"]),
                workspace: WorkspaceSpec(repository: "https://github.com/acme/widgets.git"))
            var object = try await sessions.create(
                SessionObject(metadata: ObjectMeta(name: key.name, finalizers: [Finalizer.session]), spec: spec, status: nil))
            var status = SessionResourceStatus(phase: .ready, since: .now)
            status.epoch = 1
            status.journal = "0123456789abcdef"
            status.turns = TurnCounts()
            status.usage = Usage()
            status.history = [.pending, .starting, .ready].map {
                PhaseChange(at: .now, phase: $0, epoch: $0 == .pending ? 0 : 1, message: nil)
            }
            status.conditions = [
                Condition(type: "Ready", status: .true, reason: "Ready", message: "", lastTransitionTime: .now)
            ]
            object.status = status
            _ = try await sessions.replaceStatus(object)
            return key.name
        }

        /// How long it takes to read all of them, page after page, and to keep none.
        func list() async throws -> Duration {
            let begin = ContinuousClock.now
            var next: String?
            repeat {
                let page = try await sessions.page(limit: 500, continuation: next)
                next = page.continuation
            } while next != nil
            return .now - begin
        }

        /// The median of a status's writing, in milliseconds.
        func write() async throws -> Double {
            var times: [Double] = []
            for name in names.prefix(50) {
                var object = try await sessions.get(name)
                object.status?.message = "written"
                let begin = ContinuousClock.now
                _ = try await sessions.replaceStatus(object)
                times.append((ContinuousClock.now - begin).seconds * 1000)
            }
            return times.sorted()[times.count / 2]
        }

        func end() async {
            await client.shutdown()
            await maker.shutdown()
            double.stop()
        }
    }
}
