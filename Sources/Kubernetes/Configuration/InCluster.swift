import Curl
public import FoundationEssentials

/// The configuration of a program in a pod: the API server from the environment, and the service account that is mounted.
public enum InCluster {
    public static let directory = "/var/run/secrets/kubernetes.io/serviceaccount"

    static func isLikely(environment: [String: String]) -> Bool { environment["KUBERNETES_SERVICE_HOST"]?.isEmpty == false }

    /// The token and the authority are read whenever they are needed, so that both may be replaced.
    public static func configuration(
        environment: [String: String] = ProcessInfo.processInfo.environment, directory: String = InCluster.directory
    ) throws(KubernetesError) -> ClusterConfiguration {
        guard let host = environment["KUBERNETES_SERVICE_HOST"], !host.isEmpty,
            let port = environment["KUBERNETES_SERVICE_PORT"], !port.isEmpty
        else {
            throw KubernetesError(
                .configuration, "this is not a pod of a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
        }
        for file in ["token", "ca.crt"] where (try? Data(contentsOf: URL(filePath: "\(directory)/\(file)"))) == nil {
            throw KubernetesError(
                .configuration,
                "\(directory)/\(file) cannot be read: give the pod a service account (automountServiceAccountToken: true)")
        }
        var configuration = ClusterConfiguration(
            server: "https://\(host.contains(":") ? "[\(host)]" : host):\(port)", origin: "the pod's service account")
        configuration.authorities = .file("\(directory)/ca.crt")
        configuration.identity = .tokenFile("\(directory)/token", initial: nil)
        if let namespace = try? Data(contentsOf: URL(filePath: "\(directory)/namespace")) {
            let text = String(decoding: namespace, as: UTF8.self).filter { !$0.isWhitespace }
            if !text.isEmpty { configuration.namespace = text }
        }
        return configuration
    }
}
