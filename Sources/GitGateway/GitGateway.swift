import Curl
import FoundationEssentials
public import HTTPServing
import HTTPTypes
import Hummingbird
public import Logging
import NIOCore
public import SessionModel

/// A reverse proxy for git's smart HTTP between sessions and the forge.
///
/// It alone holds the forge's token. A session proves itself with a credential of its own that is good for one repository, and
/// pushes only the refs that its ``GitGrant`` allows: anything else is refused before a byte of it reaches the forge. Packs pass
/// through as they come in both directions; a slow reader makes its writer wait.
public struct GitGateway: Sendable {
    /// Finds a session's grant by the session's name; nil when it has none, or none any more.
    public typealias Grants = @Sendable (_ name: String) async throws -> GitGrant?
    /// Reads the forge's token that a grant names.
    public typealias Tokens = @Sendable (GitGrant) async throws -> String
    /// Told of the commits that a push is about to bring to the forge, before it does.
    public typealias Announcer = @Sendable (_ session: String, _ commits: [String]) async throws -> Void
    /// Told of every fetch and push when it is over.
    public typealias Reporter = @Sendable (_ session: String, _ transfer: GitTransfer) async -> Void

    let grants: Grants
    let token: Tokens
    let announce: Announcer
    let report: Reporter
    let logger: Logger
    let forge: Forge
    public let metrics = GatewayMetrics()

    public init(
        logger: Logger, grants: @escaping Grants,
        token: @escaping Tokens = { grant in try await offLoop { try grant.tokenOfFile() } },
        announce: @escaping Announcer = { _, _ in },
        report: @escaping Reporter = { _, _ in }
    ) {
        self.announce = announce
        self.grants = grants
        self.token = token
        self.report = report
        self.logger = logger
        forge = Forge()
    }

    /// Everything that is not another route is git's.
    public var routes: Routes {
        var routes = Routes()
        routes.on(.get, "/livez") { _ in .text("ok\n") }
        routes.on(.get, "/metrics") { _ in .text(metrics.text, type: "text/plain; version=0.0.4; charset=utf-8") }
        routes.otherwise { call in
            do throws(Refusal) {
                return try await answer(call)
            } catch {
                return error.response
            }
        }
        return routes
    }

    private func answer(_ call: Call) async throws(Refusal) -> Response {
        guard
            let path = call.path,
            let request = GitRequest(method: call.request.method.rawValue, path: path, service: call.query("service"))
        else {
            throw Refusal(
                404, "This is Holdfast's git gateway: it serves git's smart HTTP, and neither its older protocol nor LFS.")
        }
        let access = try await authenticate(call, request)
        switch (request.service, request.isAdvertisement) {
        case (_, true): return try await advertise(call, request, access)
        case (.uploadPack, false): return try await fetch(call, access)
        case (.receivePack, false): return try await push(call, access)
        }
    }

    /// Who asks, and what for: a session with its grant.
    private func authenticate(_ call: Call, _ request: GitRequest) async throws(Refusal) -> Access {
        guard let credential = BasicCredential(call.header("Authorization")) else {
            metrics.countUnauthorized()
            throw Refusal(401, "The git gateway wants the session's credential.")
        }
        let grant: GitGrant?
        do {
            grant = try await grants(credential.user)
        } catch {
            logger.error("a session's grant cannot be read", metadata: ["session": "\(credential.user)", "error": "\(error)"])
            throw Refusal(500, "What this session may do with its repository cannot be read; the gateway's log says why.")
        }
        guard let grant, grant.accepts(credential.password) else {
            metrics.countUnauthorized()
            throw Refusal(401, "The session's credential is not valid, or not any more: a session gets a new one when it wakes.")
        }
        guard "/\(request.repository).git" == grant.path else {
            metrics.countUnauthorized()
            throw Refusal(
                403,
                "This session works on \(grant.path.dropFirst().dropLast(4)), and its credential is good for that repository only."
            )
        }
        do {
            return Access(name: credential.user, grant: grant, token: try await token(grant))
        } catch {
            logger.error("no token for a repository", metadata: ["repository": "\(grant.repository)", "error": "\(error)"])
            throw Refusal(503, "Holdfast has no token for \(grant.repository) at the moment; the gateway's log says why.")
        }
    }

    /// One session's right to one request.
    struct Access: Sendable {
        var name: String
        var grant: GitGrant
        var token: String
    }

    func finish(_ access: Access, _ transfer: GitTransfer) async {
        metrics.count(transfer)
        let refs = transfer.refs.map { $0.map { "\($0.ref)\($0.refused.map { " (\($0))" } ?? "")" }.joined(separator: ", ") }
        logger.info(
            "\(transfer.operation.rawValue) \(transfer.outcome.rawValue)",
            metadata: [
                "session": "\(access.grant.session)", "repository": "\(access.grant.repository)", "refs": "\(refs ?? "")",
                "sent": "\(transfer.sentBytes)", "received": "\(transfer.receivedBytes)", "ms": "\(transfer.milliseconds)",
                "why": "\(transfer.message ?? "")",
            ])
        await report(access.name, transfer)
    }
}

/// An answer that git shows to its user: of errors it prints the text, if it is plain.
struct Refusal: Error {
    var status: Int
    var text: String

    init(_ status: Int, _ text: String) {
        self.status = status
        self.text = text
    }

    var response: Response {
        var response = Response.text("Holdfast: \(text)\n", type: "text/plain", status: .init(code: status))
        if status == 401 { response.headers[.wwwAuthenticate] = "Basic realm=\"Holdfast git gateway\"" }
        return response
    }
}
