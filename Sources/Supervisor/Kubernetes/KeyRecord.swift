import Crypto
import Foundation
import Kubernetes
import SessionModel

/// What is left of a deleted Task whose idempotency key is to be remembered: an entry in one of a few ConfigMaps.
struct KeyRecord: Codable, Hashable {
    /// Of the request that the key came with.
    var digest: String
    var task: String
    var until: Timestamp

    static let label = "holdfast.dev/component"
    static let labelValue = "idempotency-keys"

    /// The name of the ConfigMap that a key is in. There are 16 of them; each holds some six thousand keys.
    static func shard(of key: String) -> String { "holdfast-keys-\(field(of: key).prefix(1))" }

    /// A key may hold characters that a ConfigMap's field may not.
    private static func field(of key: String) -> String { Identity.digest(Data(key.utf8)) }

    static func entry(of key: String, in record: GenericObject) -> KeyRecord? {
        record["data"]?[field(of: key)]?.string.flatMap { try? JSON.decode(KeyRecord.self, from: $0) }
    }

    /// The ConfigMap with one more entry, and without those whose time is up.
    static func adding(
        _ entry: KeyRecord, for key: String, to record: GenericObject?, in namespace: String, at now: Timestamp
    ) throws -> GenericObject {
        var record =
            record
            ?? GenericObject(
                .configMaps, metadata: ObjectMeta(name: shard(of: key), namespace: namespace, labels: [label: labelValue]))
        var data = record["data"]?.object ?? [:]
        for (field, text) in data {
            let old = text.string.flatMap { try? JSON.decode(KeyRecord.self, from: $0) }
            if old.map({ $0.until <= now }) ?? true { data[field] = nil }
        }
        data[field(of: key)] = .string(try JSON.string(entry))
        record["data"] = .object(data)
        return record
    }
}

extension TaskObject {
    /// An annotation: the digest of the request that made it.
    static let digestAnnotation = "holdfast.dev/request"

    /// What its idempotency key stands for.
    var requestDigest: String {
        if let digest = metadata.annotations?[Self.digestAnnotation] { return digest }
        var asked = spec
        asked.idempotencyKey = nil
        return (try? JSON.encode(asked)).map { Identity.digest($0) } ?? ""
    }

    /// The name of a Task that a key makes: two requests with one key collide.
    static func name(ofKey key: String) -> String { "t-" + Base32.encode(SHA256.hash(data: Data(key.utf8))) }
}
