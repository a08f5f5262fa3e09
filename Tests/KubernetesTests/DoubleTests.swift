import Foundation
import Kubernetes
import KubernetesDouble
import SessionModel
import Testing

/// The double answers as the real server did, exchange by exchange.
@Suite struct DoubleTests {
    /// What a recording is about, and what has to be there before. The recordings are from one server, one after the other.
    private func cluster(before name: String) throws -> Cluster {
        var cluster = Cluster(version: 320) { Timestamp("2026-11-22T09:48:05Z")! }
        func send(_ name: String) throws {
            let answer = cluster.answer(try Self.request(Exchange.named(name)))
            #expect(answer.status < 300, "\(name): \(answer.body)")
        }
        _ = cluster.answer(.init("POST", "/api/v1/namespaces", body: Array(#"{"metadata":{"name":"rec"}}"#.utf8)))
        if name != "crd-create" { try send("crd-create") }
        if name.hasPrefix("lease-"), name != "lease-create" {
            try send("lease-create")
            let version = cluster.answer(.init("GET", "/apis/coordination.k8s.io/v1/namespaces/rec/leases/supervisor"))
            cluster.skipVersions(343 - Int64(version.body["metadata"]!["resourceVersion"]!.string!)!)
        }
        let needsGadget = [
            "cr-create-409-exists", "cr-get", "cr-put-409-stale", "cr-put-200", "cr-status-merge-patch",
            "cr-status-merge-patch-409-precondition", "patch-415", "cr-delete-200", "cr-delete-precondition-409",
        ]
        if needsGadget.contains(name) {
            try send("cr-create-201")
            cluster.skipVersions(10)
        }
        if ["cr-delete-with-finalizer-202", "cr-remove-finalizer"].contains(name) {
            let body =
                #"{"metadata":{"name":"fin","labels":{"team":"a"},"finalizers":["example.test/drain"]},"spec":{"prompt":"p"}}"#
            _ = cluster.answer(.init("POST", "/apis/example.test/v1alpha1/namespaces/default/gadgets", body: Array(body.utf8)))
            if name == "cr-remove-finalizer" { try send("cr-delete-with-finalizer-202") }
        }
        if name == "list-resource-version-exact-410" { cluster.compact() }
        return cluster
    }

    private static func request(_ exchange: Exchange) throws -> APIRequest {
        APIRequest(
            exchange.request.method, exchange.request.path, contentType: exchange.request.headers["Content-Type"],
            body: Array(try exchange.request.body.map { try $0.string.map { Data($0.utf8) } ?? JSON.encode($0) } ?? Data()))
    }

    @Test(arguments: [
        "cr-create-201", "cr-create-409-exists", "cr-create-dryrun", "cr-create-generateName", "cr-delete-200",
        "cr-delete-precondition-409", "cr-delete-with-finalizer-202", "cr-remove-finalizer", "cr-get-404", "cr-put-409-stale",
        "cr-status-merge-patch-409-precondition", "lease-create", "lease-renew-put", "lease-steal-409",
        "list-resource-version-exact-410", "patch-415", "event-create", "namespace-create", "secret-create",
    ])
    func answersAsRecorded(name: String) throws {
        let exchange = try Exchange.named(name)
        var cluster = try cluster(before: name)
        if name == "namespace-create" { _ = cluster.answer(.init("DELETE", "/api/v1/namespaces/rec")) }
        var request = try Self.request(exchange)
        // The recording names the version of its own server.
        if name == "lease-renew-put" || name == "lease-steal-409" {
            let current = cluster.answer(.init("GET", exchange.request.path)).body["metadata"]!
            var body = try JSON.decode(JSONValue.self, from: Data(request.body)).object!
            var metadata = body["metadata"]!.object!
            metadata["uid"] = current["uid"]
            if name == "lease-renew-put" {
                metadata["resourceVersion"] = current["resourceVersion"]
            } else {
                metadata["resourceVersion"] = "1"
            }
            body["metadata"] = .object(metadata)
            request.body = Array(try JSON.encode(JSONValue.object(body)))
        }
        let answer = cluster.answer(request)
        #expect(answer.status == exchange.response.status)
        let mine = Self.normal(answer.body)
        let recorded = Self.normal(try #require(exchange.response.body))
        let texts = (try JSON.string(mine), try JSON.string(recorded))
        #expect(texts.0 == texts.1)
        #expect(answer.headers.first { $0.name == "Retry-After" }?.value == exchange.response.headers["Retry-After"])
    }

    /// A whole watch, as recorded: what happened meanwhile is done here, too.
    @Test func aWatchTellsAsRecorded() async throws {
        let recorded = try Exchange.named("watch-add-modify-delete").response.stream!.map(\.event)
        try await TestCluster.withDouble { cluster, double async throws in
            double.with { $0.skipVersions(1000) }
            let watch = try await cluster.client.objects(TestCluster.gadgets, as: Kubernetes.GenericObject.self, in: "default")
                .watch(
                    from: double.with { "\($0.currentVersion)" })
            var events = watch.makeAsyncIterator()
            let gadgets = cluster.client.objects(TestCluster.gadgets, in: "default")
            try await gadgets.create(TestCluster.gadget("w1", labels: ["team": "a"]))
            try await gadgets.patch("w1", ["status": ["phase": "Ready"]], subresource: "status")
            try await gadgets.delete("w1")
            var seen: [String] = []
            while seen.last != "BOOKMARK", let event = try await events.next() {
                switch event {
                case .added(let object): seen.append("ADDED \(object["status"]?["phase"]?.string ?? "-")")
                case .modified(let object): seen.append("MODIFIED \(object["status"]?["phase"]?.string ?? "-")")
                case .deleted(let object): seen.append("DELETED \(object["status"]?["phase"]?.string ?? "-")")
                case .bookmark: if seen.count >= 3 { seen.append("BOOKMARK") }
                default: Issue.record("\(event)")
                }
            }
            let wanted = recorded.map { event in
                let type = event["type"]!.string!
                return type == "BOOKMARK" ? type : "\(type) \(event["object"]?["status"]?["phase"]?.string ?? "-")"
            }
            #expect(seen == wanted)
        }
    }

    /// Without what differs from server to server: versions, uids, times, and names that were made up.
    private static func normal(_ value: JSONValue, _ name: String = "") -> JSONValue {
        switch value {
        case .object(let members):
            var result: [String: JSONValue] = [:]
            for (key, member) in members where member != .null && key != "managedFields" {
                switch key {
                case "resourceVersion", "uid", "creationTimestamp", "deletionTimestamp": result[key] = "…"
                case "name" where members["generateName"] != nil: result[key] = "…"
                // The namespace controller and the admission of events add these.
                case "deprecatedSource", "deprecatedFirstTimestamp", "deprecatedLastTimestamp": break
                case "labels" where member["kubernetes.io/metadata.name"] != nil: break
                case "finalizers" where name == "spec": break
                default: result[key] = normal(member, key)
                }
            }
            if name == "spec", result.isEmpty { return .null }
            return .object(result.filter { $0.value != .null })
        case .array(let elements): return .array(elements.map { normal($0) })
        case .string(let text):
            // `… the ResourceVersion in record (326) …`
            return .string(text.replacing(/in record \(\d+\)/, with: "in record (…)"))
        default: return value
        }
    }
}
