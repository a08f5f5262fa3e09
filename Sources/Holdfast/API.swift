import Curl
import FoundationEssentials
import SessionModel

/// The supervisor's REST API, as the commands use it.
struct API: Sendable {
    private let options: ServerOptions
    private let context: Context

    init(_ options: ServerOptions, _ context: Context = .current) {
        self.options = options
        self.context = context
    }

    struct List<Item: Decodable & Sendable>: Decodable, Sendable {
        var items: [Item]
        /// What gets the next page; nil when this is the last.
        var `continue`: String?
    }

    // MARK: Requests

    /// - Parameter path: with its parts percent-encoded; see ``segment(_:)``.
    func get<Value: Decodable>(
        _ path: String, query: [(String, String?)] = [], timeout: Duration = .seconds(30)
    ) async throws(Failure) -> Value {
        try decode(try await send("GET", path, query: query, timeout: timeout), path)
    }

    /// The first items of a list, from as many pages as it takes.
    /// - Parameter limit: how many at most; 0 for all.
    /// - Returns: nothing left to ``List/continue`` with when that is the whole list.
    func list<Item: Decodable & Sendable>(
        _ path: String, query: [(String, String?)] = [], limit: Int
    ) async throws(Failure) -> List<Item> {
        var list = List<Item>(items: [])
        repeat {
            let missing = limit == 0 ? Self.pageSize : min(limit - list.items.count, Self.pageSize)
            let page: List<Item> = try await get(
                path, query: query + [("limit", "\(missing)"), ("continue", list.continue)])
            list.items += page.items
            list.continue = page.continue
        } while list.continue != nil && (limit == 0 || list.items.count < limit)
        return list
    }

    /// Of a list: what a server reads and sends in a moment.
    private static let pageSize = 500

    /// The body of the answer.
    @discardableResult
    func send(
        _ method: String, _ path: String, query: [(String, String?)] = [], headers: [(name: String, value: String)] = [],
        body: [UInt8]? = nil, timeout: Duration = .seconds(30)
    ) async throws(Failure) -> [UInt8] {
        var request = try await request(method, path, query, headers)
        request.body = body
        if body != nil { request.headers.append(("Content-Type", "application/json")) }
        request.timeout = timeout
        do {
            let response = try await context.client.execute(request)
            guard (200..<300).contains(response.status) else { throw refusal(response.status, response.body) }
            return response.body
        } catch let error as CurlError {
            throw unreachable(error)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.failed, "\(error)")
        }
    }

    /// The lines of an answer, as they arrive.
    func lines(_ path: String, query: [(String, String?)]) async throws(Failure) -> Lines<CurlBody> {
        var request = try await request("GET", path, query, [("Accept", "application/x-ndjson")])
        request.timeout = nil
        do {
            let response = try await context.client.stream(request)
            guard response.status == 200 else {
                var body: [UInt8] = []
                for try await chunk in response.body where body.count < 64 << 10 { body += chunk }
                throw refusal(response.status, body)
            }
            return Lines(response.body)
        } catch let error as CurlError {
            throw unreachable(error)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.failed, "\(error)")
        }
    }

    func decode<Value: Decodable>(_ bytes: [UInt8], _ path: String) throws(Failure) -> Value {
        do {
            return try JSON.decode(from: Data(bytes))
        } catch {
            let why = (error as? DecodingError)?.clause ?? "\(error)"
            throw Failure(
                .refused, "the server's answer to \(path) cannot be understood (\(why)): is it another version of Holdfast?")
        }
    }

    /// One part of a path: everything but RFC 3986's unreserved characters is percent-encoded.
    static func segment(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                result += byte < 16 ? "%0\(hex)" : "%\(hex)"
            }
        }
        return result
    }

    // MARK: Waiting for a server that comes back

    var backoff: Backoff { Backoff(context) }

    /// Tries until it works, as long as the server is only away and `patience` lasts. A restarted server may have another port:
    /// its address is looked up again every time.
    func persistently<Value: Sendable>(
        away: @Sendable (Failure) async -> Void = { _ in }, _ attempt: @Sendable () async throws -> Value
    ) async throws -> Value {
        var backoff = backoff
        while true {
            do {
                return try await attempt()
            } catch let failure as Failure where failure.status == .unreachable {
                guard let pause = backoff.next() else { throw failure }
                await away(failure)
                try await Task.sleep(for: pause)
            }
        }
    }

    // MARK: Parts

    private func request(
        _ method: String, _ path: String, _ query: [(String, String?)], _ headers: [(name: String, value: String)]
    ) async throws(Failure) -> CurlRequest {
        let address = try await address()
        let items = query.compactMap { name, value in value.map { "\(name)=\(Self.segment($0))" } }
        var request = CurlRequest(
            method, address.url + path + (items.isEmpty ? "" : "?" + items.joined(separator: "&")), headers: headers)
        if let token = address.token { request.headers.append(("Authorization", "Bearer \(token)")) }
        return request
    }

    private func address() async throws(Failure) -> ServerAddress {
        func read(_ path: String) -> String? {
            (try? Data(contentsOf: URL(filePath: path))).map { String(decoding: $0, as: UTF8.self) }
        }
        guard let kubectl = options.cluster(environment: context.environment, isPlugin: context.isPlugin) else {
            return try ServerAddress.resolve(options, environment: context.environment, read: read)
        }
        var address = try await context.cluster.address(through: kubectl, tokenFile: options.tokenFile)
        if let file = options.tokenFile { address.token = try ServerAddress.token(in: file, read: read) }
        return address
    }

    private func refusal(_ status: Int, _ body: [UInt8]) -> Failure {
        guard let problem = try? JSON.decode(Problem.self, from: Data(body)) else {
            return Failure(
                [502, 503, 504].contains(status) ? .unreachable : .refused,
                "the server answered with status \(status) and no explanation: is it a Holdfast server?")
        }
        // A server that starts or stops is away, not unwilling.
        return Failure(problem.kind == .notReady ? .unreachable : .refused, problem.detail)
    }

    private func unreachable(_ error: CurlError) -> Failure {
        switch error.code {
        case .invalidRequest, .tooLarge, .tls: Failure(.failed, error.message)
        case .cancelled: Failure(.detached, error.message)
        case .connect:
            Failure(
                .unreachable,
                "the Holdfast server does not answer (\(error.message)): start it with `holdfast-supervisor serve` or `make run`")
        default: Failure(.unreachable, "the Holdfast server does not answer (\(error.message))")
        }
    }
}

/// Pauses that grow, until patience ends.
struct Backoff {
    /// The shortest pause.
    let first: Duration
    private var pause: Duration
    private let longest: Duration
    private let deadline: ContinuousClock.Instant

    init(_ context: Context) {
        first = context.retryDelay
        pause = first
        longest = context.retryDelay * 20
        deadline = .now + context.patience
    }

    /// Nil when it is time to give up.
    mutating func next() -> Duration? {
        guard ContinuousClock.now < deadline else { return nil }
        defer { pause = min(pause * 2, longest) }
        return pause
    }
}
