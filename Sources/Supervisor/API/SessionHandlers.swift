import Foundation
import HTTPServing
import HTTPTypes
import Hummingbird
import SessionModel

extension SupervisorAPI {
    func listSessions(_ call: Call) async throws -> Response {
        let part = try ListPart(call, default: 1000, most: 10_000)
        let list = try await store.read { store in
            let page = try store.sessions(after: try part.rest(of: "sessions"), limit: part.limit)
            return ResourceList(page, of: "sessions", version: try store.version)
        }
        return try .json(list)
    }

    func getSession(_ call: Call) async throws -> Response {
        let name = try await name(call)
        return try await poll(name, call) { try $0.session(named: name) }
    }

    func endSession(_ call: Call) async throws -> Response {
        let name = try await name(call)
        return try .json(try await store.write { try SessionCommands.end(name, at: .now, in: $0) }, status: .accepted)
    }

    func suspendSession(_ call: Call) async throws -> Response {
        let name = try await name(call)
        return try .json(try await store.write { try SessionCommands.suspend(name, in: $0) }, status: .accepted)
    }

    func resumeSession(_ call: Call) async throws -> Response {
        let name = try await name(call)
        return try .json(try await store.write { try SessionCommands.resume(name, in: $0) }, status: .accepted)
    }

    /// Says that the pull request or issue is closed, or open again.
    func scopeClosed(_ call: Call) async throws -> Response {
        let name = try await name(call)
        let closed = try await call.json(ScopeState.self).closed
        return try .json(try await store.write { try SessionCommands.scope(name, closed: closed, in: $0) }, status: .accepted)
    }

    private struct ScopeState: Decodable { var closed: Bool }

    /// `PATCH`: the fields that are given are set, and those that are null have their defaults again.
    func setLifetime(_ call: Call) async throws -> Response {
        let name = try await name(call)
        let patch = try await call.json([String: JSONValue].self)
        let session = try await store.write { store in
            guard let session = try store.session(named: name) else { throw Self.missing("Session", name) }
            let lifetime = try (session.spec.lifetime ?? Lifetime()).patched(patch)
            return try SessionCommands.set(lifetime, of: name, in: store)
        }
        return try .json(session, status: .accepted)
    }

    func keepAlive(_ call: Call) async throws -> Response {
        let name = try await name(call)
        let request = try await call.json(KeepAliveRequest.self)
        guard request.for > .zero, request.for <= .hours(24) else {
            throw Problem(.invalidRequest, "“for” must be more than zero and at most 24h.")
        }
        guard let client = await sidecar(name) else {
            throw Problem(.conflict, "Session \(name) is not awake, so there is nothing to keep; resume it first.")
        }
        do throws(SidecarClient.Failure) {
            try await client.keepAlive(request)
        } catch {
            throw Self.problem(error)
        }
        guard let session = try await store.read({ try $0.session(named: name) }) else {
            throw Self.missing("Session", name)
        }
        return try .json(session, status: .accepted)
    }

    /// The name of the session that a request is about.
    func name(_ call: Call) async throws -> String {
        let id = call.parameter("id")
        return try await store.read { try Self.resolve(id, in: $0) }
    }

    /// A session's name, from its name, from a unique prefix of it with four characters or more, or from its key's text.
    static func resolve(_ id: String, in store: some StoreTransaction) throws -> String {
        if id.contains(":") {
            do {
                return try SessionKey(parsing: id).name
            } catch {
                throw Problem(.invalidRequest, "\(error)")
            }
        }
        if try store.session(named: id) != nil { return id }
        guard id.utf8.count >= 4 else { throw missing("Session", id) }
        let names = try store.sessionNames(prefix: id)
        guard let name = names.first else { throw missing("Session", id) }
        guard names.count == 1 else {
            throw Problem(.conflict, "More than one session's name begins with “\(id)”: give more of it.")
        }
        return name
    }
}
