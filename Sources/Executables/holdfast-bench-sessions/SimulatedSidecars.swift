import Curl
import Foundation
import Logging
import NIOConcurrencyHelpers
import SessionModel

@testable import Supervisor

/// Sidecars that are only their answers: no processes, no sockets. What is left to measure is the supervisor.
final class SimulatedSidecars: Runtime {
    private let sidecars = NIOLockedValueBox<[String: SimulatedSidecar]>([:])
    /// Long-polls that wait, by when they are answered although nothing has changed.
    private let polls = NIOLockedValueBox(DeadlineHeap())
    private let clock = NIOLockedValueBox<Task<Void, Never>?>(nil)

    init(names: [String]) {
        for name in names { sidecars.withLockedValue { $0[name] = SimulatedSidecar(name, self) } }
        // Made before anything is measured, as is the heap's storage.
        for name in names { polls.withLockedValue { $0.insert(name, due: .earliest) } }
        polls.withLockedValue { while $0.pop(dueBy: .earliest) != nil {} }
        clock.withLockedValue {
            $0 = Task { [weak self] in
                while (try? await Task.sleep(for: .milliseconds(50))) != nil { self?.answerPolls() }
            }
        }
    }

    func stop() { clock.withLockedValue { $0?.cancel() } }

    subscript(name: String) -> SimulatedSidecar? { sidecars.withLockedValue { $0[name] } }
    var all: [SimulatedSidecar] { sidecars.withLockedValue { Array($0.values) } }

    fileprivate func answer(_ name: String, by due: Timestamp) { polls.withLockedValue { $0.insert(name, due: due) } }

    private func answerPolls() {
        while let (name, _) = polls.withLockedValue({ $0.pop(dueBy: .now) }) { self[name]?.answerPoll(ifDueBy: .now) }
    }

    // MARK: Runtime

    var runsPods: Bool { false }

    func start(_ session: SessionResource, epoch: UInt32) throws -> any Incarnation {
        throw LocalError("no session is to start here")
    }

    func find(_ session: SessionResource, epoch: UInt32) -> FoundIncarnation {
        self[session.metadata.name].map { .alive($0) } ?? .ended
    }

    func transcript(of session: SessionResource) -> TranscriptSource? { nil }
    func discard(_ session: SessionResource) -> (@Sendable () async throws -> Void)? { nil }
    func endStrays(_ session: @Sendable (_ name: String) async throws -> SessionResource?) {}
    func removeOldArchives(at now: Timestamp) {}
}

/// An idle sidecar that agrees to drain.
final class SimulatedSidecar: Incarnation, SidecarTransport {
    let epoch: UInt32 = 1
    let pid: Int32? = nil
    let news = IncarnationFeed()
    private let name: String
    private unowned let owner: SimulatedSidecars

    private struct State {
        var version: Int64 = 1
        var idleSince = Timestamp.now
        var drained = false
        var isBusy = false
        var isCurrent = false
        var poll: (@Sendable (Result<CurlResponse, CurlError>) -> Void)?
        var pollDue = Timestamp.earliest
        var polls = 0
        var drainAsked: Timestamp?
    }
    private let state = NIOLockedValueBox(State())

    init(_ name: String, _ owner: SimulatedSidecars) {
        self.name = name
        self.owner = owner
    }

    /// The supervisor has told it its limits, and waits for what it does.
    var isCurrent: Bool { state.withLockedValue { $0.isCurrent && $0.poll != nil } }
    var idleSince: Timestamp { state.withLockedValue(\.idleSince) }
    /// When it was asked to drain and agreed.
    var drainAsked: Timestamp? { state.withLockedValue(\.drainAsked) }

    /// A turn that nobody sent runs from now on.
    func begin() {
        state.withLockedValue { state in
            state.version += 1
            state.isBusy = true
        }
        answerPoll(ifDueBy: nil)
    }

    var client: SidecarClient? { SidecarClient(.unix(path: name), transport: self) }

    func log() -> String { "" }
    func note(isBusy: Bool) {}
    func stop(grace: TimeSpan) { news.tell(.ended("exit code 0")) }

    // MARK: Answers

    func execute(_ request: CurlRequest, maxBody: Int) -> CurlResponse { answer(request) }

    /// A long-poll of the version that is known waits: for a minute, the first time for a part of one, so that not all wait for the
    /// same moment.
    func send(
        _ request: CurlRequest, maxBody: Int, then: @escaping @Sendable (Result<CurlResponse, CurlError>) -> Void
    ) -> @Sendable () -> Void {
        let waits = state.withLockedValue { state in
            guard request.url.contains("after=\(state.version)&") else { return false }
            state.poll = then
            state.polls += 1
            state.pollDue = .now + .milliseconds(state.polls == 1 ? .random(in: 0...60_000) : 60_000)
            return true
        }
        if waits {
            owner.answer(name, by: state.withLockedValue(\.pollDue))
        } else {
            then(.success(answer(request)))
        }
        return { [weak self] in self?.state.withLockedValue { $0.poll = nil } }
    }

    private func answer(_ request: CurlRequest) -> CurlResponse {
        let path = request.url.dropFirst("http://sidecar".count)
        switch (request.method, path.prefix { $0 != "?" }) {
        case ("GET", "/readyz"): return Self.response(200, Data())
        case ("PUT", "/v1/limits"):
            state.withLockedValue { $0.isCurrent = true }
            return Self.response(200, Data("{}".utf8))
        case ("GET", "/v1/activity"): return json(200, activity)
        case ("GET", "/v1/session"):
            return json(
                200,
                SessionStatus(
                    session: nil, version: "bench", startedAt: .now, ready: true, notReady: [], agent: AgentStatus(),
                    workspace: nil, directory: "/", turns: TurnCounts(), usage: Usage(), activity: activity, limits: TurnLimits())
            )
        case ("POST", "/v1/drain"):
            let drain = request.body.flatMap { try? JSON.decode(DrainRequest.self, from: Data($0)) } ?? DrainRequest()
            let agrees = state.withLockedValue { state in
                guard .now - state.idleSince >= drain.ifIdleFor ?? .zero else { return false }
                state.drainAsked = .now
                state.drained = true
                state.version += 1
                return true
            }
            guard agrees else {
                var problem = Problem(.busy, "not idle for long enough")
                problem.activity = activity
                return json(409, problem)
            }
            answerPoll(ifDueBy: nil)
            return json(202, activity)
        default: return Self.response(404, Data("{}".utf8))
        }
    }

    private var activity: Activity {
        state.withLockedValue { state in
            Activity(
                version: state.version, journal: "0123456789abcdef", epoch: epoch, busy: state.isBusy,
                idleSince: state.isBusy ? nil : state.idleSince,
                running: nil, awaitingInput: nil, queued: 0, attached: 0, keepAliveUntil: nil, draining: state.drained,
                drained: state.drained, waitingFor: nil, cursor: Cursor(journal: "0123456789abcdef", sequence: 42))
        }
    }

    fileprivate func answerPoll(ifDueBy now: Timestamp?) {
        let poll = state.withLockedValue { state in now.map { state.pollDue <= $0 } ?? true ? state.poll.take() : nil }
        poll?(.success(json(200, activity)))
    }

    private func json(_ status: Int, _ value: some Encodable) -> CurlResponse {
        Self.response(status, (try? JSON.encode(value)) ?? Data())
    }

    private static func response(_ status: Int, _ body: Data) -> CurlResponse {
        CurlResponse(status: status, headers: [], body: Array(body))
    }
}
