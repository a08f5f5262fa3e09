import FoundationEssentials
public import SessionModel

/// Reads a transcript's files forward from a cursor, with or without a writer at work on them.
///
/// It keeps one file open and at most one chunk in memory, however long the transcript is.
public final class TranscriptReader {
    public enum Item: Sendable, Hashable {
        case event(EventLine)
        /// Events that are damaged or missing; reading goes on after them.
        case gap(JournalGap)
    }

    private let directory: String
    private let files: any FileLayer
    private var segment: (first: UInt64, file: any File)?
    private var offset = 0
    private var chunk: [UInt8] = []
    /// Where the next line begins in `chunk`.
    private var position = 0
    private var atHeader = false
    private var last: UInt64
    /// The segment with the damage that was met since the last event.
    private var damagedIn: UInt64?

    public static let chunkSize = 64 << 10

    /// - Parameters:
    ///   - state: the session's state directory; the segments are under `transcript/` in it.
    ///   - after: the last sequence number already seen; 0 to read from the beginning.
    public init(state: String, after: UInt64, files: any FileLayer = PosixFileLayer()) {
        directory = state + "/transcript"
        self.files = files
        last = after
    }

    deinit { segment?.file.close() }

    /// The journal's id and its last event, as its files tell; nil when there is no journal.
    public static func end(state: String, files: any FileLayer = PosixFileLayer()) throws(FileError) -> Cursor? {
        let directory = state + "/transcript"
        let segments: [UInt64]
        do { segments = try Self.segments(directory, files) } catch {
            // No sidecar has come as far yet.
            guard error.isMissing else { throw error }
            return nil
        }
        var header: Segment.Header?
        for first in segments.reversed() where header == nil { header = try Self.header(of: first, directory, files) }
        guard let header, let newest = segments.last else { return nil }
        let reader = TranscriptReader(segment: newest, directory: directory, files: files)
        while try !reader.next().isEmpty {}
        return Cursor(journal: header.segment.journal, sequence: reader.last)
    }

    /// The next items in order, about `limit` bytes of them; empty when there is none up to sequence number `end`.
    public func next(upTo end: UInt64 = .max, limit: Int = chunkSize) throws(FileError) -> [Item] {
        var items: [Item] = []
        var size = 0
        while size < limit, last < end {
            guard let line = try nextLine() else {
                // Somebody knows that there are events up to `end`, and they are not here.
                if end < .max {
                    items.append(.gap(gap(upTo: end)))
                    last = end
                }
                break
            }
            if atHeader {
                atHeader = false
                if line.first != UInt8(ascii: "{") || line.withUnsafeBytes({ EventLine.sequence(atHeadOf: $0) }) != nil {
                    note()
                }
                continue
            }
            if let sequence = line.withUnsafeBytes({ EventLine.sequence(atHeadOf: $0) }), sequence <= last, damagedIn == nil {
                continue
            }
            guard let event = EventLine(line), event.sequence > last else {
                note()
                continue
            }
            guard event.sequence <= end else {
                // Written but not yet durable: nobody may see it. It is read again when it is.
                position -= line.count + 1
                break
            }
            if event.sequence > last + 1 { items.append(.gap(gap(upTo: event.sequence - 1))) }
            damagedIn = nil
            last = event.sequence
            items.append(.event(event))
            size += event.bytes.count
        }
        return items
    }

    /// Leaves out what is before: events up to a sequence number have been seen elsewhere.
    func skip(to sequence: UInt64) {
        guard sequence > last else { return }
        last = sequence
        damagedIn = nil
    }

    private func note() { damagedIn = damagedIn ?? segment?.first }

    private func gap(upTo end: UInt64) -> JournalGap {
        // Without damage it is a whole segment that is missing, or lines of this one.
        let here = segment.flatMap { $0.first <= last + 1 ? $0.first : nil }
        return JournalGap(
            from: last + 1, to: end, file: Segment.name(first: damagedIn ?? here ?? last + 1),
            reason: "the lines are damaged or missing")
    }

    /// The next whole line without its newline; nil at the end of what is there.
    private func nextLine() throws(FileError) -> ArraySlice<UInt8>? {
        if segment == nil {
            let segments = try Self.segments(directory, files)
            guard let first = segments.last(where: { $0 - 1 <= last }) ?? segments.first else { return nil }
            try open(first)
        }
        while true {
            if let end = chunk.index(of: UInt8(ascii: "\n"), from: position) {
                defer { position = end + 1 }
                return chunk[position..<end]
            }
            if try fill() { continue }
            guard let present = segment?.first else { return nil }
            guard let next = try Self.segments(directory, files).first(where: { $0 > present }) else {
                // Nothing but a header: the next epoch puts its own in its place.
                if last < present {
                    segment?.file.close()
                    segment = nil
                }
                return nil
            }
            // What was written since, before the next segment was begun: nothing more comes.
            if try fill() { continue }
            try open(next)
        }
    }

    /// Reads on; false at the end of what is there.
    private func fill() throws(FileError) -> Bool {
        guard let file = segment?.file else { return false }
        chunk.removeFirst(position)
        position = 0
        let filled = chunk.count
        // Twice as much for a line that is longer than that, so that its beginning is not searched again and again.
        let size = max(Self.chunkSize, filled)
        chunk += [UInt8](repeating: 0, count: size)
        let count: Int
        do { count = try file.read(into: &chunk, from: filled, at: offset) } catch {
            chunk.removeLast(size)
            throw error
        }
        chunk.removeLast(size - count)
        offset += count
        return count > 0
    }

    private func open(_ first: UInt64) throws(FileError) {
        segment?.file.close()
        segment = nil
        segment = (first, try files.open(directory + "/" + Segment.name(first: first), .read))
        offset = 0
        chunk.removeAll()
        position = 0
        atHeader = true
    }

    static func segments(_ directory: String, _ files: any FileLayer) throws(FileError) -> [UInt64] {
        try files.list(directory).compactMap(Segment.first(ofName:)).sorted()
    }

    static func header(of first: UInt64, _ directory: String, _ files: any FileLayer) throws(FileError) -> Segment.Header? {
        let reader = TranscriptReader(segment: first, directory: directory, files: files)
        try reader.open(first)
        return try reader.nextLine().flatMap { Segment.Header(line: $0) }
    }

    private init(segment first: UInt64, directory: String, files: any FileLayer) {
        self.directory = directory
        self.files = files
        last = first - 1
    }
}

// MARK: - Turns of long ago

extension TranscriptReader {
    /// A turn as its events tell it, from however long ago: found by the segments' headers, then read forward to its end.
    ///
    /// - Parameter end: the last sequence number that may be shown.
    /// - Returns: nil when the journal has no such turn or its beginning is damaged.
    public static func turn(
        _ id: TurnID, state: String, upTo end: UInt64, files: any FileLayer = PosixFileLayer()
    ) throws(FileError) -> Turn? {
        guard let reader = try reader(from: id, state: state, files: files) else { return nil }
        var queue = TurnQueue()
        while true {
            let items = try reader.next(upTo: end)
            if items.isEmpty { return queue.turn(id) }
            for case .event(let line) in items where line.turn == id && line.type.hasPrefix("turn.") {
                guard let event = try? line.event() else { continue }
                queue.apply(event)
                if line.type == "turn.ended" { return queue.turn(id) }
            }
        }
    }

    /// The tool call that a turn has begun last, and how it ended.
    public struct LastToolCall: Sendable, Hashable {
        public var call: ToolCall
        /// Nil while it has no result.
        public var status: String?

        public init(call: ToolCall, status: String?) {
            self.call = call
            self.status = status
        }
    }

    /// - Parameter end: the last sequence number that may be shown.
    /// - Returns: nil when the turn has made no tool call.
    public static func lastToolCall(
        of id: TurnID, state: String, upTo end: UInt64, files: any FileLayer = PosixFileLayer()
    ) throws(FileError) -> LastToolCall? {
        guard let reader = try reader(from: id, state: state, files: files) else { return nil }
        var last: LastToolCall?
        while true {
            let items = try reader.next(upTo: end)
            if items.isEmpty { return last }
            for case .event(let line) in items where line.turn == id && line.type.hasPrefix("tool.") {
                switch (try? line.event())?.body {
                case .toolCall(let call): last = LastToolCall(call: call, status: nil)
                case .toolResult(let result) where result.id == last?.call.id: last?.status = result.status
                default: break
                }
            }
        }
    }

    /// A reader that begins before the turn was accepted; nil without any segment.
    private static func reader(
        from id: TurnID, state: String, files: any FileLayer
    ) throws(FileError) -> TranscriptReader? {
        let directory = state + "/transcript"
        var candidates = try segments(directory, files)
        // The last segment that begins before the turn was accepted.
        while candidates.count > 1 {
            let middle = candidates.count / 2
            guard let header = try header(of: candidates[middle], directory, files) else {
                candidates.remove(at: middle)
                continue
            }
            candidates = Array(header.segment.lastTurn < id.ordinal ? candidates[middle...] : candidates[..<middle])
        }
        return candidates.first.map { TranscriptReader(state: state, after: $0 - 1, files: files) }
    }
}
