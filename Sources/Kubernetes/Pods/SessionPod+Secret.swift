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

    public init(token: String, certificate: String, key: String) {
        self.token = token
        self.certificate = certificate
        self.key = key
    }
}

extension SessionPod {
    /// The epoch's Secret: only the sidecar's container mounts it. It goes with its pod.
    /// - Parameter pod: as the server has made it.
    public func secret(_ credentials: EpochCredentials, pod: ObjectMeta) throws -> GenericObject {
        let files: [String: String] = [
            "token": credentials.token, "tls.crt": credentials.certificate, "tls.key": credentials.key,
            "agent.json": try JSON.string(session.spec.worker.inPod(credentials: PodLayout.credentials)),
            "workspace.json": try JSON.string(session.spec.workspaceDescription),
        ]
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
