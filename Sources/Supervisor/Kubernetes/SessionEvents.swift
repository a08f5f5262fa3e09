import Kubernetes
import NIOConcurrencyHelpers
import SessionModel

/// Says what becomes of sessions where `kubectl describe` and `kubectl events` show it: each new phase, and each new condition that a
/// person should know.
final class SessionEvents: Sendable {
    private let cache: ClusterCache
    private let recorder: EventRecorder
    private let said = NIOLockedValueBox<[String: Said]>([:])

    private struct Said {
        var uid: String
        var phase: SessionPhase
        /// Type, reason and message of those that hold.
        var conditions: Set<[String]>
    }

    init(_ cache: ClusterCache, recorder: EventRecorder) {
        self.cache = cache
        self.recorder = recorder
        // What holds already was said by an earlier leader.
        for session in cache.read({ Array($0.sessions.objects.values) }) { _ = news(of: session) }
        cache.feed.observe { [weak self] change in
            if change.kind == SessionSpec.kind { self?.notice(change.name) }
        }
    }

    /// Called under the cache's lock.
    private func notice(_ name: String) {
        // Not here: the cache cannot be read while it tells.
        Task { [weak self] in
            guard let self else { return }
            guard let session = cache.read({ $0.session(name) }) else {
                said.withLockedValue { $0[name] = nil }
                return
            }
            for draft in news(of: session) { recorder.record(draft) }
        }
    }

    private func news(of session: SessionObject) -> [EventDraft] {
        guard let name = session.metadata.name, let uid = session.metadata.uid, let status = session.status else { return [] }
        let holding = status.conditions.filter { $0.status == .true && $0.type != "Ready" }
        let now = Said(
            uid: uid, phase: status.phase, conditions: Set(holding.map { [$0.type, $0.reason, $0.message] }))
        let before = said.withLockedValue { said in
            defer { said[name] = now }
            return said[name].flatMap { $0.uid == uid ? $0 : nil }
        }
        let regarding = Event.Reference(.sessions, session.metadata)
        var drafts: [EventDraft] = []
        if before?.phase != status.phase {
            drafts.append(
                EventDraft(
                    status.phase == .failed ? .warning : .normal, status.phase.rawValue, action: "Reconcile",
                    note: status.message ?? "epoch \(status.epoch)", regarding: regarding))
        }
        for condition in holding
        where before?.conditions.contains([condition.type, condition.reason, condition.message]) != true {
            drafts.append(
                EventDraft(.warning, condition.reason, action: "Reconcile", note: condition.message, regarding: regarding))
        }
        return drafts
    }
}
