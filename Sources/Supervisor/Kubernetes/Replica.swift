import Kubernetes

/// A copy of all objects of a type in one namespace: what the watch has told of them, and over it what this process has written
/// and the watch has not told yet. So whoever writes reads what he has written.
struct Replica<Object: KubernetesObject>: Sendable {
    typealias Instant = ContinuousClock.Instant

    private(set) var objects: [String: Object] = [:]
    /// What was written here, until the watch tells of it: by name.
    private var written: [String: (version: String, since: Instant)] = [:]
    /// What is gone, by uid, so that an answer that comes late does not bring it back: whether the watch has told of it, and since
    /// when.
    private var gone: [String: (isTold: Bool, since: Instant)] = [:]
    /// So many are remembered before those are looked for whose time is up.
    private var room = 64

    /// How many it remembers that are gone.
    var remembered: Int { gone.count }

    /// A watch that is older than this has lost the change; it is believed then, whatever was written.
    private static var patience: Duration { .seconds(60) }

    /// - Returns: whether it is another state than the one that was known.
    mutating func told(_ object: Object, at now: Instant) -> Bool {
        let name = object.metadata.name ?? ""
        if let uid = object.metadata.uid, let end = gone[uid] {
            // On its way since before the deletion.
            if !end.isTold, end.since + Self.patience > now { return false }
            gone[uid] = nil
        }
        let version = object.metadata.resourceVersion ?? ""
        if let own = written[name] {
            // On its way since before the write.
            if Self.isOlder(version, than: own.version), own.since + Self.patience > now { return false }
            written[name] = nil
        }
        if let known = objects[name], known.metadata.uid == object.metadata.uid, known.metadata.resourceVersion == version {
            return false
        }
        objects[name] = object
        return true
    }

    /// - Returns: the last state that was known; nil when it is not known any more, or another one has its name.
    mutating func toldDeleted(_ object: Object, at now: Instant) -> Object? {
        bury(object, isTold: true, at: now)
        return remove(object)
    }

    /// What the server answered to a write.
    /// - Returns: whether it is what is known now; otherwise the watch was faster than the answer, and has told of a later write or of
    ///   the object's end.
    mutating func wrote(_ object: Object, at now: Instant) -> Bool {
        let name = object.metadata.name ?? ""
        let version = object.metadata.resourceVersion ?? ""
        if let uid = object.metadata.uid, gone[uid] != nil { return false }
        if let known = objects[name], Self.isOlder(version, than: known.metadata.resourceVersion ?? "") { return false }
        objects[name] = object
        written[name] = (version, now)
        return true
    }

    /// The server has taken it away.
    /// - Returns: the last state that was known; nil when it is not known any more, or another one has its name.
    mutating func tookAway(_ object: Object, at now: Instant) -> Object? {
        bury(object, isTold: false, at: now)
        return remove(object)
    }

    private mutating func bury(_ object: Object, isTold: Bool, at now: Instant) {
        guard let uid = object.metadata.uid else { return }
        gone[uid] = (isTold || gone[uid]?.isTold == true, now)
        guard gone.count > room else { return }
        gone = gone.filter { $0.value.since + Self.patience > now }
        room = max(64, gone.count * 2)
    }

    private mutating func remove(_ object: Object) -> Object? {
        let name = object.metadata.name ?? ""
        guard let known = objects[name], known.metadata.uid == object.metadata.uid else { return nil }
        objects[name] = nil
        written[name] = nil
        return known
    }

    /// A server counts its versions up. (Kubernetes promises so since 1.35; whoever does not is believed as he tells.)
    private static func isOlder(_ version: String, than other: String) -> Bool {
        guard let version = UInt64(version), let other = UInt64(other) else { return false }
        return version < other
    }
}
