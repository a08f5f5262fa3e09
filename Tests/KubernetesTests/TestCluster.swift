import Curl
import Foundation
import KubernetesDouble
import SessionModel
import TLSServer
import Testing

@testable import Kubernetes

/// A cluster for one test: the double in this process, or, with HOLDFAST_TEST_KUBECONFIG set, a namespace of a real one.
struct TestCluster: Sendable {
    let client: KubernetesClient
    let configuration: ClusterConfiguration
    let namespace: String
    /// Nil on a real cluster.
    let double: KubernetesDouble?

    static let isReal = ProcessInfo.processInfo.environment["HOLDFAST_TEST_KUBECONFIG"] != nil

    /// A custom resource with a status, in group `example.test`.
    static let gadgets = ResourceType(group: "example.test", version: "v1alpha1", plural: "gadgets", kind: "Gadget")

    /// A test that needs to do something to the server that nobody can do to a real one.
    static func withDouble(
        _ options: KubernetesDouble.Options = .init(), client: KubernetesClient.Options = .init(),
        _ body: (TestCluster, KubernetesDouble) async throws -> Void
    ) async throws {
        let double = try KubernetesDouble(options: options)
        defer { double.stop() }
        let cluster = try await TestCluster(configuration: configuration(of: double), double: double, options: client)
        try await body(cluster, double)
        await cluster.client.shutdown()
    }

    static func with(_ body: (TestCluster) async throws -> Void) async throws {
        guard let path = ProcessInfo.processInfo.environment["HOLDFAST_TEST_KUBECONFIG"] else {
            return try await withDouble { cluster, _ in try await body(cluster) }
        }
        let cluster = try await TestCluster(
            configuration: try ClusterConfiguration.load(kubeconfig: path), double: nil, options: .init())
        try await body(cluster)
        try await cluster.client.objects(.namespaces).delete(cluster.namespace)
        await cluster.client.shutdown()
    }

    static func configuration(of double: KubernetesDouble) -> ClusterConfiguration {
        var configuration = ClusterConfiguration(server: double.url, origin: "the double")
        configuration.authorities = .pem(Array(double.authority.certificate.utf8))
        return configuration
    }

    private init(
        configuration: ClusterConfiguration, double: KubernetesDouble?, options: KubernetesClient.Options
    ) async throws {
        self.configuration = configuration
        self.double = double
        client = KubernetesClient(configuration, options: options)
        namespace = "hf-\(UUID().uuidString.lowercased().prefix(8))"
        try await client.objects(.namespaces).create(GenericObject(.namespaces, metadata: ObjectMeta(name: namespace)))
        let definition = try JSON.decode(GenericObject.self, from: JSON.encode(Exchange.named("crd-create").request.body))
        do throws(KubernetesError) { try await client.objects(.definitions).create(definition) } catch {
            if error.code != .alreadyExists { throw error }
        }
        try await until { try await client.has(Self.gadgets) }
        // Its storage may still be starting: 429 with a time to wait.
        _ = try await gadgetObjects.page(limit: 1)
    }

    var gadgetObjects: Objects<GenericObject> { client.objects(Self.gadgets, in: namespace) }

    static func gadget(_ name: String, labels: [String: String]? = nil) -> GenericObject {
        GenericObject(gadgets, metadata: ObjectMeta(name: name, labels: labels), members: ["spec": ["prompt": "hello"]])
    }
}

/// Asks again and again, with a short pause, until it is so.
func until(within limit: Duration = .seconds(30), _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw Waited(limit: limit) }
        try await Task.sleep(for: .milliseconds(10))
    }
}

struct Waited: Error, CustomStringConvertible {
    let limit: Duration
    var description: String { "waited \(limit) in vain" }
}

/// The error of an attempt that must fail.
func failure<Value>(_ attempt: () async throws -> Value) async -> KubernetesError? {
    do {
        _ = try await attempt()
        Issue.record("it must not succeed")
        return nil
    } catch { return error as? KubernetesError }
}
