import SessionModel
import Yams

extension CustomResources {
    /// One file of `deploy/crds`.
    public struct File: Sendable, Hashable {
        public var name: String
        public var text: String
    }

    /// The definitions as YAML, with a line that says where they are from.
    public static func files() throws -> [File] {
        try definitions().map { definition in
            let text = try YAMLText.of(definition)
            return File(
                name: "\(definition.metadata.name ?? "").yaml",
                text: "# Made by `holdfast-supervisor crds` from the types in Sources/SessionModel. Do not edit.\n" + text)
        }
    }
}

/// Objects as people read them.
enum YAMLText {
    static func of(_ value: some Encodable) throws -> String {
        let json = try JSON.decode(JSONValue.self, from: JSON.encode(value))
        return try Yams.dump(object: json.plain, width: -1, allowUnicode: true, sortKeys: true)
    }
}

extension JSONValue {
    /// As Yams takes it.
    fileprivate var plain: Any? {
        switch self {
        case .null: nil
        case .bool(let value): value
        case .integer(let value): Int(value)
        case .number(let value): value
        case .string(let value): value
        case .array(let elements): elements.map(\.plain)
        case .object(let members): members.mapValues(\.plain)
        }
    }
}
