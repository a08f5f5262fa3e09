import Kubernetes

/// A copy of all objects of a type in one namespace: what the watch has told of them, and over it what this process has written
/// and the watch has not told yet. So whoever writes reads what he has written.
struct Replica<Object: KubernetesObject>: Sendable {
    typealias Instant = ContinuousClock.Instant

    private(set) var objects: [String: Object] = [:]
    /// What was written here, until the watch tells of it: by name.
    private var written: [String: (version: String, since: Instant)] = [:]
    /// What was deleted here, until the watch tells of it: by uid.
    private var deleted: [String: Instant] = [:]

    /// A watch that is older than this has lost the change; it is believed then, whatever was written.
    private static var patience: Duration { .seconds(60) }

    /// - Returns: whether it is another state than the one that was known.
    mutating func told(_ object: Object, at now: Instant) -> Bool {
        let name = object.metadata.name ?? ""
        if let uid = object.metadata.uid, let since = deleted[uid] {
            if since + Self.patience > now { return false }
            deleted[uid] = nil
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
    mutating func toldDeleted(_ object: Object) -> Object? {
        if let uid = object.metadata.uid { deleted[uid] = nil }
        return remove(object)
    }

    /// What the server answered to a write.
    mutating func wrote(_ object: Object, at now: Instant) {
        let name = object.metadata.name ?? ""
        let version = object.metadata.resourceVersion ?? ""
        // Somebody's later write may have been told first.
        if let known = objects[name], known.metadata.uid == object.metadata.uid,
            Self.isOlder(version, than: known.metadata.resourceVersion ?? "")
        {
            return
        }
        objects[name] = object
        written[name] = (version, now)
    }

    /// The server has taken it away.
    mutating func tookAway(_ object: Object, at now: Instant) {
        if let uid = object.metadata.uid { deleted[uid] = now }
        _ = remove(object)
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
