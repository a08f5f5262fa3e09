import ArgumentParser
import Foundation
import Glibc
import HTTPServing
import Kubernetes
import Logging
import SessionModel

/// `holdfast-supervisor serve`
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run Tasks: as processes of this machine, or with --kubernetes as pods of a cluster.",
        discussion: """
            On one machine there is one process per session, and everything is under one data directory. There is no isolation: \
            agents run as you, with your files and your network.

            When it ends, sessions keep running, and the next supervisor finds them again. With --stop-sessions-on-exit those of \
            this machine are put to sleep first.
            """)

    @Option(help: "HOST:PORT to listen on; port 0 takes a free one. With --kubernetes it may be given several times.")
    var listen = ["127.0.0.1:7433"]
    @Option(help: "Where Tasks, sessions and transcripts are kept. (default: $XDG_DATA_HOME/holdfast or ~/.local/share/holdfast)")
    var dataDir: String?
    @Option(help: "The holdfast-sidecar binary. (default: the one beside this program)") var sidecar: String?
    @Option(help: "A directory of agents: each NAME.json is what ?agent=NAME means.") var agentsDir: String?
    @Option(help: "The agent for Tasks that name none: a name, or a JSON file.") var defaultAgent: String?
    @Option(help: "A file with the secret of GitHub's webhook: turns on /v1/webhooks/github and Spawners. See docs/github.md.")
    var githubWebhookSecret: String?
    @Option(help: "A file with the token by which GitHub is asked who may trigger; with --github-webhook-secret.")
    var githubToken: String?
    @Option(help: "The host of a GitHub Enterprise Server.") var githubHost = "github.com"
    @Option(help: "The address of GitHub's API. (default: the host's own)") var githubApi: String?
    @Flag(help: "Put all sessions to sleep before exiting.") var stopSessionsOnExit = false
    @Flag(help: "Keep Tasks and Sessions in a Kubernetes cluster, and run sessions as its pods.") var kubernetes = false
    @OptionGroup(title: "With --kubernetes") var cluster: ClusterOptions
    @OptionGroup var log: LogOptions

    func run() async throws {
        let addresses = try listen.map(Self.address)
        guard let address = addresses.first, kubernetes || addresses.count == 1 else {
            throw ValidationError("--listen is given once")
        }
        let logger = try log.logger("supervisor")
        let environment = ProcessInfo.processInfo.environment
        do {
            if kubernetes {
                try await supervisor(of: cluster, addresses, environment, logger).run(until: Signals.termination())
            } else {
                try await supervisor(address, environment, logger).run(until: Signals.termination())
            }
        } catch let error as ValidationError {
            throw error
        } catch {
            FileHandle.standardError.write(Data("holdfast-supervisor: \(error)\n".utf8))
            throw ExitCode.failure
        }
    }

    private func supervisor(
        _ address: (host: String, port: Int), _ environment: [String: String], _ logger: Logger
    ) throws -> LocalSupervisor {
        if let option = cluster.firstGiven { throw ValidationError("\(option) is for --kubernetes") }
        var server = LocalSupervisor.Configuration(
            host: address.host, port: address.port,
            dataDirectory: Self.absolute(dataDir ?? Self.defaultDataDirectory(environment)),
            sidecar: try Self.binary("holdfast-sidecar", named: sidecar, option: "--sidecar"),
            demoAgent: try? Self.binary("holdfast-demo-agent", named: nil, option: ""),
            agentsDirectory: agentsDir.map(Self.absolute), defaultAgent: defaultAgent,
            stopSessionsOnExit: stopSessionsOnExit, environment: environment)
        server.github = try github()
        return LocalSupervisor(server, logger: logger)
    }

    private func supervisor(
        of cluster: ClusterOptions, _ addresses: [(host: String, port: Int)], _ environment: [String: String], _ logger: Logger
    ) throws -> KubernetesSupervisor {
        let local = [
            ("--data-dir", dataDir != nil), ("--sidecar", sidecar != nil), ("--stop-sessions-on-exit", stopSessionsOnExit),
        ]
        if let option = local.first(where: \.1)?.0 {
            throw ValidationError("\(option) is for sessions of this machine, not for --kubernetes")
        }
        guard let image = cluster.sidecarImage else { throw ValidationError("--kubernetes needs --sidecar-image") }
        guard let tokenFile = cluster.tokenFile else { throw ValidationError("--kubernetes needs --token-file") }
        guard !cluster.labelledNamespaces || cluster.namespace == nil else {
            throw ValidationError("--labelled-namespaces serves those with the label, and --namespace one: give one of them")
        }
        let lease = cluster.leaseDuration
        guard lease >= .seconds(3), lease.milliseconds % 1000 == 0 else {
            throw ValidationError("--lease-duration \(lease) is not a whole number of seconds, of three at least")
        }
        let pod = environment["POD_NAME"] ?? environment["HOSTNAME"] ?? "supervisor"
        var server = KubernetesSupervisor.Configuration(
            addresses: addresses, tokenFile: Self.absolute(tokenFile), namespace: cluster.namespace,
            servesLabelled: cluster.labelledNamespaces,
            pod: SessionPod.Settings(
                sidecarImage: image, agentImage: cluster.agentImage, pullSecrets: cluster.imagePullSecret,
                gitGateway: try cluster.gateway(), sharesGateway: cluster.labelledNamespaces),
            agentsDirectory: agentsDir.map(Self.absolute), defaultAgent: defaultAgent, lease: cluster.lease,
            identity: "\(pod)_\(Identity.uid().prefix(12))",
            timing: LeaderElector.Timing(
                leaseDuration: lease.duration, renewDeadline: lease.duration * 2 / 3, retryPeriod: lease.duration * 2 / 15),
            readsNodes: !cluster.withoutNodes)
        server.github = try github()
        return KubernetesSupervisor(
            server,
            cluster: try ClusterConfiguration.load(
                kubeconfig: cluster.kubeconfig, context: cluster.context, environment: environment), logger: logger)
    }

    private func github() throws -> GitHubConfiguration? {
        switch (githubWebhookSecret, githubToken) {
        case (nil, nil): return nil
        case (let secret?, let token?):
            for (option, file) in [("--github-webhook-secret", secret), ("--github-token", token)] {
                guard access(Self.absolute(file), R_OK) == 0 else { throw ValidationError("\(option) \(file) cannot be read") }
            }
            return .init(
                secretFile: Self.absolute(secret), tokenFile: Self.absolute(token), host: githubHost, api: githubApi)
        default: throw ValidationError("--github-webhook-secret and --github-token need each other")
        }
    }

    static func address(_ text: String) throws -> (host: String, port: Int) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), colon > text.startIndex
        else {
            throw ValidationError("--listen \(text) is not HOST:PORT")
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return (String(host), Int(port))
    }

    private static func defaultDataDirectory(_ environment: [String: String]) -> String {
        if let data = environment["XDG_DATA_HOME"], data.hasPrefix("/") { return "\(data)/holdfast" }
        return "\(environment["HOME"] ?? "/tmp")/.local/share/holdfast"
    }

    private static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
    }

    /// A program that the user names, or the one beside this program.
    private static func binary(_ name: String, named path: String?, option: String) throws -> String {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        let beside = own.split(separator: "/").dropLast().map { "/\($0)" }.joined() + "/\(name)"
        let chosen = absolute(path ?? beside)
        guard access(chosen, X_OK) == 0 else {
            throw ValidationError("\(chosen) is not a program that can be run; build it, or name it with \(option) PATH")
        }
        return chosen
    }
}

/// Where the cluster is, and what its pods are made of.
struct ClusterOptions: ParsableArguments {
    @Option(help: "A kubeconfig. (default: $KUBECONFIG, ~/.kube/config, or the pod's service account)") var kubeconfig: String?
    @Option(help: "The context of the kubeconfig. (default: its current one)") var context: String?
    @Option(help: "The namespace of the Tasks and Sessions. (default: the context's, or the supervisor's own)") var namespace:
        String?
    @Flag(
        help:
            "Serve, instead of one namespace, all that have the label \(LabelledNamespaces.label)=NAMESPACE, with the supervisor's own."
    )
    var labelledNamespaces = false
    @Option(help: "The image of the sidecar: it holds nothing but its binary.") var sidecarImage: String?
    @Option(help: "The image of agents whose worker names none.") var agentImage: String?
    @Option(help: "A Secret for pulling images, in the sessions' namespace; may be given several times.")
    var imagePullSecret: [String] = []
    @Option(help: "The URL by which session pods reach the git gateway; without it no session has a repository with a token.")
    var gitGateway: String?
    @Option(help: "A file with the bearer token that callers of the API must present.") var tokenFile: String?
    @Option(help: "The Lease by which one of several replicas leads.") var lease = "holdfast-supervisor"
    @Option(help: "How long a leader that has died holds up the others; whole seconds, three at least.")
    var leaseDuration: TimeSpan = .seconds(15)
    @Flag(help: "Do not read Nodes, which takes a ClusterRole: a session on a lost node then waits until its kubelet answers.")
    var withoutNodes = false

    /// The name of an option that was given, if any was.
    var firstGiven: String? {
        let given = [
            ("--kubeconfig", kubeconfig != nil), ("--context", context != nil), ("--namespace", namespace != nil),
            ("--labelled-namespaces", labelledNamespaces),
            ("--sidecar-image", sidecarImage != nil), ("--agent-image", agentImage != nil),
            ("--image-pull-secret", !imagePullSecret.isEmpty), ("--git-gateway", gitGateway != nil),
            ("--token-file", tokenFile != nil),
            ("--lease", lease != "holdfast-supervisor"), ("--lease-duration", leaseDuration != .seconds(15)),
            ("--without-nodes", withoutNodes),
        ]
        return given.first(where: \.1)?.0
    }

    /// The git gateway's URL, without a slash at the end.
    func gateway() throws -> String? {
        guard var url = gitGateway else { return nil }
        while url.last == "/" { url.removeLast() }
        guard let host = URL(string: url)?.host(), !host.isEmpty, url.hasPrefix("https://") || url.hasPrefix("http://"),
            !url.contains(where: { $0.isWhitespace || "\"\\#;?@".contains($0) })
        else { throw ValidationError("--git-gateway \(url) is not the URL of a server") }
        return url
    }
}
