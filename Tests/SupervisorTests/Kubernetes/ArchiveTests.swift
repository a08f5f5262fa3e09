import Kubernetes
import KubernetesDouble
import SessionModel
import Testing

@testable import Supervisor

/// The volumes of sessions whose names others have taken.
@Suite(.timeLimit(.minutes(2))) struct ArchiveTests {
    @Test func aVolumeWithoutItsSessionIsKeptForItsTime() async throws {
        try await TestNamespace.with { cluster in
            let settings = SessionPod.Settings(sidecarImage: "sidecar", agentImage: "agent")
            let claims: Objects<GenericObject> = cluster.client.objects(.volumeClaims, in: cluster.namespace)
            let key = try SessionKey(parsing: "pr:acme/widgets#12")
            var lifetime = Lifetime()
            lifetime.archiveTTL = .days(3)
            let spec = SessionSpec(key: key, scope: TestNamespace.pullRequest, worker: TestNamespace.agent, lifetime: lifetime)
            let object = SessionObject(metadata: ObjectMeta(name: key.name), spec: spec, status: nil)
            let session = try await cluster.sessions.create(object).document
            func claim(of session: SessionResource, isOwned: Bool) async throws -> String {
                var claim = try #require(
                    try SessionPod(session, epoch: 1, namespace: cluster.namespace, settings: settings).claim())
                if !isOwned { claim.metadata.ownerReferences = nil }
                return try #require(try await claims.create(claim).metadata.name)
            }
            var earlier = session
            earlier.metadata.uid = Identity.uid()
            let living = try await claim(of: session, isOwned: true)
            let old = try await claim(of: earlier, isOwned: false)
            var foreign = GenericObject(.volumeClaims, metadata: ObjectMeta(name: "somebody-elses", namespace: cluster.namespace))
            foreign["spec"] = ["accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": "1Gi"]]]
            try await claims.create(foreign)

            let runtime = KubernetesRuntime(
                cluster.client, namespace: cluster.namespace,
                settings: settings, authority: { nil },
                watch: PodWatch(cluster.client, namespace: cluster.namespace, nodes: nil, logger: TestNamespace.quiet),
                logger: TestNamespace.quiet)
            func left(after time: TimeSpan) async throws -> Set<String> {
                await runtime.removeOldArchives(at: start + time)
                return Set(try await claims.list().items.compactMap(\.metadata.name))
            }
            let start = Timestamp.now
            #expect(try await left(after: .zero) == [living, old, "somebody-elses"])
            #expect(try await left(after: .days(2)) == [living, old, "somebody-elses"])
            #expect(try await left(after: .days(3)) == [living, "somebody-elses"])
            #expect(try await left(after: .days(300)) == [living, "somebody-elses"])
        }
    }
}
