import Foundation
import NIOConcurrencyHelpers
public import SessionModel
public import TLSServer

/// A Kubernetes API server in this process, over real TLS, with HTTP/1.1 and HTTP/2, that answers as recorded exchanges show.
///
/// ```swift
/// let server = try KubernetesDouble()
/// defer { server.stop() }
/// let client = KubernetesClient(…server.url, server.authority.certificate…)
/// server.inject(Fault(.answer(500, reason: "InternalError", message: "no"), count: 3))
/// ```
public final class KubernetesDouble: Sendable {
    public struct Options: Sendable {
        public var http2 = true
        /// Tokens that are accepted; nil: whoever comes, with or without one.
        public var tokens: Set<String>?
        public var bookmarkInterval = Duration.milliseconds(200)
        /// Whether a watch can tell all objects first.
        public var knowsInitialEvents = true
        public var now: @Sendable () -> Timestamp = { Timestamp(milliseconds: Int64(Date.now.timeIntervalSince1970 * 1000)) }
        public init() {}
    }

    private struct State {
        var cluster: Cluster
        var options: Options
        var faults: [Fault] = []
        var watches: [Int: Live] = [:]
        var nextWatch = 0
        var requests: [APIRequest] = []
        var observers: [@Sendable () -> Void] = []
        /// Of the last change that they were told of.
        var observed: Int64 = 0
    }

    private struct Live {
        var state: WatchState
        let exchange: TLSExchange
        var timer: Task<Void, Never>?
    }

    private let state: NIOLockedValueBox<State>
    private let server: NIOLockedValueBox<TLSServer?>
    /// Who answers the server's requests: itself, until it stops.
    private let receiver: NIOLockedValueBox<KubernetesDouble?>
    public let authority: TestAuthority
    public let url: String

    public init(options: Options = Options()) throws {
        let authority = try TestAuthority()
        let state = NIOLockedValueBox(State(cluster: Cluster(now: options.now), options: options))
        var tls = TLSServer.Options()
        tls.http2 = options.http2
        tls.clientCertificates = .optional
        let box = NIOLockedValueBox<TLSServer?>(nil)
        self.authority = authority
        self.state = state
        server = box
        let receiver = NIOLockedValueBox<KubernetesDouble?>(nil)
        self.receiver = receiver
        let server = try TLSServer(authority: authority, options: tls) { request, exchange in
            receiver.withLockedValue { $0 }?.receive(request, exchange)
        }
        url = server.url
        box.withLockedValue { $0 = server }
        receiver.withLockedValue { $0 = self }
    }

    public func stop() {
        for live in state.withLockedValue({ $0.watches.values }) { live.timer?.cancel() }
        server.withLockedValue { $0 }?.stop()
        receiver.withLockedValue { $0 = nil }
    }

    // MARK: What a test does to it

    /// Reads and changes the objects behind the clients' backs; watches are told.
    @discardableResult
    public func with<Result>(_ body: (inout Cluster) throws -> Result) rethrows -> Result {
        try state.withLockedValue { state in
            defer { Self.tell(&state) }
            return try body(&state.cluster)
        }
    }

    public func inject(_ fault: Fault) { state.withLockedValue { $0.faults.append(fault) } }
    public func clearFaults() { state.withLockedValue { $0.faults = [] } }
    public var openFaults: Int { state.withLockedValue { $0.faults.count } }
    public func setTokens(_ tokens: Set<String>?) { state.withLockedValue { $0.options.tokens = tokens } }
    /// All requests so far, in order.
    public var requests: [APIRequest] { state.withLockedValue { $0.requests } }
    public var watchCount: Int { state.withLockedValue { $0.watches.count } }

    /// Ends every watch in order, as a server does when it shuts down.
    public func endWatches() { state.withLockedValue { state in state.watches.keys.forEach { Self.end($0, &state) } } }
    /// Breaks every connection.
    public func dropConnections() { server.withLockedValue { $0 }?.dropConnections() }
    /// Makes every connection silent for ever; new ones work.
    public func freezeConnections() {
        server.withLockedValue { $0 }?.freezeConnections()
        state.withLockedValue { state in
            for live in state.watches.values { live.timer?.cancel() }
            state.watches = [:]
        }
    }

    // MARK: Requests

    private func receive(_ request: TLSServer.Request, _ exchange: TLSExchange) {
        let target = request.path + (request.query.isEmpty ? "" : "?" + request.query)
        let call = APIRequest(request.method, target, contentType: request.header("Content-Type"), body: request.body)
        let (fault, denial) = state.withLockedValue { state in
            state.requests.append(call)
            return (Self.takeFault(for: call, &state), Self.denial(request, call, state))
        }
        if let denial { return Self.send(denial, exchange) }
        switch fault {
        case .answer(let code, let reason, let message, let retryAfter):
            Self.send(.failure(code, reason, message, retryAfter: retryAfter), exchange)
        case .drop: exchange.drop()
        case .silence: break
        case .dropAfter:
            _ = answer(call)
            exchange.drop()
        case .answerAfter(let moment):
            let answer = answer(call)
            Task {
                await moment()
                Self.send(answer, exchange)
            }
        case .delay(let pause):
            Task {
                try? await Task.sleep(for: pause)
                perform(call, exchange)
            }
        case nil: perform(call, exchange)
        }
    }

    private func perform(_ call: APIRequest, _ exchange: TLSExchange) {
        if call.isWatch { return watch(call, exchange) }
        Self.send(answer(call), exchange)
    }

    private func answer(_ call: APIRequest) -> Answer {
        state.withLockedValue { state in
            defer { Self.tell(&state) }
            return state.cluster.answer(call)
        }
    }

    private static func takeFault(for call: APIRequest, _ state: inout State) -> Fault.Action? {
        guard let index = state.faults.firstIndex(where: { $0.matches(call) }) else { return nil }
        let action = state.faults[index].action
        state.faults[index].count -= 1
        if state.faults[index].count <= 0 { state.faults.remove(at: index) }
        return action
    }

    private static func denial(_ request: TLSServer.Request, _ call: APIRequest, _ state: State) -> Answer? {
        guard let tokens = state.options.tokens, request.client == nil else { return nil }
        guard let authorization = request.header("Authorization") else {
            let plural = call.target?.plural ?? ""
            return .failure(
                403, "Forbidden",
                "\(plural) is forbidden: User \"system:anonymous\" cannot list resource \"\(plural)\" in API group \"\(call.target?.group ?? "")\" in the namespace \"\(call.target?.namespace ?? "")\"",
                details: ["kind": .string(plural)])
        }
        let isKnown = tokens.contains { authorization == "Bearer \($0)" }
        return isKnown ? nil : .failure(401, "Unauthorized", "Unauthorized")
    }

    private static func send(_ answer: Answer, _ exchange: TLSExchange) {
        let body = (try? JSON.encode(answer.body)) ?? Data()
        exchange.respond(answer.status, Array(body), headers: [("Content-Type", "application/json")] + answer.headers)
    }

    // MARK: Watches

    private func watch(_ call: APIRequest, _ exchange: TLSExchange) {
        state.withLockedValue { state in
            switch state.cluster.open(call, knowsInitialEvents: state.options.knowsInitialEvents) {
            case .refused(let answer): Self.send(answer, exchange)
            case .begun(let watch, let events):
                exchange.begin(200, headers: [("Content-Type", "application/json")])
                events.forEach { Self.send($0, exchange) }
                guard let watch else { return exchange.end() }
                let id = state.nextWatch
                state.nextWatch += 1
                state.watches[id] = Live(state: watch, exchange: exchange)
                let lasts = call.query["timeoutSeconds"].flatMap { Int($0) } ?? 1800
                state.watches[id]?.timer = timer(id, lasts: .seconds(lasts), every: state.options.bookmarkInterval)
                Self.tell(&state)
                exchange.onLeaving { [weak self] in self?.forget(id) }
            }
        }
    }

    /// Sends bookmarks, the last one before the end.
    private func timer(_ id: Int, lasts: Duration, every interval: Duration) -> Task<Void, Never> {
        Task { [weak self] in
            let end = ContinuousClock.now + lasts
            while ContinuousClock.now < end {
                guard (try? await Task.sleep(for: min(interval, end - .now))) != nil else { return }
                self?.state.withLockedValue { state in
                    guard let live = state.watches[id], let bookmark = state.cluster.bookmark(for: live.state) else { return }
                    Self.send(bookmark, live.exchange)
                }
            }
            self?.state.withLockedValue { Self.end(id, &$0) }
        }
    }

    private func forget(_ id: Int) {
        // Not at once: it may be called while the lock is held.
        Task { state.withLockedValue { $0.watches.removeValue(forKey: id)?.timer?.cancel() } }
    }

    /// `observer` is called after every change. It must not block.
    func onChange(_ observer: @escaping @Sendable () -> Void) { state.withLockedValue { $0.observers.append(observer) } }

    private static func tell(_ state: inout State) {
        if state.observed != state.cluster.currentVersion {
            state.observed = state.cluster.currentVersion
            for observer in state.observers { observer() }
        }
        for id in state.watches.keys.sorted() {
            guard var live = state.watches[id] else { continue }
            for event in state.cluster.events(for: &live.state) { send(event, live.exchange) }
            state.watches[id] = live
        }
    }

    private static func end(_ id: Int, _ state: inout State) {
        guard let live = state.watches.removeValue(forKey: id) else { return }
        live.timer?.cancel()
        live.exchange.end()
    }

    private static func send(_ event: JSONValue, _ exchange: TLSExchange) {
        exchange.send(Array((try? JSON.encode(event)) ?? Data()) + [UInt8(ascii: "\n")])
    }
}
