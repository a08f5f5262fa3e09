/// An HTTP client: libcurl's multi interface on one thread of its own, where a waiting request costs nothing.
///
/// ```swift
/// let response = try await CurlClient.shared.stream(CurlRequest("GET", url, timeout: nil))
/// for try await bytes in response.body { … }
/// ```
/// Cancelling the Swift task ends its request at once. Statuses such as 404 are answers, not errors.
public final class CurlClient: Sendable {
    /// For everyone who has no limits of their own.
    public static let shared = CurlClient()

    private let engine: Engine

    /// - Parameters:
    ///   - maxConnections: the most connections that are open at a time; further requests wait, as long as their timeouts allow.
    ///   - maxIdleConnections: how many are kept for reuse beside the busy ones. What a burst leaves over is closed by and by, one
    ///     connection with every later request.
    public init(maxConnections: Int = 8192, maxIdleConnections: Int = 32) {
        engine = Engine(maxConnections: maxConnections, maxIdleConnections: maxIdleConnections)
    }

    deinit { engine.submit(.shutdown(nil)) }

    /// Sends the request and returns the whole response, which may have at most `maxBody` bytes.
    public func execute(_ request: CurlRequest, maxBody: Int = 64 << 20) async throws(CurlError) -> CurlResponse {
        let transfer = Transfer(request, mode: .collect(maxBody: maxBody), engine: engine)
        let head = try await transfer.begin().get()
        return CurlResponse(status: head.status, headers: head.headers, body: transfer.takeBody())
    }

    /// The same for what waits long: there is no task meanwhile, only the request.
    /// - Parameter then: told once, on the client's own thread, which it must not hold up.
    /// - Returns: ends the request, which then fails as cancelled.
    @discardableResult
    public func send(
        _ request: CurlRequest, maxBody: Int = 64 << 20, then: @escaping @Sendable (Result<CurlResponse, CurlError>) -> Void
    ) -> @Sendable () -> Void {
        let transfer = Transfer(request, mode: .collect(maxBody: maxBody), engine: engine)
        transfer.begin { [self] head in
            withExtendedLifetime(self) {
                then(head.map { CurlResponse(status: $0.status, headers: $0.headers, body: transfer.takeBody()) })
            }
        }
        return { transfer.abort() }
    }

    /// Sends the request and returns when the response's head has arrived.
    public func stream(_ request: CurlRequest) async throws(CurlError) -> CurlStreamedResponse {
        let transfer = Transfer(request, mode: .stream, engine: engine)
        let source = BodySource(transfer: transfer, client: self)
        let head = try await transfer.begin().get()
        return CurlStreamedResponse(status: head.status, headers: head.headers, body: CurlBody(source: source))
    }

    /// Ends all requests and the thread. Later requests fail.
    public func shutdown() async {
        await withCheckedContinuation { done in
            if !engine.submit(.shutdown(done)) { done.resume() }
        }
    }
}
