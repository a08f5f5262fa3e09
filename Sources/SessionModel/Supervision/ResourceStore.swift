/// What the rules for Tasks and Sessions ask of a store. One value of it is one transaction.
///
/// On one machine, what is written through it is kept together or not at all. An API server keeps one object at a time: there the
/// writes are made one after the other, in their order, and whoever makes them may die between two. So each rule writes in an
/// order in which that does no harm, and does again what is not done yet when it is run again.
public protocol ResourceStore {
    func session(named name: String) throws -> SessionResource?
    /// What the last session of a name was like, where its Tasks may find neither it nor the next one.
    func predecessor(named name: String) throws -> SessionSpec?
    func task(named name: String) throws -> TaskResource?
    /// The Tasks of a session that have not ended, in the order of their creation.
    func openTasks(session: String) throws -> [TaskResource]

    @discardableResult func insert(_ session: SessionResource) throws -> SessionResource
    @discardableResult func insert(_ task: TaskResource) throws -> TaskResource
    /// Writes a document that was read before; throws when someone else has changed it since.
    @discardableResult func update(_ session: SessionResource) throws -> SessionResource
    @discardableResult func update(_ task: TaskResource) throws -> TaskResource
    func delete(_ session: SessionResource) throws

    /// Which Task an idempotency key has made, unless the key's time is up.
    func key(_ key: String, at now: Timestamp) throws -> StoredKey?
    func keep(_ key: String, digest: String, task: String, until expiry: Timestamp, at now: Timestamp) throws
}

extension ResourceStore {
    /// Where the next session is made in the transaction in which the last one goes.
    public func predecessor(named name: String) -> SessionSpec? { nil }
}

/// What is remembered of an idempotency key. It outlives its Task.
public struct StoredKey: Sendable, Hashable {
    /// Of the request that the key came with.
    public var digest: String
    public var task: String

    public init(digest: String, task: String) {
        self.digest = digest
        self.task = task
    }
}
