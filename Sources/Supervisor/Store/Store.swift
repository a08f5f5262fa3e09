import SessionModel

/// Where Tasks and Sessions are kept: SQLite on one machine, the API server in a cluster.
protocol Store: AnyObject, Sendable {
    /// Tells of every change, whoever made it.
    var feed: ChangeFeed { get }

    func read<Value: Sendable>(_ body: @escaping @Sendable (any StoreTransaction) throws -> Value) async throws -> Value

    /// Stores a Task that is asked for, or finds the one that its idempotency key has made.
    func create(_ request: TaskRouting.Request) async throws -> TaskRouting.Answer

    /// Keeps what `body` writes: nothing of it when `body` throws.
    @discardableResult
    func write<Value: Sendable>(_ body: @escaping @Sendable (any StoreTransaction) throws -> Value) async throws -> Value
}

/// One read or write of a ``Store``. Used only within the closure that it is given to.
protocol StoreTransaction: ResourceStore {
    /// The newest version of anything.
    var version: String { get throws }
    /// Tasks, the newest first.
    /// - Parameter rest: where to begin, as the page before said; nil for the newest.
    func tasks(session: String?, after rest: String?, limit: Int) throws -> ListPage<TaskResource>
    /// Sessions, the newest first.
    func sessions(after rest: String?, limit: Int) throws -> ListPage<SessionResource>
    /// The names of the sessions that have not ended.
    func openSessionNames() throws -> [String]
    /// The names of at most two sessions that begin so.
    func sessionNames(prefix: String) throws -> [String]
    /// When the next resource is to be deleted.
    var nextExpiry: Timestamp? { get throws }
    /// A resource whose time is up.
    func firstExpired(at now: Timestamp) throws -> (kind: String, name: String)?
    /// How many resources of each kind are in each phase.
    func phaseCounts() throws -> [(kind: String, phase: String, count: Int)]
    /// How many Tasks have not been taken by their sessions yet, by the phases that these are in.
    func waitingTasks() throws -> [(phase: String, count: Int)]
    func delete(_ task: TaskResource) throws
}

extension StoreTransaction {
    /// The newest Tasks of a session, or of all.
    func tasks(session: String?, limit: Int) throws -> [TaskResource] {
        try tasks(session: session, after: nil, limit: limit).items
    }
}

enum StoreError: Error, CustomStringConvertible {
    /// SQLite does not sync its commits.
    case notDurable
    /// The document was changed by someone else since it was read: read it again.
    case conflict(kind: String, name: String)
    /// The API server has not told all there is yet.
    case notSynced

    var description: String {
        switch self {
        case .notDurable: "the database does not sync its commits (PRAGMA synchronous is not FULL)"
        case .notSynced: "the API server has not told all Tasks and Sessions yet"
        case .conflict(let kind, let name): "\(kind) \(name) was changed by someone else in the meantime; read it again and retry"
        }
    }
}

// MARK: - What is indexed

/// A document and the columns it is found by.
protocol StoredResource: Codable {
    static var kind: String { get }
    var metadata: Metadata { get set }
    var sessionName: String? { get }
    var phaseName: String { get }
    var isOpen: Bool { get }
    /// When it is to be deleted; nil while that is not known.
    var expires: Timestamp? { get }
}

extension StoredResource {
    /// A session of which nothing runs.
    var rests: Bool { [SessionPhase.suspended, .ended, .failed].map(\.rawValue).contains(phaseName) }
}

extension Resource: StoredResource where Spec: IndexedSpec, Status == Spec.IndexedStatus {
    static var kind: String { Spec.kind }
    var sessionName: String? { Spec.sessionName(spec, status) }
    var phaseName: String { Spec.phaseName(status) }
    var isOpen: Bool { Spec.isOpen(status) }
    var expires: Timestamp? { Spec.expires(spec, status) }
}

protocol IndexedSpec {
    associatedtype IndexedStatus
    static var kind: String { get }
    static func sessionName(_ spec: Self, _ status: IndexedStatus) -> String?
    static func phaseName(_ status: IndexedStatus) -> String
    static func isOpen(_ status: IndexedStatus) -> Bool
    static func expires(_ spec: Self, _ status: IndexedStatus) -> Timestamp?
}

extension TaskSpec: IndexedSpec {
    static var kind: String { "Task" }
    static func sessionName(_ spec: TaskSpec, _ status: TaskStatus) -> String? { status.session?.name }
    static func phaseName(_ status: TaskStatus) -> String { status.phase.rawValue }
    static func isOpen(_ status: TaskStatus) -> Bool { !status.phase.isTerminal }
    static func expires(_ spec: TaskSpec, _ status: TaskStatus) -> Timestamp? {
        guard status.phase.isTerminal, let seconds = spec.ttlSecondsAfterFinished else { return nil }
        return status.completionTime.map { $0 + .seconds(Int64(seconds)) }
    }
}

extension SessionSpec: IndexedSpec {
    static var kind: String { "Session" }
    static func sessionName(_ spec: SessionSpec, _ status: SessionResourceStatus) -> String? { nil }
    static func phaseName(_ status: SessionResourceStatus) -> String { status.phase.rawValue }
    static func isOpen(_ status: SessionResourceStatus) -> Bool { status.phase != .ended }
    static func expires(_ spec: SessionSpec, _ status: SessionResourceStatus) -> Timestamp? {
        status.phase == .ended ? status.since + (spec.lifetime ?? Lifetime()).resolved.archiveTTL : nil
    }
}
