import Curl
import FoundationEssentials
import SessionModel

/// The credentials for the next request: from the configuration, from a file that changes, or from a plugin whose answers expire.
actor Credentials {
    /// What a request shows of itself.
    struct Ticket: Sendable, Hashable {
        var authorization: String?
        var certificate: CurlTLS.Source?
        var key: CurlTLS.Source?
    }

    /// A plugin's credential is replaced this long before it expires, so that no request is under way when it does.
    static let margin = TimeSpan.seconds(10)

    private let identity: ClusterConfiguration.Identity
    private let now: @Sendable () -> Timestamp
    private var lastToken: String?
    private var issued: CredentialPlugin.Credential?
    /// All who need a new one wait for the same run of the plugin.
    private var run: Task<Result<CredentialPlugin.Credential, KubernetesError>, Never>?

    init(_ identity: ClusterConfiguration.Identity, now: @escaping @Sendable () -> Timestamp = { .wallClock }) {
        self.identity = identity
        self.now = now
        if case .tokenFile(_, let initial) = identity { lastToken = initial }
    }

    func ticket() async throws(KubernetesError) -> Ticket {
        switch identity {
        case .anonymous: return Ticket()
        case .token(let token): return Ticket(authorization: "Bearer \(token)")
        case .basic(let user, let password):
            return Ticket(authorization: "Basic \(Data("\(user):\(password)".utf8).base64EncodedString())")
        case .certificate(let certificate, let key): return Ticket(certificate: certificate, key: key)
        case .tokenFile(let path, _): return Ticket(authorization: "Bearer \(try token(in: path))")
        case .plugin(let plugin):
            let credential = try await credential(from: plugin)
            return Ticket(
                authorization: credential.token.map { "Bearer \($0)" }, certificate: credential.certificate, key: credential.key)
        }
    }

    /// The server did not accept it (401). True when there may be a better one now.
    func reject(_ ticket: Ticket) async -> Bool {
        switch identity {
        case .anonymous, .token, .basic: return false
        // The file is read at the next connection, which is a new one only if the old one goes.
        case .certificate: return false
        case .tokenFile(let path, _):
            // It was replaced between our reading it and the server's looking at it.
            guard let token = try? token(in: path) else { return false }
            return ticket.authorization != "Bearer \(token)"
        case .plugin:
            // Only the one that was rejected: another request may have a new one already.
            if let issued, ticket.authorization == issued.token.map({ "Bearer \($0)" }), ticket.certificate == issued.certificate
            {
                self.issued = nil
            }
            return true
        }
    }

    private func token(in path: String) throws(KubernetesError) -> String {
        if let data = try? Data(contentsOf: URL(filePath: path)) {
            let text = String(decoding: data, as: UTF8.self)
            let token = String(text.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
            if !token.isEmpty { lastToken = token }
        }
        guard let lastToken else {
            throw KubernetesError(.configuration, "the token file \(path) cannot be read or is empty")
        }
        return lastToken
    }

    private func credential(from plugin: CredentialPlugin) async throws(KubernetesError) -> CredentialPlugin.Credential {
        if let issued, issued.expires.map({ $0 > now() + Self.margin }) ?? true { return issued }
        let task =
            run
            ?? Task {
                do throws(KubernetesError) { return .success(try await plugin.run()) } catch { return .failure(error) }
            }
        run = task
        let result = await task.value
        if run == task {
            run = nil
            if case .success(let credential) = result { issued = credential }
        }
        return try result.get()
    }
}
