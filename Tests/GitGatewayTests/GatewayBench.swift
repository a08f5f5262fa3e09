import Foundation
import GitGateway
import HTTPServing
import Logging
import NIOConcurrencyHelpers
import SessionModel
import Support

/// A gateway between real git and a real `git http-backend`, and one session that may use it.
final class GatewayBench: Sendable {
    static let token = "ghp_theForgesOwnSecret"
    static let credential = "credential-of-the-session"
    static let name = "issue7-widgets"

    let git: GitFixture
    let forge: GitBackend
    let url: String
    let grants: String
    private let server: Task<Void, Never>
    private let transfers = NIOLockedValueBox<[GitTransfer]>([])

    var reported: [GitTransfer] { transfers.withLockedValue(\.self) }
    var tokenFile: String { git.root + "/token" }
    /// The repository on the forge's disk.
    var remote: String { git.root + "/forge/acme/widgets.git" }
    var repository: String { forge.url + "/acme/widgets.git" }
    var configuration: String { git.root + "/git.config" }
    var clone: String { git.root + "/clone" }

    /// - Parameter forgeURL: of another forge than the bench's own.
    init(push: PushRules = PushRules(branches: ["holdfast/issue-7"]), forgeURL: String? = nil) async throws {
        let git = try GitFixture()
        self.git = git
        let folder = git.root + "/forge/acme"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try await blocking {
            for name in ["widgets", "secrets"] {
                try git.git("clone", "--quiet", "--bare", git.remote, "\(folder)/\(name).git", in: git.root)
            }
            try git.git("config", "uploadpack.allowFilter", "true", in: folder + "/widgets.git")
        }
        forge = try GitBackend(root: git.root + "/forge", token: Self.token)
        grants = git.root + "/grants"
        try FileManager.default.createDirectory(atPath: grants, withIntermediateDirectories: true)
        try git.write("token", Self.token + "\n", in: git.root)

        let directory = GrantDirectory(path: grants)
        var logger = Logger(label: "gateway")
        logger.logLevel = .critical
        let gateway = GitGateway(
            logger: logger, grants: { try directory.grant($0) },
            report: { [transfers] _, transfer in transfers.withLockedValue { $0.append(transfer) } })
        let (ports, announce) = AsyncStream.makeStream(of: Int.self)
        let service = HTTPService(
            .tcp(host: "127.0.0.1", port: 0), routes: gateway.routes, clientTimeout: .minutes(1), logger: logger)
        server = Task { try? await service.run { announce.yield($0 ?? 0) } }
        url = "http://127.0.0.1:\(await ports.first { _ in true } ?? 0)"

        let grant = GitGrant(
            session: try SessionKey(parsing: "issue:acme/widgets#7"),
            repository: (forgeURL ?? forge.url) + "/acme/widgets.git", credential: Self.credential, tokenFile: tokenFile,
            push: push)
        try JSON.encode(grant).write(to: URL(filePath: "\(grants)/\(Self.name).json"))
        try git.write(
            "git.config",
            GitGrant.configuration(
                repository: grant.repository, gateway: url, name: Self.name, credential: Self.credential), in: git.root)
    }

    deinit {
        server.cancel()
        forge.stop()
    }

    /// git as the session runs it.
    @discardableResult
    func run(_ arguments: String..., in directory: String? = nil) async throws -> String {
        let (git, configuration, place) = (git, configuration, directory ?? clone)
        return try await blocking { try git.run(["-c", "include.path=\(configuration)"] + arguments, in: place) }
    }

    /// What git says when it fails.
    func failure(_ arguments: String..., in directory: String? = nil) async throws -> String {
        try await failure(of: arguments, in: directory)
    }

    func failure(of arguments: [String], in directory: String? = nil) async throws -> String {
        let (git, configuration, place) = (git, configuration, directory ?? clone)
        return try await blocking {
            do {
                return "it has succeeded: " + (try git.run(["-c", "include.path=\(configuration)"] + arguments, in: place))
            } catch let error as GitFixtureError {
                return error.output
            }
        }
    }

    /// A clone through the gateway, with one commit of the session's.
    func work() async throws {
        try await run("clone", "--quiet", repository, clone, in: git.root)
        let (git, clone) = (git, clone)
        try await blocking { _ = try git.commit("work.txt", "done\n", in: clone) }
    }

    func refs() throws -> String { try git.git("for-each-ref", "--format=%(refname)", in: remote) }
}
