import Foundation
import GitHub
import Kubernetes
import SessionModel

/// What a cluster keeps of forges in ConfigMaps: deliveries of webhooks until they are handled and some time longer, what the forge was
/// told of each session, and the names of repositories.
enum ForgeRecords {
    /// The value of the label ``KeyRecord/label``.
    enum Component: String, CaseIterable {
        case delivery
        case report = "forge-report"
        case repositories
    }

    static let repositories = "holdfast-repositories"
    /// So long handled deliveries can be looked at, unless there are more than ``mostHandled``. What they mean is known for longer.
    static let handledKept = TimeSpan.days(1)
    static let mostHandled = 1000
    /// So many commits of a session are remembered.
    static let mostPushed = 200

    static func name(ofDelivery id: String) -> String { "holdfast-delivery-\(Identity.digest(Data(id.utf8)).prefix(32))" }
    static func name(ofReport session: String) -> String { "holdfast-report-\(session)" }

    static func component(of record: GenericObject) -> Component? {
        record.metadata.labels?[KeyRecord.label].flatMap(Component.init)
    }

    static func new(_ component: Component, _ name: String, in namespace: String) -> GenericObject {
        GenericObject(
            .configMaps,
            metadata: ObjectMeta(name: name, namespace: namespace, labels: [KeyRecord.label: component.rawValue]))
    }
}

/// A delivery, without what it says: that is beside it until it is handled.
struct StoredDelivery: Codable, Hashable {
    var id: String
    var event: String
    var subject: String
    var received: Timestamp
    var handled: Timestamp?
    var outcome: String?
    var due: Timestamp?
    var waitsFor: String?

    static func cameFirst(_ one: StoredDelivery, _ other: StoredDelivery) -> Bool {
        (one.received, one.id) < (other.received, other.id)
    }
}

/// All that is kept of one session.
struct StoredReport: Codable, Hashable {
    struct Pushed: Codable, Hashable {
        var commit: String
        var until: Timestamp
    }
    /// The name of the session.
    var session: String
    /// Nil of a session that no event has made.
    var report: ForgeReport?
    var outgoing: [OutgoingMessage] = []
    var pushed: [Pushed] = []
}

/// The records of forges, read.
struct ForgeView: Sendable {
    /// By the names of their ConfigMaps.
    private(set) var deliveries: [String: StoredDelivery] = [:]
    private(set) var reports: [String: StoredReport] = [:]
    /// By host and id.
    private(set) var repositories: [String: String] = [:]

    private static let document = "document"
    private static let event = "event"

    /// - Returns: the name of the session, if it is a report.
    @discardableResult
    mutating func note(_ record: GenericObject) -> String? {
        let name = record.metadata.name ?? ""
        func document<Value: Decodable>(_ type: Value.Type) -> Value? {
            record["data"]?[Self.document]?.string.flatMap { try? JSON.decode(type, from: $0) }
        }
        switch ForgeRecords.component(of: record) {
        case .delivery: deliveries[name] = document(StoredDelivery.self)
        case .report:
            reports[name] = document(StoredReport.self)
            return reports[name]?.session
        case .repositories: repositories = document([String: String].self) ?? [:]
        case nil: break
        }
        return nil
    }

    mutating func forget(_ name: String) {
        deliveries[name] = nil
        reports[name] = nil
        if name == ForgeRecords.repositories { repositories = [:] }
    }

    // MARK: What is written

    static func set(_ document: some Encodable, event: GitHubEvent? = nil, in record: inout GenericObject) throws {
        var data: [String: JSONValue] = [Self.document: .string(try JSON.string(document))]
        if let event { data[Self.event] = .string(try JSON.string(event)) }
        record["data"] = .object(data)
    }

    static func event(in record: GenericObject) throws -> GitHubEvent? {
        try record["data"]?[event]?.string.map { try JSON.decode(GitHubEvent.self, from: $0) }
    }
}
