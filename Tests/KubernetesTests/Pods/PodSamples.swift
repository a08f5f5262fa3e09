import SessionModel

@testable import Kubernetes

/// Sessions and what is made of them, for the tests of manifests.
enum PodSamples {
    static let settings = SessionPod.Settings(
        sidecarImage: "holdfast-sidecar:dev", agentImage: "holdfast-agent-demo:dev",
        gitGateway: "https://holdfast-git-gateway.holdfast-system.svc:7434")

    static func session(
        _ key: String = "pr:github.com/acme/widgets#12", worker: (inout AgentDescription) -> Void = { _ in },
        lifetime: Lifetime? = nil
    ) throws -> SessionResource {
        var description = AgentDescription(driver: .acp, command: ["holdfast-demo-agent"])
        worker(&description)
        let key = try SessionKey(parsing: key)
        let scope = ScopeSpec(kind: key.kind, repository: key.repository, number: key.number)
        return SessionResource(
            kind: "Session",
            metadata: Metadata(
                name: key.name, uid: "11111111-2222-3333-4444-555555555555", resourceVersion: "1",
                creationTimestamp: Timestamp(milliseconds: 1_795_000_000_000)),
            spec: SessionSpec(
                key: key, scope: scope, worker: description,
                workspace: WorkspaceSpec(repository: "https://github.com/acme/widgets"), lifetime: lifetime),
            status: SessionResourceStatus(since: Timestamp(milliseconds: 1_795_000_000_000)))
    }

    static func manifest(_ session: SessionResource, epoch: UInt32 = 2) -> SessionPod {
        var pod = SessionPod(session, epoch: epoch, namespace: "team-a", settings: settings)
        if pod.usesGateway { pod.gitCredentialDigest = String(repeating: "0f", count: 32) }
        return pod
    }

    /// One whose repository has a token.
    static func gateway() throws -> SessionResource {
        var session = try session()
        session.spec.workspace?.credentials = WorkspaceCredentials(secretRef: SecretReference(name: "github"))
        return session
    }

    /// The pod of a session whose worker has this template.
    static func pod(template: JSONValue) throws -> GenericObject {
        try manifest(session { $0.podTemplate = template }).pod()
    }

    /// Everything that is made of a session.
    static func all(_ manifest: SessionPod) throws -> [GenericObject] {
        let pod = try manifest.pod()
        var made = pod.metadata
        made.uid = "66666666-7777-8888-9999-aaaaaaaaaaaa"
        let credentials = EpochCredentials(
            token: "a-token-of-the-epoch", certificate: "CERTIFICATE", key: "KEY",
            git: manifest.usesGateway ? .init(configuration: "CONFIGURATION", authority: "AUTHORITY") : nil)
        let reader = SessionPod(
            manifest.session, reader: SessionPod.readerName(session: manifest.session.metadata.name, suffix: "x"),
            namespace: manifest.namespace, settings: manifest.settings)
        return try [manifest.claim(), pod, manifest.secret(credentials, pod: made), reader.readerPod()].compactMap(\.self)
            + [SessionNetworkPolicies.policy(namespace: "team-a", supervisor: "holdfast-system", closed: ["203.0.113.7/32"])]
    }

    /// As rich as it gets.
    static func rich() throws -> SessionResource {
        var lifetime = Lifetime()
        lifetime.drainTimeout = .minutes(20)
        lifetime.maxTurns = 40
        lifetime.maxTokens = 1_000_000
        lifetime.countBackground = true
        return try session(
            worker: {
                $0.image = "registry.example/acme/agent:7"
                $0.credentials = AgentCredentials(secretRef: SecretReference(name: "claude"))
                $0.volumeClaimTemplate = [
                    "storageClassName": "fast", "resources": ["requests": ["storage": "50Gi"]], "accessModes": ["ReadWriteOnce"],
                ]
                $0.podTemplate = [
                    "metadata": ["labels": ["team": "a"], "annotations": ["example.com/cost": "a"]],
                    "spec": [
                        "imagePullSecrets": [["name": "registry"]], "runtimeClassName": "gvisor", "priorityClassName": "agents",
                        "nodeSelector": ["pool": "agents"],
                        "tolerations": [["key": "agents", "operator": "Exists", "effect": "NoSchedule"]],
                        "volumes": [["name": "cache", "emptyDir": [:]]],
                        "initContainers": [["name": "sidecar", "resources": ["limits": ["memory": "1Gi"]]]],
                        "containers": [
                            [
                                "name": "agent", "resources": ["requests": ["cpu": "2"], "limits": ["memory": "16Gi"]],
                                "env": [["name": "NODE_OPTIONS", "value": "--max-old-space-size=8192"]],
                                "volumeMounts": [["name": "cache", "mountPath": "/home/agent/.cache"]],
                            ],
                            ["name": "database", "image": "postgres:17", "env": [["name": "PGDATA", "value": "/tmp/pg"]]],
                        ],
                    ],
                ]
            }, lifetime: lifetime)
    }
}
