import Foundation
import HTTPServing
import HTTPTypes
import Hummingbird
import SessionModel

extension SupervisorAPI {
    func listSessions(_ call: Call) async throws -> Response {
        let limit = min(10_000, max(1, try call.query("limit", as: Int.self) ?? 1000))
        let list = try await store.read { (items: try $0.sessions(limit: limit), version: try $0.version) }
        return try .json(ResourceList(items: list.items, resourceVersion: list.version))
    }

    func getSession(_ call: Call) async throws -> Response { try await poll(SessionResource.self, try await name(call), call) }

    func endSession(_ call: Call) async throws -> Response {
        let name = try await name(call)
        let session = try await store.write { store in
            guard var session = try store.get(SessionResource.self, name) else { throw Self.missing("Session", name) }
            guard session.status.phase != .ended, session.spec.end != true else { return session }
            session.spec.end = true
            // What waits for the session now ends with it; what comes later gets a new one.
            for var task in try store.openTasks(session: name) where task.status.sentTo == nil {
                task.status.end(.failed, .sessionEnded, "the session was ended by a user before this Task could run", at: .now)
                try store.update(task)
            }
            return try store.update(session)
        }
        return try .json(session, status: .accepted)
    }

    func suspendSession(_ call: Call) async throws -> Response {
        try .json(try await change(call) { $0.suspend = true }, status: .accepted)
    }

    func resumeSession(_ call: Call) async throws -> Response {
        let session = try await change(call) { $0.suspend = false }
        manager.notify(session.metadata.name, .resume)
        return try .json(session, status: .accepted)
    }

    func keepAlive(_ call: Call) async throws -> Response {
        let name = try await name(call)
        let request = try await call.json(KeepAliveRequest.self)
        guard request.for > .zero, request.for <= .hours(24) else {
            throw Problem(.invalidRequest, "“for” must be more than zero and at most 24h.")
        }
        guard let client = manager.client(of: name) else {
            throw Problem(.conflict, "Session \(name) is not awake, so there is nothing to keep; resume it first.")
        }
        do throws(SidecarClient.Failure) {
            try await client.keepAlive(request)
        } catch {
            throw Self.problem(error)
        }
        guard let session = try await store.read({ try $0.get(SessionResource.self, name) }) else {
            throw Self.missing("Session", name)
        }
        return try .json(session, status: .accepted)
    }

    private func change(_ call: Call, _ body: @escaping @Sendable (inout SessionSpec) -> Void) async throws -> SessionResource {
        let name = try await name(call)
        return try await store.write { store in
            guard var session = try store.get(SessionResource.self, name) else { throw Self.missing("Session", name) }
            guard session.status.phase != .ended, session.spec.end != true else {
                throw Problem(.conflict, "Session \(session.spec.key) has ended; a new Task for it makes a new one.")
            }
            let before = session.spec
            body(&session.spec)
            return session.spec == before ? session : try store.update(session)
        }
    }

    /// The name of the session that a request is about.
    func name(_ call: Call) async throws -> String {
        let id = call.parameter("id")
        return try await store.read { try Self.resolve(id, in: $0) }
    }

    /// A session's name, from its name, from a unique prefix of it with four characters or more, or from its key's text.
    static func resolve(_ id: String, in store: StoreTransaction) throws -> String {
        if id.contains(":") {
            do {
                return try SessionKey(parsing: id).name
            } catch {
                throw Problem(.invalidRequest, "\(error)")
            }
        }
        if try store.get(SessionResource.self, id) != nil { return id }
        guard id.utf8.count >= 4 else { throw missing("Session", id) }
        let names = try store.sessionNames(prefix: id)
        guard let name = names.first else { throw missing("Session", id) }
        guard names.count == 1 else {
            throw Problem(.conflict, "More than one session's name begins with “\(id)”: give more of it.")
        }
        return name
    }
}
