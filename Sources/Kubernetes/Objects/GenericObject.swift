public import SessionModel

/// An object of any type with everything that is in it, so that writing it back loses nothing.
public struct GenericObject: KubernetesObject {
    /// The items of a list of a built-in type have neither of these.
    public var apiVersion: String?
    public var kind: String?
    public var metadata: ObjectMeta
    /// All the other members: `spec`, `status`, `data` …
    public var members: [String: JSONValue]

    public init(_ type: ResourceType, metadata: ObjectMeta, members: [String: JSONValue] = [:]) {
        apiVersion = type.apiVersion
        kind = type.kind
        self.metadata = metadata
        self.members = members
    }

    public subscript(member: String) -> JSONValue? {
        get { members[member] }
        set { members[member] = newValue }
    }
}

extension GenericObject: Codable {
    private struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { nil }
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        apiVersion = try container.decodeIfPresent(String.self, forKey: Key("apiVersion"))
        kind = try container.decodeIfPresent(String.self, forKey: Key("kind"))
        metadata = try container.decode(ObjectMeta.self, forKey: Key("metadata"))
        members = [:]
        for key in container.allKeys where !["apiVersion", "kind", "metadata"].contains(key.stringValue) {
            members[key.stringValue] = try container.decode(JSONValue.self, forKey: key)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encodeIfPresent(apiVersion, forKey: Key("apiVersion"))
        try container.encodeIfPresent(kind, forKey: Key("kind"))
        try container.encode(metadata, forKey: Key("metadata"))
        for (name, value) in members { try container.encode(value, forKey: Key(name)) }
    }
}
