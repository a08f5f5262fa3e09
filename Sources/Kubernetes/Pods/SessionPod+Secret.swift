import FoundationEssentials
import SessionModel

/// What the two ends of an epoch's connection know each other by.
public struct EpochCredentials: Sendable, Hashable {
    /// The bearer token of whoever may call the sidecar.
    public var token: String
    /// The sidecar's certificate, PEM.
    public var certificate: String
    /// Its private key, PEM.
    public var key: String
    /// For a session whose git goes through the git gateway.
    public var git: Gateway?

    public struct Gateway: Sendable, Hashable {
        /// A part of git's configuration: where the gateway is, and what it is shown.
        public var configuration: String
        /// The certificate by which the gateway is known, PEM.
        public var authority: String

        public init(configuration: String, authority: String) {
            self.configuration = configuration
            self.authority = authority
        }
    }

    public init(token: String, certificate: String, key: String, git: Gateway? = nil) {
        self.token = token
        self.certificate = certificate
        self.key = key
        self.git = git
    }
}

extension SessionPod {
    /// What both containers see of the epoch's Secret, and as which files.
    static let gatewayFiles = [(key: "git.config", path: "git.config"), (key: "git-ca.crt", path: "ca.crt")]

    /// The epoch's Secret: only the sidecar's container mounts all of it. It goes with its pod.
    /// - Parameter pod: as the server has made it.
    public func secret(_ credentials: EpochCredentials, pod: ObjectMeta) throws -> GenericObject {
        var workspace = session.spec.workspaceDescription
        if credentials.git != nil { workspace.gitConfig = PodLayout.git + "/git.config" }
        var files: [String: String] = [
            "token": credentials.token, "tls.crt": credentials.certificate, "tls.key": credentials.key,
            "agent.json": try JSON.string(session.spec.worker.inPod(credentials: PodLayout.credentials)),
            "workspace.json": try JSON.string(workspace),
        ]
        files["git.config"] = credentials.git?.configuration
        files["git-ca.crt"] = credentials.git?.authority
        return GenericObject(
            .secrets,
            metadata: ObjectMeta(
                name: name, namespace: namespace, labels: pod.labels?.filter { $0.key.hasPrefix("holdfast.dev/") },
                ownerReferences: [
                    OwnerReference(
                        apiVersion: ResourceType.pods.apiVersion, kind: ResourceType.pods.kind, name: name, uid: pod.uid ?? "",
                        controller: true, blockOwnerDeletion: true)
                ]),
            members: [
                "type": "Opaque", "immutable": true,
                "data": .object(files.mapValues { .string(Data($0.utf8).base64EncodedString()) }),
            ])
    }
}
