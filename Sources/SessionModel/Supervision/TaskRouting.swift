/// How Tasks come to their sessions. Runs within a transaction of the store, so that a Task, its key and its session are made
/// together or not at all, and two Tasks for one new scope make one session.
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
            guard known.digest == request.digest else {
                throw Problem(
                    .idempotencyMismatch,
                    "This idempotency key has made Task \(known.task) from another request; use a new key for a new Task.")
            }
            guard let task = try store.task(named: known.task) else {
                throw Problem(.conflict, "This idempotency key has made Task \(known.task), which was deleted since.")
            }
            return .repeated(task)
        }
        if let mistake = spec.mistake { throw Problem(.invalidRequest, mistake + ".") }
        let scope = spec.scope ?? ScopeSpec(kind: .commit)
        let key = try scope.key(task: request.uid)
        var task = TaskResource(
            kind: "Task",
            metadata: Metadata(name: request.name, uid: request.uid, resourceVersion: "", creationTimestamp: now),
            spec: spec, status: TaskStatus())
        task.status.session = key
        try attach(&task, to: key, scope: scope, fallback: request.fallback, uid: request.sessionUID, at: now, in: store)
        task = try store.insert(task)
        if let key = spec.idempotencyKey {
            let window = (spec.lifetime ?? Lifetime()).resolved.dedupeWindow
            try store.keep(key, digest: request.digest, task: task.metadata.name, until: now + window, at: now)
        }
        return .created(task)
    }

    /// Makes sure that the Task's session exists and fits, and says in the Task's status what it waits for.
    /// - Parameter uid: of the session, should one be made.
    static func attach(
        _ task: inout TaskResource, to key: SessionKey, scope: ScopeSpec, fallback: AgentDescription?, uid: String,
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
        guard let worker = task.spec.worker ?? fallback else {
            throw Problem(
                .invalidRequest,
                "No agent is named: give worker in the Task, ?agent=NAME, or start the supervisor with --default-agent NAME|FILE."
            )
        }
        let spec = SessionSpec(
            key: key, scope: scope, worker: worker, workspace: task.spec.workspace, lifetime: task.spec.lifetime)
        if let mistake = worker.mistake ?? spec.workspaceDescription.mistake { throw Problem(.invalidRequest, mistake + ".") }
        // An ended session's directory is moved aside when the new one starts: `LocalRuntime`.
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
                The session \(session.key) has another worker (\(session.worker.arguments.joined(separator: " "))) than this Task \
                asks for (\(worker.arguments.joined(separator: " "))). Leave the worker out, end the session first, or give the \
                scope a profile of its own.
                """
        }
        if let workspace = task.workspace, let own = session.workspaceDescription.repository, own != workspace.repository {
            return """
                The session \(session.key) works in a clone of \(own), and this Task asks for \(workspace.repository). Leave the \
                repository out, end the session first, or give the scope a profile of its own.
                """
        }
        return nil
    }
}
