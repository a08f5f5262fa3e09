import GitHub
import Kubernetes
import SessionModel
import Support
import Testing

@testable import HTTPServing
@testable import Supervisor

/// docs/openapi-supervisor.yaml says what there is. What it says of the answers `make fuzz-api` compares with a supervisor that runs.
@Suite struct DescriptionTests {
    private let document: OpenAPIDocument
    init() throws { document = try OpenAPIDocument("openapi-supervisor.yaml") }

    @Test func everyRouteIsDescribed() throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        let api = SupervisorAPI(
            store: store, sidecar: { _ in nil }, metrics: Metrics(),
            runtime: try LocalRuntime(
                dataDirectory: directory.path, sidecar: "/bin/true", environment: ["XDG_RUNTIME_DIR": directory.path]),
            gateway: nil, webhooks: WebhookHandler(store: store, secretFile: "", onDelivery: {}),
            spawners: SpawnerHandlers(store: store, runsPods: false),
            gateways: GatewayHandlers(token: { nil }, keep: { _ in }, sidecar: { _ in nil }),
            agents: try AgentPresets(directory: nil, demo: nil, fallback: nil), version: "", loopbackOnly: true)
        let operations = api.routes().operations
        #expect(operations.subtracting(document.operations) == [], "not described")
        #expect(document.operations.subtracting(operations) == [], "there is no such route")
        try store.close()
    }

    /// Not as an unexpected error: a client that is told 503 comes again.
    @Test func aStoreThatCannotAnswerNowSaysSo() {
        let away = KubernetesError(.unreachable, "no route to host")
        for error in [StoreError.notSynced, away] as [any Error] {
            let problem = SupervisorAPI.told(error) as? Problem
            #expect(problem?.status == 503 && problem?.retryAfter != nil, "\(error)")
        }
        #expect(SupervisorAPI.told(KubernetesError(.forbidden, "no")) is KubernetesError)
    }

    /// The definitions of the custom resources are made from the types.
    @Test(arguments: ["Task", "Session", "Spawner"]) func everyFieldIsDescribed(kind: String) throws {
        let definition = try #require(
            try CustomResources.definitions().first { $0["spec"]?["names"]?["kind"]?.string == kind })
        let schema = definition["spec"]?["versions"]?.array?.first?["schema"]?["openAPIV3Schema"]
        for part in ["spec", "status"] {
            // Which events there are is a rule of the definition's, not a choice of its schema.
            let described = document.fields(of: document.schemas[kind]?["properties"]?[part])
                .filter { !$0.contains("event") || !$0.contains(" = ") }
            let fields = document.fields(of: schema?["properties"]?[part])
            #expect(!fields.isEmpty && fields.subtracting(described) == [], "\(part): not described")
            #expect(described.subtracting(fields) == [], "\(part): there is no such field")
        }
    }

    /// What both APIs have is the same in both.
    @Test func theSchemasThatAreSharedSayTheSame() throws {
        let sidecars = try OpenAPIDocument("openapi.yaml").schemas
        for (name, schema) in document.schemas { if let other = sidecars[name] { #expect(schema == other, "\(name)") } }
    }
}
