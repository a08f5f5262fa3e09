import Foundation
import GitHub
import HTTPServing
import HTTPTypes
import Hummingbird
import Kubernetes
import SessionModel

/// Spawners over the API, and what became of the deliveries of webhooks.
struct SpawnerHandlers: Sendable {
    let store: any ForgeStore
    let runsPods: Bool

    /// Makes a Spawner or replaces its spec.
    func put(_ call: Call) async throws -> Response {
        let name = call.parameter("name")
        guard Identity.isName(name) else {
            throw Problem(.invalidRequest, "A Spawner's name is 1 to 63 lower-case letters, digits or '-'.")
        }
        let spec = try await call.json(SpawnerSpec.self)
        if let fault = spec.fault { throw Problem(.invalidRequest, fault + ".") }
        let template = spec.taskTemplate
        if !runsPods, let field = template.worker?.podField {
            throw Problem(.invalidRequest, "taskTemplate.worker.\(field) is for a supervisor in Kubernetes. Leave it out.")
        }
        if let credentials = template.credentials, (credentials.secretRef != nil) != runsPods {
            throw Problem(
                .invalidRequest,
                "taskTemplate.credentials names the forge's token by \(runsPods ? "secretRef in a cluster" : "tokenFile on one machine")."
            )
        }
        let uid = Identity.uid()
        let (spawner, isNew) = try await stored { store in
            if var known = try store.spawner(named: name) {
                guard known.spec != spec else { return (known, false) }
                known.spec = spec
                return (try store.update(known), false)
            }
            var status = SpawnerStatus()
            status.conditions = [SpawnerStatus.ready(fault: nil, at: .now)]
            let metadata = Metadata(name: name, uid: uid, resourceVersion: "", creationTimestamp: .now)
            return (try store.insert(SpawnerResource(kind: "Spawner", metadata: metadata, spec: spec, status: status)), true)
        }
        return try .json(spawner, status: isNew ? .created : .ok)
    }

    /// What the API server does not take is the caller's mistake.
    private func stored<Value: Sendable>(
        _ body: @escaping @Sendable (any ForgeTransaction) throws -> Value
    ) async throws -> Value {
        do {
            return try await store.access(body)
        } catch let error as KubernetesError where error.code == .invalid || error.code == .badRequest {
            throw Problem(.invalidRequest, error.message)
        }
    }

    func list(_ call: Call) async throws -> Response {
        let list = try await store.access { ResourceList(items: try $0.spawners(), resourceVersion: try $0.version) }
        return try .json(list)
    }

    func get(_ call: Call) async throws -> Response {
        let name = call.parameter("name")
        guard let spawner = try await store.access({ try $0.spawner(named: name) }) else {
            throw SupervisorAPI.missing("Spawner", name)
        }
        return try .json(spawner)
    }

    /// Its sessions go on.
    func delete(_ call: Call) async throws -> Response {
        let name = call.parameter("name")
        try await store.access { store in
            guard let spawner = try store.spawner(named: name) else { throw SupervisorAPI.missing("Spawner", name) }
            try store.delete(spawner)
        }
        return Response(status: .noContent)
    }

    func deliveries(_ call: Call) async throws -> Response {
        let part = try ListPart(call, default: 100, most: 1000)
        let list = try await store.access { store in
            let page = try store.deliveries(after: try part.rest(of: "deliveries"), limit: part.limit)
            return ResourceList(page, of: "deliveries", version: try store.version)
        }
        return try .json(list)
    }
}
