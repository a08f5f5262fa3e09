import Kubernetes
import SessionModel

/// Tasks, Sessions and Spawners as custom resources of one namespace, and what is kept of forges as its ConfigMaps.
///
/// It reads from copies that follow the API server, and writes with the versions that it has read, so that whoever acts on something
/// old is refused and reads again. A write of several objects is not one transaction there: they are written one after the other,
/// in the order in which the rules write them, and on a conflict the rule is asked again with what is there now. Dying between two
/// writes leaves what the rules are made to go on from (`ResourceStore`).
///
/// The leader has one of its own, whose client is fenced: it writes nothing after its leadership. What users ask for may be
/// written by any replica, as `kubectl` might.
final class KubernetesStore: ForgeStore {
    let cache: ClusterCache
    private let client: KubernetesClient

    /// How often a rule is asked again before its caller hears of the failure.
    private static let attempts = 8

    init(_ cache: ClusterCache, client: KubernetesClient) {
        self.cache = cache
        self.client = client
    }

    var feed: ChangeFeed { cache.feed }

    private func objects<Spec>(_: Spec.Type) -> Objects<CustomResource<Spec>> {
        client.objects(Spec.type, as: CustomResource<Spec>.self, in: cache.namespace)
    }

    // MARK: Reading

    func read<Value: Sendable>(_ body: @escaping @Sendable (any StoreTransaction) throws -> Value) async throws -> Value {
        guard cache.isSynced else { throw StoreError.notSynced }
        return try cache.read { try body(KubernetesTransaction($0, namespace: cache.namespace)) }
    }

    // MARK: Writing

    /// - Throws: what `body` throws, with nothing written; or why it could not be written. Then some of it may have been, and the
    ///   same again goes on from there.
    func write<Value: Sendable>(_ body: @escaping @Sendable (any StoreTransaction) throws -> Value) async throws -> Value {
        try await access { try body($0) }
    }

    /// - Throws: as ``write(_:)``.
    func access<Value: Sendable>(
        _ body: @escaping @Sendable (any ForgeTransaction) throws -> Value
    ) async throws -> Value {
        var backoff = Backoff(base: .milliseconds(50), limit: .seconds(2))
        var random = SystemRandomNumberGenerator()
        guard cache.isSynced else { throw StoreError.notSynced }
        while true {
            let (value, writes) = try cache.read { view in
                let transaction = KubernetesTransaction(view, namespace: cache.namespace)
                return (try body(transaction), transaction.writes)
            }
            do throws(KubernetesError) {
                try await commit(writes)
                return value
            } catch {
                guard Self.mayTryAgain(after: error), backoff.failures < Self.attempts else { throw error }
                try await Task.sleep(for: backoff.next(atLeast: error.retryAfter ?? .zero, using: &random))
                // What was read was old, or it is not known what became of the write.
                for write in writes { try await refresh(write) }
            }
        }
    }

    func settle(_ task: String) async throws {
        _ = try await feed.value(
            of: "Task", task, within: .seconds(10), read: { cache.read { $0.task(task) } },
            isNews: { task in task.map { $0.status?.session != nil || $0.status?.phase.isTerminal == true } ?? true })
    }

    /// Whether the same may go better another time.
    static func mayTryAgain(after error: KubernetesError) -> Bool {
        switch error.code {
        case .conflict, .alreadyExists, .notFound: true
        default: error.isTransient
        }
    }
}

// MARK: - One object after the other

extension KubernetesStore {
    private func commit(_ writes: [KubernetesTransaction.Write]) async throws(KubernetesError) {
        // What this very commit has written is what its next write of the same object is based on, and nothing that others wrote.
        var tasks: [String: TaskObject] = [:]
        var sessions: [String: SessionObject] = [:]
        var spawners: [String: SpawnerObject] = [:]
        for write in writes {
            switch write {
            case .insertTask(let object): keep(try await objects(TaskSpec.self).create(object))
            case .insertSession(let object): keep(try await createWhenFree(object))
            case .updateTask(let read, let document):
                let base = tasks[document.metadata.name] ?? read
                tasks[document.metadata.name] = try await update(
                    base, to: TaskObject(metadata: base.metadata, spec: document.spec, status: document.status))
            case .updateSession(let read, let document):
                let base = sessions[document.metadata.name] ?? read
                var object = SessionObject(metadata: base.metadata, spec: document.spec, status: document.status)
                // That its deletion counts as a wish for its end is nothing that a user has written.
                if base.metadata.deletionTimestamp != nil { object.spec.end = base.spec.end }
                sessions[document.metadata.name] = try await update(base, to: object)
            case .deleteTask(let object):
                try await bury(object)
                try await release(object, Finalizer.task)
                try await delete(object)
            case .deleteSession(let object):
                try await release(sessions[object.metadata.name ?? ""] ?? object, Finalizer.session)
                // Its volume is kept for as long as its archive is to be: the runtime sees to that.
                try await delete(object, propagation: .orphan)
            case .insertSpawner(let object): keep(try await objects(SpawnerSpec.self).create(object))
            case .updateSpawner(let read, let document):
                let base = spawners[document.metadata.name] ?? read
                spawners[document.metadata.name] = try await update(
                    base, to: SpawnerObject(metadata: base.metadata, spec: document.spec, status: document.status))
            case .deleteSpawner(let object): try await delete(object)
            case .put(let record): keep(try await put(record))
            case .remove(let record): try await remove(record)
            case .keepKey(let key, let entry): try await keep(key, entry)
            }
        }
    }

    /// Makes the session that takes the place of one that was deleted a moment ago. That one is there until the garbage collector has
    /// parted it from its volume. Who asked the rule again instead would ask without knowing what the ended session was like.
    private func createWhenFree(_ object: SessionObject) async throws(KubernetesError) -> SessionObject {
        let sessions = objects(SessionSpec.self)
        let deadline = ContinuousClock.now + Self.patience
        while true {
            do throws(KubernetesError) {
                return try await sessions.create(object)
            } catch {
                guard error.code == .alreadyExists, ContinuousClock.now < deadline else { throw error }
                let there: SessionObject?
                do throws(KubernetesError) { there = try await sessions.get(object.metadata.name ?? "") } catch {
                    guard error.code == .notFound else { throw error }
                    there = nil
                }
                if let there, there.metadata.deletionTimestamp == nil { throw error }
                guard (try? await Task.sleep(for: .milliseconds(50))) != nil else { throw error }
            }
        }
    }

    private static let patience = Duration.seconds(10)

    private var records: Objects<GenericObject> { client.objects(.configMaps, in: cache.namespace) }

    private func put(_ record: GenericObject) async throws(KubernetesError) -> GenericObject {
        record.metadata.resourceVersion == nil ? try await records.create(record) : try await records.replace(record)
    }

    private func keep(_ record: GenericObject) { cache.note { $0.wrote(record, at: $1) } }

    private func remove(_ record: GenericObject) async throws(KubernetesError) {
        do throws(KubernetesError) {
            try await records.delete(record.metadata.name ?? "", uid: record.metadata.uid)
        } catch {
            guard error.code == .notFound else { throw error }
        }
        cache.note { view, now in
            view.tookAway(record, at: now)
            return nil
        }
    }

    /// Writes what is different: the spec, then the status.
    private func update<Spec>(
        _ base: CustomResource<Spec>, to object: CustomResource<Spec>
    ) async throws(KubernetesError) -> CustomResource<Spec> {
        let objects = objects(Spec.self)
        var (object, written) = (object, base)
        if object.spec != base.spec {
            written = try await objects.replace(object)
            keep(written)
            object.metadata = written.metadata
        }
        if object.status != base.status {
            written = try await objects.replaceStatus(object)
            keep(written)
        }
        return written
    }

    /// Takes a finalizer off, if it is on.
    private func release<Spec>(
        _ object: CustomResource<Spec>, _ finalizer: String
    ) async throws(KubernetesError) {
        guard var object = try await current(object), let finalizers = object.metadata.finalizers, finalizers.contains(finalizer)
        else { return }
        object.metadata.finalizers = finalizers.filter { $0 != finalizer }
        keep(try await objects(Spec.self).replace(object))
    }

    private func delete<Spec>(
        _ object: CustomResource<Spec>, propagation: Propagation? = nil
    ) async throws(KubernetesError) {
        do throws(KubernetesError) {
            try await objects(Spec.self).delete(
                object.metadata.name ?? "", uid: object.metadata.uid, propagation: propagation)
        } catch {
            guard error.code == .notFound else { throw error }
        }
        takeAway(object)
    }

    /// The object as the server has it; nil when it is gone.
    private func current<Spec>(_ object: CustomResource<Spec>) async throws(KubernetesError) -> CustomResource<Spec>? {
        do throws(KubernetesError) {
            let current = try await objects(Spec.self).get(object.metadata.name ?? "")
            return current.metadata.uid == object.metadata.uid ? current : nil
        } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
    }

    private func refresh(_ write: KubernetesTransaction.Write) async throws(KubernetesError) {
        func read<Spec>(_ object: CustomResource<Spec>) async throws(KubernetesError) {
            do throws(KubernetesError) {
                keep(try await objects(Spec.self).get(object.metadata.name ?? ""))
            } catch {
                guard error.code == .notFound else { throw error }
                takeAway(object)
            }
        }
        switch write {
        case .insertTask(let object), .updateTask(let object, _), .deleteTask(let object): try await read(object)
        case .insertSession(let object), .updateSession(let object, _), .deleteSession(let object): try await read(object)
        case .insertSpawner(let object), .updateSpawner(let object, _), .deleteSpawner(let object): try await read(object)
        case .put(let record), .remove(let record):
            do throws(KubernetesError) {
                keep(try await records.get(record.metadata.name ?? ""))
            } catch {
                guard error.code == .notFound else { throw error }
                cache.note { view, now in
                    view.tookAway(record, at: now)
                    return nil
                }
            }
        case .keepKey: break
        }
    }

    /// Takes note of what the server has answered.
    private func keep<Spec>(_ object: CustomResource<Spec>) {
        switch object {
        case let task as TaskObject: cache.note { $0.wrote(task, at: $1) }
        case let session as SessionObject: cache.note { $0.wrote(session, at: $1) }
        case let spawner as SpawnerObject: cache.note { $0.wrote(spawner, at: $1) }
        default: preconditionFailure("there are Tasks, Sessions and Spawners")
        }
    }

    private func takeAway<Spec>(_ object: CustomResource<Spec>) {
        switch object {
        case let task as TaskObject: cache.note { $0.tookAway(task, at: $1) }
        case let session as SessionObject: cache.note { $0.tookAway(session, at: $1) }
        case let spawner as SpawnerObject: cache.note { $0.tookAway(spawner, at: $1) }
        default: preconditionFailure("there are Tasks, Sessions and Spawners")
        }
    }
}

// MARK: - Tasks that are asked for, and Tasks that go

extension KubernetesStore {
    /// Makes a Task. Every replica may: the leader brings it to its session.
    func create(_ request: TaskRouting.Request) async throws -> TaskRouting.Answer {
        if let mistake = request.spec.mistake { throw Problem(.invalidRequest, mistake + ".") }
        var metadata = ObjectMeta(name: request.name, finalizers: [Finalizer.task])
        metadata.annotations = [TaskObject.digestAnnotation: request.digest]
        if let key = request.spec.idempotencyKey {
            metadata.name = TaskObject.name(ofKey: key)
            if let known = try await read({ try $0.key(key, at: .now) }) { return try await repeated(known, of: request) }
        }
        let object = TaskObject(metadata: metadata, spec: request.spec, status: nil)
        var backoff = Backoff(base: .milliseconds(50), limit: .seconds(2))
        var random = SystemRandomNumberGenerator()
        while true {
            do throws(KubernetesError) {
                let made = try await objects(TaskSpec.self).create(object)
                keep(made)
                return .created(made.document)
            } catch {
                switch error.code {
                case .alreadyExists:
                    // Made by another request with this key, or by this one, whose answer was lost.
                    let known = try await objects(TaskSpec.self).get(metadata.name ?? "")
                    keep(known)
                    return try await repeated(
                        StoredKey(digest: known.requestDigest, task: known.metadata.name ?? ""), of: request)
                case .invalid, .badRequest: throw Problem(.invalidRequest, error.message)
                default:
                    guard error.isTransient, backoff.failures < Self.attempts else { throw error }
                    try await Task.sleep(for: backoff.next(atLeast: error.retryAfter ?? .zero, using: &random))
                }
            }
        }
    }

    private func repeated(_ known: StoredKey, of request: TaskRouting.Request) async throws -> TaskRouting.Answer {
        .repeated(try await read { try TaskRouting.repeated(known, of: request, in: $0) })
    }

    /// Lets a Task go that somebody has deleted, once it has ended and its key is recorded.
    func letGo(_ task: TaskObject) async throws {
        try await bury(task)
        try await release(task, Finalizer.task)
    }

    /// Lets a Session go that somebody has deleted, and what belongs to it.
    func letGo(_ session: SessionObject) async throws { try await release(session, Finalizer.session) }

    /// Makes sure that a Task does not vanish when it is deleted.
    func hold(_ task: TaskObject) async throws {
        let finalizers = task.metadata.finalizers ?? []
        guard !finalizers.contains(Finalizer.task) else { return }
        var task = task
        task.metadata.finalizers = finalizers + [Finalizer.task]
        // This write changes the version, which tells in which order Tasks were made.
        task.metadata.annotations = (task.metadata.annotations ?? [:]).merging(
            [TaskObject.firstVersionAnnotation: task.metadata.resourceVersion ?? ""]) { first, _ in first }
        keep(try await objects(TaskSpec.self).replace(task))
    }

    /// Records a Task's idempotency key for the rest of its time.
    private func bury(_ task: TaskObject) async throws(KubernetesError) {
        let window = (task.spec.lifetime ?? Lifetime()).resolved.dedupeWindow
        guard let key = task.spec.idempotencyKey, let created = task.metadata.creationTimestamp, created + window > .now else {
            return
        }
        try await keep(key, KeyRecord(digest: task.requestDigest, task: task.metadata.name ?? "", until: created + window))
    }

    private func keep(_ key: String, _ entry: KeyRecord) async throws(KubernetesError) {
        let known = cache.read { $0.records.objects[KeyRecord.shard(of: key)] }
        if let known, KeyRecord.entry(of: key, in: known) == entry { return }
        let record: GenericObject
        do { record = try KeyRecord.adding(entry, for: key, to: known, in: cache.namespace, at: .now) } catch {
            throw KubernetesError(.badRequest, "an idempotency key cannot be written down: \(error)")
        }
        do throws(KubernetesError) {
            keep(try await put(record))
        } catch {
            if error.code == .conflict || error.code == .alreadyExists || error.code == .notFound {
                // The next attempt starts from what is there.
                let name = KeyRecord.shard(of: key)
                if let current = try? await records.get(name) { keep(current) }
            }
            throw error
        }
    }
}
