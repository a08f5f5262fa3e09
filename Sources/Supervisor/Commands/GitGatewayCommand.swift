import ArgumentParser
import Foundation
import GitGateway
import HTTPServing
import Logging
import SessionModel

/// `holdfast-supervisor git-gateway`
struct GitGatewayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "git-gateway",
        abstract: "Stand between sessions and the forge: the only process that holds the forge's token.",
        discussion: """
            A session's git reaches its own repository through it and pushes only the refs that its grant allows. Each grant is a \
            file NAME.json in --grants-dir, read at every request; docs/operations.md describes it. In local mode the supervisor \
            has a gateway inside and writes the grants itself.
            """)

    @Option(help: "HOST:PORT to listen on; port 0 takes a free one.") var listen = "127.0.0.1:7434"
    @Option(help: "The directory of grants.") var grantsDir: String
    @Option(help: "How long a session may stall in a request.") var clientTimeout = "10m"
    @OptionGroup var log: LogOptions

    func run() async throws {
        let address = try ServeCommand.address(listen)
        let timeout = try TimeSpan(parsing: clientTimeout)
        let logger = try log.logger("git-gateway")
        let grants = GrantDirectory(path: grantsDir)
        let gateway = GitGateway(logger: logger) { name in try await offLoop { try grants.grant(name) } }
        let service = HTTPService(
            .tcp(host: address.host, port: address.port), routes: gateway.routes, clientTimeout: timeout, logger: logger)
        let server = Task {
            try await service.run { port in
                logger.notice("serving", metadata: ["address": "\(address.host):\(port ?? address.port)"])
            }
        }
        let stop = Task {
            for await _ in Signals.termination() { server.cancel() }
        }
        defer { stop.cancel() }
        if case .failure(let error) = await server.result, !(error is CancellationError) {
            FileHandle.standardError.write(Data("holdfast-supervisor: \(error)\n".utf8))
            throw ExitCode.failure
        }
    }
}
