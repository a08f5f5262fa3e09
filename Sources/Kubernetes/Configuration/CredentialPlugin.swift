import Curl
import FoundationEssentials
import SessionModel

/// A program that a kubeconfig's user names and that prints credentials (`client.authentication.k8s.io`).
///
/// It is run without a terminal and without input.
public struct CredentialPlugin: Sendable, Hashable {
    /// As a kubeconfig writes it.
    struct Description: Sendable, Hashable, Decodable {
        struct Variable: Sendable, Hashable, Decodable {
            var name: String
            var value: String
        }
        var apiVersion: String?
        var command: String?
        var args: [String]?
        var env: [Variable]?
        var installHint: String?
        var provideClusterInfo: Bool?
        var interactiveMode: String?
    }

    static let versions = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]

    let apiVersion: String
    let command: [String]
    let environment: [String: String]
    let installHint: String?
    /// Whose plugin it is, for messages.
    let who: String

    init(
        _ description: Description, who: String, cluster: ClusterConfiguration, environment: [String: String]
    ) throws(KubernetesError) {
        func refuse(_ why: String) -> KubernetesError { KubernetesError(.configuration, "\(who): its exec plugin \(why)") }
        guard let command = description.command, !command.isEmpty else { throw refuse("has no command") }
        guard let version = description.apiVersion, Self.versions.contains(version) else {
            throw refuse(
                "has the apiVersion \(description.apiVersion ?? "(none)"), but only \(Self.versions.joined(separator: " and ")) are known"
            )
        }
        if description.interactiveMode == "Always" {
            throw refuse("“\(command)” has interactiveMode: Always, but it gets no terminal here; log in with kubectl first")
        }
        self.who = who
        apiVersion = version
        self.command = [command] + (description.args ?? [])
        installHint = description.installHint.flatMap { $0.isEmpty ? nil : $0 }
        var variables = environment
        for variable in description.env ?? [] { variables[variable.name] = variable.value }
        var spec: [String: JSONValue] = ["interactive": false]
        if description.provideClusterInfo == true { spec["cluster"] = try Self.describe(cluster) }
        let info: JSONValue = ["apiVersion": .string(version), "kind": "ExecCredential", "spec": .object(spec)]
        variables["KUBERNETES_EXEC_INFO"] = (try? JSON.string(info)) ?? ""
        self.environment = variables
    }

    private static func describe(_ cluster: ClusterConfiguration) throws(KubernetesError) -> JSONValue {
        var fields: [String: JSONValue] = ["server": .string(cluster.server)]
        if let name = cluster.serverName { fields["tls-server-name"] = .string(name) }
        if let proxy = cluster.proxy { fields["proxy-url"] = .string(proxy) }
        if !cluster.verifiesServer { fields["insecure-skip-tls-verify"] = true }
        switch cluster.authorities {
        case nil: break
        case .pem(let bytes): fields["certificate-authority-data"] = .string(Data(bytes).base64EncodedString())
        case .file(let path):
            guard let bytes = try? Data(contentsOf: URL(filePath: path)) else {
                throw KubernetesError(.configuration, "\(path) cannot be read")
            }
            fields["certificate-authority-data"] = .string(bytes.base64EncodedString())
        }
        return .object(fields)
    }

    // MARK: What it prints

    struct Credential: Sendable, Hashable {
        var token: String?
        var certificate: CurlTLS.Source?
        var key: CurlTLS.Source?
        var expires: Timestamp?
    }

    private struct Output: Decodable {
        struct Status: Decodable {
            var expirationTimestamp: Timestamp?
            var token: String?
            var clientCertificateData: String?
            var clientKeyData: String?
        }
        var apiVersion: String?
        var kind: String?
        var status: Status?
    }

    func parse(_ output: [UInt8]) throws(KubernetesError) -> Credential {
        func refuse(_ why: String) -> KubernetesError {
            KubernetesError(.configuration, "\(who): its exec plugin “\(command[0])” \(why)")
        }
        let parsed: Output
        do { parsed = try JSON.decode(Output.self, from: Data(output)) } catch {
            throw refuse("printed something that is not an ExecCredential: \((error as? DecodingError)?.clause ?? "\(error)")")
        }
        guard parsed.kind == "ExecCredential", parsed.apiVersion == apiVersion else {
            throw refuse(
                "printed a \(parsed.kind ?? "document") of \(parsed.apiVersion ?? "no version"), not an ExecCredential of \(apiVersion)"
            )
        }
        guard let status = parsed.status else { throw refuse("printed no status") }
        let certificate = status.clientCertificateData.flatMap { $0.isEmpty ? nil : $0 }
        let key = status.clientKeyData.flatMap { $0.isEmpty ? nil : $0 }
        guard (certificate == nil) == (key == nil) else {
            throw refuse("printed a certificate without its key, or a key without one")
        }
        let token = status.token.flatMap { $0.isEmpty ? nil : $0 }
        guard token != nil || certificate != nil else { throw refuse("printed neither a token nor a certificate") }
        return Credential(
            token: token, certificate: certificate.map { .pem(Array($0.utf8)) }, key: key.map { .pem(Array($0.utf8)) },
            expires: status.expirationTimestamp)
    }
}
