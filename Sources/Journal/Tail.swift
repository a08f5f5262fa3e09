import NIOConcurrencyHelpers

/// The newest durable lines in memory, so that however many follow a transcript, its lines are read from the disk by nobody and
/// parsed once. Bounded: who is further behind reads the files.
///
/// Kept only while somebody follows.
final class Tail: Sendable {
    private struct Batch {
        var first: UInt64
        var last: UInt64
        var size: Int
        var lines: Lines
    }

    private enum Lines {
        case written([UInt8])
        case parsed([EventLine])
    }

    /// Batches without a gap between them, oldest first.
    private let batches = NIOLockedValueBox<[Batch]>([])
    private let limit: Int

    /// - Parameter limit: how many bytes of lines are kept.
    init(limit: Int) { self.limit = limit }

    /// Adds what has become durable: whole lines, of the events from `first` to `last`.
    func add(_ bytes: [UInt8], first: UInt64, last: UInt64) {
        batches.withLockedValue { batches in
            batches.append(Batch(first: first, last: last, size: bytes.count, lines: .written(bytes)))
            var size = batches.reduce(0) { $0 + $1.size }
            let leaving = batches.prefix {
                guard size > limit else { return false }
                size -= $0.size
                return true
            }
            batches.removeFirst(leaving.count)
        }
    }

    func clear() { batches.withLockedValue { $0.removeAll() } }

    /// Lines after a sequence number and up to another, about `size` bytes of them; nil when the next of them is not here.
    func lines(after sequence: UInt64, upTo end: UInt64, size: Int) -> [EventLine]? {
        batches.withLockedValue { batches in
            guard let start = batches.firstIndex(where: { $0.last > sequence }), batches[start].first <= sequence + 1 else {
                return nil
            }
            var found: [EventLine] = []
            var left = size
            for index in start..<batches.count where left > 0 && batches[index].first <= end {
                if case .written(let bytes) = batches[index].lines {
                    let lines = bytes.split(separator: UInt8(ascii: "\n")).compactMap { EventLine($0) }
                    batches[index].lines = .parsed(lines)
                }
                guard case .parsed(let lines) = batches[index].lines else { continue }
                for line in lines where line.sequence > sequence && line.sequence <= end && left > 0 {
                    found.append(line)
                    left -= line.bytes.count
                }
            }
            return found
        }
    }
}
