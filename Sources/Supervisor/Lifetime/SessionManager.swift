import Foundation
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// Gives every session at which something happens a controller, and keeps only a deadline of those at rest.
final class SessionManager: Sendable {
    let store: any Store
    let runtime: any Runtime
    let metrics: Metrics
    let logger: Logger

    private struct State {
        var controllers: [String: Entry] = [:]
        /// Sessions that are to be read and given a controller, and those that a start has found.
        var waiting: [String] = []
        var backlog: ArraySlice<String> = []
        var readers: [Int: Task<Void, Never>] = [:]
        var lastReader = 0
        var deadlines = DeadlineHeap()
        var timer: (due: Timestamp, task: Task<Void, Never>)?
        /// All sessions are being put to sleep: none is taken up again.
        var suspending = false
        var closed = false
        var whenEmpty: [CheckedContinuation<Void, Never>] = []
    }
    private struct Entry {
        var controller: SessionController?
        /// Events that were sent while there is no controller yet.
        var early: [SessionReconciler.Event] = []
    }
    private let state = NIOLockedValueBox(State())

    /// So many sessions are taken up at a time: a start with thousands needs no memory for all of them at once.
    private static let readersLimit = 64
    /// Timers do not see the wall clock being set, so it is looked at so often.
    private static let longestSleep = TimeSpan.minutes(1)

    init(store: any Store, runtime: any Runtime, metrics: Metrics, logger: Logger) {
        self.store = store
        self.runtime = runtime
        self.metrics = metrics
        self.logger = logger
    }

    /// Takes up all sessions where an earlier supervisor left them.
    func start() async throws {
        store.feed.observe { [weak self] change in
            switch change.kind {
            case "Session": self?.notify(change.name, .changed)
            case "Task": if let session = change.session { self?.notify(session, .changed) }
            default: break
            }
        }
        let names = try await store.read { try $0.openSessionNames() }
        state.withLockedValue { state in
            state.backlog = names[...]
            countAttended(state)
            read(&state)
        }
    }

    /// Tells a session's controller, which is made if there is none.
    func notify(_ name: String, _ event: SessionReconciler.Event) {
        state.withLockedValue { notify(name, event, &$0) }
    }

    private func notify(_ name: String, _ event: SessionReconciler.Event, _ state: inout State) {
        guard !state.closed else { return }
        if let entry = state.controllers[name] {
            if let controller = entry.controller {
                controller.send(event)
            } else {
                state.controllers[name]?.early.append(event)
            }
        } else if !state.suspending {
            state.controllers[name] = Entry(early: event == .changed ? [] : [event])
            state.waiting.append(name)
            countAttended(state)
            read(&state)
        }
    }

    /// The API of a session's living sidecar; nil when it has none.
    func client(of name: String) -> SidecarClient? {
        state.withLockedValue { $0.controllers[name]?.controller }?.client
    }

    /// Leaves all sessions as they are: their processes go on, and the next supervisor finds them.
    func close() async {
        let (readers, controllers) = state.withLockedValue { state in
            state.closed = true
            state.timer?.task.cancel()
            return (Array(state.readers.values), state.controllers.values.compactMap(\.controller))
        }
        for reader in readers { reader.cancel() }
        for controller in controllers { await controller.close() }
        for reader in readers { await reader.value }
        state.withLockedValue { state in
            (state.controllers, state.backlog) = ([:], [])
            countAttended(state)
        }
    }

    /// Drains and suspends all living sessions, for at most `limit`.
    func suspendAll(within limit: Duration) async {
        let names = state.withLockedValue { state in
            for name in state.backlog where state.controllers[name] == nil { notify(name, .changed, &state) }
            state.backlog = []
            state.suspending = true
            return Array(state.controllers.keys)
        }
        for name in names { notify(name, .shutdown) }
        let deadline = Task {
            guard (try? await Task.sleep(for: limit)) != nil else { return }
            abandonSuspension()
        }
        await withCheckedContinuation { continuation in
            let empty = state.withLockedValue { state in
                if state.controllers.isEmpty { return true }
                state.whenEmpty.append(continuation)
                return false
            }
            if empty { continuation.resume() }
        }
        deadline.cancel()
    }

    /// Makes ``suspendAll(within:)`` return, wherever the sessions are.
    func abandonSuspension() {
        let waiters = state.withLockedValue { state in
            defer { state.whenEmpty = [] }
            return state.whenEmpty
        }
        for waiter in waiters { waiter.resume() }
    }
}

// MARK: - Controllers

extension SessionManager {
    private func read(_ state: inout State) {
        while !state.closed, state.readers.count < Self.readersLimit {
            if !state.waiting.isEmpty {
                startReader(state.waiting.removeFirst(), &state)
            } else if let name = state.backlog.popFirst() {
                guard state.controllers[name] == nil else { continue }
                state.controllers[name] = Entry()
                startReader(name, &state)
            } else {
                return
            }
        }
    }

    private func countAttended(_ state: State) {
        let attended = state.controllers.count + state.backlog.count
        metrics.count { $0.attended = attended }
    }

    private func startReader(_ name: String, _ state: inout State) {
        state.lastReader += 1
        let reader = state.lastReader
        state.readers[reader] = Task {
            await self.takeUp(name)
            self.state.withLockedValue { state in
                state.readers[reader] = nil
                self.read(&state)
            }
        }
    }

    /// Reads a session, gives it a controller, and waits until that has worked on what there is.
    private func takeUp(_ name: String) async {
        while !Task.isCancelled {
            let session: SessionResource?
            do {
                session = try await store.read { try $0.session(named: name) }
            } catch {
                if Task.isCancelled { return }
                logger.error("a session could not be read; trying again", metadata: ["session": "\(name)", "error": "\(error)"])
                try? await Task.sleep(for: .seconds(1))
                continue
            }
            guard let session, session.status.phase != .ended else {
                if leave(name, due: nil) { return }
                continue
            }
            let controller = SessionController(session, manager: self)
            let isTaken = state.withLockedValue { state in
                guard !state.closed, let entry = state.controllers[name] else { return false }
                state.controllers[name] = Entry(controller: controller)
                controller.send(.restored)
                // Changes made before the read are in what was read; the others are passed on.
                for event in entry.early { controller.send(event) }
                return true
            }
            return isTaken ? await controller.settled() : ()
        }
    }

    /// Takes a session's controller out of service, unless it has been sent something in the meantime.
    func leave(_ name: String, due: Timestamp?) -> Bool {
        state.withLockedValue { state in
            guard let entry = state.controllers[name] else { return true }
            guard entry.controller?.isCaughtUp ?? entry.early.isEmpty else {
                // What was sent before there was a controller says no more than “look again”.
                if entry.controller == nil { state.controllers[name]?.early = [] }
                return false
            }
            state.controllers[name] = nil
            countAttended(state)
            if let due { arm(name, due: due, &state) }
            if state.controllers.isEmpty {
                state.whenEmpty.forEach { $0.resume() }
                state.whenEmpty = []
            }
            return true
        }
    }

    /// Another session has taken the name, or another supervisor has written: it is read again.
    func replace(_ controller: SessionController) {
        state.withLockedValue { state in
            guard state.controllers[controller.name]?.controller === controller else { return }
            state.controllers[controller.name] = Entry(early: state.suspending ? [.shutdown] : [])
            state.waiting.append(controller.name)
            read(&state)
        }
    }
}

// MARK: - Deadlines

extension SessionManager {
    /// Something is due for the session by itself then, at the earliest.
    func arm(_ name: String, due: Timestamp) { state.withLockedValue { arm(name, due: due, &$0) } }

    private func arm(_ name: String, due: Timestamp, _ state: inout State) {
        state.deadlines.insert(name, due: due)
        armTimer(&state)
    }

    private func armTimer(_ state: inout State) {
        guard !state.closed, let next = state.deadlines.next else { return }
        let due = min(next, .now + Self.longestSleep)
        guard state.timer.map({ due < $0.due }) ?? true else { return }
        state.timer?.task.cancel()
        let task = Task {
            guard (try? await Task.sleep(for: max(.zero, due - .now).duration + .milliseconds(1))) != nil else { return }
            self.wake()
        }
        state.timer = (due, task)
    }

    private func wake() {
        state.withLockedValue { state in
            while let (name, due) = state.deadlines.pop(dueBy: .now) {
                metrics.count { $0.lateness.add(.now - due) }
                notify(name, state.controllers[name]?.controller == nil ? .changed : .timer, &state)
            }
            state.timer = nil
            armTimer(&state)
        }
    }
}
