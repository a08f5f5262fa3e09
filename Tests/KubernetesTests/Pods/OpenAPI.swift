import Foundation
import SessionModel

/// A small validator against the schemas of an API server's OpenAPI document: it knows as much of them as the server's field
/// validation (`fieldValidation=Strict`) does: names, types, what is required.
struct OpenAPI {
    let schemas: [String: JSONValue]

    init(_ file: URL) throws {
        let document = try JSON.decode(JSONValue.self, from: Data(contentsOf: file))
        schemas = document["components"]?["schemas"]?.object ?? [:]
    }

    /// The part of it that session pods need, as a server of 1.36 gave it.
    static let pruned = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Schemas/openapi-v3-pruned.json")

    /// The whole recording, where the machine has it.
    static let recorded: URL? = {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = root.deletingLastPathComponent().appending(path: "shared/fixtures/kubernetes/openapi-v3-core.json")
        return FileManager.default.fileExists(atPath: file.path) ? file : nil
    }()

    /// What is wrong with a value; empty when nothing is.
    func problems(_ value: JSONValue, _ name: String) -> [String] {
        guard let schema = schemas[name] else { return ["there is no schema \(name)"] }
        return problems(value, schema, at: String(name.split(separator: ".").last ?? ""))
    }

    private func problems(_ value: JSONValue, _ schema: JSONValue, at path: String) -> [String] {
        if let reference = schema["$ref"]?.string ?? schema["allOf"]?.array?.first?["$ref"]?.string {
            let name = String(reference.split(separator: "/").last ?? "")
            guard let target = schemas[name] else { return ["\(path): there is no schema \(name)"] }
            return problems(value, target, at: path)
        }
        if let choices = schema["oneOf"]?.array {
            let each = choices.map { problems(value, $0, at: path) }
            return each.contains([]) ? [] : ["\(path): \(value) is none of the kinds that are taken"]
        }
        switch (schema["type"]?.string, value) {
        case ("object"?, .object(let members)):
            let missing = (schema["required"]?.array ?? []).compactMap(\.string).filter { members[$0] == nil }
            return missing.map { "\(path).\($0) is required" }
                + members.sorted { $0.key < $1.key }.flatMap { name, member -> [String] in
                    if let known = schema["properties"]?[name] { return problems(member, known, at: "\(path).\(name)") }
                    if let any = schema["additionalProperties"] { return problems(member, any, at: "\(path).\(name)") }
                    return schema["properties"] == nil ? [] : ["\(path).\(name) is unknown"]
                }
        case ("array"?, .array(let elements)):
            return elements.enumerated().flatMap { problems($1, schema["items"] ?? [:], at: "\(path)[\($0)]") }
        case ("string"?, .string(let text)):
            if let words = schema["enum"]?.array, !words.contains(.string(text)) { return ["\(path): “\(text)” is no choice"] }
            return []
        case ("integer"?, .integer), ("number"?, .integer), ("number"?, .number), ("boolean"?, .bool), (nil, _): return []
        case (let type?, _): return ["\(path) must be of type \(type), and is \(value)"]
        }
    }
}
