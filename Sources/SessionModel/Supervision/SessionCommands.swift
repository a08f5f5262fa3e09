/// What users ask of Tasks and sessions: each is one transaction that writes down a wish, which the session's reconciler fulfils.
public enum SessionCommands {
    /// Asks for a session's end. What waits for the session ends with it; what comes later gets a new one.
    public static func end(_ name: String, at now: Timestamp, in store: some ResourceStore) throws -> SessionResource {
        guard var session = try store.session(named: name) else { throw missing("Session", name) }
        guard session.status.phase != .ended, session.spec.end != true else { return session }
        session.spec.end = true
        // The Tasks first: one that was left waiting would go to a new session.
        for var task in try store.openTasks(session: name) where task.status.sentTo == nil {
            task.status.end(.failed, .sessionEnded, "the session was ended by a user before this Task could run", at: now)
            try store.update(task)
        }
        return try store.update(session)
    }

    public static func suspend(_ name: String, in store: some ResourceStore) throws -> SessionResource {
        try change(name, in: store) { $0.spec.suspend = true }
    }

    /// Wakes a session, or tries one again that has failed.
    public static func resume(_ name: String, in store: some ResourceStore) throws -> SessionResource {
        try change(name, in: store) { session in
            session.spec.suspend = false
            switch session.status.phase {
            case .pending, .draining, .suspended, .failed: session.spec.wake = session.status.epoch + 1
            case .starting, .ready, .ended: break
            }
        }
    }

    /// The pull request or issue is closed, or open again. What follows is said by `lifetime.onScopeClosed`.
    public static func scope(
        _ name: String, closed: Bool, in store: some ResourceStore
    ) throws -> SessionResource {
        try change(name, in: store) { $0.spec.scopeClosed = closed ? true : nil }
    }

    /// Gives a living session another lifetime.
    /// - Throws: `Problem` with one sentence that names the mistake.
    public static func set(_ lifetime: Lifetime, of name: String, in store: some ResourceStore) throws -> SessionResource {
        if let mistake = lifetime.mistake { throw Problem(.invalidRequest, mistake + ".") }
        return try change(name, in: store) { $0.spec.lifetime = lifetime }
    }

    /// Asks for a Task's cancellation. One that nobody has seen yet ends at once.
    public static func cancel(task name: String, at now: Timestamp, in store: some ResourceStore) throws -> TaskResource {
        guard var task = try store.task(named: name) else { throw missing("Task", name) }
        guard !task.status.phase.isTerminal, task.status.cancelRequested != true else { return task }
        task.status.cancelRequested = true
        if task.status.sentTo == nil {
            task.status.end(.cancelled, .cancelled, "cancelled before it was handed over", at: now)
        }
        return try store.update(task)
    }

    private static func change(
        _ name: String, in store: some ResourceStore, _ body: (inout SessionResource) -> Void
    ) throws -> SessionResource {
        guard var session = try store.session(named: name) else { throw missing("Session", name) }
        guard session.status.phase != .ended, session.spec.end != true else {
            throw Problem(.conflict, "Session \(session.spec.key) has ended; a new Task for it makes a new one.")
        }
        let before = session.spec
        body(&session)
        return session.spec == before ? session : try store.update(session)
    }

    private static func missing(_ kind: String, _ name: String) -> Problem {
        Problem(.notFound, "There is no \(kind) \(name.prefix(bytes: 200)).")
    }
}
