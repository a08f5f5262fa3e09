import Curl
import KubernetesDouble
import NIOConcurrencyHelpers
import SessionModel
import Testing

@testable import Kubernetes

/// A cache against a server that misbehaves.
@Suite(.timeLimit(.minutes(5)))
struct InformerTests {
    private struct Watched {
        let informer: Informer<GenericObject>
        let problems: NIOLockedValueBox<[KubernetesError]>
        let changes: NIOLockedValueBox<[String]>
    }

    private func follow(
        _ cluster: TestCluster, usesPages: Bool = false, silence: Duration = .seconds(150), _ body: (Watched) async throws -> Void
    ) async throws {
        let problems = NIOLockedValueBox<[KubernetesError]>([])
        let changes = NIOLockedValueBox<[String]>([])
        var options = Informer<GenericObject>.Options()
        options.usesPages = usesPages
        options.pageSize = 3
        options.longestSilence = silence
        options.backoff = Backoff(base: .milliseconds(10), limit: .milliseconds(200))
        let informer = Informer(
            cluster.gadgetObjects, options: options, onProblem: { error in problems.withLockedValue { $0.append(error) } },
            onChanges: { news in
                changes.withLockedValue {
                    for change in news {
                        switch change {
                        case .added: $0.append("+\(change.key.name)")
                        case .updated: $0.append("~\(change.key.name)")
                        case .deleted: $0.append("-\(change.key.name)")
                        }
                    }
                }
            })
        let running = Task { await informer.run() }
        await informer.waitUntilSynced()
        try await body(Watched(informer: informer, problems: problems, changes: changes))
        running.cancel()
        await running.value
    }

    @Test(arguments: [true, false])
    func followsWhatHappens(usesPages: Bool) async throws {
        try await TestCluster.with { cluster async throws in
            for name in ["a", "b", "c", "d"] { try await cluster.gadgetObjects.create(TestCluster.gadget(name)) }
            try await follow(cluster, usesPages: usesPages) { watched async throws in
                #expect(watched.informer.count == 4)
                try await cluster.gadgetObjects.create(TestCluster.gadget("e"))
                try await cluster.gadgetObjects.patch("a", ["metadata": ["labels": ["x": "y"]]])
                try await cluster.gadgetObjects.delete("b")
                try await until { watched.changes.withLockedValue { $0.count } == 7 }
                #expect(watched.changes.withLockedValue { $0 } == ["+a", "+b", "+c", "+d", "+e", "~a", "-b"])
                #expect(watched.informer[ObjectKey(namespace: cluster.namespace, name: "a")]?.metadata.labels == ["x": "y"])
                #expect(watched.problems.withLockedValue { $0.isEmpty })
            }
        }
    }

    /// A leader must be able to stop, also where it may not read what it waits for.
    @Test func whoWaitsForItCanBeCancelled() async throws {
        let client = KubernetesClient(ClusterConfiguration(server: "http://127.0.0.1:9", origin: "nowhere"))
        let informer = Informer(client.objects(.nodes))
        for isLate in [false, true] {
            let waits = Task { await informer.waitUntilSynced() }
            if isLate { await Task.yield() }
            waits.cancel()
            await waits.value
        }
        #expect(!informer.isSynced)
        await client.shutdown()
    }

    @Test func aServerWithoutInitialEventsIsReadByPages() async throws {
        var options = KubernetesDouble.Options()
        options.knowsInitialEvents = false
        try await TestCluster.withDouble(options) { cluster, _ async throws in
            for index in 0..<7 { try await cluster.gadgetObjects.create(TestCluster.gadget("l\(index)")) }
            try await follow(cluster) { #expect($0.informer.count == 7) }
        }
    }

    @Test func outlivesDroppedConnectionsEndedWatchesAndLostHistory() async throws {
        try await TestCluster.withDouble { cluster, double async throws in
            try await cluster.gadgetObjects.create(TestCluster.gadget("a"))
            try await follow(cluster) { watched async throws in
                var count = 1
                let troubles: [(KubernetesDouble) -> Void] = [
                    { $0.dropConnections() }, { $0.endWatches() },
                    {
                        // While nobody watches, an object goes and the history is forgotten: 410 in a watch with status 200.
                        $0.inject(Fault(.answer(503, reason: "ServiceUnavailable", message: "down"), count: 3) { $0.isWatch })
                        $0.endWatches()
                        $0.with {
                            $0.skipVersions(100); $0.compact()
                        }
                    },
                    {
                        $0.inject(Fault(.answer(410, reason: "Expired", message: "too old"), count: 2) { $0.isWatch })
                        $0.dropConnections()
                    },
                    {
                        $0.inject(Fault(.answer(429, reason: "TooManyRequests", message: "later"), count: 2) { $0.isWatch })
                        $0.endWatches()
                    },
                    {
                        $0.inject(Fault(.drop, count: 4) { $0.isWatch })
                        $0.dropConnections()
                    },
                ]
                for trouble in troubles {
                    trouble(double)
                    // Its own connection may be one of those that have just broken.
                    let name = "n\(count)"
                    try await until {
                        do throws(KubernetesError) { try await cluster.gadgetObjects.create(TestCluster.gadget(name)) } catch {
                            return error.code == .alreadyExists
                        }
                        return true
                    }
                    count += 1
                    try await until { watched.informer.count == count }
                }
                let told = watched.changes.withLockedValue { $0 }
                #expect(told.count == Set(told).count, "nothing is told twice: \(told)")
            }
        }
    }

    @Test func aSilentlyDeadConnectionIsNoticed() async throws {
        try await TestCluster.withDouble { cluster, double async throws in
            try await follow(cluster, silence: .seconds(2)) { watched async throws in
                double.freezeConnections()
                // Another client's, whose connection is fresh.
                let other = KubernetesClient(cluster.configuration)
                try await other.objects(TestCluster.gadgets, in: cluster.namespace).create(TestCluster.gadget("late"))
                try await until { watched.informer.count == 1 }
                #expect(watched.problems.withLockedValue { $0 }.contains { $0.transport == .timeout })
                await other.shutdown()
            }
        }
    }

    @Test func aVersionFromALostFutureIsNotWaitedForForEver() async throws {
        try await TestCluster.withDouble { cluster, double async throws in
            try await cluster.gadgetObjects.create(TestCluster.gadget("a"))
            double.with { $0.skipVersions(1_000_000) }
            try await cluster.gadgetObjects.create(TestCluster.gadget("b"))
            try await follow(cluster, silence: .seconds(1)) { watched async throws in
                #expect(watched.informer.count == 2)
                // The server is restored from a backup: its versions begin again further back.
                double.with { $0.restore(toVersion: 2000, keeping: "a") }
                double.dropConnections()
                try await until { watched.informer.count == 1 }
            }
        }
    }

    @Test func anObjectThatCannotBeReadHidesNoOther() async throws {
        struct Strict: KubernetesObject {
            struct Spec: Sendable, Hashable, Codable { var prompt: String; var scope: String }
            var metadata: ObjectMeta
            var spec: Spec
        }
        try await TestCluster.withDouble { cluster, _ async throws in
            var odd = TestCluster.gadget("odd")
            odd["spec"] = ["prompt": 5]
            let strange = odd
            try await cluster.gadgetObjects.create(strange)
            try await cluster.gadgetObjects.create(TestCluster.gadget("plain"))
            let problems = NIOLockedValueBox<[String]>([])
            let strict = Informer(
                cluster.client.objects(TestCluster.gadgets, as: Strict.self, in: cluster.namespace),
                onProblem: { error in problems.withLockedValue { $0.append(error.message) } })
            let running = Task { await strict.run() }
            await strict.waitUntilSynced()
            #expect(strict.all.map(\.metadata.name) == ["plain"])
            let problem = problems.withLockedValue { $0.first } ?? ""
            #expect(
                problem.hasPrefix("\(cluster.namespace)/odd cannot be read: ") && problem.contains("spec.prompt"), "\(problem)")
            running.cancel()
            await running.value
        }
    }
}
