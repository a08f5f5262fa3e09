import Curl
import FoundationEssentials
import NIOConcurrencyHelpers
import SessionModel

/// Talks to one API server: with fresh credentials, at a bounded rate, and again where the server says that it may.
///
/// ```swift
/// let client = KubernetesClient(try ClusterConfiguration.load())
/// let leases = client.objects(.leases, as: Lease.self, in: "holdfast")
/// let lease = try await leases.get("supervisor")
/// ```
/// What is done again by itself: after 401 once with new credentials; after 429 and 503 that name a time to wait, because the
/// server has not acted; and reads that got no answer. Everything else is its caller's to decide.
public final class KubernetesClient: Sendable {
    public struct Options: Sendable {
        /// This client's own limit; nil for none.
        public var rateLimit: (perSecond: Double, burst: Int)? = (50, 100)
        public var userAgent = "holdfast"
        /// How long one request may take in all, waiting for its turn and doing it again included.
        public var timeout = Duration.seconds(30)
        /// One answer, bytes.
        public var maxBody = 64 << 20
        /// Share a connection among requests where the server offers it. Off, because libcurl 7.88 was seen to leave a request without
        /// an answer until its time-out when a stream before it on the connection had been cancelled or cut off.
        public var http2 = false
        public init() {}
    }

    public let configuration: ClusterConfiguration
    public let options: Options
    private let credentials: Credentials
    private let leadership: Leadership?
    private let state: NIOLockedValueBox<State>

    private struct State {
        var curl = CurlClient()
        var bucket: TokenBucket?
        var random = SystemRandomNumberGenerator()
    }

    /// How often one request is done again.
    private static let mostRepetitions = 10

    public init(_ configuration: ClusterConfiguration, options: Options = Options()) {
        self.configuration = configuration
        self.options = options
        credentials = Credentials(configuration.identity)
        var state = State()
        state.bucket = options.rateLimit.map { TokenBucket(perSecond: $0.perSecond, burst: $0.burst, at: .now) }
        self.state = NIOLockedValueBox(state)
        leadership = nil
    }

    private init(_ client: KubernetesClient, leadership: Leadership) {
        configuration = client.configuration
        options = client.options
        credentials = client.credentials
        state = client.state
        self.leadership = leadership
    }

    /// The same client for a leader: what it sends is refused once the leadership is over, and no request lasts beyond the time for
    /// which the leadership is certain when it begins. Watches are not ended: they change nothing.
    public func fenced(by leadership: Leadership) -> KubernetesClient { KubernetesClient(self, leadership: leadership) }

    /// Ends all requests and watches.
    public func shutdown() async { await state.withLockedValue { $0.curl }.shutdown() }

    /// One request to the API server.
    public struct Call: Sendable {
        public var method: String
        public var path: String
        public var query: [(name: String, value: String)] = []
        public var body: [UInt8]?
        public var contentType = "application/json"
        public var accept = "application/json"

        public init(_ method: String, _ path: String) {
            self.method = method
            self.path = path
        }

        /// For messages.
        var summary: String { "\(method) \(path)" }

        /// What is read may be read again.
        var isRead: Bool { method == "GET" }
    }

    // MARK: Requests

    /// Sends it and returns the body of the answer.
    public func send(_ call: Call, timeout: Duration? = nil) async throws(KubernetesError) -> [UInt8] {
        var deadline = ContinuousClock.now + (timeout ?? options.timeout)
        if let leadership {
            guard let end = leadership.until else { throw Leadership.over }
            deadline = min(deadline, end)
        }
        return try await attempt(call, until: deadline) { request throws(KubernetesError) in
            var request = request
            request.timeout = max(.milliseconds(1), deadline - .now)
            let curl = self.curl
            do {
                let response = try await curl.execute(request, maxBody: self.options.maxBody)
                guard (200..<300).contains(response.status) else { throw KubernetesError(call.summary, response) }
                return response.body
            } catch let error as CurlError {
                self.forget(curl, after: error)
                throw KubernetesError(call.summary, error)
            } catch let error as KubernetesError { throw error } catch { fatalError("no other error: \(error)") }
        }
    }

    /// Sends it and returns when the head of the answer has come.
    /// - Parameter idleTimeout: the longest silence.
    public func open(_ call: Call, idleTimeout: Duration) async throws(KubernetesError) -> ServerStream {
        try await attempt(call, until: .now + options.timeout) { request throws(KubernetesError) in
            var request = request
            request.timeout = nil
            request.idleTimeout = idleTimeout
            // A connection of its own: the server hears at once that nobody listens any more, and no two streams die together.
            request.http2 = false
            let curl = self.curl
            do {
                let response = try await curl.stream(request)
                let stream = ServerStream(summary: call.summary, client: self, curl: curl, body: response.body)
                guard (200..<300).contains(response.status) else {
                    let body = try await stream.collect(atMost: 1 << 20)
                    throw KubernetesError(
                        call.summary, CurlResponse(status: response.status, headers: response.headers, body: body))
                }
                return stream
            } catch let error as CurlError {
                self.forget(curl, after: error)
                throw KubernetesError(call.summary, error)
            } catch let error as KubernetesError { throw error } catch { fatalError("no other error: \(error)") }
        }
    }

    private func attempt<Answer>(
        _ call: Call, until deadline: ContinuousClock.Instant,
        _ perform: (CurlRequest) async throws(KubernetesError) -> Answer
    ) async throws(KubernetesError) -> Answer {
        var backoff = Backoff(base: .milliseconds(100), limit: .seconds(5))
        var mayRenew = true
        while true {
            try await waitForTurn(call, until: deadline)
            let ticket = try await credentials.ticket()
            try leadership?.check()
            do {
                return try await perform(request(for: call, ticket))
            } catch {
                if error.code == .unauthorized, mayRenew, await credentials.reject(ticket) {
                    mayRenew = false
                    continue
                }
                guard mayRepeat(call, after: error), backoff.failures < Self.mostRepetitions else { throw error }
                let pause = state.withLockedValue { backoff.next(atLeast: error.retryAfter ?? .zero, using: &$0.random) }
                guard .now + pause < deadline else { throw error }
                try await sleep(pause, call)
            }
        }
    }

    private func mayRepeat(_ call: Call, after error: KubernetesError) -> Bool {
        switch error.code {
        case .tooManyRequests, .unavailable: error.retryAfter != nil
        // Nothing was sent.
        case .unreachable where error.transport == .connect: true
        case .unreachable where error.transport == .lost: call.isRead
        default: false
        }
    }

    private func waitForTurn(_ call: Call, until deadline: ContinuousClock.Instant) async throws(KubernetesError) {
        let pause = state.withLockedValue { $0.bucket?.take(at: .now) ?? .zero }
        guard pause > .zero else { return }
        guard .now + pause < deadline else {
            state.withLockedValue { $0.bucket?.giveBack() }
            throw KubernetesError(
                .tooManyRequests, "\(call.summary): this client's own limit of requests would make it wait for \(pause)",
                retryAfter: pause)
        }
        do throws(KubernetesError) { try await sleep(pause, call) } catch {
            state.withLockedValue { $0.bucket?.giveBack() }
            throw error
        }
    }

    private func sleep(_ pause: Duration, _ call: Call) async throws(KubernetesError) {
        do { try await Task.sleep(for: pause) } catch {
            throw KubernetesError(.cancelled, "\(call.summary): cancelled")
        }
    }

    private func request(for call: Call, _ ticket: Credentials.Ticket) -> CurlRequest {
        var url = configuration.server + call.path
        if !call.query.isEmpty {
            url += "?" + call.query.map { "\(percentEncoded($0.name))=\(percentEncoded($0.value))" }.joined(separator: "&")
        }
        var request = CurlRequest(call.method, url, body: call.body)
        request.headers = [("Accept", call.accept), ("User-Agent", options.userAgent)]
        if call.body != nil { request.headers.append(("Content-Type", call.contentType)) }
        if let authorization = ticket.authorization { request.headers.append(("Authorization", authorization)) }
        let whose = configuration.impersonation
        if let user = whose.user { request.headers.append(("Impersonate-User", user)) }
        if let uid = whose.uid { request.headers.append(("Impersonate-Uid", uid)) }
        for group in whose.groups { request.headers.append(("Impersonate-Group", group)) }
        for (name, values) in whose.extra.sorted(by: { $0.key < $1.key }) {
            for value in values { request.headers.append(("Impersonate-Extra-\(percentEncoded(name))", value)) }
        }
        request.tls.authorities = configuration.authorities
        request.tls.verifiesServer = configuration.verifiesServer
        request.tls.serverName = configuration.serverName
        request.tls.certificate = ticket.certificate
        request.tls.key = ticket.key
        request.proxy = configuration.proxy
        request.http2 = options.http2
        return request
    }

    private var curl: CurlClient { state.withLockedValue { $0.curl } }

    /// A request that got no answer in time may mean that its connection is dead, and with HTTP/2 every later request would be put
    /// onto the same connection. So nothing new goes there; what is under way on it ends by its own time-outs.
    func forget(_ curl: CurlClient, after error: CurlError) {
        guard error.code == .timeout else { return }
        state.withLockedValue { if $0.curl === curl { $0.curl = CurlClient() } }
    }
}

/// An answer that is still arriving.
public struct ServerStream: Sendable {
    let summary: String
    let client: KubernetesClient
    let curl: CurlClient
    let body: CurlBody

    func collect(atMost limit: Int) async throws(CurlError) -> [UInt8] {
        var all: [UInt8] = []
        var chunks = body.makeAsyncIterator()
        while all.count < limit, let chunk = try await chunks.next() { all += chunk }
        return all
    }
}
