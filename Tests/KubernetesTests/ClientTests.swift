import Curl
import Foundation
import KubernetesDouble
import SessionModel
import Testing

@testable import Kubernetes

/// What can be done with objects: on the double, and on a real server when there is one.
@Suite(.timeLimit(.minutes(5)))
struct ClientTests {
    @Test func objectsAreMadeReadChangedAndDeleted() async throws {
        try await TestCluster.with { cluster async throws in
            let gadgets = cluster.gadgetObjects
            var made = try await gadgets.create(TestCluster.gadget("g1", labels: ["team": "a"]))
            #expect(made.metadata.uid != nil && made.metadata.namespace == cluster.namespace)
            #expect(made["spec"]?["scope"] == "Commit", "the definition's default")
            #expect(await failure { try await gadgets.create(TestCluster.gadget("g1")) }?.code == .alreadyExists)
            #expect(await failure { try await gadgets.get("nope") }?.code == .notFound)

            // The spec by PUT, with the version that it was made from.
            let stale = made
            made.metadata.labels = ["team": "b"]
            let changed = try await gadgets.replace(made)
            #expect(changed.metadata.labels == ["team": "b"])
            #expect(await failure { try await gadgets.replace(stale) }?.code == .conflict)

            // The status by PUT, which changes nothing else.
            var withStatus = changed
            withStatus["status"] = ["phase": "Ready"]
            withStatus["spec"] = ["prompt": "ignored"]
            let status = try await gadgets.replaceStatus(withStatus)
            #expect(status["status"]?["phase"] == "Ready" && status["spec"]?["prompt"] == "hello")
            #expect(await failure { try await gadgets.replaceStatus(withStatus) }?.code == .conflict)
            withStatus.metadata.resourceVersion = nil
            let blind = withStatus
            #expect(await failure { try await gadgets.replaceStatus(blind) }?.code == .badRequest)

            // Merge patches, with and without a condition.
            let patched = try await gadgets.patch("g1", ["metadata": ["labels": ["team": nil, "x": "y"]]])
            #expect(patched.metadata.labels == ["x": "y"])
            let conditional: JSONValue = ["metadata": ["resourceVersion": "1"], "status": ["phase": "Old"]]
            #expect(await failure { try await gadgets.patch("g1", conditional, subresource: "status") }?.code == .conflict)

            // Deletion with preconditions.
            #expect(await failure { try await gadgets.delete("g1", uid: "another") }?.code == .conflict)
            #expect(
                await failure { try await gadgets.delete("g1", resourceVersion: stale.metadata.resourceVersion) }?.code
                    == .conflict)
            try await gadgets.delete("g1", uid: made.metadata.uid, resourceVersion: patched.metadata.resourceVersion)
            #expect(await failure { try await gadgets.get("g1") }?.code == .notFound)
            #expect(await failure { try await gadgets.delete("g1") }?.code == .notFound)
        }
    }

    @Test func aDryRunKeepsNothing() async throws {
        try await TestCluster.with { cluster async throws in
            #expect(try await cluster.gadgetObjects.create(TestCluster.gadget("dry"), dryRun: true).metadata.uid != nil)
            #expect(await failure { try await cluster.gadgetObjects.get("dry") }?.code == .notFound)
        }
    }

    @Test func listsArePagedAndSelected() async throws {
        try await TestCluster.with { cluster async throws in
            for index in 0..<7 {
                try await cluster.gadgetObjects.create(TestCluster.gadget("l\(index)", labels: ["even": "\(index % 2 == 0)"]))
            }
            let page = try await cluster.gadgetObjects.page(limit: 3)
            #expect(page.items.count == 3 && page.continuation != nil && page.metadata.remainingItemCount == 4)
            #expect(try await cluster.gadgetObjects.list(limit: 3).items.map { $0.metadata.name } == (0..<7).map { "l\($0)" })
            #expect(try await cluster.gadgetObjects.list(Selector(labels: "even=true")).items.count == 4)
            #expect(try await cluster.gadgetObjects.list(Selector(fields: "metadata.name=l3")).items.count == 1)
            let everywhere = cluster.client.objects(TestCluster.gadgets)
            #expect(try await everywhere.list(Selector(labels: "even")).items.count >= 7)
        }
    }

    @Test func aListThatExpiresInTheMiddleBeginsAgain() async throws {
        try await TestCluster.withDouble { cluster, double async throws in
            for index in 0..<5 { try await cluster.gadgetObjects.create(TestCluster.gadget("l\(index)")) }
            let isSecondPage: @Sendable (APIRequest) -> Bool = { $0.query["continue"] != nil }
            double.inject(Fault(.answer(410, reason: "Expired", message: "too old"), where: isSecondPage))
            #expect(try await cluster.gadgetObjects.list(limit: 2).items.count == 5)
            double.inject(Fault(.answer(410, reason: "Expired", message: "too old"), count: 3, where: isSecondPage))
            #expect(await failure { try await cluster.gadgetObjects.list(limit: 2) }?.code == .expired)
        }
    }

    @Test func finalizersHoldAndOwnersTakeTheirOwnWithThem() async throws {
        try await TestCluster.with { cluster async throws in
            let gadgets = cluster.gadgetObjects
            var held = TestCluster.gadget("held")
            held.metadata.finalizers = ["example.test/drain"]
            try await gadgets.create(held)
            try await gadgets.delete("held")
            let ending = try await gadgets.get("held")
            #expect(ending.metadata.deletionTimestamp != nil)
            try await gadgets.patch("held", ["metadata": ["finalizers": nil]])
            #expect(await failure { try await gadgets.get("held") }?.code == .notFound)

            let owner = try await gadgets.create(TestCluster.gadget("owner"))
            var owned = TestCluster.gadget("owned")
            owned.metadata.ownerReferences = [
                OwnerReference(
                    apiVersion: TestCluster.gadgets.apiVersion, kind: "Gadget", name: "owner", uid: owner.metadata.uid!,
                    controller: true, blockOwnerDeletion: true)
            ]
            try await gadgets.create(owned)
            try await gadgets.delete("owner", propagation: .background)
            try await until {
                do throws(KubernetesError) { _ = try await gadgets.get("owned") } catch { return error.code == .notFound }
                return false
            }
        }
    }

    @Test func theServerSaysWhatItHas() async throws {
        try await TestCluster.with { cluster async throws in
            #expect(try await cluster.client.version().major == "1")
            #expect(try await cluster.client.has(TestCluster.gadgets))
            #expect(try await cluster.client.has(.pods))
            let other = ResourceType(group: "nobody.test", version: "v1", plural: "things", kind: "Thing")
            #expect(try await !cluster.client.has(other))
        }
    }

    @Test func theServersValidationReachesTheCaller() async throws {
        guard TestCluster.isReal else { return }
        try await TestCluster.with { cluster async throws in
            var wrong = TestCluster.gadget("wrong")
            wrong["spec"] = ["prompt": "x", "scope": "PullRequest"]
            let sent = wrong
            let error = await failure { try await cluster.gadgetObjects.create(sent) }
            #expect(error?.code == .invalid)
            #expect(error?.causes.first?.field == "spec")
            wrong["spec"] = ["prompt": "x", "bogus": 1]
            let unknown = wrong
            #expect(await failure { try await cluster.gadgetObjects.create(unknown) }?.code == .badRequest)
        }
    }

    // MARK: Trouble

    @Test func aServerThatIsBusyIsAskedAgainWhenItSaysSo() async throws {
        try await TestCluster.withDouble { cluster, double async throws in
            let isWrite: @Sendable (APIRequest) -> Bool = { $0.method == "POST" }
            double.inject(
                Fault(
                    .answer(429, reason: "TooManyRequests", message: "storage is (re)initializing", retryAfter: 1), where: isWrite
                ))
            let begun = ContinuousClock.now
            try await cluster.gadgetObjects.create(TestCluster.gadget("a"))
            #expect(.now - begun >= .seconds(1))
            // Without a time to wait it is the caller's affair; a longer wait than the deadline, too.
            double.inject(Fault(.answer(500, reason: "InternalError", message: "no"), where: isWrite))
            #expect(await failure { try await cluster.gadgetObjects.create(TestCluster.gadget("b")) }?.code == .internalError)
            double.inject(Fault(.answer(429, reason: "TooManyRequests", message: "later", retryAfter: 600), where: isWrite))
            let late = await failure { try await cluster.gadgetObjects.create(TestCluster.gadget("b")) }
            #expect(late?.code == .tooManyRequests && late?.retryAfter == .seconds(600))
        }
    }

    @Test func onlyReadsAreRepeatedWhenTheAnswerIsLost() async throws {
        try await TestCluster.withDouble { cluster, double async throws in
            try await cluster.gadgetObjects.create(TestCluster.gadget("a"))
            // More often than libcurl itself tries again.
            double.inject(Fault(.drop, count: 3) { $0.method == "GET" })
            #expect(try await cluster.gadgetObjects.get("a").metadata.name == "a")
            double.inject(Fault(.dropAfter, count: 3) { $0.method == "POST" })
            let lost = await failure { try await cluster.gadgetObjects.create(TestCluster.gadget("b")) }
            #expect(lost?.code == .unreachable || lost?.code == .alreadyExists, "\(String(describing: lost))")
            #expect(try await cluster.gadgetObjects.get("b").metadata.name == "b", "it was done all the same")
        }
    }

    @Test func aSilentServerIsGivenUpAndTheNextRequestGoesElsewhere() async throws {
        var options = KubernetesClient.Options()
        options.timeout = .seconds(2)
        try await TestCluster.withDouble(client: options) { cluster, double async throws in
            double.freezeConnections()
            let error = await failure { try await cluster.client.version() }
            #expect(error?.code == .unreachable && error?.transport == .timeout)
            #expect(try await cluster.client.version().major == "1")
        }
    }

    @Test func aRotatedTokenIsReadAgain() async throws {
        let file = NSTemporaryDirectory() + "/hf-token-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: file) }
        try "one\n".write(toFile: file, atomically: true, encoding: .utf8)
        try await TestCluster.withDouble { cluster, double async throws in
            var configuration = TestCluster.configuration(of: double)
            configuration.identity = .tokenFile(file, initial: nil)
            let client = KubernetesClient(configuration)
            double.setTokens(["one"])
            _ = try await client.objects(.pods, in: "default").list()
            // Between reading and sending: the first 401 is not the last word.
            double.setTokens(["two"])
            #expect(await failure { try await client.objects(.pods, in: "default").list() }?.code == .unauthorized)
            try "two\n".write(toFile: file, atomically: true, encoding: .utf8)
            _ = try await client.objects(.pods, in: "default").list()
            #expect(await failure { try await cluster.client.objects(.pods, in: "default").list() }?.code == .forbidden)
            await client.shutdown()
        }
    }

    @Test func theClientsOwnLimitMakesItWait() async throws {
        var options = KubernetesClient.Options()
        options.rateLimit = (perSecond: 20, burst: 10)
        try await TestCluster.withDouble(client: options) { cluster, _ async throws in
            let begun = ContinuousClock.now
            for _ in 0..<25 { _ = try await cluster.client.version() }
            #expect(.now - begun > .milliseconds(700))
        }
    }

    @Test func aFencedClientRefusesWhenTheLeadershipIsOver() async throws {
        try await TestCluster.withDouble { cluster, double async throws in
            let leadership = Leadership(term: 1, until: .now + .seconds(60))
            let fenced = cluster.client.fenced(by: leadership)
            _ = try await fenced.version()
            leadership.finish()
            let before = double.requests.count
            #expect(await failure { try await fenced.version() }?.code == .conflict)
            #expect(double.requests.count == before)
        }
    }
}
