import ArgumentParser
import SessionModel

/// Which server to talk to; the same for every command.
struct ServerOptions: ParsableArguments, Sendable {
    @Option(help: ArgumentHelp("The server's URL (HOLDFAST_SERVER; else from the data directory).", valueName: "url"))
    var server: String?

    @Option(help: ArgumentHelp("A file with the bearer token (HOLDFAST_TOKEN_FILE; else the server's own).", valueName: "file"))
    var tokenFile: String?

    @Option(
        help: ArgumentHelp(
            "The data directory of the server on this machine (HOLDFAST_DATA; else ~/.local/share/holdfast).", valueName: "dir"))
    var dataDir: String?

    @Option(help: ArgumentHelp("Talk to the supervisor of a cluster: a context of the kubeconfig.", valueName: "name"))
    var context: String?

    @Option(help: ArgumentHelp("The kubeconfig of that cluster (KUBECONFIG; else ~/.kube/config).", valueName: "file"))
    var kubeconfig: String?

    @Option(
        name: [.customShort("n"), .long],
        help: ArgumentHelp("The sessions' namespace in that cluster (else the context's).", valueName: "namespace"))
    var namespace: String?

    func validate() throws {
        if server != nil || dataDir != nil, !clusterFlags.isEmpty {
            throw ValidationError("--server and --data-dir name one server, and \(clusterFlags[0]) another: give one.")
        }
    }

    private var clusterFlags: [String] {
        [("--context", context), ("--kubeconfig", kubeconfig), ("--namespace", namespace)].flatMap { flag, value in
            value.map { [flag, $0] } ?? []
        }
    }

    /// How the cluster is reached whose supervisor is meant; nil when another server is.
    /// - Parameter isPlugin: it runs as `kubectl holdfast`.
    func cluster(environment: [String: String], isPlugin: Bool) -> Kubectl? {
        guard !clusterFlags.isEmpty || (isPlugin && server == nil && dataDir == nil) else { return nil }
        return Kubectl(flags: clusterFlags, environment: environment)
    }
}

enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable { case table, json, yaml }

struct OutputOptions: ParsableArguments, Sendable {
    @Option(name: [.short, .long], help: "How lists and objects are printed.")
    var output = OutputFormat.table
}

/// How much of a list is printed.
struct ListOptions: ParsableArguments, Sendable {
    @Option(help: ArgumentHelp("How many of the newest are listed; 0 for all.", valueName: "number"))
    var limit = 100

    func validate() throws {
        if limit < 0 { throw ValidationError("--limit is a number from 1, or 0 for all.") }
    }

    /// Says on stderr that there are more than those that are printed.
    func note<Item>(_ list: API.List<Item>, on console: Console) {
        guard list.continue != nil else { return }
        console.note("only the newest \(list.items.count) are listed, and there are more: --limit 0 lists all")
    }
}

/// How options read the model's types. (The model does not know ArgumentParser, and a conformance here would be everyone's.)
enum Reading {
    static func span(_ text: String) throws -> TimeSpan {
        do {
            return try TimeSpan(parsing: text)
        } catch {
            throw ValidationError("\(error)")
        }
    }

    static func turn(_ text: String) throws -> TurnID {
        guard let turn = TurnID(text) else { throw ValidationError("a turn is named t1, t2, …") }
        return turn
    }

    static func onInterrupt(_ text: String) throws -> OnInterrupt {
        let word = text.lowercased()
        guard let value = OnInterrupt(word.prefix(1).uppercased() + word.dropFirst()) else {
            throw ValidationError(
                "write fail, retry, retry:N, continue or continue:N, with N of 1 to \(OnInterrupt.maxTimes)")
        }
        return value
    }

    /// One of an enumeration's words, in any case.
    static func word<Value: RawRepresentable<String> & CaseIterable>(_ text: String) throws -> Value {
        if let value = Value.allCases.first(where: { $0.rawValue.lowercased() == text.lowercased() }) { return value }
        throw ValidationError("choose one of \(Value.allCases.map { $0.rawValue.lowercased() }.joined(separator: ", "))")
    }
}
