import FoundationEssentials
import SessionModel
import Yams

/// One or more kubeconfig files, merged as kubectl does it: of two things with one name the first counts, whole.
///
/// Relative paths in a file are relative to the file.
public struct Kubeconfig: Sendable {
    var currentContext: String?
    var clusters: [String: Cluster] = [:]
    var users: [String: User] = [:]
    var contexts: [String: Context] = [:]
    /// The files that it is made of.
    var files: [String]

    /// The names of all contexts, sorted.
    public var contextNames: [String] { contexts.keys.sorted() }

    /// The files to read, of which only those in KUBECONFIG may be missing; nil when there is none at all.
    static func paths(named path: String?, environment: [String: String]) -> [String]? {
        if let path { return [path] }
        let listed = (environment["KUBECONFIG"] ?? "").split(separator: ":").map(String.init)
        if !listed.isEmpty { return listed }
        guard let home = environment["HOME"], FileManager.default.fileExists(atPath: "\(home)/.kube/config") else { return nil }
        return ["\(home)/.kube/config"]
    }

    /// - Parameter paths: with more than one, those that do not exist are passed over, as kubectl does.
    public static func load(_ paths: [String]) throws(KubernetesError) -> Kubeconfig {
        let present = paths.count == 1 ? paths : paths.filter { FileManager.default.fileExists(atPath: $0) }
        guard !present.isEmpty else {
            throw KubernetesError(.configuration, "none of the files in KUBECONFIG exists: \(paths.joined(separator: ", "))")
        }
        var merged = Kubeconfig(files: present)
        for path in present {
            let data: Data
            do { data = try Data(contentsOf: URL(filePath: path)) } catch {
                throw KubernetesError(.configuration, "the kubeconfig \(path) cannot be read: \(reason(of: error))")
            }
            merged.add(try Document(data, path: path), directory: directory(of: path))
        }
        return merged
    }

    private mutating func add(_ document: Document, directory: String) {
        if currentContext?.isEmpty != false { currentContext = document.currentContext }
        for entry in document.clusters ?? [] where clusters[entry.name] == nil {
            clusters[entry.name] = entry.cluster.map { $0.relative(to: directory) } ?? Cluster()
        }
        for entry in document.users ?? [] where users[entry.name] == nil {
            users[entry.name] = entry.user.map { $0.relative(to: directory) } ?? User()
        }
        for entry in document.contexts ?? [] where contexts[entry.name] == nil { contexts[entry.name] = entry.context }
    }

    private static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

/// What went wrong with a file, without Foundation's wrapping.
func reason(of error: any Error) -> String {
    guard let error = error as? CocoaError else { return "\(error)" }
    return switch error.code {
    case .fileReadNoSuchFile, .fileNoSuchFile: "there is no such file"
    case .fileReadNoPermission: "permission denied"
    default: "\(error)"
    }
}

// MARK: - What is in a file

extension Kubeconfig {
    struct Document: Decodable {
        struct NamedCluster: Decodable { var name: String; var cluster: Cluster? }
        struct NamedUser: Decodable { var name: String; var user: User? }
        struct NamedContext: Decodable { var name: String; var context: Context }
        var currentContext: String?
        var clusters: [NamedCluster]?
        var users: [NamedUser]?
        var contexts: [NamedContext]?

        enum CodingKeys: String, CodingKey {
            case clusters, users, contexts
            case currentContext = "current-context"
        }

        init(_ data: Data, path: String) throws(KubernetesError) {
            do {
                self = try YAMLDecoder().decode(Document.self, from: String(decoding: data, as: UTF8.self))
            } catch let error as DecodingError {
                throw KubernetesError(.configuration, "the kubeconfig \(path) is not one: \(error.yamlClause)")
            } catch {
                throw KubernetesError(.configuration, "the kubeconfig \(path) is not YAML: \(error)")
            }
        }
    }

    struct Cluster: Sendable, Decodable {
        var server: String?
        var authority: String?
        var authorityData: String?
        var skipsVerification: Bool?
        var serverName: String?
        var proxy: String?

        enum CodingKeys: String, CodingKey {
            case server
            case authority = "certificate-authority"
            case authorityData = "certificate-authority-data"
            case skipsVerification = "insecure-skip-tls-verify"
            case serverName = "tls-server-name"
            case proxy = "proxy-url"
        }

        func relative(to directory: String) -> Cluster {
            var copy = self
            copy.authority = authority.map { absolute($0, in: directory) }
            return copy
        }
    }

    struct Context: Sendable, Decodable {
        var cluster: String
        var user: String?
        var namespace: String?
    }

    struct User: Sendable, Decodable {
        var certificate: String?
        var certificateData: String?
        var key: String?
        var keyData: String?
        var token: String?
        var tokenFile: String?
        var username: String?
        var password: String?
        var asUser: String?
        var asUID: String?
        var asGroups: [String]?
        var asExtra: [String: [String]]?
        var exec: CredentialPlugin.Description?
        var provider: Provider?

        struct Provider: Sendable, Decodable { var name: String? }

        enum CodingKeys: String, CodingKey {
            case token, tokenFile, username, password, exec
            case certificate = "client-certificate"
            case certificateData = "client-certificate-data"
            case key = "client-key"
            case keyData = "client-key-data"
            case asUser = "as"
            case asUID = "as-uid"
            case asGroups = "as-groups"
            case asExtra = "as-user-extra"
            case provider = "auth-provider"
        }

        func relative(to directory: String) -> User {
            var copy = self
            copy.certificate = certificate.map { absolute($0, in: directory) }
            copy.key = key.map { absolute($0, in: directory) }
            copy.tokenFile = tokenFile.map { absolute($0, in: directory) }
            if let command = exec?.command, command.contains("/") { copy.exec?.command = absolute(command, in: directory) }
            return copy
        }
    }
}

private func absolute(_ path: String, in directory: String) -> String {
    path.isEmpty || path.hasPrefix("/") ? path : "\(directory)/\(path)"
}

extension DecodingError {
    /// The field and what is wrong with it: the error of Yams has the line.
    fileprivate var yamlClause: String {
        if case .dataCorrupted(let context) = self, let underlying = context.underlyingError { return "\(underlying)" }
        return clause
    }
}
