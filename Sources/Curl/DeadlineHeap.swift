/// Deadlines in the order they come due: a binary heap. A transfer that has ended stays in it until its time comes or until too
/// many like it have gathered.
struct DeadlineHeap {
    private var entries: [(due: Int64, id: ObjectIdentifier)] = []
    private var sizeAfterCompaction = 0

    var first: Int64? { entries.first?.due }

    mutating func insert(_ due: Int64, _ id: ObjectIdentifier) {
        entries.append((due, id))
        var child = entries.count - 1
        while child > 0, case let parent = (child - 1) / 2, entries[child].due < entries[parent].due {
            entries.swapAt(child, parent)
            child = parent
        }
    }

    mutating func popDue(at now: Int64) -> ObjectIdentifier? {
        guard let top = entries.first, top.due <= now else { return nil }
        entries.swapAt(0, entries.count - 1)
        entries.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count && entries[child].due < entries[least].due {
                least = child
            }
            guard least != parent else { return top.id }
            entries.swapAt(parent, least)
            parent = least
        }
    }

    /// Forgets the dead ones, once they may outnumber the living.
    mutating func compact(isAlive: (ObjectIdentifier) -> Bool) {
        guard entries.count > 2 * sizeAfterCompaction + 64 else { return }
        let living = entries.filter { isAlive($0.id) }
        entries = []
        for entry in living { insert(entry.due, entry.id) }
        sizeAfterCompaction = entries.count
    }
}
