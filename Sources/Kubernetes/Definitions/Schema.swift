import SessionModel

/// What is said of a field beyond its type: the type says what it is, this says what is accepted.
struct FieldRules: Sendable {
    var description: String?
    var `default`: JSONValue?
    var minimum: Int64?
    var minLength: Int64?
    /// Characters of a text, elements of an array, or members of a map: more than a user needs, so that objects stay small.
    var most: Int64?
    var pattern: String?
    /// CEL rules with what a person is told.
    var validations: [(rule: String, message: String)] = []
    /// A list whose elements are known by this member.
    var listKey: String?
}

/// A structural schema of a Swift type's shape and the rules for its fields.
struct Schema {
    /// `spec.scope.number`, `spec.worker.mcpServers.*`, `status.conditions[]`
    let rules: [String: FieldRules]
    /// The rules for a whole type, wherever it is used: by what its text looks like.
    let formats: [String: FieldRules]

    /// What a field without a rule may have at most.
    static let mostCharacters: Int64 = 4096
    static let mostElements: Int64 = 100

    func json(_ shape: Shape, at path: String) -> JSONValue {
        let rule = rules[path] ?? FieldRules()
        var fields: [String: JSONValue] = [:]
        switch shape {
        case .string:
            fields["type"] = "string"
            fields["maxLength"] = .integer(rule.most ?? Self.mostCharacters)
            if let least = rule.minLength { fields["minLength"] = .integer(least) }
            if let pattern = rule.pattern { fields["pattern"] = .string(pattern) }
        case .format(let name):
            let format = formats[name] ?? FieldRules()
            fields["type"] = "string"
            fields["maxLength"] = .integer(rule.most ?? format.most ?? Self.mostCharacters)
            if let pattern = format.pattern { fields["pattern"] = .string(pattern) }
            if name == "Timestamp" { fields["format"] = "date-time" }
        case .words(let words):
            fields["type"] = "string"
            fields["enum"] = .array(words.map { .string($0) })
        case .integer(let least):
            fields["type"] = "integer"
            fields["format"] = "int64"
            if let least = rule.minimum ?? least { fields["minimum"] = .integer(least) }
        case .number: fields["type"] = "number"
        case .boolean: fields["type"] = "boolean"
        case .any: fields["x-kubernetes-preserve-unknown-fields"] = true
        case .array(let element):
            fields["type"] = "array"
            fields["items"] = json(element, at: path + "[]")
            fields["maxItems"] = .integer(rule.most ?? Self.mostElements)
            if let key = rule.listKey {
                fields["x-kubernetes-list-type"] = "map"
                fields["x-kubernetes-list-map-keys"] = [.string(key)]
            }
        case .map(let value):
            fields["type"] = "object"
            fields["additionalProperties"] = json(value, at: path + ".*")
            fields["maxProperties"] = .integer(rule.most ?? Self.mostElements)
        case .object(let members, let required):
            fields["type"] = "object"
            fields["properties"] = .object(
                Dictionary(
                    uniqueKeysWithValues: members.map {
                        ($0.key, json($0.value, at: path.isEmpty ? $0.key : "\(path).\($0.key)"))
                    }))
            if !required.isEmpty { fields["required"] = .array(required.sorted().map { .string($0) }) }
        }
        fields["description"] = rule.description.map { .string($0) }
        fields["default"] = rule.default
        if !rule.validations.isEmpty {
            fields["x-kubernetes-validations"] = .array(
                rule.validations.map { ["rule": .string($0.rule), "message": .string($0.message)] })
        }
        return .object(fields)
    }

    /// The paths of all fields, for checks of the rules.
    static func paths(of shape: Shape, at path: String) -> [String] {
        switch shape {
        case .array(let element): [path] + paths(of: element, at: path + "[]")
        case .map(let value): [path] + paths(of: value, at: path + ".*")
        case .object(let members, _):
            [path]
                + members.sorted { $0.key < $1.key }.flatMap {
                    paths(of: $0.value, at: path.isEmpty ? $0.key : "\(path).\($0.key)")
                }
        default: [path]
        }
    }
}
