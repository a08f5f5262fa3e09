import Foundation
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// The shell around one session's ``SessionModel/SessionReconciler``: it passes events in, and performs the steps that come out.
///
/// A controller works on one event after the other, and has a task only while there are any; nothing else touches its state. It
/// holds no policy. It exists only while something can happen by itself: a session at rest has none (``SessionManager``). While
/// nothing happens at a living session either, there is no reconciler, but only what has to be remembered (`Parked`).
actor SessionController {
    private struct Mailbox {
        var events: [SessionReconciler.Event] = []
        /// Works on them.
        var work: Task<Void, Never>?
        var isClosed = false
    }

    /// Boxed: a reconciler has kilobytes.
    private final class Mind {
        var reconciler: SessionReconciler
        init(_ reconciler: SessionReconciler) { self.reconciler = reconciler }
    }

    nonisolated let name: String
    private unowned let manager: SessionManager

    private nonisolated let mailbox = NIOLockedValueBox(Mailbox())
    private nonisolated let followed = NIOLockedValueBox<SidecarWatch?>(nil)

    private var mind: Mind?
    /// What there is instead of it while nothing happens.
    private var parked: SessionReconciler.Parked?
    private var incarnation: (any Incarnation)?

    /// - Parameter manager: outlives it.
    init(_ session: SessionResource, manager: SessionManager) {
        name = session.metadata.name
        self.manager = manager
        mind = Mind(SessionReconciler(session))
    }

    private var store: any Store { manager.store }
    private var runtime: any Runtime { manager.runtime }
    private var metrics: Metrics { manager.metrics }

    /// The living sidecar's API, for those who pass requests through.
    nonisolated var client: SidecarClient? { followed.withLockedValue { $0?.client } }

    nonisolated func send(_ event: SessionReconciler.Event) {
        mailbox.withLockedValue { mailbox in
            guard !mailbox.isClosed else { return }
            SessionReconciler.Event.add(event, to: &mailbox.events)
            if mailbox.work == nil { mailbox.work = Task { await self.work() } }
        }
    }

    /// No event waits to be worked on.
    nonisolated var isCaughtUp: Bool { mailbox.withLockedValue(\.events.isEmpty) }

    /// Returns when all that was sent so far has been worked on.
    nonisolated func settled() async { await mailbox.withLockedValue(\.work)?.value }

    /// Leaves the session as it is.
    nonisolated func close() async {
        let work = mailbox.withLockedValue { mailbox in
            mailbox.isClosed = true
            return mailbox.work
        }
        work?.cancel()
        await work?.value
        await finish()
    }

    private func work() async {
        while let event = nextEvent() {
            guard let mind = await wakeUp() else { continue }
            await work(on: event, mind)
            if mind.reconciler.isDeposed {
                manager.replace(self)
                return finish()
            }
            if mind.reconciler.isAtRest, manager.leave(name, due: mind.reconciler.nextDeadline) { return finish() }
            if let due = mind.reconciler.nextDeadline { manager.arm(name, due: due) }
        }
        parked = mind?.reconciler.parked
        if parked != nil { mind = nil }
    }

    /// What has been parked is read again.
    /// - Returns: nil when this controller has ended meanwhile.
    private func wakeUp() async -> Mind? {
        guard let parked else { return mind }
        let name = name
        while !Task.isCancelled {
            do {
                let (session, tasks) = try await store.read { (try $0.session(named: name), try $0.openTasks(session: name)) }
                guard let reconciler = SessionReconciler(parked, session, tasks) else {
                    await incarnation?.stop(grace: SessionMachine.stopGrace)
                    manager.replace(self)
                    finish()
                    return nil
                }
                self.parked = nil
                mind = Mind(reconciler)
                return mind
            } catch {
                if Task.isCancelled { break }
                manager.logger.error(
                    "a session could not be read; trying again", metadata: ["session": "\(name)", "error": "\(error)"])
                try? await Task.sleep(for: .seconds(1))
            }
        }
        return nil
    }

    private func nextEvent() -> SessionReconciler.Event? {
        mailbox.withLockedValue { mailbox in
            guard !mailbox.isClosed, !mailbox.events.isEmpty else {
                mailbox.work = nil
                mailbox.events = []
                return nil
            }
            return mailbox.events.removeFirst()
        }
    }

    private func work(on event: SessionReconciler.Event, _ mind: Mind) async {
        metrics.count { $0.reconciles += 1 }
        // What it was woken up for, before the event.
        await perform(mind)
        var event = event
        if case .gone(let epoch, let why) = event {
            guard incarnation?.epoch == epoch else { return }
            event = .gone(epoch: epoch, why: await ended(why, mind.reconciler))
        }
        mind.reconciler.take(event, at: .now)
        await perform(mind)
    }

    private func perform(_ mind: Mind) async {
        while !Task.isCancelled, let step = mind.reconciler.next(at: .now) {
            let answer = await perform(step, mind.reconciler.session)
            mind.reconciler.answer(answer, at: .now)
        }
    }

    private func finish() {
        mailbox.withLockedValue { $0.isClosed = true }
        follow(nil)
    }

    /// Of the sidecar before it nothing more is heard.
    private func follow(_ watch: SidecarWatch?) {
        followed.withLockedValue { followed in
            defer { followed = watch }
            return followed
        }?.end()
        watch?.poll()
    }

    private func log(_ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata) {
        let session = mind.map { "\($0.reconciler.session.spec.key)" } ?? name
        manager.logger.log(level: level, message, metadata: metadata.merging(["session": "\(session)"]) { $1 })
    }
}

// MARK: - Steps

extension SessionController {
    private func perform(_ step: SessionReconciler.Step, _ session: SessionResource) async -> SessionReconciler.Answer {
        switch step {
        case .load, .store, .change, .findAbandoned:
            return await performInStore(step)
        case .start(let epoch):
            do {
                let incarnation = try await runtime.start(session, epoch: epoch)
                metrics.count { $0.starts += 1 }
                return attend(to: incarnation)
            } catch let postponed as StartPostponed {
                return .postponed(postponed.why, postponed.pause)
            } catch let refused as StartRefused {
                log(.error, "the sidecar cannot be started", ["epoch": "\(epoch)", "why": "\(refused.why)"])
                return .impossible(refused.why)
            } catch {
                metrics.count { $0.crashes += 1 }
                log(.error, "the sidecar could not be started", ["epoch": "\(epoch)", "error": "\(error)"])
                return .failed("\(error)")
            }
        case .find(let epoch):
            return await find(session, epoch)
        case .stop(let epoch, let grace):
            if let incarnation, incarnation.epoch == epoch { await incarnation.stop(grace: grace) }
            return .done
        case .call(let epoch, let call):
            guard let incarnation, incarnation.epoch == epoch else { return .unreachable("its process has ended") }
            guard let client = incarnation.client else { return .unreachable("it has no address yet") }
            return await perform(call, client)
        }
    }

    private func performInStore(_ step: SessionReconciler.Step) async -> SessionReconciler.Answer {
        let name = name
        do {
            switch step {
            case .load:
                return try await store.read { store in
                    .loaded(try store.session(named: name), try store.openTasks(session: name))
                }
            case .store(let write):
                return await persist(write)
            case .change(let write):
                return try await store.write { try write.perform(at: .now, in: $0) }
            case .findAbandoned:
                return .tasks(try await store.read { try $0.tasks(session: name, limit: 200) })
            case .start, .find, .stop, .call:
                return .failed("not a step of the store")
            }
        } catch {
            if Task.isCancelled { return .failed("\(error)") }
            log(.error, "the store did not answer; trying again", ["error": "\(error)"])
            return .failed("\(error)")
        }
    }

    /// Runs a transaction until the disk takes it: nothing is done before it is stored.
    private func persist(_ write: SessionReconciler.StatusWrite) async -> SessionReconciler.Answer {
        if write.status.phase != write.expecting.phase {
            log(
                .info, "session is \(write.status.phase.rawValue)",
                ["epoch": "\(write.status.epoch)", "why": "\(write.status.message ?? "")"])
            let transition = Metrics.Transition(phase: write.status.phase, cause: write.cause)
            metrics.count { $0.transitions[transition, default: 0] += 1 }
        }
        let newUID = Identity.uid()
        var pause = Duration.milliseconds(50)
        while !Task.isCancelled {
            do {
                let stored = try await store.write { try write.perform(at: .now, newUID: newUID, in: $0) }
                return stored.map { .stored($0) } ?? .deposed
            } catch {
                if Task.isCancelled { break }
                log(.error, "the session's status could not be stored; trying again", ["error": "\(error)"])
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(5))
            }
        }
        return .deposed
    }

    private func find(_ session: SessionResource, _ epoch: UInt32) async -> SessionReconciler.Answer {
        if let incarnation, incarnation.epoch == epoch { return .alive(pid: incarnation.pid) }
        do {
            switch try await runtime.find(session, epoch: epoch) {
            case .alive(let incarnation):
                metrics.count { $0.adoptions += 1 }
                log(.info, "found the running sidecar again", ["epoch": "\(epoch)"])
                return attend(to: incarnation)
            case .ended: return .ended
            case .neverStarted: return .neverStarted
            case .unknown(let why): return .unknown(why)
            }
        } catch {
            log(.error, "cannot tell whether the sidecar runs", ["epoch": "\(epoch)", "error": "\(error)"])
            return .unknown("\(error)")
        }
    }

    private func perform(_ call: SessionReconciler.Call, _ client: SidecarClient) async -> SessionReconciler.Answer {
        do throws(SidecarClient.Failure) {
            switch call {
            case .enqueue(let request, let key):
                let turn = try await client.enqueue(request, key: key)
                metrics.count { $0.turnsAccepted += 1 }
                return .turn(turn)
            case .knows(let key): return .known(try await client.knows(key: key))
            case .turn(let id): return try await client.turn(id).map { .turn($0) } ?? .noTurn
            case .cancel(let id): try await client.cancel(id)
            case .drain(let request):
                try await client.drain(request)
                metrics.count { $0.drainsAccepted += 1 }
            case .limits(let limits): try await client.limit(limits)
            case .status: return .status(try await client.session())
            }
            return .done
        } catch {
            switch call {
            case .drain: metrics.count { $0.drainsRefused += 1 }
            case .enqueue: metrics.count { $0.turnsDeferred += 1 }
            default: break
            }
            switch error {
            case .refused(let problem): return .refused(problem)
            case .unreachable(let why): return .unreachable(why)
            }
        }
    }
}

// MARK: - The sidecar

extension SessionController {
    /// Watches a sidecar: when it exits, when it is ready, and every change of its activity.
    private func attend(to incarnation: any Incarnation) -> SessionReconciler.Answer {
        self.incarnation = incarnation
        let epoch = incarnation.epoch
        incarnation.news.observe { [weak self] item in
            switch item {
            case .addressed: Task { await self?.watch(epoch: epoch) }
            case .trouble(let trouble): self?.send(.trouble(epoch: epoch, trouble))
            case .unknown(let why): self?.send(.unknown(epoch: epoch, why: why))
            case .ended(let why): self?.send(.gone(epoch: epoch, why: why))
            }
        }
        watch(epoch: epoch)
        return .alive(pid: incarnation.pid)
    }

    /// Follows what the sidecar does, as soon as it has an address.
    private func watch(epoch: UInt32) {
        guard let incarnation, incarnation.epoch == epoch, let client = incarnation.client,
            client.endpoint != self.client?.endpoint
        else { return }
        follow(SidecarWatch(client, of: incarnation) { [weak self] in self?.send($0) })
    }

    /// The process has ended. That is a crash unless it was drained, and then the end of its log may say why.
    private func ended(_ why: String, _ reconciler: SessionReconciler) async -> String {
        guard let ended = incarnation else { return why }
        incarnation = nil
        follow(nil)
        guard reconciler.machine.phase != .draining else { return why }
        metrics.count { $0.crashes += 1 }
        log(.warning, "the sidecar has ended", ["epoch": "\(ended.epoch)", "why": "\(why)"])
        let log = await ended.log()
        return log.isEmpty ? why : why + "; the end of its log:\n\(log)"
    }
}
