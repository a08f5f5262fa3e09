/// What the server's version is: `GET /version`.
public struct ServerVersion: Sendable, Hashable, Codable {
    public var major: String
    public var minor: String
    /// `v1.36.2`
    public var gitVersion: String
}

/// The types of one group and version.
public struct ResourceList: Sendable, Hashable, Codable {
    public struct Entry: Sendable, Hashable, Codable {
        /// The plural; with a slash for a subresource: `pods/log`.
        public var name: String
        public var kind: String
        public var namespaced: Bool
        public var verbs: [String]
        public var shortNames: [String]?
        public var categories: [String]?
    }
    public var groupVersion: String
    public var resources: [Entry]
}

extension KubernetesClient {
    public func version() async throws(KubernetesError) -> ServerVersion { try await json(Call("GET", "/version")) }

    /// - Parameter group: empty for the core group.
    public func resources(group: String, version: String) async throws(KubernetesError) -> ResourceList {
        try await json(Call("GET", group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)"))
    }

    /// Whether the server has the type: false while its definition is not installed or not yet established.
    public func has(_ type: ResourceType) async throws(KubernetesError) -> Bool {
        do {
            return try await resources(group: type.group, version: type.version).resources.contains {
                $0.name == type.plural && $0.namespaced == type.isNamespaced
            }
        } catch {
            if error.code == .notFound { return false }
            throw error
        }
    }
}
