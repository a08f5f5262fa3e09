import Foundation
import GitHub
import HTTPServing
import HTTPTypes
import Hummingbird
import SessionModel

/// Spawners over the API of one machine, and what became of the deliveries of webhooks.
struct SpawnerHandlers: Sendable {
    let store: SQLiteStore

    /// Makes a Spawner or replaces its spec.
    func put(_ call: Call) async throws -> Response {
        let name = call.parameter("name")
        guard Identity.isName(name) else {
            throw Problem(.invalidRequest, "A Spawner's name is 1 to 63 lower-case letters, digits or '-'.")
        }
        let spec = try await call.json(SpawnerSpec.self)
        if let mistake = spec.mistake { throw Problem(.invalidRequest, mistake + ".") }
        do throws(TemplateError) {
            _ = try PromptTemplate(spec.taskTemplate.prompt)
        } catch {
            throw Problem(.invalidRequest, "taskTemplate.prompt: \(error).")
        }
        let uid = Identity.uid()
        let (spawner, isNew) = try await store.transact { store in
            if var known = try store.get(SpawnerResource.self, name) {
                guard known.spec != spec else { return (known, false) }
                known.spec = spec
                return (try store.update(known), false)
            }
            var status = SpawnerStatus()
            status.conditions = [
                Condition(type: "Ready", status: .true, reason: "Valid", message: "", lastTransitionTime: .now)
            ]
            let metadata = Metadata(name: name, uid: uid, resourceVersion: "", creationTimestamp: .now)
            return (try store.insert(SpawnerResource(kind: "Spawner", metadata: metadata, spec: spec, status: status)), true)
        }
        return try .json(spawner, status: isNew ? .created : .ok)
    }

    func list(_ call: Call) async throws -> Response {
        let list = try await store.transact { (items: try $0.spawners(), version: try $0.version) }
        return try .json(ResourceList(items: list.items, resourceVersion: list.version))
    }

    func get(_ call: Call) async throws -> Response {
        let name = call.parameter("name")
        guard let spawner = try await store.transact({ try $0.get(SpawnerResource.self, name) }) else {
            throw SupervisorAPI.missing("Spawner", name)
        }
        return try .json(spawner)
    }

    /// Its sessions go on.
    func delete(_ call: Call) async throws -> Response {
        let name = call.parameter("name")
        try await store.transact { store in
            guard let spawner = try store.get(SpawnerResource.self, name) else { throw SupervisorAPI.missing("Spawner", name) }
            try store.delete(spawner)
        }
        return Response(status: .noContent)
    }

    func deliveries(_ call: Call) async throws -> Response {
        let limit = min(1000, max(1, try call.query("limit", as: Int.self) ?? 100))
        return try .json(["items": try await store.transact { try $0.deliveries(limit: limit) }])
    }
}
