import Kubernetes
import SessionModel

/// Where an object is among those of its kind, the oldest first. It never changes, so that pages of a list show every object once.
struct ClusterPlace: Comparable {
    var created: Timestamp
    /// In which order Tasks of one second came to their sessions. A Task that had not yet when the list was begun keeps its place
    /// there when it does.
    var ordinal: Int64 = 0
    var name: String
    /// The last ordinal that was given when the list was begun.
    var lastOrdinal: Int64 = 0

    static func < (one: ClusterPlace, other: ClusterPlace) -> Bool {
        (one.created, one.ordinal, one.name) < (other.created, other.ordinal, other.name)
    }
}

extension ClusterPlace {
    /// - Parameter lastOrdinal: see ``lastOrdinal``.
    init(_ task: TaskObject, lastOrdinal: Int64) {
        let ordinal = task.status?.ordinal ?? .max
        self.init(
            created: task.metadata.creationTimestamp ?? Timestamp(milliseconds: 0),
            ordinal: ordinal <= lastOrdinal ? ordinal : .max, name: task.metadata.name ?? "", lastOrdinal: lastOrdinal)
    }

    init(_ session: SessionObject) {
        self.init(
            created: session.metadata.creationTimestamp ?? Timestamp(milliseconds: 0), name: session.metadata.name ?? "")
    }
}

extension ClusterPlace: LosslessStringConvertible {
    var description: String { "\(created.milliseconds) \(ordinal) \(lastOrdinal) \(name)" }

    init?(_ text: String) {
        let parts = text.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, let created = Int64(parts[0]), let ordinal = Int64(parts[1]), let last = Int64(parts[2]) else {
            return nil
        }
        self.init(
            created: Timestamp(milliseconds: created), ordinal: ordinal, name: String(parts[3]), lastOrdinal: last)
    }

    /// - Throws: `Problem` for a text that is no place.
    static func read(_ text: String) throws(Problem) -> ClusterPlace {
        guard let place = ClusterPlace(text) else { throw .unknownContinuation }
        return place
    }
}

extension ListPage {
    /// The part of a list, with the newest first, that comes after a place.
    init<Object>(
        _ objects: some Sequence<Object>, after last: ClusterPlace?, limit: Int, place: (Object) -> ClusterPlace,
        item: (Object) throws -> Item?
    ) rethrows {
        let found = objects.map { (place: place($0), object: $0) }
            .filter { found in last.map { found.place < $0 } ?? true }.sorted { $0.place > $1.place }
        try self.init(found.prefix(limit + 1), limit: limit, place: { $0.place.description }, item: { try item($0.object) })
    }
}
