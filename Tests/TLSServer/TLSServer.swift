import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import NIOSSL

/// A server for HTTP/1.1 and HTTP/2 over TLS on loopback, for tests.
///
/// The handler runs on the server's thread and must not block; it answers through the exchange, at once or later.
public final class TLSServer: Sendable {
    public struct Request: Sendable {
        public var method: String
        public var path: String
        /// Percent-encoded, without the question mark.
        public var query: String
        public var headers: [(name: String, value: String)]
        public var body: [UInt8]
        /// The common name of the client's certificate.
        public var client: String?
        public var isHTTP2: Bool
        /// The ordinal of the connection, from 1.
        public var connection: Int

        public func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name.lowercased() }?.value }
    }

    public enum ClientCertificates: Sendable { case ignored, required, optional }

    public struct Options: Sendable {
        public var http2 = true
        public var clientCertificates = ClientCertificates.ignored
        /// Names in the certificate, besides the loopback address.
        public var names = ["localhost"]
        /// 0 for any that is free.
        public var port = 0
        public init() {}
    }

    public let authority: TestAuthority
    public let port: Int
    public var url: String { "https://127.0.0.1:\(port)" }
    private let listener: any Channel
    private let connections: Connections

    public init(
        authority: TestAuthority, options: Options = Options(), handler: @escaping @Sendable (Request, TLSExchange) -> Void
    ) throws {
        self.authority = authority
        let identity = try authority.server(names: options.names)
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(identity.certificate.utf8)).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(identity.key.utf8), format: .pem)))
        tls.applicationProtocols = options.http2 ? ["h2", "http/1.1"] : ["http/1.1"]
        switch options.clientCertificates {
        case .ignored: break
        case .required: tls.certificateVerification = .noHostnameVerification
        case .optional: tls.certificateVerification = .optionalVerification
        }
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.certificate.utf8)))
        let context = try NIOSSLContext(configuration: tls)
        let connections = Connections()
        self.connections = connections
        listener = try ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(ChannelOptions.backlog, value: 1024)
            .serverChannelOption(ChannelOptions.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let connection = connections.add(channel)
                    let ssl = NIOSSLServerHandler(context: context)
                    try channel.pipeline.syncOperations.addHandler(ssl)
                    _ = channel.configureHTTP2SecureUpgrade(
                        h2ChannelConfigurator: { channel in
                            channel.configureHTTP2Pipeline(mode: .server) { stream in
                                stream.eventLoop.makeCompletedFuture {
                                    try stream.pipeline.syncOperations.addHandlers([
                                        HTTP2FramePayloadToHTTP1ServerCodec(),
                                        RequestHandler(connection, parent: channel, isHTTP2: true, handler),
                                    ])
                                }
                            }.map { _ in }
                        },
                        http1ChannelConfigurator: { channel in
                            channel.pipeline.configureHTTPServerPipeline(withErrorHandling: true).flatMapThrowing {
                                try channel.pipeline.syncOperations.addHandler(
                                    RequestHandler(connection, parent: channel, isHTTP2: false, handler))
                            }
                        })
                }
            }
            .bind(host: "127.0.0.1", port: options.port).wait()
        port = listener.localAddress!.port!
    }

    /// How many connections there have been.
    public var accepted: Int { connections.accepted }

    /// Closes every connection; the listener stays.
    public func dropConnections() { connections.all.forEach { $0.close() } }

    /// From now on nothing comes from the present connections and nothing that is sent on them has an effect: they are dead, and
    /// nobody says so. New ones work.
    public func freezeConnections() { connections.all.forEach { $0.freeze() } }

    /// Closes the listener and every connection.
    public func stop() {
        try? listener.close().wait()
        dropConnections()
    }
}

/// All connections that are open.
final class Connections: Sendable {
    private let state = NIOLockedValueBox((accepted: 0, open: [Int: Connection]()))

    var accepted: Int { state.withLockedValue { $0.accepted } }
    var all: [Connection] { state.withLockedValue { Array($0.open.values) } }

    func add(_ channel: any Channel) -> Connection {
        let connection = state.withLockedValue { state in
            state.accepted += 1
            let connection = Connection(channel, ordinal: state.accepted)
            state.open[state.accepted] = connection
            return connection
        }
        channel.closeFuture.whenComplete { [state] _ in state.withLockedValue { $0.open[connection.ordinal] = nil } }
        return connection
    }
}

/// One TCP connection.
final class Connection: Sendable {
    let channel: any Channel
    let ordinal: Int
    private let frozen = NIOLockedValueBox(false)

    init(_ channel: any Channel, ordinal: Int) {
        self.channel = channel
        self.ordinal = ordinal
    }

    var isFrozen: Bool { frozen.withLockedValue { $0 } }
    func freeze() { frozen.withLockedValue { $0 = true } }
    func close() { channel.close(promise: nil) }
}

/// Collects one request and hands it over.
private final class RequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let connection: Connection
    private let parent: any Channel
    private let isHTTP2: Bool
    private let handler: @Sendable (TLSServer.Request, TLSExchange) -> Void
    private var request: TLSServer.Request?
    private var exchange: TLSExchange?

    init(
        _ connection: Connection, parent: any Channel, isHTTP2: Bool,
        _ handler: @escaping @Sendable (TLSServer.Request, TLSExchange) -> Void
    ) {
        self.connection = connection
        self.parent = parent
        self.isHTTP2 = isHTTP2
        self.handler = handler
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            let target = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
            request = TLSServer.Request(
                method: head.method.rawValue, path: String(target[0]), query: target.count > 1 ? String(target[1]) : "",
                headers: head.headers.map { (name: $0.name, value: $0.value) }, body: [], client: clientName(),
                isHTTP2: isHTTP2, connection: connection.ordinal)
        case .body(let buffer): request?.body += buffer.readableBytesView
        case .end:
            guard let request, !connection.isFrozen else { return }
            self.request = nil
            let exchange = TLSExchange(context.channel, connection, isHTTP2: isHTTP2)
            self.exchange = exchange
            handler(request, exchange)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        exchange?.clientLeft()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func clientName() -> String? {
        let ssl = try? parent.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self)
        guard let certificate = ssl?.peerCertificate else { return nil }
        return try? CommonNames.of(certificate)
    }
}
