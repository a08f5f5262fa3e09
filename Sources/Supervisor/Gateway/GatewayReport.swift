import Curl
import Foundation
import HTTPServing
import HTTPTypes
import Hummingbird
import Kubernetes
import Logging
import SessionModel

/// What a git gateway of its own tells the supervisor.
enum GatewayReport {
    /// Before the forge has them: what a push is about to bring there.
    struct Push: Codable, Sendable {
        /// The session's name.
        var session: String
        var commits: [String]
    }

    /// When it is over.
    struct Transfer: Codable, Sendable {
        var session: String
        var transfer: GitTransfer
    }

    static let pushes = "/v1/git-gateway/pushes"
    static let transfers = "/v1/git-gateway/transfers"
}

/// The gateway's end.
struct GatewayReporter: Sendable {
    /// The supervisor's URL, without a slash at the end.
    let supervisor: String
    /// Read at every report.
    let tokenFile: String
    /// Sessions come with their namespaces, as a ``QualifiedName``, and the supervisor has an API for each of these.
    let spansNamespaces: Bool
    let logger: Logger
    private static let client = CurlClient(maxConnections: 64, maxIdleConnections: 4)

    struct NotTold: Error, CustomStringConvertible { var description: String }

    /// - Throws: ``NotTold``: then the push must not go on, for the forge's event about it would come back as somebody else's.
    func announce(_ session: String, _ commits: [String]) async throws {
        let (api, session) = place(of: session)
        try await send(api + GatewayReport.pushes, GatewayReport.Push(session: session, commits: commits))
    }

    func report(_ session: String, _ transfer: GitTransfer) async {
        do {
            let (api, session) = place(of: session)
            try await send(api + GatewayReport.transfers, GatewayReport.Transfer(session: session, transfer: transfer))
        } catch {
            logger.warning("not in the transcript", metadata: ["session": "\(session)", "error": "\(error)"])
        }
    }

    /// The path before those of the session's API, and the session's name there.
    private func place(of session: String) -> (api: String, name: String) {
        guard spansNamespaces, let name = QualifiedName(session) else { return ("", session) }
        return ("/namespaces/\(name.namespace)", name.name)
    }

    private func send(_ path: String, _ body: some Encodable) async throws {
        let token =
            await offLoop { FileManager.default.contents(atPath: tokenFile) }
            .map { String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) } ?? ""
        var request = CurlRequest(
            "POST", supervisor + path,
            headers: [("Authorization", "Bearer \(token)"), ("Content-Type", "application/json")],
            body: Array(try JSON.encode(body)), timeout: .seconds(15))
        // It is in the cluster, and no proxy leads there.
        request.proxy = ""
        let response = try await Self.client.execute(request)
        guard (200..<300).contains(response.status) else {
            let problem = try? JSON.decode(Problem.self, from: Data(response.body))
            throw NotTold(description: "the supervisor answers \(response.status): \(problem?.detail ?? "")")
        }
    }
}

/// The supervisor's end.
struct GatewayHandlers: Sendable {
    /// What a gateway shows; nil until it is known.
    let token: @Sendable () -> BearerToken?
    let keep: @Sendable (GatewayReport.Push) async throws -> Void
    /// The API of a session's living sidecar.
    let sidecar: @Sendable (String) async -> SidecarClient?

    func pushes(_ call: Call) async throws -> Response {
        try check(call)
        try await keep(try await call.json(GatewayReport.Push.self, upTo: 4 << 20))
        return Response(status: .noContent)
    }

    func transfers(_ call: Call) async throws -> Response {
        try check(call)
        let report = try await call.json(GatewayReport.Transfer.self, upTo: 4 << 20)
        guard let sidecar = await sidecar(report.session) else {
            throw Problem(.notReady, "Session \(report.session.prefix(bytes: 200)) has no sidecar that could write it down.")
        }
        do throws(SidecarClient.Failure) { try await sidecar.record(report.transfer) } catch {
            throw SupervisorAPI.problem(error)
        }
        return Response(status: .noContent)
    }

    private func check(_ call: Call) throws(Problem) {
        guard let token = token() else { throw Problem(.notReady, "The supervisor is starting.", retryAfter: 1) }
        guard token.matches(call.header("Authorization")) else {
            throw Problem(.unauthorized, "Only the git gateway reports here, with the token of its Secret.")
        }
    }
}
