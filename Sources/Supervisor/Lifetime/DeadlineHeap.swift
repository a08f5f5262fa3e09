import SessionModel

/// Names and when each is due: a binary heap, so that nothing is looked at before its time.
///
/// A name may be added again with another deadline. The earlier entry stays and comes up too; whoever takes a name checks for
/// itself what is due.
struct DeadlineHeap {
    private var items: [(due: Timestamp, name: String)] = []

    var next: Timestamp? { items.first?.due }

    mutating func insert(_ name: String, due: Timestamp) {
        items.append((due, name))
        var child = items.count - 1
        while child > 0, items[child].due < items[(child - 1) / 2].due {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Takes a name that is due.
    mutating func pop(dueBy now: Timestamp) -> String? {
        guard let first = items.first, first.due <= now else { return nil }
        items.swapAt(0, items.count - 1)
        items.removeLast()
        var parent = 0
        while true {
            let left = 2 * parent + 1
            guard left < items.count else { return first.name }
            let right = left + 1
            let least = right < items.count && items[right].due < items[left].due ? right : left
            guard items[least].due < items[parent].due else { return first.name }
            items.swapAt(parent, least)
            parent = least
        }
    }
}
