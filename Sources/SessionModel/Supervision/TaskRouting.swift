/// How Tasks come to their sessions. Runs within a transaction of the store, so that two Tasks for one new scope make one session.
public enum TaskRouting {
    /// What the API was asked to make.
    public struct Request: Sendable {
        public var spec: TaskSpec
        /// The agent that works on it when neither the Task nor an existing session says which.
        public var fallback: AgentDescription?
        /// What the idempotency key stands for.
        public var digest: String
        /// Of the new Task.
        public var name: String
        public var uid: String
        /// Of the session, should one be made for it.
        public var sessionUID: String

        public init(
            spec: TaskSpec, fallback: AgentDescription?, digest: String, name: String, uid: String, sessionUID: String
        ) {
            self.spec = spec
            self.fallback = fallback
            self.digest = digest
            self.name = name
            self.uid = uid
            self.sessionUID = sessionUID
        }
    }

    /// What a new session is made with where the Task that it is made for does not say it.
    struct Defaults {
        var worker: AgentDescription?
        var workspace: WorkspaceSpec?
        var lifetime: Lifetime?
    }

    public enum Answer: Sendable {
        case created(TaskResource)
        /// The key has made this Task before.
        case repeated(TaskResource)
    }

    /// Stores a Task and attaches it to its session, which is made when there is none.
    /// - Throws: ``Problem``, with nothing stored.
    public static func create(_ request: Request, at now: Timestamp, in store: some ResourceStore) throws -> Answer {
        let spec = request.spec
        if let key = spec.idempotencyKey, let known = try store.key(key, at: now) {
            return .repeated(try repeated(known, of: request, in: store))
        }
        if let mistake = spec.mistake { throw Problem(.invalidRequest, mistake + ".") }
        let scope = spec.scope ?? ScopeSpec(kind: .commit)
        let key = try scope.key(task: request.uid)
        var task = TaskResource(
            kind: "Task",
            metadata: Metadata(name: request.name, uid: request.uid, resourceVersion: "", creationTimestamp: now),
            spec: spec, status: TaskStatus())
        task.status.session = key
        try attach(
            &task, to: key, scope: scope, defaults: Defaults(worker: request.fallback), uid: request.sessionUID, at: now,
            in: store)
        task = try store.insert(task)
        if let key = spec.idempotencyKey {
            let window = (spec.lifetime ?? Lifetime()).resolved.dedupeWindow
            try store.keep(key, digest: request.digest, task: task.metadata.name, until: now + window, at: now)
        }
        return .created(task)
    }

    /// The Task that a request's key has made before.
    public static func repeated(
        _ known: StoredKey, of request: Request, in store: some ResourceStore
    ) throws -> TaskResource {
        guard known.digest == request.digest else {
            throw Problem(
                .idempotencyMismatch,
                "This idempotency key has made Task \(known.task) from another request; use a new key for a new Task.")
        }
        guard let task = try store.task(named: known.task) else {
            throw Problem(.conflict, "This idempotency key has made Task \(known.task), which was deleted since.")
        }
        return task
    }

    /// Brings a Task to its session that others have stored, in a cluster: a new one, and one whose session has ended meanwhile.
    /// Does nothing when nothing is left to do.
    /// - Parameters:
    ///   - fallback: the agent that works on it when neither the Task nor an existing session says which.
    ///   - uid: of the session, should one be made for it.
    public static func route(
        _ name: String, fallback: AgentDescription?, uid: String, at now: Timestamp, in store: some ResourceStore
    ) throws {
        guard var task = try store.task(named: name), !task.status.phase.isTerminal else { return }
        do {
            var scope = task.spec.scope ?? ScopeSpec(kind: .commit)
            var defaults = Defaults(worker: fallback)
            if let key = task.status.session {
                let session = try store.session(named: key.name)
                guard session == nil || session?.status.phase == .ended else { return }
                if let last = try session?.spec ?? store.predecessor(named: key.name) {
                    (scope, defaults) = (last.scope, Defaults(last))
                }
                if task.status.settle(session: .ended, why: session?.status.message ?? "it was deleted", at: now) {
                    try attach(&task, to: key, scope: scope, defaults: defaults, uid: uid, at: now, in: store)
                }
            } else {
                // Why it could not be brought there before.
                task.status.message = nil
                try admit(&task, at: now, in: store)
                let key = try scope.key(task: task.metadata.uid)
                task.status.session = key
                if !task.status.phase.isTerminal {
                    try attach(&task, to: key, scope: scope, defaults: defaults, uid: uid, at: now, in: store)
                }
            }
        } catch let problem as Problem {
            task.status.end(.failed, .rejected, problem.detail, at: now)
        }
        // Last: until the Task names its session, whoever comes next does all of this again, and finds the session there.
        try store.update(task)
    }

    /// What is checked of a request before it is stored is checked here of a Task that is stored already.
    private static func admit(_ task: inout TaskResource, at now: Timestamp, in store: some ResourceStore) throws {
        if let mistake = task.spec.mistake { throw Problem(.invalidRequest, mistake + ".") }
        if task.status.cancelRequested == true {
            task.status.end(.cancelled, .cancelled, "cancelled before it was handed over", at: now)
        } else if let key = task.spec.idempotencyKey, let known = try store.key(key, at: now), known.task != task.metadata.name {
            throw Problem(.conflict, "Its idempotency key has made Task \(known.task) before, so this one is not run.")
        }
    }

    /// Makes sure that the Task's session exists and fits, and says in the Task's status what it waits for.
    /// - Parameter uid: of the session, should one be made.
    static func attach(
        _ task: inout TaskResource, to key: SessionKey, scope: ScopeSpec, defaults: Defaults, uid: String,
        at now: Timestamp, in store: some ResourceStore
    ) throws {
        if var session = try store.session(named: key.name), session.status.phase != .ended {
            if let mismatch = mismatch(task.spec, session.spec) {
                task.status.end(.failed, .workerMismatch, mismatch, at: now)
                return
            }
            if session.spec.end == true {
                task.status.message = "waits for the earlier session of \(key) to end"
            } else if session.spec.suspend == true || session.spec.scopeClosed == true {
                // A new Task wakes what a user has put to sleep, and says that the pull request or issue is worked on again.
                session.spec.suspend = false
                session.spec.scopeClosed = nil
                try store.update(session)
            }
            return
        }
        guard let worker = task.spec.worker ?? defaults.worker else {
            throw Problem(
                .invalidRequest,
                "No agent is named: give worker in the Task, ?agent=NAME, or start the supervisor with --default-agent NAME|FILE."
            )
        }
        let spec = SessionSpec(
            key: key, scope: scope, worker: worker, workspace: task.spec.workspace ?? defaults.workspace,
            lifetime: task.spec.lifetime ?? defaults.lifetime)
        if let mistake = worker.mistake ?? spec.workspaceDescription.mistake { throw Problem(.invalidRequest, mistake + ".") }
        // What an ended session has left is kept for its archiveTTL: its runtime sees to that.
        if let ended = try store.session(named: key.name) { try store.delete(ended) }
        try store.insert(
            SessionResource(
                kind: "Session",
                metadata: Metadata(name: key.name, uid: uid, resourceVersion: "", creationTimestamp: now),
                spec: spec, status: SessionResourceStatus(since: now)))
    }

    /// Why a Task cannot be worked on in a session; nil when it can.
    static func mismatch(_ task: TaskSpec, _ session: SessionSpec) -> String? {
        if let worker = task.worker, worker != session.worker {
            return """
                The session \(session.key) has another worker than this Task asks for; they differ in \
                \(session.worker.differences(from: worker).joined(separator: ", ")). Leave the worker out, end the session first, \
                or give the scope a profile of its own.
                """
        }
        if let workspace = task.workspace, let own = session.workspaceDescription.repository,
            !ScopeSpec.isSameRepository(own, workspace.repository)
        {
            return """
                The session \(session.key) works in a clone of \(own), and this Task asks for \(workspace.repository). Leave the \
                repository out, end the session first, or give the scope a profile of its own.
                """
        }
        if let credentials = task.workspace?.credentials, credentials != session.workspace?.credentials {
            return """
                The session \(session.key) was made with other credentials for its repository than this Task asks for. Leave \
                workspace.credentials out, end the session first, or give the scope a profile of its own.
                """
        }
        return nil
    }
}

extension TaskRouting.Defaults {
    /// A Task that waited for a session which has ended goes on in one like it. What the ended one had may have been left out of the
    /// Task on purpose, because a session's agent and access are chosen when it is made.
    init(_ ended: SessionSpec) { self.init(worker: ended.worker, workspace: ended.workspace, lifetime: ended.lifetime) }
}
