import Foundation
import SessionModel
import Testing

@testable import Kubernetes

/// What a session is made of in a cluster.
struct SessionPodTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden")
    private static let writes = ProcessInfo.processInfo.environment["HOLDFAST_WRITE_GOLDEN"] == "1"

    private static let samples: [(name: String, make: @Sendable () throws -> SessionResource)] = [
        ("pull-request", { try PodSamples.session() }), ("rich", { try PodSamples.rich() }),
        ("gateway", { try PodSamples.gateway() }),
        ("commit", { try PodSamples.session("commit:0f9b3c52-6f7e-4a53-9a51-0c8f3c1d2e4f") }),
    ]

    /// Every field of it, to be read by people. `HOLDFAST_WRITE_GOLDEN=1` writes the files.
    @Test(arguments: samples.map(\.name)) func looksAsWritten(name: String) throws {
        let session = try #require(Self.samples.first { $0.name == name }).make()
        let text = try PodSamples.all(PodSamples.manifest(session)).map { try YAMLText.of($0) }.joined(separator: "---\n")
        let file = Self.folder.appending(path: "\(name).yaml")
        if Self.writes { try text.write(to: file, atomically: true, encoding: .utf8) }
        #expect(try String(contentsOf: file, encoding: .utf8) == text, "HOLDFAST_WRITE_GOLDEN=1 writes \(name).yaml anew")
    }

    @Test(arguments: samples.map(\.name)) func isWhatTheServersSchemasSay(name: String) throws {
        let session = try #require(Self.samples.first { $0.name == name }).make()
        let documents = try [OpenAPI.recorded, OpenAPI.pruned].compactMap { try $0.map(OpenAPI.init) }
        for object in try PodSamples.all(PodSamples.manifest(session)) {
            let kind = try #require(object.kind)
            let name = (kind == "NetworkPolicy" ? "io.k8s.api.networking.v1." : "io.k8s.api.core.v1.") + kind
            let value = try JSON.decode(JSONValue.self, from: JSON.encode(object))
            let knowing = documents.filter { $0.schemas[name] != nil }
            #expect(!knowing.isEmpty)
            for document in knowing { #expect(document.problems(value, name) == []) }
        }
    }

    /// The validator sees what a server would refuse.
    @Test func theValidatorIsNotBlind() throws {
        let schemas = try OpenAPI(OpenAPI.pruned)
        let pod = "io.k8s.api.core.v1.Pod"
        #expect(schemas.problems(["spec": ["containers": [["name": "a"]]]], pod) == [])
        #expect(schemas.problems(["spec": [:]], pod) == ["Pod.spec.containers is required"])
        #expect(schemas.problems(["spec": ["containers": [["name": 1]]]], pod).count == 1)
        #expect(schemas.problems(["spec": ["containers": [["name": "a", "imagePolicy": "x"]]]], pod).count == 1)
        #expect(schemas.problems(["spec": ["containers": [:]]], pod).count == 1)
    }

    /// A committed part of the recording that is no more what the server said would prove nothing.
    @Test(.enabled(if: OpenAPI.recorded != nil, "the recording of the server's document is not on this machine"))
    func thePrunedDocumentIsPartOfTheRecording() throws {
        let recorded = try OpenAPI(#require(OpenAPI.recorded)).schemas
        for (name, schema) in try OpenAPI(OpenAPI.pruned).schemas where !name.contains("networking") {
            let whole = try #require(recorded[name]?["properties"]?.object ?? [:])
            for field in schema["properties"]?.object?.keys.sorted() ?? [] { #expect(whole[field] != nil, "\(name).\(field)") }
            #expect(recorded[name]?["required"] == schema["required"], "\(name)")
        }
    }

    @Test func namesFollowFromSessionAndEpoch() throws {
        let manifest = try PodSamples.manifest(PodSamples.session(), epoch: 3)
        #expect(manifest.name == manifest.session.metadata.name + "-3")
        #expect(manifest.claimName == manifest.session.metadata.name + "-11111111")
        #expect(manifest.serverName == manifest.name + ".sidecar.holdfast")
        #expect(manifest.name.utf8.count <= 253)
        for object in try PodSamples.all(manifest) {
            for value in (object.metadata.labels ?? [:]).values { #expect(value.utf8.count <= 63) }
        }
    }

    @Test func storageIsAClaimUnlessAskedOtherwise() throws {
        func storage(_ key: String, _ worker: (inout AgentDescription) -> Void = { _ in }) throws -> SessionStorage {
            try PodSamples.session(key, worker: worker).spec.storage
        }
        #expect(try storage("pr:a/b#1") == .persistentVolumeClaim)
        #expect(try storage("issue:a/b#1") == .persistentVolumeClaim)
        #expect(try storage("commit:u") == .emptyDir)
        #expect(try storage("pr:a/b#1") { $0.storage = .emptyDir } == .emptyDir)
        #expect(try storage("commit:u") { $0.volumeClaimTemplate = ["storageClassName": "x"] } == .persistentVolumeClaim)
    }

    @Test func theSecretHoldsWhatTheSidecarReadsAndNothingOfThePod() throws {
        let manifest = try PodSamples.manifest(PodSamples.rich())
        let objects = try PodSamples.all(manifest)
        let secret = try #require(objects.first { $0.kind == "Secret" })
        #expect(secret.metadata.ownerReferences?.map(\.kind) == ["Pod"])
        #expect(
            (secret["data"]?.object ?? [:]).keys.sorted() == ["agent.json", "tls.crt", "tls.key", "token", "workspace.json"])
        let file = try #require(secret["data"]?["agent.json"]?.string.flatMap { Data(base64Encoded: $0) })
        let agent = try JSON.decode(AgentDescription.self, from: file)
        #expect(agent.podField == nil && agent.credentials?.directory == "/etc/holdfast/credentials" && agent.mistake == nil)
        #expect(agent.arguments == ["holdfast-demo-agent"])
        // Nothing of it is in the pod itself, which more people may read.
        let pod = try JSON.string(#require(objects.first { $0.kind == "Pod" }))
        for word in ["a-token-of-the-epoch", "CERTIFICATE", "\"KEY\""] { #expect(!pod.contains(word)) }
    }

    /// The agent's container has neither the secret nor the sidecar's own directories, and cannot write the transcript.
    @Test func theAgentSeesOnlyWhatIsItsOwn() throws {
        let spec = try #require(try PodSamples.manifest(PodSamples.rich()).pod()["spec"])
        let agent = try #require(spec["containers"]?.array?.first { $0["name"] == "agent" })
        var mounts: [String: JSONValue] = [:]
        for mount in agent["volumeMounts"]?.array ?? [] { mounts[mount["mountPath"]?.string ?? ""] = mount }
        for mount in mounts.values {
            #expect(!["epoch", "credentials", "run"].contains(mount["name"]))
            if mount["name"] == "session" { #expect(mount["subPath"] != nil) }
        }
        #expect(mounts["/var/lib/holdfast/state/transcript"]?["readOnly"] == true)
        #expect(mounts["/var/lib/holdfast/state/blobs"]?["readOnly"] == true)
        #expect(spec["automountServiceAccountToken"] == false)
    }

    @Test func withoutAnImageItSaysWhichToName() throws {
        var settings = PodSamples.settings
        settings.agentImage = nil
        let pod = SessionPod(try PodSamples.session(), epoch: 1, namespace: "a", settings: settings)
        #expect { try pod.pod() } throws: { "\($0)".contains("worker.image is missing: name the agent's image") }
    }

    /// A path would be read in the sidecar's container, where its own secrets are.
    @Test func credentialsInFilesAreRefused() throws {
        for credentials in [
            AgentCredentials(env: ["A": "/etc/holdfast/epoch/token"]), AgentCredentials(directory: "/etc/holdfast/epoch"),
        ] {
            let manifest = try PodSamples.manifest(PodSamples.session { $0.credentials = credentials })
            #expect { try manifest.pod() } throws: { "\($0)".contains("credentials.secretRef") }
        }
    }

    /// Ignored, they would look as if they were met.
    @Test func credentialsThatNoGatewayCanUseAreRefused() throws {
        var session = try PodSamples.session()
        session.spec.workspace?.credentials = WorkspaceCredentials(tokenFile: "/t")
        #expect { try PodSamples.manifest(session).pod() } throws: { "\($0)".contains("name one in secretRef") }
        var settings = PodSamples.settings
        settings.gitGateway = nil
        let pod = SessionPod(try PodSamples.gateway(), epoch: 1, namespace: "team-a", settings: settings)
        #expect { try pod.pod() } throws: { "\($0)".contains("--git-gateway URL") }
    }

    @Test func aBlockVolumeIsRefused() throws {
        let manifest = try PodSamples.manifest(PodSamples.session { $0.volumeClaimTemplate = ["volumeMode": "Block"] })
        #expect { try manifest.claim() } throws: { "\($0)".contains("needs a file system") }
    }
}
