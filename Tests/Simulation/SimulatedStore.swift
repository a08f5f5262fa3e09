import SessionModel

/// The store of Tasks and Sessions: transactions that can fail, optimistic versions, and a watch that loses, delays and repeats.
final class SimulatedStore: ResourceStore {
    struct Failure: Error {}

    private unowned let world: World
    private(set) var sessions: [String: SessionResource] = [:]
    private(set) var tasks: [String: TaskResource] = [:]
    /// In the order of creation.
    private(set) var taskNames: [String] = []
    private var keys: [String: (key: StoredKey, expires: Timestamp)] = [:]
    private var version: Int64 = 0
    private var undo: [() -> Void] = []
    private var changed: Set<String> = []

    init(_ world: World) { self.world = world }

    /// Runs `body` in one transaction, and tells the watchers of what it changed.
    func transaction<Value>(reliably: Bool = false, _ body: (SimulatedStore) throws -> Value) throws -> Value {
        undo = []
        changed = []
        do {
            let value = try body(self)
            if !reliably, world.chance(world.weather.storeFails) { throw Failure() }
            let names = changed.sorted()
            for name in names { world.watch(name) }
            return value
        } catch {
            for step in undo.reversed() { step() }
            throw error
        }
    }

    func session(named name: String) -> SessionResource? { sessions[name] }
    func task(named name: String) -> TaskResource? { tasks[name] }

    func openTasks(session: String) -> [TaskResource] {
        taskNames.compactMap { name in
            guard let task = tasks[name], !task.status.phase.isTerminal, task.status.session?.name == session else { return nil }
            return task
        }
    }

    func tasks(session: String) -> [TaskResource] {
        taskNames.compactMap { tasks[$0] }.filter { $0.status.session?.name == session }
    }

    func insert(_ session: SessionResource) throws -> SessionResource { write(session, over: nil) }
    func insert(_ task: TaskResource) throws -> TaskResource {
        taskNames.append(task.metadata.name)
        undo.append { [unowned self] in taskNames.removeLast() }
        return write(task, over: nil)
    }

    func update(_ session: SessionResource) throws -> SessionResource {
        guard let stored = sessions[session.metadata.name], stored.metadata == session.metadata else { throw Failure() }
        return write(session, over: stored)
    }

    func update(_ task: TaskResource) throws -> TaskResource {
        guard let stored = tasks[task.metadata.name], stored.metadata == task.metadata else { throw Failure() }
        return write(task, over: stored)
    }

    func delete(_ session: SessionResource) throws {
        let name = session.metadata.name
        let old = sessions[name]
        undo.append { [unowned self] in sessions[name] = old }
        sessions[name] = nil
    }

    /// A Task's time after its end is up.
    func forget(task name: String) {
        tasks[name] = nil
        taskNames.removeAll { $0 == name }
    }

    func key(_ key: String, at now: Timestamp) -> StoredKey? { keys[key].flatMap { $0.expires > now ? $0.key : nil } }

    func keep(_ key: String, digest: String, task: String, until expiry: Timestamp, at now: Timestamp) throws {
        let old = keys[key]
        undo.append { [unowned self] in keys[key] = old }
        keys[key] = (StoredKey(digest: digest, task: task), expiry)
    }

    private func write(_ session: SessionResource, over old: SessionResource?) -> SessionResource {
        var session = session
        version += 1
        session.metadata.resourceVersion = "\(version)"
        let name = session.metadata.name
        let before = sessions[name]
        undo.append { [unowned self] in sessions[name] = before }
        sessions[name] = session
        changed.insert(name)
        world.ledger.wrote(session, over: old)
        return session
    }

    private func write(_ task: TaskResource, over old: TaskResource?) -> TaskResource {
        var task = task
        version += 1
        task.metadata.resourceVersion = "\(version)"
        let name = task.metadata.name
        undo.append { [unowned self] in tasks[name] = old }
        tasks[name] = task
        if let session = task.status.session { changed.insert(session.name) }
        world.ledger.wrote(task, over: old)
        return task
    }
}
