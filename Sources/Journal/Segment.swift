import FoundationEssentials
import SessionModel

/// A file of the journal, `transcript/00000000000000000001.jsonl`, named by the first sequence number it holds.
///
/// Its first line is a header with a checkpoint; every other line is an event. A segment has one writing epoch.
enum Segment {
    static func name(first: UInt64) -> String {
        let digits = String(first)
        return String(repeating: "0", count: 20 - digits.utf8.count) + digits + ".jsonl"
    }

    static func first(ofName name: String) -> UInt64? {
        guard let first = UInt64(name.prefix(20)), first > 0, Segment.name(first: first) == name else { return nil }
        return first
    }

    struct Header: Codable {
        struct Identity: Codable {
            var format: Int
            var journal: String
            var epoch: UInt32
            var first: UInt64
            /// The last turn that was accepted before this segment: finds an old turn without reading everything.
            var lastTurn: UInt64
            var time: Timestamp
            /// Damage that opening the journal found and that no event has recorded yet: a crash before that must not hide it.
            var gaps: [JournalGap]?
        }
        var segment: Identity
        var checkpoint: TurnQueue.Checkpoint

        /// The header's line with its newline.
        func line() throws -> [UInt8] {
            var bytes: [UInt8] = []
            let text = try JSON.encode(self)
            bytes.append(contentsOf: text.dropLast())
            EventLine.seal(&bytes, from: 0)
            return bytes
        }

        /// Nil when the line is damaged.
        init?(line: ArraySlice<UInt8>) {
            guard line.withUnsafeBytes(EventLine.isIntact), let header = try? JSON.decode(Header.self, from: Data(line)) else {
                return nil
            }
            self = header
        }

        init(segment: Identity, checkpoint: TurnQueue.Checkpoint) {
            self.segment = segment
            self.checkpoint = checkpoint
        }
    }

    static let format = 1
}

/// What of a segment can be read: the header, the intact events in order, and where the damage is.
struct SegmentScan {
    struct Damage: Equatable {
        /// Bytes of the file.
        var range: Range<Int>
        /// The last intact sequence number before it, and the first after it.
        var after: UInt64
        var before: UInt64?
    }

    var header: Segment.Header?
    var events: [EventLine] = []
    var damage: [Damage] = []
    /// The first byte of the part that was being written when the writer died, and never acknowledged.
    var tornFrom: Int?

    /// - Parameters:
    ///   - first: the sequence number the segment's name promises.
    ///   - acknowledged: the last event known from elsewhere to have been durable: a later segment's name says so of this one.
    init(_ bytes: [UInt8], first: UInt64, acknowledged: UInt64 = 0) {
        var position = 0
        var last = first - 1
        var bad: Int?
        while position < bytes.count {
            let end = bytes.index(of: UInt8(ascii: "\n"), from: position) ?? bytes.count
            let line = bytes[position..<end]
            if position == 0, let header = Segment.Header(line: line) {
                self.header = header
            } else if end < bytes.count, let event = EventLine(line), event.sequence > last {
                // A missing line is damage too, of no bytes.
                if bad != nil || event.sequence > last + 1 {
                    damage.append(Damage(range: (bad ?? position)..<position, after: last, before: event.sequence))
                    bad = nil
                }
                events.append(event)
                last = event.sequence
            } else if bad == nil {
                bad = position
            }
            position = end + 1
        }
        if let bad { damage.append(Damage(range: bad..<bytes.count, after: last, before: nil)) }
        // Damage that no later line calls synced counts as torn, and from there on nothing was acknowledged. That is right
        // after every crash. The one thing it cannot tell apart is bit rot in the very last batch of a journal that was not
        // opened since, which nothing can follow; that part is kept aside.
        let synced = max(events.map(\.synced).max() ?? 0, first - 1, acknowledged)
        // A damaged header is never a torn one: a segment gets its name only when its header is on disk.
        if let torn = damage.firstIndex(where: { $0.after >= synced && $0.range.lowerBound > 0 }) {
            tornFrom = damage[torn].range.lowerBound
            events.removeAll { $0.sequence > damage[torn].after }
            damage.removeSubrange(torn...)
        }
    }
}
