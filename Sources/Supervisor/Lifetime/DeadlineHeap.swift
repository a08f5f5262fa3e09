import SessionModel

/// Names and when each is due: a binary heap, so that nothing is looked at before its time.
///
/// Of one name only the earliest deadline counts: whoever takes the name finds out what is due, and gives the next one. So a deadline
/// that is put off again and again costs nothing.
struct DeadlineHeap {
    private var items: [(due: Timestamp, name: String)] = []
    /// The deadline that counts.
    private var deadlines: [String: Timestamp] = [:]

    var next: Timestamp? { items.first?.due }
    var count: Int { items.count }

    mutating func insert(_ name: String, due: Timestamp) {
        if let earlier = deadlines[name], earlier <= due { return }
        deadlines[name] = due
        items.append((due, name))
        var child = items.count - 1
        while child > 0, items[child].due < items[(child - 1) / 2].due {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Takes a name that is due.
    mutating func pop(dueBy now: Timestamp) -> (name: String, due: Timestamp)? {
        while let first = removeFirst(dueBy: now) {
            guard deadlines[first.name] == first.due else { continue }
            deadlines[first.name] = nil
            return (first.name, first.due)
        }
        return nil
    }

    private mutating func removeFirst(dueBy now: Timestamp) -> (due: Timestamp, name: String)? {
        guard let first = items.first, first.due <= now else { return nil }
        items.swapAt(0, items.count - 1)
        items.removeLast()
        var parent = 0
        while true {
            let left = 2 * parent + 1
            guard left < items.count else { return first }
            let right = left + 1
            let least = right < items.count && items[right].due < items[left].due ? right : left
            guard items[least].due < items[parent].due else { return first }
            items.swapAt(parent, least)
            parent = least
        }
    }
}
