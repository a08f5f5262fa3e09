public import Curl
public import FoundationEssentials

/// Where an API server is, whom to trust there, and as whom to talk to it.
///
/// ```swift
/// let cluster = try ClusterConfiguration.load()                       // KUBECONFIG, ~/.kube/config or in-cluster
/// let other = try ClusterConfiguration.load(context: "staging")
/// ```
public struct ClusterConfiguration: Sendable {
    /// `https://host:port`, possibly with a path, without a slash at the end.
    public var server: String
    /// The authorities to trust; nil for the system's.
    public var authorities: CurlTLS.Source?
    /// False only where a kubeconfig says `insecure-skip-tls-verify: true`.
    public var verifiesServer = true
    /// The name in the server's certificate, when it is not the one in the URL.
    public var serverName: String?
    /// `http://…`, `https://…` or `socks5://…`; nil for what the environment says.
    public var proxy: String?
    /// What is meant when no namespace is named.
    public var namespace = "default"
    public var identity = Identity.anonymous
    public var impersonation = Impersonation()
    /// Where all this is from, for messages: `/home/me/.kube/config, context staging`.
    public var origin: String

    /// As whom to talk.
    public enum Identity: Sendable, Hashable {
        case anonymous
        case token(String)
        /// Read again for every request: the kubelet replaces it as it pleases. `initial` is used while the file cannot be read.
        case tokenFile(String, initial: String?)
        case basic(user: String, password: String)
        /// A client certificate and its key. A file is read at every connection.
        case certificate(CurlTLS.Source, key: CurlTLS.Source)
        case plugin(CredentialPlugin)
    }

    /// On whose behalf to act, if that is someone else.
    public struct Impersonation: Sendable, Hashable {
        public var user: String?
        public var uid: String?
        public var groups: [String] = []
        public var extra: [String: [String]] = [:]
    }

    public init(server: String, origin: String = "the program") {
        self.server = server
        self.origin = origin
    }
}

extension ClusterConfiguration {
    /// The kubeconfig that is named; or KUBECONFIG's; or `~/.kube/config`; or, in a pod, the pod's service account.
    public static func load(
        kubeconfig: String? = nil, context: String? = nil, environment: [String: String] = ProcessInfo.processInfo.environment,
        serviceAccount: String = InCluster.directory
    ) throws(KubernetesError) -> ClusterConfiguration {
        if let paths = Kubeconfig.paths(named: kubeconfig, environment: environment) {
            return try Kubeconfig.load(paths).resolve(context: context, environment: environment)
        }
        if let context {
            throw KubernetesError(
                .configuration, "there is no kubeconfig to look for the context “\(context)” in: name one in KUBECONFIG")
        }
        guard InCluster.isLikely(environment: environment) else {
            throw KubernetesError(
                .configuration,
                "no cluster is configured: name a kubeconfig with --kubeconfig or KUBECONFIG, put one at ~/.kube/config, or run in a pod with a service account"
            )
        }
        return try InCluster.configuration(environment: environment, directory: serviceAccount)
    }
}
