import Kubernetes
import SessionModel

/// One read or write of a ``KubernetesStore``: answers from a ``ClusterView``, and takes down what is to be written.
final class KubernetesTransaction: StoreTransaction {
    enum Write {
        case insertTask(TaskObject)
        case insertSession(SessionObject)
        /// Of a state that was read; the other one is what it is to be.
        case updateTask(TaskObject, to: TaskResource)
        case updateSession(SessionObject, to: SessionResource)
        case deleteTask(TaskObject)
        case deleteSession(SessionObject)
        case insertSpawner(SpawnerObject)
        case updateSpawner(SpawnerObject, to: SpawnerResource)
        case deleteSpawner(SpawnerObject)
        /// Makes a ConfigMap that has no version, and replaces one that has.
        case put(GenericObject)
        case remove(GenericObject)
        /// An idempotency key that no Task keeps.
        case keepKey(String, KeyRecord)
    }

    let view: ClusterView
    let namespace: String
    private(set) var writes: [Write] = []
    /// What this transaction has written; nil where it has deleted.
    private var tasks: [String: TaskResource?] = [:]
    private var sessions: [String: SessionResource?] = [:]
    private var writtenSpawners: [String: SpawnerResource?] = [:]
    private var writtenRecords: [String: GenericObject?] = [:]
    /// The records, with what this transaction has written.
    private(set) var forge: ForgeView
    private var lastOrdinal: Int64

    init(_ view: ClusterView, namespace: String) {
        self.view = view
        self.namespace = namespace
        forge = view.forge
        lastOrdinal = view.lastOrdinal
    }

    // MARK: Reading

    var version: String { view.version }

    func session(named name: String) -> SessionResource? { sessions[name] ?? view.session(name)?.document }
    func predecessor(named name: String) -> SessionSpec? { view.predecessors[name] }
    func task(named name: String) -> TaskResource? { tasks[name] ?? view.task(name)?.document }

    func openTasks(session: String) -> [TaskResource] {
        view.tasks(ofSession: session).union(tasks.keys).compactMap { task(named: $0) }
            .filter { $0.status.session?.name == session && !$0.status.phase.isTerminal }
            .sorted { $0.precedes($1) }
    }

    func tasks(session: String?, after rest: String?, limit: Int) throws -> ListPage<TaskResource> {
        let last = try rest.map(ClusterPlace.read)
        let lastOrdinal = last?.lastOrdinal ?? view.lastOrdinal
        let objects =
            session.map { view.tasks(ofSession: $0).compactMap { view.task($0) } } ?? Array(view.tasks.objects.values)
        return ListPage(
            objects, after: last, limit: limit, place: { ClusterPlace($0, lastOrdinal: lastOrdinal) },
            item: { task(named: $0.metadata.name ?? "") })
    }

    func sessions(after rest: String?, limit: Int) throws -> ListPage<SessionResource> {
        ListPage(
            view.sessions.objects.values, after: try rest.map(ClusterPlace.read), limit: limit, place: { ClusterPlace($0) },
            item: \.document)
    }

    func openSessionNames() -> [String] {
        view.sessions.objects.filter { $0.value.document.isOpen }.keys.sorted()
    }

    func sessionNames(prefix: String) -> [String] {
        view.sessions.objects.keys.filter { $0.hasPrefix(prefix) }.sorted().prefix(2).map(\.self)
    }

    var nextExpiry: Timestamp? { expiring.map(\.at).min() }

    func firstExpired(at now: Timestamp) -> (kind: String, name: String)? {
        expiring.filter { $0.at <= now }.min { ($0.at, $0.name) < ($1.at, $1.name) }.map { ($0.kind, $0.name) }
    }

    /// What somebody has deleted already goes by itself.
    private var expiring: [(at: Timestamp, kind: String, name: String)] {
        func all<Spec>(_ replica: Replica<CustomResource<Spec>>) -> [(at: Timestamp, kind: String, name: String)] {
            replica.objects.compactMap { name, object in
                guard object.metadata.deletionTimestamp == nil, let at = object.document.expires else { return nil }
                return (at, Spec.kind, name)
            }
        }
        return all(view.tasks) + all(view.sessions)
    }

    func phaseCounts() -> [(kind: String, phase: String, count: Int)] {
        func counts<Spec>(_ replica: Replica<CustomResource<Spec>>) -> [(kind: String, phase: String, count: Int)] {
            let phases = Dictionary(grouping: replica.objects.values) { $0.document.phaseName }
            return phases.map { (Spec.kind, $0.key, $0.value.count) }
        }
        return counts(view.tasks) + counts(view.sessions)
    }

    func waitingTasks() -> [(phase: String, count: Int)] {
        let waiting = view.tasks.objects.values.lazy.map(\.document).filter { $0.status.phase == .pending }
        let sessions = waiting.compactMap { $0.sessionName.flatMap { self.session(named: $0) } }
        return Dictionary(grouping: sessions) { $0.phaseName }.map { ($0.key, $0.value.count) }
    }

    // MARK: Writing

    func insert(_ session: SessionResource) throws -> SessionResource {
        let metadata = ObjectMeta(name: session.metadata.name, finalizers: [Finalizer.session])
        sessions[session.metadata.name] = session
        writes.append(.insertSession(SessionObject(metadata: metadata, spec: session.spec, status: nil)))
        return session
    }

    func insert(_ task: TaskResource) throws -> TaskResource {
        let metadata = ObjectMeta(name: task.metadata.name, finalizers: [Finalizer.task])
        tasks[task.metadata.name] = task
        writes.append(.insertTask(TaskObject(metadata: metadata, spec: task.spec, status: nil)))
        return task
    }

    func update(_ session: SessionResource) throws -> SessionResource {
        let name = session.metadata.name
        guard let base = view.session(name), self.session(named: name)?.metadata == session.metadata else {
            throw StoreError.conflict(kind: "Session", name: name)
        }
        sessions[name] = session
        writes.append(.updateSession(base, to: session))
        return session
    }

    func update(_ task: TaskResource) throws -> TaskResource {
        let name = task.metadata.name
        guard let base = view.task(name), self.task(named: name)?.metadata == task.metadata else {
            throw StoreError.conflict(kind: "Task", name: name)
        }
        var task = task
        if task.status.session != nil, task.status.ordinal == nil {
            lastOrdinal += 1
            task.status.ordinal = lastOrdinal
        }
        tasks[name] = task
        writes.append(.updateTask(base, to: task))
        return task
    }

    func delete(_ session: SessionResource) throws {
        guard let base = view.session(session.metadata.name), base.metadata.uid == session.metadata.uid else { return }
        sessions[session.metadata.name] = .some(nil)
        writes.append(.deleteSession(base))
    }

    func delete(_ task: TaskResource) throws {
        guard let base = view.task(task.metadata.name), base.metadata.uid == task.metadata.uid else { return }
        tasks[task.metadata.name] = .some(nil)
        writes.append(.deleteTask(base))
    }

    // MARK: Idempotency keys

    func key(_ key: String, at now: Timestamp) -> StoredKey? {
        if let task = view.task(ofKey: key) {
            return StoredKey(digest: task.requestDigest, task: task.metadata.name ?? "")
        }
        return view.records.objects[KeyRecord.shard(of: key)].flatMap { KeyRecord.entry(of: key, in: $0) }
            .flatMap { $0.until > now ? StoredKey(digest: $0.digest, task: $0.task) : nil }
    }

    /// A Task itself keeps its key for as long as it is there, and leaves a record behind when it goes.
    func keep(_ key: String, digest: String, task: String, until expiry: Timestamp, at now: Timestamp) {
        guard task.isEmpty else { return }
        writes.append(.keepKey(key, KeyRecord(digest: digest, task: task, until: expiry)))
    }

    // MARK: Tasks of events

    /// Without a session: that is the router's.
    func insert(_ object: TaskObject) {
        tasks[object.metadata.name ?? ""] = object.document
        writes.append(.insertTask(object))
    }

    // MARK: Spawners

    var changedSpawners: Set<String> { Set(writtenSpawners.keys) }

    func spawner(named name: String) -> SpawnerResource? { writtenSpawners[name] ?? view.spawners.objects[name]?.document }

    func insert(_ spawner: SpawnerResource) -> SpawnerResource {
        writtenSpawners[spawner.metadata.name] = spawner
        writes.append(
            .insertSpawner(
                SpawnerObject(metadata: ObjectMeta(name: spawner.metadata.name), spec: spawner.spec, status: nil)))
        return spawner
    }

    func update(_ spawner: SpawnerResource) throws -> SpawnerResource {
        let name = spawner.metadata.name
        guard let base = view.spawners.objects[name], self.spawner(named: name)?.metadata == spawner.metadata else {
            throw StoreError.conflict(kind: "Spawner", name: name)
        }
        writtenSpawners[name] = spawner
        writes.append(.updateSpawner(base, to: spawner))
        return spawner
    }

    func delete(_ spawner: SpawnerResource) {
        guard let base = view.spawners.objects[spawner.metadata.name], base.metadata.uid == spawner.metadata.uid else { return }
        writtenSpawners[spawner.metadata.name] = .some(nil)
        writes.append(.deleteSpawner(base))
    }

    // MARK: ConfigMaps

    func record(named name: String) -> GenericObject? { writtenRecords[name] ?? view.records.objects[name] }

    /// What one transaction writes of a record last is what is written, in the place of what it wrote first.
    func put(_ record: GenericObject) {
        let name = record.metadata.name ?? ""
        writtenRecords[name] = record
        forge.note(record)
        let known = writes.firstIndex {
            if case .put(let earlier) = $0 { earlier.metadata.name == name } else { false }
        }
        if let known { writes[known] = .put(record) } else { writes.append(.put(record)) }
    }

    func remove(recordNamed name: String) {
        guard let record = record(named: name) else { return }
        writtenRecords[name] = .some(nil)
        forge.forget(name)
        writes.removeAll { if case .put(let earlier) = $0 { earlier.metadata.name == name } else { false } }
        if record.metadata.uid != nil { writes.append(.remove(record)) }
    }
}

extension TaskResource {
    /// Whether it runs before another one of its session.
    func precedes(_ other: TaskResource) -> Bool {
        let (order, others) = (status.ordinal ?? .max, other.status.ordinal ?? .max)
        if order != others { return order < others }
        let (created, later) = (metadata.creationTimestamp, other.metadata.creationTimestamp)
        return created == later ? metadata.name < other.metadata.name : created < later
    }
}

/// What holds deleted objects until they have been seen to.
enum Finalizer {
    /// Its sidecar is drained first.
    static let session = "holdfast.dev/drain"
    /// Its turn is cancelled first, and its idempotency key kept.
    static let task = "holdfast.dev/turn"
    /// On the pod of an epoch: it is known first how it has ended.
    static let epoch = "holdfast.dev/epoch"
}
