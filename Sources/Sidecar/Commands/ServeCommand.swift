import AgentHost
import ArgumentParser
import CLinux
import FoundationEssentials
import Glibc
import HTTPServing
import Journal
import Logging
import Processes
import SessionModel
import UnixSignals

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Serve a session: accept turns, run the agent, keep the transcript.",
        discussion: """
            --state-dir and --socket suffice. Without --agent turns are accepted and wait; without --workspace the agent works in an \
            empty directory. SIGTERM stops accepting, lets the running turn end within --grace, and exits with 0.
            """)

    @Option(help: "The session's directory: journal, blobs, the agent's own state.")
    var stateDir: String
    @Option(help: "The Unix socket to listen on; open to this user only.")
    var socket: String
    @Option(help: "Also listen on HOST:PORT; needs --token-file.")
    var listen: String?
    @Option(help: "A file with the bearer token that callers over TCP must present.")
    var tokenFile: String?
    @Option(help: "A PEM file with the certificate that --listen shows; needs --tls-key. Without one it speaks plain HTTP.")
    var tlsCertificate: String?
    @Option(help: "A PEM file with the certificate's private key.")
    var tlsKey: String?
    @Option(help: "Which incarnation of the session this is. Default: the one after the last.")
    var epoch: UInt32?
    @Option(help: "The session's key, such as pr:github.com/acme/widgets#12.")
    var session: String?
    @Option(help: "A JSON file that describes the agent.")
    var agent: String?
    @Option(help: "A JSON file that describes the working directory.")
    var workspace: String?
    @Option(help: "Where the working directory is. Default: workspace in the state directory.")
    var workspaceDir: String?
    @Option(help: "A short directory for the agent host's socket. Default: beside the socket.")
    var runtimeDir: String?
    @Option(
        help: """
            Wait for an agent host of this user id, which another container starts with the same --runtime-dir. Default: start one.
            """)
    var hostUser: UInt32?
    @Option(help: "How long one turn may take.") var turnTimeout: TimeSpan = TurnLimits().turnTimeout
    @Option(help: "How long a question to a person stays open.") var inputTimeout: TimeSpan = TurnLimits().inputTimeout
    @Option(help: "How long a cancelled turn may take to stop by itself.") var cancelGrace: TimeSpan = TurnLimits().cancelGrace
    @Option(help: "How long an idle agent process is kept.") var agentIdle: TimeSpan = TurnLimits().agentIdle
    @Option(help: "How long an idempotency key is remembered.") var dedupeWindow: TimeSpan = TurnLimits().dedupeWindow
    @Option(help: "How many turns may wait.") var maxQueuedTurns: Int = TurnLimits().maxQueuedTurns
    @Option(help: "How many turns are accepted in the session's whole life.") var maxTurns: Int?
    @Option(help: "After so many tokens no further turn begins.") var maxTokens: Int64?
    @Flag(help: "Processes that the agent left running count as work.") var countBackground = false
    @Option(help: "For a session of one Task: how long it keeps its result for whoever asks, before it ends by itself.")
    var resultHold: TimeSpan?
    @Option(help: "How long a running turn may go on after SIGTERM.") var grace: TimeSpan = .seconds(25)
    @Option(help: "How long a client may take to send a request, or to take a part of an answer, before it is disconnected.")
    var clientTimeout: TimeSpan = .seconds(30)
    @Flag(help: "Record every frame of the agent's protocol in the transcript, for debugging.") var raw = false
    @Option(help: "trace, debug, info, notice, warning, error or critical.") var logLevel: Logger.Level = .info

    func run() async throws {
        do { try await serve() } catch { Exit.fail(error) }
    }

    private func serve() async throws {
        SidecarCommand.useOneEventLoop()
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: "holdfast-sidecar")
        logger.logLevel = logLevel
        let options = try options()
        let token = try tokenFile.map { file throws(Problem) in try BearerToken(file: file) }
        let address = try listen.map(Self.address)
        if address != nil, token == nil {
            throw Problem(.invalidRequest, "--listen needs --token-file: nobody may call over TCP without a token.")
        }
        let identity = try identity()

        // Made while the journal is opened, which waits for the disk.
        async let trapped = UnixSignalsSequence(trapping: [.sigterm, .sigint])
        let pending = TroubleBox()
        let session = try Session(options, logger: logger) { trouble in
            if case .broken(let reason) = trouble {
                // Nothing may be acknowledged any more, by any thread: what counts is what the disk has.
                let text = "holdfast-sidecar: \(reason)\n"
                text.withCString { _ = write(STDERR_FILENO, $0, strlen($0)) }
                _exit(Exit.storage)
            }
            pending.pass(trouble)
        }
        pending.connect { trouble in await session.storage(trouble) }

        let api = SidecarAPI(session: session)
        let routes = api.routes
        logger.notice(
            "session opened",
            metadata: ["epoch": "\(session.journal.epoch)", "cursor": "\(session.journal.cursor)", "state": "\(options.state)"])
        // The socket is made with no access for others, before it can be connected to.
        let mask = umask(0o177)
        let listening = logger
        let signals = await trapped
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await HTTPService(.unix(path: socket), routes: routes, clientTimeout: clientTimeout, logger: listening).run {
                    _ in
                    umask(mask)
                    listening.notice("listening", metadata: ["socket": "\(socket)"])
                    await session.start()
                    // When what is behind this has settled, too. It makes the process smaller, and nothing waits for it.
                    _ = Alarm(in: .milliseconds(200)) { clinux_give_back_memory() }
                }
            }
            if let address, let token {
                group.addTask {
                    try await HTTPService(
                        address, access: .token(token), tls: identity, routes: routes,
                        clientTimeout: clientTimeout, logger: listening
                    ).run { port in
                        listening.notice("listening", metadata: ["address": "\(listen ?? "")", "port": "\(port ?? 0)"])
                    }
                }
            }
            @Sendable func end() async -> Never {
                await session.stop()
                unlink(socket)
                Glibc.exit(0)
            }
            group.addTask {
                for await signal in signals {
                    listening.notice("ending", metadata: ["signal": "\(signal)", "grace": "\(grace)"])
                    await session.drainForShutdown(grace: grace)
                    await end()
                }
            }
            if resultHold != nil {
                group.addTask {
                    await session.waitUntilItEndsByItself()
                    listening.notice("ending: nobody has asked for the result")
                    await end()
                }
            }
            try await group.next()
            group.cancelAll()
        }
    }

    private func identity() throws -> TLSIdentity? {
        switch (tlsCertificate, tlsKey) {
        case (nil, nil): return nil
        case (let certificate?, let key?):
            guard listen != nil else { throw Problem(.invalidRequest, "--tls-certificate is for --listen, which is missing.") }
            return try TLSIdentity(certificate: certificate, key: key)
        default: throw Problem(.invalidRequest, "--tls-certificate and --tls-key belong together: give both or neither.")
        }
    }

    private func options() throws -> SessionOptions {
        let state = Self.absolute(stateDir)
        let agent = try self.agent.map { try Self.document(AgentDescription.self, $0, "agent") }
        let workspace = try self.workspace.map { try Self.document(WorkspaceDescription.self, $0, "workspace") }
        if let mistake = agent?.mistake ?? workspace?.mistake { throw Problem(.invalidRequest, mistake) }
        if let field = agent?.podField {
            throw Problem(
                .invalidRequest, "agent.\(field) is what the supervisor makes a pod of; the sidecar can do nothing with it.")
        }
        guard clientTimeout > .zero else { throw Problem(.invalidRequest, "--client-timeout must be more than zero.") }
        var limits = TurnLimits()
        limits.turnTimeout = turnTimeout
        limits.inputTimeout = inputTimeout
        limits.cancelGrace = cancelGrace
        limits.agentIdle = agentIdle
        limits.dedupeWindow = dedupeWindow
        limits.maxQueuedTurns = maxQueuedTurns
        limits.maxTurns = maxTurns
        limits.maxTokens = maxTokens
        limits.countBackground = countBackground
        limits.resultHold = resultHold
        if let mistake = limits.mistake { throw Problem(.invalidRequest, mistake + ".") }
        let socketPath = Self.absolute(socket)
        let runtime = runtimeDir.map(Self.absolute) ?? socketPath + ".d"
        // Linux takes 107 bytes for a socket's path; the agent host's socket and secret are files in the runtime directory.
        for (option, path, limit) in [("--socket", socketPath, 107), ("--runtime-dir", runtime, 90)] where path.utf8.count > limit
        {
            throw Problem(.invalidRequest, "\(option) \(path) has \(path.utf8.count) bytes, and at most \(limit) can be used.")
        }
        var options = SessionOptions(
            state: state, key: try session.map { text throws(InvalidSessionKey) in try SessionKey(parsing: text) }, epoch: epoch,
            agent: agent, workspace: workspace ?? WorkspaceDescription(),
            directory: workspaceDir.map(Self.absolute) ?? state + "/workspace",
            runtime: runtime, limits: limits,
            hostPlacement: hostUser.map { .container(user: $0) } ?? .child(program: [Self.executable, "host"]))
        options.grace = grace
        options.raw = raw
        return options
    }

    private static func document<Value: Decodable>(_ type: Value.Type, _ path: String, _ what: String) throws(Problem) -> Value {
        guard let data = try? Data(contentsOf: URL(filePath: path)) else {
            let reason = access(path, R_OK) == 0 ? "it is not a regular file" : String(cString: strerror(errno))
            throw Problem(.invalidRequest, "The \(what) description \(path) cannot be read: \(reason).")
        }
        do {
            return try JSON.decode(type, from: data)
        } catch let error as DecodingError {
            throw Problem(.invalidRequest, "The \(what) description \(path) is not valid: \(error.clause).")
        } catch {
            throw Problem(.invalidRequest, "The \(what) description \(path) is not valid: \(error).")
        }
    }

    /// This program's file; by way of /proc when the file has been replaced since.
    private static var executable: String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes { readlink("/proc/self/exe", $0.baseAddress!, $0.count) }
        let path = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        return access(path, X_OK) == 0 ? path : "/proc/self/exe"
    }

    private static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : "\(String(cString: getcwd(nil, 0)!))/\(path)"
    }

    static func address(_ text: String) throws(Problem) -> HTTPService.Address {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw Problem(.invalidRequest, "--listen takes HOST:PORT, not “\(text)”.")
        }
        var host = text[..<colon]
        // As IPv6 is written, to tell its colons from the port's.
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return .tcp(host: String(host), port: Int(port))
    }
}
