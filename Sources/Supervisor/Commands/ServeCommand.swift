import ArgumentParser
import Foundation
import Glibc
import HTTPServing
import Logging
import SessionModel

/// `holdfast-supervisor serve`
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run Tasks on this machine: one process per session, everything under one data directory.",
        discussion: """
            Local mode has no isolation: agents run as you, with your files and your network.

            When it ends, sessions keep running, and the next supervisor on the same data directory finds them again. With \
            --stop-sessions-on-exit they are put to sleep first.
            """)

    @Option(help: "HOST:PORT to listen on; port 0 takes a free one.") var listen = "127.0.0.1:7433"
    @Option(help: "Where Tasks, sessions and transcripts are kept. (default: $XDG_DATA_HOME/holdfast or ~/.local/share/holdfast)")
    var dataDir: String?
    @Option(help: "The holdfast-sidecar binary. (default: the one beside this program)") var sidecar: String?
    @Option(help: "A directory of agents: each NAME.json is what ?agent=NAME means.") var agentsDir: String?
    @Option(help: "The agent for Tasks that name none: a name, or a JSON file.") var defaultAgent: String?
    @Flag(help: "Put all sessions to sleep before exiting.") var stopSessionsOnExit = false
    @OptionGroup var log: LogOptions

    func run() async throws {
        let address = try Self.address(listen)
        let logger = try log.logger("supervisor")
        let environment = ProcessInfo.processInfo.environment
        let server = LocalSupervisor.Configuration(
            host: address.host, port: address.port,
            dataDirectory: Self.absolute(dataDir ?? Self.defaultDataDirectory(environment)),
            sidecar: try Self.binary("holdfast-sidecar", named: sidecar, option: "--sidecar"),
            demoAgent: try? Self.binary("holdfast-demo-agent", named: nil, option: ""),
            agentsDirectory: agentsDir.map(Self.absolute), defaultAgent: defaultAgent,
            stopSessionsOnExit: stopSessionsOnExit, environment: environment)
        do {
            try await LocalSupervisor(server, logger: logger).run(until: Signals.termination())
        } catch {
            FileHandle.standardError.write(Data("holdfast-supervisor: \(error)\n".utf8))
            throw ExitCode.failure
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
