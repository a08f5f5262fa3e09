/// One HTTP request.
///
/// ```swift
/// var request = CurlRequest("GET", "http://holdfast/v1/session", unixSocket: "/run/holdfast/api.sock")
/// request.headers.append((name: "Accept", value: "application/json"))
/// let response = try await CurlClient.shared.execute(request)
/// ```
/// Redirects are not followed. Proxies are taken from the environment (`https_proxy`, `no_proxy` …), but never for loopback
/// addresses and Unix sockets. When a kept-alive connection turns out to be dead before a byte of the response came, libcurl sends
/// the request once more on a new one: what must not happen twice needs an idempotency key.
public struct CurlRequest: Sendable {
    public var method: String
    /// `http://` or `https://`. With ``unixSocket`` its host is only what the `Host` header says.
    public var url: String
    public var headers: [(name: String, value: String)]
    public var body: [UInt8]?
    /// A body that is made while it is sent, instead of ``body``.
    public var upload: CurlUpload?
    /// Connect to this Unix socket instead of the URL's host.
    public var unixSocket: String?
    /// How long it may take until the connection stands, TLS included.
    public var connectTimeout: Duration = .seconds(10)
    /// How long the whole request may take, its body included. Nil for none: what streams needs.
    public var timeout: Duration?
    /// The longest time in which no byte is sent or received, not counting time in which the reader, or the writer of ``upload``,
    /// makes the transfer wait.
    public var idleTimeout: Duration?
    public var tls = CurlTLS()
    /// How much is read at a time, 1 KiB to 512 KiB: memory that the request holds while it waits. Nil is libcurl's 16 KiB.
    public var bufferSize: Int?
    /// Share a connection with others where a TLS server offers HTTP/2. False suits a long stream: a server of HTTP/2 hears of the
    /// end of one request only with the next one on the connection (libcurl does not flush it), one of HTTP/1.1 at once.
    public var http2 = true
    /// `http://host:port`, `socks5://…`: used instead of what the environment says, even for loopback. Empty for none.
    public var proxy: String?

    public init(
        _ method: String = "GET", _ url: String, headers: [(name: String, value: String)] = [], body: [UInt8]? = nil,
        unixSocket: String? = nil, timeout: Duration? = .seconds(30)
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.unixSocket = unixSocket
        self.timeout = timeout
    }
}

/// Whom a connection trusts and what it shows of itself. The default trusts the system's authorities.
public struct CurlTLS: Sendable, Hashable {
    /// PEM text, in a file or in memory.
    public enum Source: Sendable, Hashable {
        case file(String)
        case pem([UInt8])
    }
    /// The authorities to trust instead of the system's.
    public var authorities: Source?
    /// The client's certificate chain and its key.
    public var certificate: Source?
    public var key: Source?
    /// False trusts anyone: only for a user who says so (kubeconfig's `insecure-skip-tls-verify`).
    public var verifiesServer = true
    /// The name that the server's certificate must have (and that SNI says), when it is not the URL's host.
    public var serverName: String?

    public init() {}
}
