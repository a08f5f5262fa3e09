import Crypto
public import FoundationEssentials
public import SessionModel

/// What one session may do through the gateway: its repository, its refs, and with which token.
///
/// On one machine it is a file: who runs the gateway writes it, the gateway reads it at every request. In a cluster it follows from
/// the Session and its pod.
public struct GitGrant: Sendable, Hashable, Codable {
    /// For logs and reports.
    public var session: SessionKey
    /// The repository's URL at the forge: `https://github.com/acme/widgets.git`.
    public var repository: String
    /// The SHA-256 of the session's credential, in hexadecimal digits: whoever reads this file cannot use it.
    public var credential: String
    /// The file that holds the forge's token, or the Secret. It is read at every request, so that a new token is used at once.
    public var tokenFile: String?
    public var tokenSecret: Secret?
    public var push: PushRules

    public init(session: SessionKey, repository: String, credential: String, tokenFile: String, push: PushRules) {
        self.session = session
        self.repository = repository
        self.credential = Self.digest(credential)
        self.tokenFile = tokenFile
        self.push = push
    }

    /// - Parameter credentialDigest: see ``digest(_:)``.
    public init(
        session: SessionKey, repository: String, credentialDigest: String, tokenSecret: Secret, push: PushRules
    ) {
        self.session = session
        self.repository = repository
        credential = credentialDigest
        self.tokenSecret = tokenSecret
        self.push = push
    }

    /// A Secret of a cluster.
    public struct Secret: Sendable, Hashable, Codable {
        public var namespace: String
        public var name: String

        public init(namespace: String, name: String) {
            self.namespace = namespace
            self.name = name
        }
    }

    /// The path under which the gateway serves the repository.
    public var path: String { Self.path(of: repository) }

    private static func path(of repository: String) -> String { "/\(ScopeSpec.normalized(repository)).git" }

    /// Comparing digests takes no secret's time.
    func accepts(_ credential: String) -> Bool { Self.digest(credential) == self.credential }

    /// The token of ``tokenFile``. It blocks.
    public func tokenOfFile() throws(TokenError) -> String {
        guard let tokenFile else { throw TokenError("the grant of \(session) names no token file") }
        guard let data = try? Data(contentsOf: URL(filePath: tokenFile)) else {
            throw TokenError("the token file \(tokenFile) cannot be read")
        }
        return try Self.token(in: data, from: "the token file \(tokenFile)")
    }

    /// The token that a file or a Secret holds, without white space around it.
    public static func token(in data: Data, from source: String) throws(TokenError) -> String {
        let token = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard token.count == 1 else { throw TokenError("\(source) holds no token, or more than one") }
        return String(token[0])
    }

    /// What ``credential`` is of a session's credential.
    public static func digest(_ text: String) -> String {
        SHA256.hash(data: Data(text.utf8)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    /// The part of git's configuration that sends a session's git to the gateway instead of the forge. Reading it twice does no
    /// harm: the empty header forgets earlier ones.
    /// - Parameters:
    ///   - gateway: its URL, without a slash at the end.
    ///   - name: the session's name, which says whose credential it is.
    ///   - authority: the file with the certificate by which the gateway is known; nil for a gateway of plain HTTP.
    public static func configuration(
        repository: String, gateway: String, name: String, credential: String, authority: String? = nil
    ) -> String {
        """
        # Written by Holdfast at every start of the session: git talks to the git gateway, which alone has the forge's token.
        [url "\(gateway)\(path(of: repository))"]
        \tinsteadOf = \(repository)
        [http "\(gateway)/"]
        \textraHeader =
        \textraHeader = Authorization: \(BasicCredential.header(user: name, password: credential))
        \tproxy =

        """ + (authority.map { "\tsslCAInfo = \($0)\n" } ?? "")
    }
}

/// The forge's token is not there.
public struct TokenError: Error, CustomStringConvertible {
    public let description: String

    /// - Parameter description: for the operator, who finds it in the gateway's log.
    public init(_ description: String) { self.description = description }
}

/// Where grants are: one file for each session, `NAME.json`.
public struct GrantDirectory: Sendable {
    let path: String

    public init(path: String) { self.path = path }

    /// Nil when the session has none.
    /// - Throws: when its file is not a grant.
    public func grant(_ name: String) throws -> GitGrant? {
        // It comes from outside and becomes a path.
        guard !name.isEmpty, name.utf8.count <= 63, name.utf8.allSatisfy(Self.isLabel) else { return nil }
        guard let data = try? Data(contentsOf: URL(filePath: "\(path)/\(name).json")) else { return nil }
        return try JSON.decode(from: data)
    }

    private static func isLabel(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
        default: false
        }
    }
}
