import ArgumentParser
import HTTPServing
import HTTPTypes
import Hummingbird
import Journal
import Logging
import SessionModel
import TranscriptServing
import UnixSignals

/// Serves the transcript of a session that sleeps, from its files, and nothing else: what a cluster's reader pods run.
struct ReadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "read", abstract: "Serve the transcript of a session that does not run, from its files.",
        discussion: "It writes nothing and takes no lock. SIGTERM ends it.")

    @Option(help: "The session's directory.") var stateDir: String
    @Option(help: "Listen on HOST:PORT.") var listen: String
    @Option(help: "A file with the bearer token that callers must present.") var tokenFile: String
    @Option(help: "A PEM file with the certificate to show.") var tlsCertificate: String
    @Option(help: "A PEM file with its private key.") var tlsKey: String

    func run() async throws {
        do { try await serve() } catch { Exit.fail(error) }
    }

    private func serve() async throws {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        let logger = Logger(label: "holdfast-sidecar")
        var routes = Routes()
        let state = stateDir
        routes.on(.get, "/v1/transcript") { call in
            guard let response = try await call.storedTranscript(state: state) else {
                throw Problem(.notFound, "This session has no transcript yet: no sidecar has run for it.")
            }
            return response
        }
        routes.on(.get, "/livez", open: true) { _ in .text("ok\n") }
        routes.on(.get, "/readyz", open: true) { _ in .text("ok\n") }
        let service = HTTPService(
            try ServeCommand.address(listen), access: .token(try BearerToken(file: tokenFile)),
            tls: try TLSIdentity(certificate: tlsCertificate, key: tlsKey), routes: routes, logger: logger)
        let signals = await UnixSignalsSequence(trapping: [.sigterm, .sigint])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await service.run { port in logger.notice("listening", metadata: ["port": "\(port ?? 0)"]) }
            }
            group.addTask { for await _ in signals { return } }
            try await group.next()
            group.cancelAll()
        }
    }
}
