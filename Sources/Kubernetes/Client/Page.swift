import SessionModel

/// Some of the objects of a type, as of one moment.
public struct Page<Object: KubernetesObject>: Sendable {
    public struct Metadata: Sendable, Hashable, Codable {
        public var resourceVersion: String?
        public var `continue`: String?
        public var remainingItemCount: Int64?
    }
    public var metadata: Metadata
    public var items: [Object]
    /// Those that are not as this program expects them. They do not hide the others.
    public var broken: [BrokenObject]

    /// What to ask the next page with; nil on the last.
    public var continuation: String? { metadata.continue.flatMap { $0.isEmpty ? nil : $0 } }

    public init(metadata: Metadata, items: [Object], broken: [BrokenObject] = []) {
        self.metadata = metadata
        self.items = items
        self.broken = broken
    }
}

/// An object that cannot be read, and why.
public struct BrokenObject: Sendable, Hashable {
    public var key: ObjectKey
    public var resourceVersion: String?
    /// `spec.prompt is missing`
    public var problem: String
}

extension Page: Decodable {
    private enum CodingKeys: String, CodingKey { case metadata, items }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        metadata = try container.decode(Metadata.self, forKey: .metadata)
        items = []
        broken = []
        // A list of nothing is `null` in what old servers answer.
        for item in try container.decodeIfPresent([Lenient<Object>].self, forKey: .items) ?? [] {
            switch item {
            case .object(let object): items.append(object)
            case .broken(let object): broken.append(object)
            }
        }
    }
}

/// An object, or, when it is not as expected, what can be said of it.
enum Lenient<Object: KubernetesObject>: Decodable {
    case object(Object)
    case broken(BrokenObject)

    private enum CodingKeys: String, CodingKey { case metadata }

    init(from decoder: any Decoder) throws {
        do { self = .object(try Object(from: decoder)) } catch let error as DecodingError {
            // What has no metadata either is not an object at all.
            let metadata = try decoder.container(keyedBy: CodingKeys.self).decode(ObjectMeta.self, forKey: .metadata)
            self = .broken(
                BrokenObject(
                    key: ObjectKey(metadata), resourceVersion: metadata.resourceVersion,
                    problem: error.clause))
        }
    }
}
