import Foundation
import GitGateway
import HTTPServing
import HTTPTypes
import Hummingbird
import Kubernetes
import SessionModel

/// The supervisor's REST API: decode, validate, one transaction or one call, encode.
struct SupervisorAPI: Sendable {
    let store: any Store
    /// The API of a session's living sidecar, by the session's name; nil when it has none.
    let sidecar: @Sendable (String) async -> SidecarClient?
    let metrics: Metrics
    let runtime: any Runtime
    /// Of the git gateway inside this process, if there is one.
    let gateway: GatewayMetrics?
    /// Where a webhook is set up.
    var webhooks: WebhookHandler?
    var spawners: SpawnerHandlers?
    /// Where git gateways are processes of their own.
    var gateways: GatewayHandlers?
    let agents: AgentPresets
    let version: String
    /// Requests must be addressed to this machine by a loopback name. Without it a web page could reach the API of a reader's
    /// own machine by a name of its own that resolves to 127.0.0.1 (DNS rebinding).
    let loopbackOnly: Bool

    static let waitLimit = TimeSpan.seconds(60)

    func routes() -> Routes {
        var routes = Routes()
        func on(
            _ method: HTTPRequest.Method, _ pattern: StaticString, open: Bool = false, fromAnywhere: Bool = false,
            _ handler: @escaping Routes.Handler
        ) {
            routes.on(method, pattern, open: open) { call in
                if !fromAnywhere { try checkHost(call) }
                do { return try await handler(call) } catch { throw Self.told(error) }
            }
        }
        on(.post, "/v1/tasks", createTask)
        on(.get, "/v1/tasks", listTasks)
        on(.get, "/v1/tasks/{name}", getTask)
        on(.delete, "/v1/tasks/{name}", cancelTask)
        on(.post, "/v1/tasks/{name}/input", answerTask)
        on(.get, "/v1/sessions", listSessions)
        on(.get, "/v1/sessions/{id}", getSession)
        on(.delete, "/v1/sessions/{id}", endSession)
        on(.post, "/v1/sessions/{id}/suspend", suspendSession)
        on(.post, "/v1/sessions/{id}/resume", resumeSession)
        on(.post, "/v1/sessions/{id}/keepalive", keepAlive)
        on(.post, "/v1/sessions/{id}/scope", scopeClosed)
        on(.patch, "/v1/sessions/{id}/lifetime", setLifetime)
        on(.get, "/v1/sessions/{id}/transcript", transcript)
        on(.get, "/v1/version") { _ in try .json(["version": version]) }
        on(.get, "/metrics", showMetrics)
        on(.get, "/livez", open: true) { _ in .text("ok\n") }
        on(.get, "/readyz", open: true, ready)
        if let spawners {
            on(.put, "/v1/spawners/{name}", spawners.put)
            on(.get, "/v1/spawners", spawners.list)
            on(.get, "/v1/spawners/{name}", spawners.get)
            on(.delete, "/v1/spawners/{name}", spawners.delete)
            on(.get, "/v1/webhooks/deliveries", spawners.deliveries)
        }
        // It comes from elsewhere, under whatever name, and proves itself by its signature.
        if let webhooks { on(.post, "/v1/webhooks/github", open: true, fromAnywhere: true, webhooks.receive) }
        // Gateways have a token of their own.
        if let gateways {
            on(.post, "/v1/git-gateway/pushes", open: true, fromAnywhere: true, gateways.pushes)
            on(.post, "/v1/git-gateway/transfers", open: true, fromAnywhere: true, gateways.transfers)
        }
        return routes
    }

    private func checkHost(_ call: Call) throws(Problem) {
        guard loopbackOnly else { return }
        var host = Substring(call.request.head.authority ?? "")
        if let colon = host.lastIndex(of: ":"), !host[colon...].contains("]") { host = host[..<colon] }
        guard ["localhost", "127.0.0.1", "[::1]"].contains(host.lowercased()) else {
            throw Problem(.forbidden, "This server listens on loopback and does not answer for the host “\(host.prefix(100))”.")
        }
    }

    private func ready(_ call: Call) async throws -> Response {
        do {
            _ = try await store.read { try $0.version }
            return .text("ok\n")
        } catch {
            throw Problem(.notReady, "The store cannot be read: \(error).", retryAfter: 5)
        }
    }

    /// `?after=V&wait=30s`: the resource, as soon as its version is another one than V.
    func poll<Document: StoredResource & Sendable>(
        _ name: String, _ call: Call, read: @escaping @Sendable (any StoreTransaction) throws -> Document?
    ) async throws -> Response {
        let after = call.query("after")
        let wait = try call.span("wait", atMost: Self.waitLimit) ?? .zero
        let store = store
        let found = try await call.whileConnected {
            try await store.feed.value(
                of: Document.kind, name, within: wait.duration,
                read: { try await store.read(read) },
                isNews: { document in
                    guard let document, let after, wait > .zero else { return true }
                    return document.metadata.resourceVersion != after
                })
        }
        guard let found else { throw Self.missing(Document.kind, name) }
        return try .json(found)
    }

    static func missing(_ kind: String, _ name: String) -> Problem {
        Problem(.notFound, "There is no \(kind) \(name.prefix(bytes: 200)).")
    }

    /// What a client is told of an error: what the store cannot do now it may well do in a moment.
    static func told(_ error: any Error) -> any Error {
        switch error {
        case StoreError.notSynced: Problem(.notReady, "The supervisor is starting: \(error).", retryAfter: 1)
        case let error as KubernetesError where error.isTransient:
            Problem(.notReady, "The API server cannot be asked now: \(error).", retryAfter: 5)
        default: error
        }
    }

    static func problem(_ failure: SidecarClient.Failure) -> Problem {
        switch failure {
        case .refused(let problem): problem
        case .unreachable(let why): Problem(.notReady, "The session does not answer: \(why)", retryAfter: 1)
        }
    }
}
