import Kubernetes
import SessionModel

/// All Tasks, Sessions, Spawners and records of a namespace, as far as this process knows, with what they are found by.
///
/// It is used under one lock, the ``KubernetesStore``'s.
struct ClusterView: Sendable {
    private(set) var tasks = Replica<TaskObject>()
    private(set) var sessions = Replica<SessionObject>()
    private(set) var spawners = Replica<SpawnerObject>()
    /// ConfigMaps: idempotency keys, and what is kept of forges.
    private(set) var records = Replica<GenericObject>()
    private(set) var forge = ForgeView()
    /// Of sessions that are gone and have Tasks: the next one is to be like it.
    private(set) var predecessors: [String: SessionSpec] = [:]
    private var tasksOfSession: [String: Set<String>] = [:]
    private var tasksOfKey: [String: Set<String>] = [:]
    /// The highest one that a Task has.
    private(set) var lastOrdinal: Int64 = 0
    /// Of the last change.
    private(set) var version = ""

    // MARK: Questions

    func task(_ name: String) -> TaskObject? { tasks.objects[name] }
    func session(_ name: String) -> SessionObject? { sessions.objects[name] }
    func tasks(ofSession name: String) -> Set<String> { tasksOfSession[name] ?? [] }

    /// The Task that a key has made: the first one that came to a session with it.
    func task(ofKey key: String) -> TaskObject? {
        (tasksOfKey[key] ?? []).compactMap { tasks.objects[$0] }.filter { $0.status?.session != nil }
            .min { ($0.status?.ordinal ?? .max) < ($1.status?.ordinal ?? .max) }
    }

    // MARK: Changes

    mutating func hear(_ change: Kubernetes.Change<TaskObject>, at now: ContinuousClock.Instant) -> [Change] {
        switch change {
        case .added(let task), .updated(_, let task):
            let before = tasks.objects[task.metadata.name ?? ""]
            guard tasks.told(task, at: now) else { return [] }
            return [note(task, over: before)]
        case .deleted(let task):
            guard let known = tasks.toldDeleted(task, at: now) else { return [] }
            return [forget(known)]
        }
    }

    mutating func hear(_ change: Kubernetes.Change<SessionObject>, at now: ContinuousClock.Instant) -> [Change] {
        switch change {
        case .added(let session), .updated(_, let session):
            let isNew = sessions.objects[session.metadata.name ?? ""] == nil
            guard sessions.told(session, at: now) else { return [] }
            return [note(session, isNew: isNew)]
        case .deleted(let session):
            guard let known = sessions.toldDeleted(session, at: now) else { return [] }
            return [forget(known)]
        }
    }

    mutating func hear(_ change: Kubernetes.Change<SpawnerObject>, at now: ContinuousClock.Instant) -> [Change] {
        switch change {
        case .added(let spawner), .updated(_, let spawner):
            return spawners.told(spawner, at: now) ? [note(spawner)] : []
        case .deleted(let spawner): return spawners.toldDeleted(spawner, at: now).map { [note($0)] } ?? []
        }
    }

    mutating func hear(_ change: Kubernetes.Change<GenericObject>, at now: ContinuousClock.Instant) -> [Change] {
        switch change {
        case .added(let record), .updated(_, let record): return records.told(record, at: now) ? note(record) : []
        case .deleted(let record):
            if records.toldDeleted(record, at: now) != nil { forge.forget(record.metadata.name ?? "") }
            return []
        }
    }

    /// This process has written it. One that was only waiting for its last finalizer is gone with that.
    mutating func wrote(_ task: TaskObject, at now: ContinuousClock.Instant) -> Change? {
        if task.metadata.isGone { return tookAway(task, at: now) }
        let before = tasks.objects[task.metadata.name ?? ""]
        return tasks.wrote(task, at: now) ? note(task, over: before) : nil
    }

    mutating func wrote(_ session: SessionObject, at now: ContinuousClock.Instant) -> Change? {
        if session.metadata.isGone { return tookAway(session, at: now) }
        let isNew = sessions.objects[session.metadata.name ?? ""] == nil
        return sessions.wrote(session, at: now) ? note(session, isNew: isNew) : nil
    }

    mutating func wrote(_ spawner: SpawnerObject, at now: ContinuousClock.Instant) -> Change? {
        if spawner.metadata.isGone { return tookAway(spawner, at: now) }
        return spawners.wrote(spawner, at: now) ? note(spawner) : nil
    }

    mutating func wrote(_ record: GenericObject, at now: ContinuousClock.Instant) -> Change? {
        records.wrote(record, at: now) ? note(record).first : nil
    }

    mutating func tookAway(_ spawner: SpawnerObject, at now: ContinuousClock.Instant) -> Change? {
        spawners.tookAway(spawner, at: now).map { note($0) }
    }

    mutating func tookAway(_ record: GenericObject, at now: ContinuousClock.Instant) {
        if records.tookAway(record, at: now) != nil { forge.forget(record.metadata.name ?? "") }
    }

    mutating func tookAway(_ task: TaskObject, at now: ContinuousClock.Instant) -> Change? {
        tasks.tookAway(task, at: now).map { forget($0) }
    }

    mutating func tookAway(_ session: SessionObject, at now: ContinuousClock.Instant) -> Change? {
        sessions.tookAway(session, at: now).map { forget($0) }
    }

    // MARK: What they are found by

    private mutating func note(_ task: TaskObject, over before: TaskObject?) -> Change {
        if let before { unlink(before) }
        let name = task.metadata.name ?? ""
        if let session = task.status?.session?.name { tasksOfSession[session, default: []].insert(name) }
        if let key = task.spec.idempotencyKey { tasksOfKey[key, default: []].insert(name) }
        lastOrdinal = max(lastOrdinal, task.status?.ordinal ?? 0)
        version = task.metadata.resourceVersion ?? version
        return Change(
            kind: "Task", name: name, session: task.status?.session?.name, created: before == nil,
            expires: task.document.expires != nil)
    }

    private mutating func forget(_ task: TaskObject) -> Change {
        unlink(task)
        let session = task.status?.session?.name
        if let session, tasksOfSession[session] == nil { predecessors[session] = nil }
        return Change(kind: "Task", name: task.metadata.name ?? "", session: session, created: false, expires: false)
    }

    private mutating func unlink(_ task: TaskObject) {
        let name = task.metadata.name ?? ""
        if let session = task.status?.session?.name {
            tasksOfSession[session]?.remove(name)
            if tasksOfSession[session]?.isEmpty == true { tasksOfSession[session] = nil }
        }
        if let key = task.spec.idempotencyKey {
            tasksOfKey[key]?.remove(name)
            if tasksOfKey[key]?.isEmpty == true { tasksOfKey[key] = nil }
        }
    }

    private mutating func forget(_ session: SessionObject) -> Change {
        let change = note(session, isNew: false)
        if tasksOfSession[change.name] != nil { predecessors[change.name] = session.spec }
        return change
    }

    private mutating func note(_ session: SessionObject, isNew: Bool) -> Change {
        predecessors[session.metadata.name ?? ""] = nil
        version = session.metadata.resourceVersion ?? version
        return Change(
            kind: "Session", name: session.metadata.name ?? "", session: nil, created: isNew,
            expires: session.document.expires != nil, rests: session.document.rests)
    }

    private mutating func note(_ spawner: SpawnerObject) -> Change {
        version = spawner.metadata.resourceVersion ?? version
        return Change(kind: "Spawner", name: spawner.metadata.name ?? "", session: nil, created: false, expires: false)
    }

    /// What is kept of forges is told, for another replica may have kept it.
    private mutating func note(_ record: GenericObject) -> [Change] {
        let session = forge.note(record)
        guard let component = ForgeRecords.component(of: record), component != .repositories else { return [] }
        return [
            Change(
                kind: component.rawValue, name: record.metadata.name ?? "", session: session, created: false, expires: false)
        ]
    }
}

extension ObjectMeta {
    /// It was to be deleted, and nothing holds it any more: the server has taken it away.
    var isGone: Bool { deletionTimestamp != nil && (finalizers ?? []).isEmpty }
}
