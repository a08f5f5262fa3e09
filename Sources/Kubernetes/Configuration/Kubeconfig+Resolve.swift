import Curl
public import FoundationEssentials

extension Kubeconfig {
    /// What a context means.
    /// - Parameter context: nil for the current one.
    public func resolve(
        context name: String? = nil, environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(KubernetesError) -> ClusterConfiguration {
        let files = files.joined(separator: ", ")
        guard let name = name ?? currentContext, !name.isEmpty else {
            throw KubernetesError(
                .configuration, "\(files) has no current-context: choose one of \(list(contextNames)) with --context")
        }
        guard let context = contexts[name] else {
            throw KubernetesError(.configuration, "\(files) has no context “\(name)”; it has \(list(contextNames))")
        }
        guard let cluster = clusters[context.cluster] else {
            throw KubernetesError(
                .configuration, "the context “\(name)” of \(files) names the cluster “\(context.cluster)”, which is not there")
        }
        guard let server = cluster.server, server.hasPrefix("https://") || server.hasPrefix("http://") else {
            throw KubernetesError(
                .configuration,
                "the cluster “\(context.cluster)” of \(files) has no server that begins with https:// (\(cluster.server ?? "none"))"
            )
        }
        var result = ClusterConfiguration(
            server: server.hasSuffix("/") ? String(server.dropLast()) : server, origin: "\(files), context \(name)")
        result.authorities = try source(
            cluster.authorityData, cluster.authority, "certificate-authority", of: "the cluster “\(context.cluster)” of \(files)")
        result.verifiesServer = cluster.skipsVerification != true
        result.serverName = cluster.serverName.flatMap { $0.isEmpty ? nil : $0 }
        result.proxy = cluster.proxy.flatMap { $0.isEmpty ? nil : $0 }
        if !result.verifiesServer, result.authorities != nil {
            throw KubernetesError(
                .configuration,
                "the cluster “\(context.cluster)” of \(files) has a certificate-authority and insecure-skip-tls-verify: remove one"
            )
        }
        if let namespace = context.namespace, !namespace.isEmpty { result.namespace = namespace }
        guard let user = context.user, !user.isEmpty else { return result }
        guard let entry = users[user] else {
            throw KubernetesError(
                .configuration, "the context “\(name)” of \(files) names the user “\(user)”, which is not there")
        }
        let who = "the user “\(user)” of \(files)"
        result.identity = try identity(entry, who: who, cluster: result, environment: environment)
        result.impersonation = .init(
            user: entry.asUser, uid: entry.asUID, groups: entry.asGroups ?? [], extra: entry.asExtra ?? [:])
        return result
    }

    /// The order is kubectl's: what is written down comes before a plugin is asked; a token file before a token.
    private func identity(
        _ user: User, who: String, cluster: ClusterConfiguration, environment: [String: String]
    ) throws(KubernetesError) -> ClusterConfiguration.Identity {
        let certificate = try source(user.certificateData, user.certificate, "client-certificate", of: who)
        let key = try source(user.keyData, user.key, "client-key", of: who)
        if let certificate {
            guard let key else { throw KubernetesError(.configuration, "\(who) has a client-certificate but no client-key") }
            return .certificate(certificate, key: key)
        }
        if let file = user.tokenFile, !file.isEmpty { return .tokenFile(file, initial: user.token) }
        if let token = user.token, !token.isEmpty { return .token(token) }
        if let name = user.username, !name.isEmpty { return .basic(user: name, password: user.password ?? "") }
        if let exec = user.exec {
            return .plugin(try CredentialPlugin(exec, who: who, cluster: cluster, environment: environment))
        }
        if let provider = user.provider {
            throw KubernetesError(
                .configuration,
                "\(who) uses the auth-provider “\(provider.name ?? "?")”, which Kubernetes has removed: use its exec plugin")
        }
        return .anonymous
    }

    /// What is written in the file comes before the file that it names.
    private func source(
        _ data: String?, _ path: String?, _ field: String, of whose: String
    ) throws(KubernetesError) -> CurlTLS.Source? {
        if let data, !data.isEmpty {
            guard let bytes = Data(base64Encoded: data.filter { !$0.isWhitespace }) else {
                throw KubernetesError(.configuration, "\(whose): \(field)-data is not base64")
            }
            guard String(decoding: bytes, as: UTF8.self).contains("-----BEGIN ") else {
                throw KubernetesError(.configuration, "\(whose): \(field)-data is not PEM text")
            }
            return .pem(Array(bytes))
        }
        guard let path, !path.isEmpty else { return nil }
        do { _ = try Data(contentsOf: URL(filePath: path)) } catch {
            throw KubernetesError(.configuration, "\(whose): \(field) \(path) cannot be read: \(reason(of: error))")
        }
        return .file(path)
    }

    private func list(_ names: [String]) -> String { names.isEmpty ? "none" : names.joined(separator: ", ") }
}
