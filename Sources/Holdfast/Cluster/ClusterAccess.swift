import FoundationEssentials
import Glibc
import Processes
import SessionModel

/// The supervisor of a cluster, as a server of this machine: kubectl forwards a port to it. That works wherever kubectl does, through
/// whatever a kubeconfig says and past every NetworkPolicy, and nobody has to expose the supervisor.
///
/// The port is opened for the first request and again when it was lost, and closed with the command.
actor ClusterAccess {
    private var forwarding: Task<Result<Forward, Failure>, Never>?
    private var supervisor: Supervisor?

    /// Whom the sessions of a namespace belong to.
    private struct Supervisor {
        /// In its namespace.
        var kubectl: Kubectl
        /// Of the namespace's API.
        var path: String
        /// Nil when the user has given another.
        var token: String?
    }

    static let service = "holdfast-supervisor"
    static let secret = "holdfast-api"
    /// `holdfast.dev/supervisor`, as a JSONPath has it.
    static let label = #"holdfast\.dev/supervisor"#

    /// - Parameter tokenFile: instead of the cluster's Secret.
    func address(through kubectl: Kubectl, tokenFile: String?) async throws(Failure) -> ServerAddress {
        let supervisor =
            if let known = supervisor { known } else { try await find(kubectl, readsToken: tokenFile == nil) }
        self.supervisor = supervisor
        let forward = try await forward(supervisor.kubectl)
        return ServerAddress(url: "http://127.0.0.1:\(forward.port)\(supervisor.path)", token: supervisor.token)
    }

    /// The supervisor that the namespace's label names, else the one inside the namespace.
    private func find(_ kubectl: Kubectl, readsToken: Bool) async throws(Failure) -> Supervisor {
        async let elsewhere = labelled(kubectl)
        let token: Result<String, Failure>? = readsToken ? await readToken(kubectl) : nil
        if var supervisor = await elsewhere {
            if readsToken { supervisor.token = try await readToken(supervisor.kubectl).get() }
            return supervisor
        }
        return Supervisor(kubectl: kubectl, path: "", token: try token?.get())
    }

    /// Who may not read the namespace is told nothing of a label.
    private func labelled(_ kubectl: Kubectl) async -> Supervisor? {
        let namespace = await kubectl.namespace()
        let label = await kubectl.run(["get", "namespace", namespace, "--output", "jsonpath={.metadata.labels.\(Self.label)}"])
        guard case .success(let own) = label, !own.isEmpty else { return nil }
        return Supervisor(kubectl: kubectl.in(own), path: "/namespaces/\(namespace)")
    }

    func close() async {
        guard case .success(let forward)? = await forwarding?.value else { return }
        forwarding = nil
        forward.end()
    }

    private func forward(_ kubectl: Kubectl) async throws(Failure) -> Forward {
        if let forwarding {
            if case .success(let forward) = await forwarding.value, forward.isOpen { return forward }
            // Whoever finds it lost first opens the next one.
            if self.forwarding == forwarding { self.forwarding = nil }
        }
        let current = forwarding ?? Task { await Forward.open(kubectl, to: "service/\(Self.service)", port: 7433) }
        forwarding = current
        return try await current.value.get()
    }

    private func readToken(_ kubectl: Kubectl) async -> Result<String, Failure> {
        let arguments = ["get", "secret", Self.secret, "--output", "jsonpath={.data.token}"]
        switch await kubectl.run(arguments) {
        case .failure(let failure):
            return .failure(
                Failure(
                    failure.status,
                    "the supervisor's token could not be read: \(failure.message). Name the namespace with --namespace, or a file that has the token with --token-file"
                ))
        case .success(let text):
            let bytes = Data(base64Encoded: text)
            let token = bytes.map { String(decoding: $0, as: UTF8.self) }?.split(whereSeparator: \.isWhitespace).first
            guard let token else {
                return .failure(Failure(.failed, "the Secret \(Self.secret) of that namespace has no key “token”"))
            }
            return .success(String(token))
        }
    }
}

/// A port of this machine that leads into the cluster, for as long as its kubectl runs.
final class Forward: Sendable {
    let port: Int
    private let pid: Int32
    private let lifeline: Kubectl.Lifeline?

    private init(port: Int, _ process: Kubectl.Running) {
        self.port = port
        pid = process.pid
        lifeline = process.lifeline
    }

    /// Its process can still be told to end, because nobody has waited for it yet.
    var isOpen: Bool { Child.poll(pid) == nil && kill(pid, 0) == 0 }

    func end() {
        guard isOpen else { return }
        kill(pid, SIGTERM)
        _ = Child.wait(pid, atMost: .seconds(2))
    }

    private static let patience = Duration.seconds(30)

    static func open(_ kubectl: Kubectl, to target: String, port: Int) async -> Result<Forward, Failure> {
        let arguments = ["port-forward", "--address", "127.0.0.1", target, ":\(port)"]
        do throws(Failure) {
            let process = try kubectl.startBeside(arguments)
            let timeout = Task {
                try await Task.sleep(for: patience)
                kill(process.pid, SIGTERM)
            }
            defer { timeout.cancel() }
            var said = ""
            for await line in process.lines {
                if let port = Self.port(in: line) { return .success(Forward(port: port, process)) }
                said = line
            }
            _ = Child.wait(process.pid, atMost: .seconds(2))
            throw Failure(
                .unreachable,
                "no port could be forwarded to \(target): \(said.isEmpty ? "kubectl has ended without a word" : said)")
        } catch {
            return .failure(error)
        }
    }

    /// `Forwarding from 127.0.0.1:40123 -> 7433`
    private static func port(in line: String) -> Int? {
        let prefix = "Forwarding from 127.0.0.1:"
        guard line.hasPrefix(prefix) else { return nil }
        return Int(line.dropFirst(prefix.count).prefix { $0.isNumber })
    }
}
