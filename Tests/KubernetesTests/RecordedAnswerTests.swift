import Curl
import Foundation
import SessionModel
import Testing

@testable import Kubernetes

/// Every recorded answer of a 1.36 server is understood, the good ones and the bad ones.
@Suite struct RecordedAnswerTests {
    @Test(arguments: Exchange.names)
    func isUnderstood(name: String) throws {
        let exchange = try Exchange.named(name)
        let response = exchange.response
        if let stream = response.stream {
            for event in stream {
                let line = try JSON.encode(event.event)
                let told = try JSON.decode(Envelope<GenericObject>.self, from: line).event(of: name)
                switch (event.event["type"]?.string, told) {
                case ("ADDED", .added(let object)), ("MODIFIED", .modified(let object)), ("DELETED", .deleted(let object)):
                    #expect(try JSON.decode(JSONValue.self, from: JSON.encode(object)).sameFields(as: event.event["object"]!))
                    #expect(object.metadata.uid != nil && object.metadata.resourceVersion != nil)
                case ("BOOKMARK", .bookmark(let version, let ends)):
                    #expect(version == event.event["object"]?["metadata"]?["resourceVersion"]?.string)
                    #expect(ends == (event.event["object"]?["metadata"]?["annotations"] != nil))
                case ("ERROR", .error(let error)): #expect(error.code == .expired && error.status == 410)
                default: Issue.record("\(event.event) is not \(told)")
                }
            }
            return
        }
        let body = try #require(response.body)
        let bytes = try Array(body.string.map { Data($0.utf8) } ?? JSON.encode(body))
        guard response.status >= 300 else {
            guard let kind = body["kind"]?.string else { return }
            if kind == "APIResourceList" {
                let list = try JSON.decode(ResourceList.self, from: Data(bytes))
                #expect(list.resources.contains { $0.name == "pods" })
            } else if kind.hasSuffix("List") {
                let page = try JSON.decode(Page<GenericObject>.self, from: Data(bytes))
                #expect(page.items.count == body["items"]?.array?.count && page.broken.isEmpty)
                #expect(page.continuation ?? "" == body["metadata"]?["continue"]?.string ?? "")
            } else if kind != "Status", body["metadata"] != nil {
                let object = try JSON.decode(GenericObject.self, from: Data(bytes))
                #expect(try JSON.decode(JSONValue.self, from: JSON.encode(object)).sameFields(as: body))
            }
            return
        }
        let headers = response.headers.map { (name: $0.key, value: $0.value) }
        let error = KubernetesError("X", CurlResponse(status: response.status, headers: headers, body: bytes))
        #expect(error.status == response.status)
        #expect(error.reason == body["reason"]?.string)
        #expect(error.message == "X: \(body["message"]?.string ?? "")")
        #expect(error.causes.count == body["details"]?["causes"]?.array?.count ?? 0)
        #expect(error.code != .other && error.code != .notKubernetes)
    }

    @Test func eachBadAnswerHasItsOwnCode() throws {
        let codes: [(String, KubernetesError.Code)] = [
            ("anonymous-403", .forbidden), ("sa-token-403", .forbidden), ("unauthorized-401", .unauthorized),
            ("cr-before-established-429", .tooManyRequests), ("cr-create-400-bad-json", .badRequest),
            ("cr-create-400-unknown-field-strict", .badRequest), ("cr-create-409-exists", .alreadyExists),
            ("cr-create-422-cel", .invalid), ("cr-create-422-enum", .invalid), ("cr-create-422-required", .invalid),
            ("cr-delete-precondition-409", .conflict), ("cr-get-404", .notFound), ("cr-put-409-stale", .conflict),
            ("cr-put-422-immutable", .invalid), ("cr-status-apply-409-conflict", .conflict),
            ("cr-status-merge-patch-409-precondition", .conflict), ("lease-steal-409", .conflict),
            ("list-resource-version-exact-410", .expired), ("patch-415", .unsupportedMediaType), ("pod-create-422", .invalid),
        ]
        for (name, code) in codes { #expect(try error(name).code == code, "\(name)") }
        #expect(try error("cr-before-established-429").retryAfter == .seconds(1))
        let causes = try error("cr-create-422-cel").causes
        #expect(causes.first?.field == "spec")
        #expect(causes.first?.message == "Invalid value: number is required for scope PullRequest and Issue")
    }

    @Test func leasesAndEventsAreTyped() throws {
        let lease = try JSON.decode(Lease.self, from: JSON.encode(#require(Exchange.named("lease-renew-put").response.body)))
        #expect(lease.spec.holderIdentity == "a" && lease.spec.leaseDurationSeconds == 15)
        #expect(try JSON.string(lease).contains("\"renewTime\":\"2026-11-22T09:00:05.000000Z\""))
        let event = try JSON.decode(
            Kubernetes.Event.self, from: JSON.encode(#require(Exchange.named("event-create").response.body)))
        #expect(event.note == "idle for 30m" && event.regarding?.kind == "Lease")
    }

    @Test func anAnswerOfSomethingElseSaysSo() {
        let proxy = KubernetesError("GET /api", CurlResponse(status: 502, headers: [], body: Array("<html>Bad Gateway\nx".utf8)))
        #expect(proxy.code == .other)
        #expect(proxy.message == "GET /api: HTTP 502: <html>Bad Gateway")
    }

    private func error(_ name: String) throws -> KubernetesError {
        let response = try Exchange.named(name).response
        let headers = response.headers.map { (name: $0.key, value: $0.value) }
        return KubernetesError(
            name, CurlResponse(status: response.status, headers: headers, body: Array(try JSON.encode(response.body))))
    }
}

extension JSONValue {
    /// Equal but for members that are null, and for how a time is written.
    func sameFields(as other: JSONValue) -> Bool {
        switch (self, other) {
        case (.object(let mine), .object(let others)):
            Set(mine.keys).union(others.keys).allSatisfy { key in
                (mine[key] ?? .null).sameFields(as: others[key] ?? .null)
            }
        case (.array(let mine), .array(let others)):
            mine.count == others.count && zip(mine, others).allSatisfy { $0.sameFields(as: $1) }
        case (.string(let mine), .string(let others)):
            mine == others || (Timestamp(mine).map { $0 == Timestamp(others) } ?? false)
        default: self == other
        }
    }
}
