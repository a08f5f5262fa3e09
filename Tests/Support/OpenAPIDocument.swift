import Foundation
public import SessionModel
import Yams

/// A description of an API in `docs`. Its scalars are read as texts, whatever they are.
public struct OpenAPIDocument: Sendable {
    private let root: JSONValue

    /// - Parameter file: its name.
    public init(_ file: String) throws {
        let docs = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "docs")
        root = try YAMLDecoder().decode(from: String(contentsOf: docs.appending(path: file), encoding: .utf8))
    }

    /// What is described, as `GET /v1/tasks/{name}`.
    public var operations: Set<String> {
        let methods: Set = ["get", "put", "post", "patch", "delete"]
        return (root["paths"]?.object ?? [:]).reduce(into: []) { operations, path in
            for method in path.value.object ?? [:] where methods.contains(method.key) {
                operations.insert("\(method.key.uppercased()) \(path.key)")
            }
        }
    }

    public var schemas: [String: JSONValue] { root["components"]?["schemas"]?.object ?? [:] }

    /// The fields of a schema and of all below it, each by its path; `[]` stands for an element, `*` for a member of any name, and what
    /// a field can be is written behind it.
    public func fields(of schema: JSONValue?, at path: String = "") -> Set<String> {
        guard let schema else { return [] }
        if let name = schema["$ref"]?.string?.split(separator: "/").last { return fields(of: schemas[String(name)], at: path) }
        if let choices = schema["anyOf"]?.array { return choices.reduce(into: []) { $0.formUnion(fields(of: $1, at: path)) } }
        var found: Set<String> = []
        for case let choice in schema["enum"]?.array ?? [] where choice != .null && choice.string != "null" {
            found.insert("\(path) = \(choice.string ?? "\(choice)")")
        }
        for (name, field) in schema["properties"]?.object ?? [:] {
            found.insert("\(path).\(name)")
            found.formUnion(fields(of: field, at: "\(path).\(name)"))
        }
        found.formUnion(fields(of: schema["items"], at: path + "[]"))
        found.formUnion(fields(of: schema["additionalProperties"], at: path + ".*"))
        return found
    }
}
