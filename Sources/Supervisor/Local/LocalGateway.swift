import Foundation
import GitGateway
import HTTPServing
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// The git gateway of one machine, inside the supervisor: it takes grants from the sessions' directories, and tells the sessions'
/// transcripts of what passes through.
///
/// Sessions outlive the supervisor and go on using its address, so it keeps its port: the data directory remembers it.
final class LocalGateway: Sendable {
    /// `http://127.0.0.1:PORT`
    let url: String
    let metrics: GatewayMetrics
    private let task: Task<Void, Never>
    private let sessions = NIOLockedValueBox<SessionManager?>(nil)

    /// Git is patient, and forges are slow: a connection may rest for so long while a pack is made.
    private static let clientTimeout = TimeSpan.minutes(10)

    /// Returns when it serves.
    init(dataDirectory: String, store: SQLiteStore, logger: Logger) async throws(LocalError) {
        var logger = logger
        logger[metadataKey: "part"] = "git-gateway"
        let sessions = sessions
        let gateway = GitGateway(
            logger: logger, grants: { try await Self.grant($0, dataDirectory: dataDirectory, store: store) },
            // Before the forge has them, and so before it can tell of them.
            announce: { name, commits in
                try await store.transact { try $0.keep(pushed: commits, of: name, at: .now) }
            },
            report: { [logger] name, transfer in
                do throws(SidecarClient.Failure) {
                    try await sessions.withLockedValue(\.self)?.client(of: name)?.record(transfer)
                } catch {
                    logger.warning("not in the transcript", metadata: ["session": "\(name)", "error": "\(error)"])
                }
            })
        metrics = gateway.metrics
        let file = "\(dataDirectory)/git-gateway.port"
        let last = FileManager.default.contents(atPath: file).flatMap {
            Int(String(decoding: $0, as: UTF8.self).filter(\.isNumber))
        }
        var started: (port: Int, task: Task<Void, Never>)?
        if let last { started = try? await Self.serve(gateway, port: last, logger) }
        if started == nil {
            started = try await Self.serve(gateway, port: 0, logger)
            if last != nil {
                logger.warning(
                    "the git gateway's port is taken by another program; sessions that are awake reach it after their next start")
            }
        }
        guard let started else { throw LocalError("the git gateway does not serve") }
        task = started.task
        url = "http://127.0.0.1:\(started.port)"
        try Files.write(Array("\(started.port)\n".utf8), to: file)
    }

    /// From now on transcripts are told.
    func report(to manager: SessionManager) { sessions.withLockedValue { $0 = manager } }

    func close() async {
        task.cancel()
        await task.value
    }

    private static func serve(
        _ gateway: GitGateway, port: Int, _ logger: Logger
    ) async throws(LocalError) -> (port: Int, task: Task<Void, Never>) {
        let (news, announce) = AsyncStream.makeStream(of: Result<Int, LocalError>.self)
        let service = HTTPService(
            .tcp(host: "127.0.0.1", port: port), routes: gateway.routes, clientTimeout: clientTimeout, logger: logger)
        let task = Task {
            do {
                try await service.run { announce.yield(.success($0 ?? port)) }
            } catch {
                announce.yield(.failure(LocalError("the git gateway cannot serve: \(error)")))
            }
            announce.finish()
        }
        for await result in news { return (try result.get(), task) }
        throw LocalError("the git gateway does not serve")
    }

    /// A grant is good as long as its session is awake and is still the one that it was made for.
    private static func grant(_ name: String, dataDirectory: String, store: SQLiteStore) async throws -> GitGrant? {
        guard let session = try await store.read({ try $0.session(named: name) }) else { return nil }
        switch session.status.phase {
        case .starting, .ready, .draining: break
        case .pending, .suspended, .ended, .failed: return nil
        }
        let directory = SessionDirectory(path: "\(dataDirectory)/sessions/\(name)")
        guard directory.belongs(to: session) else { return nil }
        return directory.grant
    }
}
