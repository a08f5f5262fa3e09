/// A kind of object as the API server names it in its paths.
///
/// ```swift
/// ResourceType.leases.path(namespace: "holdfast", name: "supervisor")
/// // /apis/coordination.k8s.io/v1/namespaces/holdfast/leases/supervisor
/// ```
public struct ResourceType: Sendable, Hashable {
    /// Empty for the core group.
    public var group: String
    public var version: String
    /// In lower case, as in paths.
    public var plural: String
    public var kind: String
    public var isNamespaced: Bool

    public init(group: String, version: String, plural: String, kind: String, isNamespaced: Bool = true) {
        self.group = group
        self.version = version
        self.plural = plural
        self.kind = kind
        self.isNamespaced = isNamespaced
    }

    /// What `apiVersion` says in an object of this type.
    public var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }

    /// `pods`, `leases.coordination.k8s.io`: as messages and definitions name it.
    public var qualifiedName: String { group.isEmpty ? plural : "\(plural).\(group)" }

    /// - Parameter namespace: nil for all namespaces, and for what has none.
    public func path(namespace: String? = nil, name: String? = nil, subresource: String? = nil) -> String {
        var parts = group.isEmpty ? ["api", version] : ["apis", group, version]
        if let namespace, isNamespaced { parts += ["namespaces", namespace] }
        parts.append(plural)
        if let name { parts.append(name) }
        if let subresource { parts.append(subresource) }
        return parts.map { "/" + percentEncoded($0) }.joined()
    }
}

extension ResourceType {
    public static let namespaces = ResourceType(
        group: "", version: "v1", plural: "namespaces", kind: "Namespace", isNamespaced: false)
    public static let nodes = ResourceType(group: "", version: "v1", plural: "nodes", kind: "Node", isNamespaced: false)
    public static let pods = ResourceType(group: "", version: "v1", plural: "pods", kind: "Pod")
    public static let secrets = ResourceType(group: "", version: "v1", plural: "secrets", kind: "Secret")
    public static let configMaps = ResourceType(group: "", version: "v1", plural: "configmaps", kind: "ConfigMap")
    public static let volumeClaims = ResourceType(
        group: "", version: "v1", plural: "persistentvolumeclaims", kind: "PersistentVolumeClaim")
    public static let networkPolicies = ResourceType(
        group: "networking.k8s.io", version: "v1", plural: "networkpolicies", kind: "NetworkPolicy")
    public static let leases = ResourceType(group: "coordination.k8s.io", version: "v1", plural: "leases", kind: "Lease")
    public static let events = ResourceType(group: "events.k8s.io", version: "v1", plural: "events", kind: "Event")
    /// The same objects by their older name, under which they can be selected by the object that they are about.
    public static let coreEvents = ResourceType(group: "", version: "v1", plural: "events", kind: "Event")
    public static let definitions = ResourceType(
        group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions", kind: "CustomResourceDefinition",
        isNamespaced: false)
    public static let tasks = ResourceType(group: "holdfast.dev", version: "v1alpha1", plural: "tasks", kind: "Task")
    public static let sessions = ResourceType(group: "holdfast.dev", version: "v1alpha1", plural: "sessions", kind: "Session")
    public static let spawners = ResourceType(group: "holdfast.dev", version: "v1alpha1", plural: "spawners", kind: "Spawner")
}

/// RFC 3986's unreserved characters as they are, every other byte as `%XX`: safe in a path segment and in a query's value.
func percentEncoded(_ text: String) -> String {
    var encoded = ""
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
            encoded.unicodeScalars.append(UnicodeScalar(byte))
        default:
            let digits = Array("0123456789ABCDEF".unicodeScalars)
            encoded.unicodeScalars.append(contentsOf: ["%", digits[Int(byte >> 4)], digits[Int(byte & 15)]])
        }
    }
    return encoded
}
