public import SessionModel

/// What one epoch of a session is made of in a cluster: a pod, its Secret, and the session's volume claim. Pure.
///
/// ```swift
/// let manifest = SessionPod(session, epoch: 2, namespace: "team-a", settings: settings)
/// let pod = try await client.objects(.pods, in: "team-a").create(manifest.pod())
/// ```
/// The names follow from the Session and the epoch, so that two supervisors that make the same collide instead of making two.
public struct SessionPod: Sendable {
    /// What the supervisor adds to every pod.
    public struct Settings: Sendable, Hashable {
        public var sidecarImage: String
        /// For workers that name none.
        public var agentImage: String?
        /// Secrets for pulling images, in the session's namespace.
        public var pullSecrets: [String]
        /// The git gateway's URL, without a slash at the end; nil where there is none.
        public var gitGateway: String?
        /// The git gateway is one for several namespaces.
        public var sharesGateway: Bool

        public init(
            sidecarImage: String, agentImage: String? = nil, pullSecrets: [String] = [], gitGateway: String? = nil,
            sharesGateway: Bool = false
        ) {
            self.sidecarImage = sidecarImage
            self.agentImage = agentImage
            self.pullSecrets = pullSecrets
            self.gitGateway = gitGateway
            self.sharesGateway = sharesGateway
        }
    }

    public let session: SessionResource
    public let epoch: UInt32
    public let namespace: String
    public let settings: Settings
    /// The SHA-256 of what this epoch shows to the git gateway, in hexadecimal digits: the gateway reads it from the pod.
    public var gitCredentialDigest: String?
    let lifetime: Lifetime.Resolved

    public init(_ session: SessionResource, epoch: UInt32, namespace: String, settings: Settings) {
        self.session = session
        self.epoch = epoch
        self.namespace = namespace
        self.settings = settings
        lifetime = (session.spec.lifetime ?? Lifetime()).resolved(for: session.spec.key.kind)
        name = Self.name(session: session.metadata.name, epoch: epoch)
    }

    /// A reader's: ``readerPod()``.
    public init(_ session: SessionResource, reader name: String, namespace: String, settings: Settings) {
        self.init(session, epoch: session.status.epoch, namespace: namespace, settings: settings)
        self.name = name
    }

    /// Whether its git goes through the git gateway, which adds the forge's token.
    public var usesGateway: Bool { session.spec.workspace?.credentials?.secretRef != nil }

    /// What the session is called at the git gateway; see ``QualifiedName``.
    public var gatewayName: String {
        let name = session.metadata.name
        return settings.sharesGateway ? QualifiedName(namespace: namespace, name: name).description : name
    }

    /// Where the containers find the certificate by which they know the git gateway.
    public static let gatewayAuthorityFile = PodLayout.git + "/ca.crt"

    /// The port of the sidecar's API, over TLS.
    public static let port = Int(PodLayout.port)

    /// The pod's name and its Secret's.
    public private(set) var name: String

    public static func name(session: String, epoch: UInt32) -> String { "\(session)-\(epoch)" }

    /// What the sidecar's certificate is for: no other pod that gets this one's address can pass for it.
    public var serverName: String { "\(name).sidecar.holdfast" }

    /// The session's volume claim; nil when it has none. A later session of the same key has one of its own, while this one's is kept
    /// as its archive.
    public var claimName: String? {
        session.spec.storage == .persistentVolumeClaim ? "\(session.metadata.name)-\(session.metadata.uid.prefix(8))" : nil
    }

    /// - Throws: ``PodManifestError`` when something is asked for that a pod cannot have, or when the worker's `podTemplate` cannot be
    ///   merged or would change what a session relies on.
    public func pod() throws(PodManifestError) -> GenericObject {
        var template: JSONValue = [
            "metadata": ["labels": .object(labels.mapValues { .string($0) }), "annotations": .object(annotations)],
            "spec": try spec(),
        ]
        if let patch = session.spec.worker.podTemplate {
            let merged = try StrategicMerge.merge(patch, onto: template, at: "podTemplate")
            try PodInvariants(pod: self, base: template).check(merged)
            template = merged
        }
        return GenericObject(
            .pods,
            metadata: ObjectMeta(
                name: name, namespace: namespace, labels: template["metadata"]?["labels"]?.texts,
                annotations: template["metadata"]?["annotations"]?.texts, ownerReferences: [owner]),
            members: ["spec": template["spec"] ?? [:]])
    }

    /// - Throws: ``PodManifestError`` for a `volumeClaimTemplate` that is none.
    public func claim() throws(PodManifestError) -> GenericObject? {
        guard let claimName else { return nil }
        var spec: JSONValue = ["accessModes": ["ReadWriteOncePod"], "resources": ["requests": ["storage": "10Gi"]]]
        if let template = session.spec.worker.volumeClaimTemplate {
            spec = try StrategicMerge.merge(template, onto: spec, at: "volumeClaimTemplate")
            if spec["volumeMode"] == "Block" {
                throw PodManifestError("volumeClaimTemplate.volumeMode is Block, and a session needs a file system")
            }
        }
        var labels = labels
        labels[PodLabels.epoch] = nil
        return GenericObject(
            .volumeClaims,
            metadata: ObjectMeta(
                name: claimName, namespace: namespace, labels: labels,
                annotations: [
                    PodLabels.key: session.spec.key.description, PodLabels.archiveTTL: lifetime.archiveTTL.description,
                ], ownerReferences: [owner]),
            members: ["spec": spec])
    }

    var labels: [String: String] {
        [
            "app.kubernetes.io/name": "holdfast-session", "app.kubernetes.io/managed-by": "holdfast",
            PodLabels.component: "session", PodLabels.session: session.metadata.name, PodLabels.epoch: "\(epoch)",
        ]
    }

    private var annotations: [String: JSONValue] {
        var annotations: [String: JSONValue] = [
            PodLabels.key: .string(session.spec.key.description), PodLabels.safeToEvict: "false",
            "kubectl.kubernetes.io/default-container": "agent",
        ]
        annotations[PodLabels.gitCredential] = gitCredentialDigest.map { .string($0) }
        return annotations
    }

    var owner: OwnerReference {
        OwnerReference(
            apiVersion: ResourceType.sessions.apiVersion, kind: ResourceType.sessions.kind, name: session.metadata.name,
            uid: session.metadata.uid, controller: true, blockOwnerDeletion: true)
    }
}

extension JSONValue {
    /// The texts of an object's members; nil when it has none.
    fileprivate var texts: [String: String]? {
        let texts = object?.compactMapValues(\.string) ?? [:]
        return texts.isEmpty ? nil : texts
    }
}
