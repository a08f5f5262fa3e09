import FoundationEssentials
import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
public import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
public import SessionModel

/// One listening address that serves a table of routes.
///
/// Header sizes, connections and idle time are bounded; errors are problem+json. A Unix socket is open to this user only, and
/// needs no token.
public struct HTTPService: Sendable {
    public enum Address: Sendable, Hashable, CustomStringConvertible {
        case unix(path: String)
        /// Port 0 takes a free one.
        case tcp(host: String, port: Int)

        public var description: String {
            switch self {
            case .unix(let path): path
            case .tcp(let host, let port): "\(host):\(port)"
            }
        }
    }

    /// Who may call.
    public enum Access: Sendable {
        /// Whoever can open the socket.
        case open
        /// Holders of the bearer token; open routes are for everybody.
        case token(BearerToken)
    }

    let address: Address
    let access: Access
    let tls: TLSIdentity?
    let routes: Routes
    let logger: Logger
    let maxConnections: Int
    let clientTimeout: TimeSpan

    /// - Parameters:
    ///   - tls: whom it shows itself as; nil for plain HTTP.
    ///   - clientTimeout: how long a client may take to send a request's head and its body, may keep an idle connection,
    ///     and may leave what is written to it untaken.
    public init(
        _ address: Address, access: Access = .open, tls: TLSIdentity? = nil, routes: Routes, maxConnections: Int = 1024,
        clientTimeout: TimeSpan = .seconds(30), logger: Logger
    ) {
        self.address = address
        self.access = access
        self.tls = tls
        self.routes = routes
        self.maxConnections = maxConnections
        self.clientTimeout = clientTimeout
        self.logger = logger
    }

    /// Serves until the task is cancelled: then nothing more is accepted, and open connections are closed.
    ///
    /// Every request is handled on the thread of one event loop: what would block it goes ``offLoop(_:)``.
    /// - Parameter onListening: called once connections are accepted, with the port for TCP.
    public func run(onListening: @escaping @Sendable (_ port: Int?) async -> Void = { _ in }) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let listener = NIOLockedValueBox<(any Channel)?>(nil)
        let connections = Connections()
        defer { connections.close() }
        let application = try application(on: loop, connections: connections) { channel in
            listener.withLockedValue { $0 = channel }
            await onListening(channel.localAddress?.port)
        }
        let server = Task(executorPreference: EventLoopExecutor(loop)) { try await application.run() }
        do {
            try await withTaskCancellationHandler {
                try await server.value
            } onCancel: {
                // The listener first: the server would report the cancellation of its wait for connections as an error.
                guard let channel = listener.withLockedValue({ $0 }) else { return server.cancel() }
                channel.close(promise: nil)
                channel.closeFuture.whenComplete { _ in server.cancel() }
            }
        } catch  where Task.isCancelled {
            // Its parts end one after the other, and the one that notices first may take that for an error.
        } catch let error as IOError {
            throw Problem(.internal, "Cannot listen on \(address): \(String(cString: strerror(error.errnoCode))).")
        }
    }

    private func application(
        on loop: any EventLoop, connections: Connections, onListening: @escaping @Sendable (any Channel) async -> Void
    ) throws -> Application<Responder> {
        var decoder = HTTP1Channel.Configuration.DecoderConfiguration()
        decoder.maxHeaderFieldSize = 16 << 10
        decoder.maxHeaderListSize = 32 << 10
        decoder.maxHeaderFieldCount = 100
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let bindAddress: BindAddress =
            switch address {
            case .unix(let path): .unixDomainSocket(path: path)
            case .tcp(let host, let port): .hostname(host, port: port)
            }
        let timeout = TimeAmount.milliseconds(clientTimeout.milliseconds)
        let http = HTTPServerBuilder { [decoder] responder in
            HeldConnections(
                base: HTTP1Channel(
                    responder: responder,
                    configuration: .init(
                        additionalChannelHandlers: [StallGuard(limit: timeout), ClientPresence()], idleTimeout: timeout,
                        httpDecoderConfiguration: decoder)),
                connections: connections)
        }
        return Application(
            responder: Responder(access: access, routes: routes, clientTimeout: timeout, logger: logger),
            server: try tls.map { try .tls(http, tlsConfiguration: $0.configuration) } ?? http,
            configuration: ApplicationConfiguration(
                address: bindAddress, availableConnectionsDelegate: .maximum(maxConnections, logger: quiet)),
            onServerRunning: { [address] channel in
                if case .unix(let path) = address { chmod(path, 0o600) }
                await onListening(channel)
            },
            eventLoopGroupProvider: .shared(loop), logger: quiet)
    }

    struct Responder: HTTPResponder {
        typealias Context = CallContext
        let access: Access
        let routes: Routes
        let clientTimeout: TimeAmount
        let logger: Logger

        func respond(to request: Request, context: CallContext) async throws -> Response {
            do {
                let path = request.uri.path
                let match = routes.match(request.method, path: path)
                if case .token(let token) = access, !match.isOpen, !token.matches(request.headers[.authorization]) {
                    throw Problem(.unauthorized, "Send the token of this server as “Authorization: Bearer …”.")
                }
                switch match {
                case .handler(let handler, let parameters, _):
                    let response = try await handler(
                        Call(request: request, parameters: parameters, channel: context.channel, timeout: clientTimeout))
                    return request.method == .head ? response.createHeadResponse() : response
                case .methods(let allowed):
                    let list = allowed.joined(separator: ", ")
                    return .problem(
                        Problem(.methodNotAllowed, "\(path) takes \(list), not \(request.method.rawValue)."), allow: list)
                case .none:
                    throw Problem(
                        .notFound,
                        "There is nothing at \(path); docs/openapi.yaml and docs/openapi-supervisor.yaml list the paths.")
                }
            } catch let problem as Problem {
                return .problem(problem)
            } catch is CancellationError {
                return .problem(Problem(.notReady, "The server is shutting down."))
            } catch {
                logger.error("request failed", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
                return .problem(Problem(.internal, "\(error)"))
            }
        }
    }
}

/// A secret that callers present as `Authorization: Bearer …`.
public struct BearerToken: Sendable {
    private let bytes: [UInt8]

    public init(_ text: String) { bytes = Array(text.utf8) }

    /// Reads the token that a file holds, without white space around it.
    /// - Throws: `Problem`, in words for an operator, when the file is unreadable or has no token.
    public init(file: String) throws(Problem) {
        guard let data = try? Data(contentsOf: URL(filePath: file)) else {
            let reason = access(file, R_OK) == 0 ? "it is not a regular file" : String(cString: strerror(errno))
            throw Problem(.invalidRequest, "The token file \(file) cannot be read: \(reason).")
        }
        let text = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isWhitespace).joined()
        guard text.utf8.count >= 16 else {
            throw Problem(.invalidRequest, "The token file \(file) holds no token of 16 characters or more.")
        }
        self.init(text)
    }

    /// Compares in a time that does not depend on where the two differ.
    /// - Parameter authorization: the header.
    public func matches(_ authorization: String?) -> Bool {
        guard let authorization, authorization.hasPrefix("Bearer ") else { return false }
        let given = Array(authorization.utf8.dropFirst(7))
        var difference = UInt8(given.count == bytes.count ? 0 : 1)
        for (index, byte) in bytes.enumerated() {
            difference |= byte ^ (index < given.count ? given[index] : 0)
        }
        return difference == 0
    }
}
