/// What a reconciler has the store write.
extension SessionReconciler {
    /// The status to store, if the store has what the writer thinks it has.
    public struct StatusWrite: Sendable, Hashable {
        public var name: String
        public var uid: String
        public var status: SessionResourceStatus
        public var expecting: SessionResourceStatus
        /// Why its phase is another than the one expected, if it is and there is more to say than that there was work.
        public var cause: PhaseCause?
        /// The session has failed or ended with it, and its open Tasks are settled in the same transaction.
        public var settles: Bool

        public init(
            name: String, uid: String, status: SessionResourceStatus, expecting: SessionResourceStatus, cause: PhaseCause? = nil,
            settles: Bool
        ) {
            self.name = name
            self.uid = uid
            self.status = status
            self.expecting = expecting
            self.cause = cause
            self.settles = settles
        }

        /// - Parameter newUID: for the session that Tasks may go to which the ended one has not seen.
        /// - Returns: the stored session; nil when another session or another supervisor has taken its place.
        public func perform(at now: Timestamp, newUID: String, in store: some ResourceStore) throws -> SessionResource? {
            guard var session = try store.session(named: name), session.metadata.uid == uid,
                // The latter is this very write, that got no further.
                session.status == expecting || session.status == status
            else { return nil }
            // A failed session can be tried again, so nobody would settle its Tasks for it later: they go first. An ended one has
            // to be seen to have ended before its Tasks go to another, and whoever finds an open Task of it goes on (`route`).
            if settles, status.phase == .failed { try settle(session, at: now, newUID: newUID, in: store) }
            if session.status != status {
                session.status = status
                session = try store.update(session)
            }
            if settles, status.phase == .ended { try settle(session, at: now, newUID: newUID, in: store) }
            return session
        }

        private func settle(_ session: SessionResource, at now: Timestamp, newUID: String, in store: some ResourceStore) throws {
            let why = status.message ?? status.phase.rawValue
            for var task in try store.openTasks(session: name) {
                if task.status.settle(session: status.phase, why: why, at: now) {
                    try TaskRouting.attach(
                        &task, to: session.spec.key, scope: session.spec.scope, defaults: .init(session.spec), uid: newUID,
                        at: now, in: store)
                }
                try store.update(task)
            }
        }
    }

    /// A change of a Task's status, if the session's is still the writer's own: what a superseded supervisor thinks of a Task may
    /// be about a journal that has been lost since.
    public struct TaskWrite: Sendable, Hashable {
        public var task: String
        public var change: TaskChange
        public var session: String
        public var uid: String
        public var expecting: SessionResourceStatus

        public func perform(at now: Timestamp, in store: some ResourceStore) throws -> Answer {
            guard let session = try store.session(named: session), session.metadata.uid == uid, session.status == expecting else {
                return .deposed
            }
            guard var task = try store.task(named: task) else { return .task(nil) }
            let before = task.status
            task.status.apply(change, at: now)
            return .task(task.status == before ? task : try store.update(task))
        }
    }
}
