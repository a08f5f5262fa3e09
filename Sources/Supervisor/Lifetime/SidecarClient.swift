import Curl
import Foundation
import SessionModel

/// What carries requests to sidecars.
protocol SidecarTransport: AnyObject, Sendable {
    func execute(_ request: CurlRequest, maxBody: Int) async throws(CurlError) -> CurlResponse
    func send(
        _ request: CurlRequest, maxBody: Int, then: @escaping @Sendable (Result<CurlResponse, CurlError>) -> Void
    ) -> @Sendable () -> Void
}

extension CurlClient: SidecarTransport {}

/// The API of one living sidecar.
final class SidecarClient: Sendable {
    /// Where it is served.
    enum Endpoint: Sendable, Hashable {
        case unix(path: String)
        /// `https://HOST:PORT`, for whoever shows the epoch's token. Only the epoch's own certificate is trusted.
        case https(url: String, token: String, tls: CurlTLS)
    }
    let endpoint: Endpoint
    private let transport: any SidecarTransport

    /// - Parameter transport: whoever simulates sidecars answers for them here.
    init(_ endpoint: Endpoint, transport: any SidecarTransport = CurlClient.shared) {
        self.endpoint = endpoint
        self.transport = transport
    }

    /// The sidecar answered with a problem, or did not answer.
    enum Failure: Error, CustomStringConvertible {
        case refused(Problem)
        /// It is not known whether the request took effect.
        case unreachable(String)

        var description: String {
            switch self {
            case .refused(let problem): problem.detail
            case .unreachable(let why): why
            }
        }
    }

    func isReady() async throws(Failure) -> Bool {
        try await send("GET", "/readyz", timeout: .seconds(10)).status == 200
    }

    /// Waits without a task.
    /// - Parameters:
    ///   - after: wait until the activity has another version than this one.
    ///   - then: told once, on a thread that it must not hold up.
    /// - Returns: ends the request.
    func activity(
        after version: Int64?, wait: TimeSpan, then: @escaping @Sendable (Unread<Activity>) -> Void
    ) -> @Sendable () -> Void {
        let path = version.map { "/v1/activity?after=\($0)&wait=\(wait)" } ?? "/v1/activity"
        var request = request("GET", path, headers: [], timeout: (version == nil ? .zero : wait.duration) + .seconds(15))
        // It waits for a minute, and its answer is short.
        request.bufferSize = 1024
        return transport.send(request, maxBody: 1 << 20) { [self] result in then(Unread(client: self, result: result)) }
    }

    func activity() async throws(Failure) -> Activity { try await get("/v1/activity") }

    /// An answer that has arrived.
    struct Unread<Value: Decodable>: Sendable {
        fileprivate let client: SidecarClient
        fileprivate let result: Result<CurlResponse, CurlError>

        func get() throws(Failure) -> Value {
            let response: CurlResponse
            do throws(CurlError) { response = try result.get() } catch { throw .unreachable(error.message) }
            return try client.decode(Value.self, from: client.checked(response))
        }
    }

    func session() async throws(Failure) -> SessionStatus { try await get("/v1/session") }

    func enqueue(_ request: TurnRequest, key: String) async throws(Failure) -> Turn {
        try await decode(
            Turn.self, from: checked(send("POST", "/v1/turns", body: request, headers: [("Idempotency-Key", key)])))
    }

    /// Whether the journal has made a turn of this key. An empty prompt is refused as invalid when the key is new, and as another
    /// request when it is known: so asking cannot make a turn.
    func knows(key: String) async throws(Failure) -> Bool {
        do throws(Failure) {
            _ = try await enqueue(TurnRequest(prompt: ""), key: key)
            return true
        } catch {
            guard case .refused(let problem) = error else { throw error }
            if problem.kind == .idempotencyMismatch { return true }
            if problem.kind == .invalidRequest { return false }
            throw error
        }
    }

    /// Nil when the journal has no such turn.
    func turn(_ id: TurnID) async throws(Failure) -> Turn? {
        do throws(Failure) {
            return try await get("/v1/turns/\(id)")
        } catch .refused(let problem) where problem.status == 404 {
            return nil
        }
    }

    func cancel(_ id: TurnID) async throws(Failure) { _ = try await checked(send("DELETE", "/v1/turns/\(id)")) }

    func answer(_ id: TurnID, _ answer: InputAnswer) async throws(Failure) {
        _ = try await checked(send("POST", "/v1/turns/\(id)/input", body: answer))
    }

    func drain(_ request: DrainRequest) async throws(Failure) { _ = try await checked(send("POST", "/v1/drain", body: request)) }

    func keepAlive(_ request: KeepAliveRequest) async throws(Failure) {
        _ = try await checked(send("POST", "/v1/keepalive", body: request))
    }

    func limit(_ limits: TurnLimits) async throws(Failure) { _ = try await checked(send("PUT", "/v1/limits", body: limits)) }

    func record(_ transfer: GitTransfer) async throws(Failure) {
        _ = try await checked(send("POST", "/v1/git", body: transfer))
    }

    /// A response that is passed through as it comes: nothing of it is kept, and a slow reader makes the sidecar wait.
    func stream(_ path: String, headers: [(String, String)]) async throws(Failure) -> CurlStreamedResponse {
        do {
            return try await CurlClient.shared.stream(request("GET", path, headers: headers, timeout: nil))
        } catch {
            throw .unreachable(error.message)
        }
    }
}

extension SidecarClient {
    private func get<Value: Decodable>(_ path: String, timeout: Duration = .seconds(15)) async throws(Failure) -> Value {
        try await decode(Value.self, from: checked(send("GET", path, timeout: timeout)))
    }

    private func send(
        _ method: String, _ path: String, body: (any Encodable & Sendable)? = nil, headers: [(String, String)] = [],
        timeout: Duration = .seconds(15)
    ) async throws(Failure) -> CurlResponse {
        do {
            var headers = headers
            var bytes: [UInt8]?
            if let body {
                bytes = Array(try JSON.encode(body))
                headers.append(("Content-Type", "application/json"))
            }
            return try await transport.execute(
                request(method, path, headers: headers, body: bytes, timeout: timeout), maxBody: 64 << 20)
        } catch let error as CurlError {
            throw .unreachable(error.message)
        } catch {
            throw .unreachable("\(error)")
        }
    }

    private func request(
        _ method: String, _ path: String, headers: [(String, String)], body: [UInt8]? = nil, timeout: Duration?
    ) -> CurlRequest {
        var request: CurlRequest
        switch endpoint {
        case .unix(let socket):
            request = CurlRequest(method, "http://sidecar\(path)", headers: headers, body: body, unixSocket: socket)
        case .https(let url, let token, let tls):
            request = CurlRequest(
                method, url + path, headers: headers + [("Authorization", "Bearer \(token)")], body: body)
            request.tls = tls
            // A pod is reached within the cluster, never by way of the proxy to the world outside.
            request.proxy = ""
        }
        request.timeout = timeout
        return request
    }

    private func checked(_ response: CurlResponse) throws(Failure) -> CurlResponse {
        if (200..<300).contains(response.status) { return response }
        if let problem = try? JSON.decode(Problem.self, from: Data(response.body)) { throw .refused(problem) }
        throw .unreachable("the sidecar answered \(response.status) without a problem document")
    }

    private func decode<Value: Decodable>(_ type: Value.Type, from response: CurlResponse) throws(Failure) -> Value {
        do {
            return try JSON.decode(type, from: Data(response.body))
        } catch {
            throw .unreachable("the sidecar's answer could not be read: \((error as? DecodingError)?.clause ?? "\(error)")")
        }
    }
}
