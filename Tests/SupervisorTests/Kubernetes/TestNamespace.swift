import Curl
import Foundation
import Kubernetes
import KubernetesDouble
import Logging
import SessionModel
import TLSServer
import Testing

@testable import Supervisor

/// A namespace of the API server's double in which the project's definitions are applied, and a supervisor's store on it.
final class TestNamespace: Sendable {
    let double: KubernetesDouble
    let client: KubernetesClient
    let cache: ClusterCache
    let store: KubernetesStore
    let namespace = "team-a"
    private let following: Task<Void, Never>

    init(_ options: KubernetesDouble.Options = .init(), hearsForge: Bool = false) async throws {
        double = try KubernetesDouble(options: options)
        client = Self.client(of: double)
        let created = ObjectMeta(name: namespace)
        try await client.objects(.namespaces).create(GenericObject(.namespaces, metadata: created))
        for definition in try CustomResources.definitions() { try await client.objects(.definitions).create(definition) }
        cache = ClusterCache(client, namespace: namespace, hearsForge: hearsForge, logger: Self.quiet)
        store = KubernetesStore(cache, client: client)
        following = Task { [cache] in await cache.run() }
        await cache.waitUntilSynced()
    }

    static func client(of double: KubernetesDouble) -> KubernetesClient {
        var configuration = ClusterConfiguration(server: double.url, origin: "the double")
        configuration.authorities = .pem(Array(double.authority.certificate.utf8))
        var options = KubernetesClient.Options()
        options.rateLimit = nil
        return KubernetesClient(configuration, options: options)
    }

    static var quiet: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }

    func end() async {
        following.cancel()
        await following.value
        await client.shutdown()
        double.stop()
    }

    static func with(hearsForge: Bool = false, _ body: (TestNamespace) async throws -> Void) async throws {
        let namespace = try await TestNamespace(hearsForge: hearsForge)
        do { try await body(namespace) } catch {
            await namespace.end()
            throw error
        }
        await namespace.end()
    }

    // MARK: What users do

    var tasks: Objects<TaskObject> { client.objects(.tasks, as: TaskObject.self, in: namespace) }
    var sessions: Objects<SessionObject> { client.objects(.sessions, as: SessionObject.self, in: namespace) }

    /// As `kubectl create` does.
    @discardableResult
    func apply(_ name: String, _ spec: TaskSpec) async throws -> TaskObject {
        try await tasks.create(TaskObject(metadata: ObjectMeta(name: name), spec: spec, status: nil))
    }

    /// As the supervisor's API does.
    func create(_ spec: TaskSpec, via store: KubernetesStore? = nil) async throws -> TaskRouting.Answer {
        var asked = spec
        asked.idempotencyKey = nil
        return try await (store ?? self.store).create(
            TaskRouting.Request(
                spec: spec, fallback: nil, digest: Identity.digest(try JSON.encode(asked)), name: Identity.taskName(),
                uid: Identity.uid(), sessionUID: Identity.uid()))
    }

    static let agent = AgentDescription(driver: .acp, command: ["agent"])
    static let pullRequest = ScopeSpec(kind: .pullRequest, repository: "acme/widgets", number: 12)

    static func task(_ prompt: String, key: String? = nil, lifetime: Lifetime? = nil) -> TaskSpec {
        TaskSpec(prompt: prompt, scope: pullRequest, worker: agent, lifetime: lifetime, idempotencyKey: key)
    }

    /// Waits until the store knows that it is so.
    func until(_ condition: @escaping @Sendable (any StoreTransaction) throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(100)
        while try await !store.read(condition) {
            try #require(ContinuousClock.now < deadline, "waited in vain")
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
