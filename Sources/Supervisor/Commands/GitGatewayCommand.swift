import ArgumentParser
import Foundation
import GitGateway
import HTTPServing
import Kubernetes
import Logging
import SessionModel

/// `holdfast-supervisor git-gateway`
struct GitGatewayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "git-gateway",
        abstract: "Stand between sessions and the forge: the only process that holds the forge's token.",
        discussion: """
            A session's git reaches its own repository through it and pushes only the refs that its grant allows. With --grants-dir \
            each grant is a file NAME.json, read at every request. With --kubernetes grants follow from the Sessions of a namespace \
            and the Secrets that they name. In local mode the supervisor has a gateway inside. See docs/operations.md.
            """)

    @Option(help: "HOST:PORT to listen on; port 0 takes a free one.") var listen = "127.0.0.1:7434"
    @Option(help: "How long a session may stall in a request.") var clientTimeout: TimeSpan = .minutes(10)
    @Option(help: "A PEM file with the certificate that it shows; with --tls-key.") var tlsCertificate: String?
    @Option(help: "A PEM file with the certificate's private key.") var tlsKey: String?
    @Option(help: "The directory of grants.") var grantsDir: String?
    @Flag(help: "Serve the sessions of a Kubernetes cluster.") var kubernetes = false
    @Option(help: "A kubeconfig. (default: $KUBECONFIG, ~/.kube/config, or the pod's service account)") var kubeconfig: String?
    @Option(help: "The context of the kubeconfig. (default: its current one)") var context: String?
    @Option(help: "The namespace of the Sessions. (default: the context's, or the gateway's own)") var namespace: String?
    @Flag(help: "Serve the sessions of all namespaces in which it has the right to, for a supervisor of labelled namespaces.")
    var labelledNamespaces = false
    @Option(help: "The supervisor's URL: it is told of every fetch and push; with --supervisor-token-file.") var supervisor:
        String?
    @Option(help: "A file with the token that the supervisor knows the gateway by.") var supervisorTokenFile: String?
    @OptionGroup var log: LogOptions

    func validate() throws {
        guard (grantsDir != nil) != kubernetes else {
            throw ValidationError("name where the grants are: --grants-dir DIR, or --kubernetes")
        }
        if let option = [("--kubeconfig", kubeconfig), ("--context", context), ("--namespace", namespace)].first(where: {
            $1 != nil
        }),
            !kubernetes
        {
            throw ValidationError("\(option.0) is for --kubernetes")
        }
        guard !labelledNamespaces || (kubernetes && namespace == nil) else {
            throw ValidationError("--labelled-namespaces is for --kubernetes, and takes no --namespace")
        }
        guard (tlsCertificate == nil) == (tlsKey == nil) else {
            throw ValidationError("--tls-certificate and --tls-key need each other")
        }
        guard (supervisor == nil) == (supervisorTokenFile == nil) else {
            throw ValidationError("--supervisor and --supervisor-token-file need each other")
        }
    }

    func run() async throws {
        let address = try ServeCommand.address(listen)
        let logger = try log.logger("git-gateway")
        do {
            try await serve(address, logger)
        } catch let error as ValidationError {
            throw error
        } catch is CancellationError {
        } catch {
            let sentence = (error as? Problem)?.detail ?? "\(error)"
            FileHandle.standardError.write(Data("holdfast-supervisor: \(sentence)\n".utf8))
            throw ExitCode.failure
        }
    }

    private func serve(_ address: (host: String, port: Int), _ logger: Logger) async throws {
        let gateway = try gateway(logger)
        let identity = try tlsCertificate.flatMap { certificate throws(Problem) in
            try tlsKey.map { key throws(Problem) in try TLSIdentity(certificate: certificate, key: key) }
        }
        let service = HTTPService(
            .tcp(host: address.host, port: address.port), tls: identity, routes: gateway.routes, clientTimeout: clientTimeout,
            logger: logger)
        let server = Task {
            try await service.run { port in
                logger.notice("serving", metadata: ["address": "\(address.host):\(port ?? address.port)"])
            }
        }
        let stop = Task {
            for await _ in Signals.termination() { server.cancel() }
        }
        defer { stop.cancel() }
        try await server.value
    }

    private func gateway(_ logger: Logger) throws -> GitGateway {
        let reporter = supervisor.flatMap { url in
            supervisorTokenFile.map {
                GatewayReporter(
                    supervisor: url.trimmingSlashes, tokenFile: $0, spansNamespaces: labelledNamespaces, logger: logger)
            }
        }
        let announce: GitGateway.Announcer = { try await reporter?.announce($0, $1) }
        let report: GitGateway.Reporter = { await reporter?.report($0, $1) }
        guard kubernetes else {
            let grants = GrantDirectory(path: grantsDir ?? "")
            return GitGateway(
                logger: logger, grants: { name in try await offLoop { try grants.grant(name) } }, announce: announce,
                report: report)
        }
        let cluster = try ClusterConfiguration.load(
            kubeconfig: kubeconfig, context: context, environment: ProcessInfo.processInfo.environment)
        var options = KubernetesClient.Options()
        options.userAgent = "holdfast-git-gateway/\(SupervisorVersion.current)"
        let grants = ClusterGrants(
            client: KubernetesClient(cluster, options: options),
            namespace: labelledNamespaces ? nil : namespace ?? cluster.namespace)
        return GitGateway(
            logger: logger, grants: { try await grants.grant($0) },
            token: { try await grants.token(of: $0) }, announce: announce, report: report)
    }
}

extension String {
    fileprivate var trimmingSlashes: String {
        var text = Substring(self)
        while text.last == "/" { text.removeLast() }
        return String(text)
    }
}
