public import HTTPServing
import HTTPTypes
import Hummingbird
import Journal
import NIOCore
import SessionModel

/// The sidecar's HTTP API, version 1: docs/openapi.yaml.
public struct SidecarAPI: Sendable {
    let session: Session
    let metrics = RequestMetrics()

    public init(session: Session) { self.session = session }

    public var routes: Routes {
        var routes = Routes()
        routes.on(.post, "/v1/turns", enqueue)
        routes.on(.get, "/v1/turns") { _ in try .json(await session.turns().forDisplay) }
        routes.on(.get, "/v1/turns/{id}", turn)
        routes.on(.delete, "/v1/turns/{id}") { call in
            try .json(await session.cancel(Self.turnID(call)).forDisplay, status: .accepted)
        }
        routes.on(.post, "/v1/turns/{id}/input") { call in
            try .json(await session.answer(Self.turnID(call), call.json(InputAnswer.self)).forDisplay, status: .accepted)
        }
        routes.on(.get, "/v1/transcript", transcript)
        routes.on(.get, "/v1/session") { _ in try .json(await session.status()) }
        routes.on(.get, "/v1/activity", activity)
        routes.on(.post, "/v1/drain") { call in
            try .json(await session.drain(Self.optionalBody(call) ?? DrainRequest()), status: .accepted)
        }
        routes.on(.post, "/v1/keepalive") { call in
            try .json(await session.keepAlive(call.json(KeepAliveRequest.self).for))
        }
        routes.on(.put, "/v1/limits") { call in
            let limits = try await call.json(TurnLimits.self)
            if let mistake = limits.mistake { throw Problem(.invalidRequest, mistake + ".") }
            return try .json(await session.limit(limits))
        }
        routes.on(.post, "/v1/git") { call in
            try await session.record(call.json(GitTransfer.self))
            return Response(status: .noContent)
        }
        routes.on(.get, "/livez", open: true) { _ in try await live() }
        routes.on(.get, "/readyz", open: true) { _ in try await ready() }
        routes.on(.get, "/metrics") { _ in
            .text(await Metrics.text(of: session, requests: metrics), type: "text/plain; version=0.0.4; charset=utf-8")
        }
        return routes
    }

    // MARK: Turns

    private func enqueue(_ call: Call) async throws -> Response {
        let limit = session.options.limits.maxPromptBytes
        // A prompt grows when it is written as JSON: six bytes for one at the most.
        let request = try await call.json(TurnRequest.self, upTo: 6 * limit + 4096)
        let key = try call.header("Idempotency-Key").map { key in
            guard !key.isEmpty, key.utf8.count <= 256 else {
                throw Problem(.invalidRequest, "The Idempotency-Key must have 1 to 256 bytes.")
            }
            return KeyDigest(key: key, request: request)
        }
        let (turn, isNew) = try await session.enqueue(request, key: key)
        metrics.enqueued(new: isNew)
        return try .json(turn.forDisplay, status: isNew ? .accepted : .ok, headers: [.location: "/v1/turns/\(turn.id)"])
    }

    private func turn(_ call: Call) async throws -> Response {
        let id = try Self.turnID(call)
        guard let wait = try call.span("wait", atMost: .minutes(5)) else {
            return try .json(await session.turn(id).forDisplay)
        }
        return try .json(await call.whileConnected { try await session.turn(id, wait: wait) }.forDisplay)
    }

    private static func turnID(_ call: Call) throws(Problem) -> TurnID {
        guard let id = TurnID(call.parameter("id")) else {
            throw Problem(.notFound, "“\(call.parameter("id").prefix(bytes: 64))” is not a turn's id; they look like t12.")
        }
        return id
    }

    private static func optionalBody<Body: Decodable>(_ call: Call) async throws -> Body? {
        if call.header("Content-Length") == "0"
            || (call.header("Content-Length") == nil && call.header("Transfer-Encoding") == nil)
        {
            return nil
        }
        return try await call.json(Body.self)
    }

    // MARK: Activity and probes

    private func activity(_ call: Call) async throws -> Response {
        let after = try call.query("after", as: Int64.self)
        guard let wait = try call.span("wait", atMost: .minutes(5)), after != nil else {
            return try .json(await session.activity(after: nil, wait: .zero))
        }
        return try .json(await call.whileConnected { try await session.activity(after: after, wait: wait) })
    }

    /// Alive means that this process answers and its journal has not failed: only then would a restart help.
    private func live() async throws -> Response {
        if let fault = session.journal.fault, fault.code == .broken { throw Problem(.notReady, fault.message) }
        return .text("ok\n")
    }

    private func ready() async throws -> Response {
        let reasons = await session.notReady
        guard reasons.isEmpty else { throw Problem(.notReady, reasons.joined(separator: " "), retryAfter: 1) }
        return .text("ok\n")
    }
}

extension Turn {
    /// A long prompt is cut: the transcript has the whole.
    fileprivate var forDisplay: Turn {
        guard prompt.utf8.count > 64 << 10 else { return self }
        var turn = self
        turn.prompt = prompt.prefix(bytes: 64 << 10)
        return turn
    }
}

extension TurnList {
    fileprivate var forDisplay: TurnList {
        var list = self
        list.turns = turns.map(\.forDisplay)
        return list
    }
}
