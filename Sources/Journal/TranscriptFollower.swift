import SessionModel

/// Reads a journal's durable events forward from a cursor while it is written: the newest from memory, older ones from the files.
public final class TranscriptFollower {
    private let journal: Journal
    private var reader: TranscriptReader?
    /// The last sequence number that was given out.
    public private(set) var last: UInt64

    /// - Parameter after: the last sequence number already seen; 0 to read from the beginning.
    public init(_ journal: Journal, after: UInt64) {
        self.journal = journal
        last = after
    }

    /// The next items from memory, about `size` bytes of them: none when there is no durable one up to sequence number `end`, and
    /// nil when they have to be read from the files.
    public func recent(upTo end: UInt64 = .max, size: Int = TranscriptReader.chunkSize) -> [TranscriptReader.Item]? {
        let end = min(end, journal.durable)
        guard last < end else { return [] }
        guard let lines = journal.tail.lines(after: last, upTo: end, size: size), let newest = lines.last else { return nil }
        last = newest.sequence
        return lines.map { .event($0) }
    }

    /// The next items from the files, about `size` bytes of them; none when there is no durable one up to sequence number `end`.
    public func stored(
        upTo end: UInt64 = .max, size: Int = TranscriptReader.chunkSize
    ) throws(FileError) -> [TranscriptReader.Item] {
        let end = min(end, journal.durable)
        guard last < end else { return [] }
        let reader = reader ?? TranscriptReader(state: journal.state, after: last)
        self.reader = reader
        reader.skip(to: last)
        let items = try reader.next(upTo: end, limit: size)
        last = items.last?.last ?? last
        return items
    }
}

extension TranscriptReader.Item {
    /// The last sequence number it stands for.
    public var last: UInt64 {
        switch self {
        case .event(let event): event.sequence
        case .gap(let gap): gap.to
        }
    }
}
