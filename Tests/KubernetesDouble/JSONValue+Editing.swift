import SessionModel

extension JSONValue {
    func with(_ key: String, _ value: JSONValue?) -> JSONValue {
        var members = object ?? [:]
        members[key] = value
        return .object(members)
    }

    func setting(_ outer: String, _ inner: String, _ value: JSONValue?) -> JSONValue {
        with(outer, (self[outer] ?? [:]).with(inner, value))
    }

    func without(_ outer: String, _ inner: String) -> JSONValue { setting(outer, inner, Optional.none) }

    var finalizers: [String] { self["metadata"]?["finalizers"]?.array?.compactMap(\.string) ?? [] }

    func removingFinalizer(_ name: String) -> JSONValue {
        let left = finalizers.filter { $0 != name }
        return left.isEmpty
            ? without("metadata", "finalizers") : setting("metadata", "finalizers", .array(left.map { .string($0) }))
    }

    /// RFC 7386.
    func merging(_ patch: JSONValue) -> JSONValue {
        guard case .object(let changes) = patch else { return patch }
        var members = object ?? [:]
        for (key, change) in changes {
            // Not `nil`, which a JSONValue takes for null.
            if change == .null {
                members.removeValue(forKey: key)
            } else {
                members[key] = (members[key] ?? .null).merging(change)
            }
        }
        return .object(members)
    }

    /// With the defaults of an OpenAPI schema filled in.
    func defaulted(by schema: JSONValue) -> JSONValue {
        switch self {
        case .object(var members):
            for (name, property) in schema["properties"]?.object ?? [:] {
                if let value = members[name] {
                    members[name] = value.defaulted(by: property)
                } else if let value = property["default"] {
                    members[name] = value.defaulted(by: property)
                }
            }
            return .object(members)
        case .array(let elements): return .array(elements.map { $0.defaulted(by: schema["items"] ?? [:]) })
        default: return self
        }
    }
}

extension Timestamp {
    /// As the API server writes times: without a fraction.
    var wholeSeconds: String { description.dropLast(5) + "Z" }
}
