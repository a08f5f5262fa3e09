/// What is to happen, in the order of time, and of its planning where times are the same.
struct Schedule {
    private struct Item {
        var at: Int64
        var order: UInt64
        var action: () -> Void

        func precedes(_ other: Item) -> Bool { at == other.at ? order < other.order : at < other.at }
    }
    private var items: [Item] = []
    private var order: UInt64 = 0

    var next: Int64? { items.first?.at }

    mutating func add(at moment: Int64, _ action: @escaping () -> Void) {
        order += 1
        items.append(Item(at: moment, order: order, action: action))
        var child = items.count - 1
        while child > 0, items[child].precedes(items[(child - 1) / 2]) {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func removeFirst() -> () -> Void {
        items.swapAt(0, items.count - 1)
        let first = items.removeLast()
        var parent = 0
        while true {
            let left = 2 * parent + 1
            guard left < items.count else { return first.action }
            let right = left + 1
            let least = right < items.count && items[right].precedes(items[left]) ? right : left
            guard items[least].precedes(items[parent]) else { return first.action }
            items.swapAt(parent, least)
            parent = least
        }
    }
}
