public import SessionModel

/// Kubernetes' strategic merge for a pod's template, as `kubectl patch --type strategic` does it.
///
/// Objects are merged member by member, and null takes a member away. A list is replaced, unless Kubernetes knows its elements by a
/// member of theirs (containers by `name`, mounts by `mountPath`): then elements are merged with those of the same name, and new
/// ones come last. `$patch: replace` takes the place of what is there, `$patch: delete` takes it away, and `$retainKeys` says which
/// members stay.
public enum StrategicMerge {
    /// The lists of a pod's template that are merged, and the member that their elements are known by.
    static let mergeKeys = [
        "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "volumes": "name",
        "imagePullSecrets": "name", "env": "name", "ports": "containerPort", "volumeMounts": "mountPath",
        "volumeDevices": "devicePath", "hostAliases": "ip", "topologySpreadConstraints": "topologyKey",
        "resourceClaims": "name", "schedulingGates": "name", "ownerReferences": "uid",
    ]

    /// - Parameter path: where `base` is, for messages.
    public static func merge(_ patch: JSONValue, onto base: JSONValue?, at path: String) throws(PodManifestError) -> JSONValue {
        switch patch {
        case .object(let members): return try merge(members, onto: base, at: path) ?? [:]
        case .array(let elements): return try merge(elements, onto: base, at: path)
        default:
            if let base, base.kind != patch.kind, base != .null {
                throw PodManifestError("\(path) is \(patch.kind), and the pod has \(base.kind) there")
            }
            return patch
        }
    }

    /// - Returns: nil when the patch takes it away.
    private static func merge(
        _ patch: [String: JSONValue], onto base: JSONValue?, at path: String
    ) throws(PodManifestError) -> JSONValue? {
        var patch = patch
        var result: [String: JSONValue]
        switch base {
        case .object(let members)?: result = members
        case nil, .null?: result = [:]
        case let other?: throw PodManifestError("\(path) is an object, and the pod has \(other.kind) there")
        }
        switch patch.removeValue(forKey: "$patch") {
        case nil, "merge"?: break
        case "replace"?: result = [:]
        case "delete"?: return nil
        case let other?:
            throw PodManifestError("\(path).$patch is “\(other.string ?? other.kind)”: write merge, replace or delete")
        }
        if let kept = patch.removeValue(forKey: "$retainKeys") {
            guard let names = kept.array?.map(\.string), !names.contains(nil) else {
                throw PodManifestError("\(path).$retainKeys must be a list of names")
            }
            result = result.filter { names.contains($0.key) }
        }
        for (name, value) in patch.sorted(by: { $0.key < $1.key }) {
            if name.hasPrefix("$") {
                throw PodManifestError("\(path) has \(name), which is not known here: write $patch or $retainKeys")
            }
            if value == .null {
                result[name] = nil
            } else if case .object(let members) = value {
                result[name] = try merge(members, onto: result[name], at: "\(path).\(name)")
            } else {
                result[name] = try merge(value, onto: result[name], at: "\(path).\(name)")
            }
        }
        return .object(result)
    }

    private static func merge(
        _ patch: [JSONValue], onto base: JSONValue?, at path: String
    ) throws(PodManifestError) -> JSONValue {
        var result: [JSONValue]
        switch base {
        case .array(let elements)?: result = elements
        case nil, .null?: result = []
        case let other?: throw PodManifestError("\(path) is a list, and the pod has \(other.kind) there")
        }
        let field = path.split(separator: ".").last.map(String.init) ?? path
        guard let key = mergeKeys[field] else { return .array(patch) }
        if patch.contains(["$patch": "replace"]) {
            result = []
        }
        for (index, element) in patch.enumerated() where element != ["$patch": "replace"] {
            let place = "\(path)[\(index)]"
            guard case .object(let members) = element else {
                throw PodManifestError("\(place) is \(element.kind), and must be an object")
            }
            guard let name = members[key], name != .null else {
                throw PodManifestError("\(place) has no \(key), by which the elements of \(field) are known")
            }
            let position = result.firstIndex { $0[key] == name }
            let merged = try merge(members, onto: position.map { result[$0] }, at: "\(path)[\(name.string ?? "\(index)")]")
            switch (position, merged) {
            case (let position?, let merged?): result[position] = merged
            case (let position?, nil): result.remove(at: position)
            case (nil, let merged?): result.append(merged)
            case (nil, nil): break
            }
        }
        return .array(result)
    }
}

/// Why no pod can be made of a session, as one sentence that names the field.
public struct PodManifestError: Error, Sendable, Hashable, CustomStringConvertible {
    public var description: String
    init(_ description: String) { self.description = description }
}

extension JSONValue {
    /// What it is, with its article.
    fileprivate var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer, .number: "a number"
        case .string: "a text"
        case .array: "a list"
        case .object: "an object"
        }
    }
}
