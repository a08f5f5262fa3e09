/// Who may act, and until when: `coordination.k8s.io/v1`.
public struct Lease: KubernetesObject {
    public struct Spec: Sendable, Hashable, Codable {
        /// Empty or nil: nobody.
        public var holderIdentity: String?
        public var leaseDurationSeconds: Int?
        public var acquireTime: MicroTime?
        public var renewTime: MicroTime?
        /// How often it has changed hands.
        public var leaseTransitions: Int?
        public var strategy: String?
        public var preferredHolder: String?

        public init() {}
    }
    public var apiVersion: String?
    public var kind: String?
    public var metadata: ObjectMeta
    public var spec: Spec

    public init(metadata: ObjectMeta, spec: Spec) {
        apiVersion = ResourceType.leases.apiVersion
        kind = ResourceType.leases.kind
        self.metadata = metadata
        self.spec = spec
    }
}
