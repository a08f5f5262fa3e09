import AgentHost
import FoundationEssentials
import Glibc
public import SessionModel

/// The environment of an agent's process: made anew whenever one starts, so that a rotated credential is taken up then.
public struct AgentEnvironment: Sendable {
    /// A credential that cannot be read: why, and what to do.
    public struct MissingCredential: Error, Sendable, Hashable {
        public var message: String
    }

    /// A longer value cannot be passed to a process.
    static let credentialLimit = 96 << 10

    private let variables: [String: String]
    private let credentials: [String: String]
    /// Every file in it is a credential.
    private let directory: String?
    /// The file with the forge's token, if the agent is to have it.
    private let token: String?
    private let learn: @Sendable ([String]) -> Void

    /// - Parameters:
    ///   - base: what every process of the session gets; the description's own variables go before it. A token of the forge in it,
    ///     such as a user has in their shell, is none of the agent's.
    ///   - learn: told the values of the credentials before any process gets them, so that they are redacted.
    public init(
        _ base: [String: String], for description: AgentDescription,
        learn: @escaping @Sendable ([String]) -> Void = { _ in }
    ) {
        variables = base.filter { !AgentCredentials.forgeVariables.contains($0.key) }.merging(description.env ?? [:]) { $1 }
        credentials = description.credentials?.env ?? [:]
        directory = description.credentials?.directory
        token = description.credentials.flatMap { $0.expose == .token ? $0.token : nil }
        self.learn = learn
    }

    /// A variable that is no credential.
    subscript(name: String) -> String? { variables[name] }

    /// The environment for a process that starts now. Drivers keep it nowhere.
    public func read() throws(MissingCredential) -> [String: String] {
        var environment = variables
        var values: [String] = []
        defer { learn(values) }
        var credentials = credentials
        if let directory { credentials.merge(try files(in: directory)) { own, _ in own } }
        for (name, path) in credentials.sorted(by: { $0.key < $1.key }) {
            let value = try Self.value(of: name, path, field: "env")
            values.append(value)
            environment[name] = value
        }
        if let token {
            let value = try Self.value(of: "token", token, field: "token")
            values.append(value)
            environment.merge(ForgeToken.variables(value, in: environment)) { $1 }
        }
        return environment
    }

    /// Starts an agent's process in it.
    /// - Parameter own: variables of the driver's own, which go before all others; nil takes one away.
    func start(
        _ arguments: [String], own: [String: String?] = [:], in directory: String, on host: any ProcessHost
    ) async throws(TurnStop) -> any HostedProcess {
        var environment: [String: String]
        do throws(MissingCredential) {
            environment = try read()
            for (name, value) in own { environment[name] = value }
        } catch {
            throw TurnStop(.failed, .agentStart, error.message, clean: true)
        }
        do throws(HostError) {
            return try await host.start(ProcessSpec(arguments: arguments, environment: environment, directory: directory))
        } catch {
            throw .notStarted(error)
        }
    }

    /// The variables that the files of a directory are. What cannot be a variable's name is left alone, and so is what Kubernetes
    /// keeps beside the keys of a Secret (`..data`).
    private func files(in directory: String) throws(MissingCredential) -> [String: String] {
        guard let stream = opendir(directory) else {
            throw MissingCredential(
                message:
                    "the credentials in \(directory) cannot be read: \(String(cString: strerror(errno))). Put a file there for each variable; the next turn reads them again"
            )
        }
        defer { closedir(stream) }
        var files: [String: String] = [:]
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            guard let first = name.utf8.first, !(48...57).contains(first),
                name.utf8.allSatisfy({ $0 == 95 || (48...57).contains($0) || (65...90).contains($0 & ~32) })
            else { continue }
            if AgentCredentials.forgeVariables.contains(name) {
                // With `expose: Token` it comes by itself.
                if token != nil { continue }
                throw MissingCredential(
                    message:
                        "the worker's credentials have \(name): an agent gets the forge's token by credentials.expose: Token only, so that its session shows it. Say that, or take it out"
                )
            }
            files[name] = "\(directory)/\(name)"
        }
        return files
    }

    private static func value(of name: String, _ path: String, field: String) throws(MissingCredential) -> String {
        func failure(_ why: String) -> MissingCredential {
            MissingCredential(
                message:
                    "the credential \(name) cannot be read from \(path): \(why). Put the value there, or name another file in the worker's credentials.\(field); the next turn reads it again"
            )
        }
        var status = stat()
        guard stat(path, &status) == 0 else { throw failure(String(cString: strerror(errno))) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw failure("it is not a regular file") }
        guard status.st_size <= credentialLimit else {
            throw failure("it has \(status.st_size) bytes, and \(credentialLimit) are the most that a variable takes")
        }
        guard let data = try? Data(contentsOf: URL(filePath: path)) else {
            throw failure(access(path, R_OK) == 0 ? "reading it failed" : String(cString: strerror(errno)))
        }
        guard var text = String(validating: data, as: UTF8.self), !text.utf8.contains(0) else {
            throw failure("it does not hold text")
        }
        // As editors and `echo` leave it.
        while text.last?.isNewline == true { text.removeLast() }
        guard !text.isEmpty else { throw failure("it is empty") }
        return text
    }
}
