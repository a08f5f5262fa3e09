import Foundation
import Glibc
import HTTPServing
import HTTPTypes
import Hummingbird
import Logging
import NIOConcurrencyHelpers
import SessionModel

@testable import Supervisor

/// Sidecars without agents: each is a real process, a shell script that does nothing, so that it can be killed and found again;
/// and a server in this process that listens on its socket and answers from a real `TurnQueue`.
///
/// A turn ends at once with its prompt as the answer, unless the prompt begins with "hold": then it ends when ``finish(_:)`` is
/// called.
final class FakeSidecars: Sendable {
    /// The "binary" to give to the runtime.
    let program: String
    private let fifo: String
    private let sessions = NIOLockedValueBox<[String: FakeSession]>([:])
    private let servers = NIOLockedValueBox<[Task<Void, any Error>]>([])

    init(directory: String) throws {
        program = "\(directory)/sidecar"
        fifo = "\(directory)/starts"
        guard mkfifo(fifo, 0o600) == 0 else { throw LocalError("mkfifo", errno: errno) }
        // It says that it was started, and how, and then only waits to be killed.
        try Data("#!/bin/sh\necho \"$@\" >\(fifo)\nexec sleep 600\n".utf8).write(to: URL(filePath: program))
        chmod(program, 0o700)
        // Opened for writing too, so that reading never ends between two starts.
        let descriptor = open(fifo, O_RDWR | O_CLOEXEC)
        Thread.detachNewThread { [weak self] in
            guard let file = fdopen(descriptor, "r") else { return }
            var line: UnsafeMutablePointer<CChar>?
            var size = 0
            while getline(&line, &size, file) > 0, let text = line.map({ String(cString: $0) }), text != "quit\n" {
                self?.started(text.split(whereSeparator: \.isWhitespace).map(String.init))
            }
            free(line)
            fclose(file)
        }
    }

    deinit {
        for server in servers.withLockedValue(\.self) { server.cancel() }
        let descriptor = open(fifo, O_WRONLY | O_NONBLOCK)
        _ = write(descriptor, "quit\n", 5)
        close(descriptor)
    }

    /// The session of a key; its state outlives the processes.
    func session(_ key: SessionKey) -> FakeSession {
        sessions.withLockedValue { sessions in
            let session = sessions[key.description] ?? FakeSession()
            sessions[key.description] = session
            return session
        }
    }

    private func started(_ arguments: [String]) {
        func option(_ name: String) -> String? {
            arguments.firstIndex(of: name).flatMap { $0 + 1 < arguments.count ? arguments[$0 + 1] : nil }
        }
        guard let socket = option("--socket"), let epoch = option("--epoch").flatMap({ UInt32($0) }),
            let key = option("--session").flatMap({ try? SessionKey(parsing: $0) })
        else { return }
        let session = session(key)
        session.open(epoch: epoch, maxQueued: option("--max-queued-turns").flatMap { Int($0) } ?? 100)
        unlink(socket)
        var quiet = Logger(label: "fake")
        quiet.logLevel = .critical
        let service = HTTPService(.unix(path: socket), routes: session.routes(), logger: quiet)
        servers.withLockedValue { $0.append(Task { try await service.run() }) }
    }
}

/// One session's queue and journal, without a disk.
final class FakeSession: Sendable {
    private struct State {
        var queue = TurnQueue()
        var journal = FakeSession.newJournal()
        var epoch: UInt32 = 0
        var version: Int64 = 0
        /// Prompts in the order in which they were dispatched.
        var dispatched: [String] = []
        var loses = false
    }
    private let state = NIOLockedValueBox(State())
    private let feed = ChangeFeed()

    var dispatched: [String] { state.withLockedValue(\.dispatched) }
    var epoch: UInt32 { state.withLockedValue(\.epoch) }

    /// From the next epoch on everything is forgotten, as when the disk was lost.
    func loseJournal() { state.withLockedValue { $0.loses = true } }

    /// Lets the running turn succeed.
    func finish(_ answer: String) {
        state.withLockedValue { state in
            guard let running = state.queue.running else { return }
            let end = TurnEnded(state: .succeeded, reason: .completed, results: TurnResults(answer: answer))
            Self.handle(.finished(running.id, end, clean: true), &state)
        }
        tell()
    }

    func open(epoch: UInt32, maxQueued: Int) {
        state.withLockedValue { state in
            if state.loses {
                state.queue = TurnQueue()
                state.journal = Self.newJournal()
                state.loses = false
            }
            state.epoch = epoch
            state.queue.limits.maxQueuedTurns = maxQueued
            for input in [
                .opened(epoch: epoch, SessionOpened(version: "test", session: nil)), .agentConfigured(true), .hostConnected,
                .hostClear,
            ] as [TurnQueue.Input] { Self.handle(input, &state) }
        }
        tell()
    }

    func routes() -> Routes {
        var routes = Routes()
        routes.on(.get, "/readyz") { [self] _ in
            state.withLockedValue(\.queue.draining) == nil ? .text("ok") : .problem(Problem(.notReady, "draining"))
        }
        routes.on(.get, "/v1/activity") { [self] call in
            let after = try call.query("after", as: Int64.self)
            let wait = try call.span("wait", atMost: .seconds(60)) ?? .zero
            let activity = try await feed.value(
                of: "", "", within: wait.duration, read: { self.activity }, isNews: { after == nil || $0.version != after })
            return try .json(activity)
        }
        routes.on(.get, "/v1/session") { [self] _ in
            let (counts, limits) = state.withLockedValue { ($0.queue.counts, $0.queue.limits) }
            return try .json(
                SessionStatus(
                    session: nil, version: "test", startedAt: .now, ready: true, notReady: [], agent: AgentStatus(),
                    workspace: nil, directory: "/", turns: counts, usage: Usage(), activity: activity, limits: limits))
        }
        routes.on(.post, "/v1/turns") { [self] call in
            let request = try await call.json(TurnRequest.self)
            let key = call.header("Idempotency-Key").map { KeyDigest(key: $0, request: request) }
            return try .json(try reply(.enqueue(request, key: key)), status: .accepted)
        }
        routes.on(.get, "/v1/turns/{id}") { [self] call in try .json(try turn(call.parameter("id"))) }
        routes.on(.delete, "/v1/turns/{id}") { [self] call in
            let turn = try turn(call.parameter("id"))
            _ = try reply(.cancel(turn.id))
            if turn.state == .running {
                handle(.finished(turn.id, TurnEnded(state: .cancelled, reason: .cancelled), clean: true))
            }
            return try .json(try self.turn(call.parameter("id")), status: .accepted)
        }
        routes.on(.put, "/v1/limits") { [self] call in
            _ = try reply(.limits(try await call.json(TurnLimits.self)))
            return .text("{}")
        }
        routes.on(.post, "/v1/drain") { [self] call in
            _ = try reply(.drain(try await call.json(DrainRequest.self)))
            return try .json(activity, status: .accepted)
        }
        routes.on(.get, "/v1/transcript") { [self] call in
            call.stream(type: "application/x-ndjson") { [journal = state.withLockedValue(\.journal)] writer in
                try await writer.write(Array("{\"journal\":\"\(journal)\"}\n".utf8))
            }
        }
        return routes
    }

    private func turn(_ text: String) throws(Problem) -> Turn {
        guard let id = TurnID(text), let turn = state.withLockedValue({ $0.queue.turn(id) }) else {
            throw Problem(.notFound, "no turn")
        }
        return turn
    }

    private func reply(_ input: TurnQueue.Input) throws(Problem) -> Turn? {
        let reply = handle(input)
        switch reply {
        case .refused(let problem): throw problem
        case .accepted(let id), .repeated(let id): return state.withLockedValue { $0.queue.turn(id) }
        case .done, nil: return nil
        }
    }

    @discardableResult
    private func handle(_ input: TurnQueue.Input) -> TurnQueue.Reply? {
        defer { tell() }
        return state.withLockedValue { Self.handle(input, &$0) }
    }

    private func tell() {
        feed.publish([Change(kind: "", name: "", session: nil, created: false, expires: false)])
    }

    @discardableResult
    private static func handle(_ input: TurnQueue.Input, _ state: inout State) -> TurnQueue.Reply? {
        var reply: TurnQueue.Reply?
        state.version += 1
        for effect in state.queue.handle(input, at: .now) {
            switch effect {
            case .reply(let answer): reply = answer
            case .dispatch(let id):
                let prompt = state.queue.turn(id)?.prompt ?? ""
                state.dispatched.append(prompt)
                guard !prompt.hasPrefix("hold") else { continue }
                let end = TurnEnded(state: .succeeded, reason: .completed, results: TurnResults(answer: prompt))
                handle(.finished(id, end, clean: true), &state)
            case .endProcesses: handle(.hostClear, &state)
            case .record, .interrupt, .answer: break
            }
        }
        return reply
    }

    private var activity: Activity {
        state.withLockedValue { state in
            let queue = state.queue
            return Activity(
                version: state.version, journal: state.journal, epoch: state.epoch, busy: queue.isBusy(at: .now),
                idleSince: queue.idleSince, running: queue.running?.id, awaitingInput: queue.running?.input,
                queued: queue.queued.count, attached: 0, keepAliveUntil: nil, draining: queue.draining != nil,
                drained: queue.drained, waitingFor: queue.waitingFor, cursor: Cursor(journal: state.journal, sequence: 1))
        }
    }

    private static func newJournal() -> String {
        let digits = String(UInt64.random(in: .min ... .max), radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}
