import Foundation
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// Gives every session at which something happens a controller, and keeps only a deadline of those at rest.
final class SessionManager: Sendable {
    private let store: any Store
    private let runtime: any Runtime
    private let metrics: Metrics
    private let logger: Logger

    private struct State {
        var controllers: [String: Entry] = [:]
        var deadlines = DeadlineHeap()
        var timer: (due: Timestamp, task: Task<Void, Never>)?
        /// All sessions are being put to sleep: none is taken up again.
        var suspending = false
        var closed = false
        var whenEmpty: [CheckedContinuation<Void, Never>] = []
    }
    private struct Entry {
        var controller: SessionController?
        var task: Task<Void, Never>?
        /// Events that were sent while there is no controller yet.
        var early: [SessionReconciler.Event] = []
    }
    private let state = NIOLockedValueBox(State())

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
        for name in names { notify(name, .changed) }
    }

    /// Tells a session's controller, which is made if there is none.
    func notify(_ name: String, _ event: SessionReconciler.Event) {
        state.withLockedValue { state in
            guard !state.closed else { return }
            if let entry = state.controllers[name] {
                if let controller = entry.controller {
                    controller.send(event)
                } else {
                    state.controllers[name]?.early.append(event)
                }
            } else if !state.suspending {
                var entry = Entry()
                if case .changed = event {} else { entry.early.append(event) }
                entry.task = Task { await self.control(name) }
                state.controllers[name] = entry
            }
        }
    }

    /// The API of a session's living sidecar; nil when it has none.
    func client(of name: String) -> SidecarClient? {
        state.withLockedValue { $0.controllers[name]?.controller }?.client.withLockedValue { $0 }
    }

    /// Leaves all sessions as they are: their processes go on, and the next supervisor finds them.
    func close() async {
        let tasks = state.withLockedValue { state in
            state.closed = true
            state.timer?.task.cancel()
            return state.controllers.values.compactMap(\.task)
        }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
    }

    /// Drains and suspends all living sessions, for at most `limit`.
    func suspendAll(within limit: Duration) async {
        let names = state.withLockedValue { state in
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

    private func control(_ name: String) async {
        while !Task.isCancelled {
            let session: SessionResource?
            do {
                session = try await store.read { try $0.session(named: name) }
            } catch is CancellationError {
                break
            } catch {
                logger.error("a session could not be read; trying again", metadata: ["session": "\(name)", "error": "\(error)"])
                try? await Task.sleep(for: .seconds(1))
                continue
            }
            guard let session, session.status.phase != .ended else {
                if leave(name, due: nil) { return }
                continue
            }
            let controller = SessionController(session, store: store, runtime: runtime, metrics: metrics, logger: logger)
            state.withLockedValue { state in
                state.controllers[name]?.controller = controller
                // Changes made before the read are in what was read; the others are passed on.
                for event in state.controllers[name]?.early ?? [] { controller.send(event) }
                state.controllers[name]?.early = []
            }
            let left = NIOLockedValueBox(false)
            await controller.run { due in
                let may = self.leave(name, due: due)
                left.withLockedValue { $0 = may }
                return may
            }
            if left.withLockedValue({ $0 }) { return }
            // Another session has taken the name: it is taken up in its place.
            state.withLockedValue { $0.controllers[name]?.controller = nil }
        }
        state.withLockedValue { $0.controllers[name] = nil }
    }

    /// Takes a session's controller out of service, unless it has been sent something in the meantime.
    private func leave(_ name: String, due: Timestamp?) -> Bool {
        state.withLockedValue { state in
            guard let entry = state.controllers[name] else { return true }
            guard entry.controller?.isCaughtUp ?? entry.early.isEmpty else {
                // What was sent before there was a controller says no more than “look again”.
                if entry.controller == nil { state.controllers[name]?.early = [] }
                return false
            }
            state.controllers[name] = nil
            if let due {
                state.deadlines.insert(name, due: due)
                armTimer(&state)
            }
            if state.controllers.isEmpty {
                state.whenEmpty.forEach { $0.resume() }
                state.whenEmpty = []
            }
            return true
        }
    }

    private func armTimer(_ state: inout State) {
        guard !state.closed, let due = state.deadlines.next, state.timer.map({ due < $0.due }) ?? true else { return }
        state.timer?.task.cancel()
        let task = Task {
            guard (try? await Task.sleep(for: max(.zero, due - .now).duration + .milliseconds(1))) != nil else { return }
            self.wake()
        }
        state.timer = (due, task)
    }

    private func wake() {
        let names = state.withLockedValue { state in
            var names: [String] = []
            while let name = state.deadlines.pop(dueBy: .now) { names.append(name) }
            state.timer = nil
            armTimer(&state)
            return names
        }
        for name in names { notify(name, .changed) }
    }
}
