import FoundationEssentials
import SessionModel

/// What opening a journal finds on the disk.
struct Recovery {
    var journal: String?
    var queue: TurnQueue
    /// The last durable event.
    var last: UInt64 = 0
    var epoch: UInt32 = 0
    /// Acknowledged events of the last segment that cannot be read.
    var gaps: [JournalGap] = []

    /// Reads the newest checkpoint and folds what follows it. Cuts off what was torn, and makes the rest durable.
    init(state: String, files: any FileLayer) throws(JournalError) {
        queue = TurnQueue()
        let directory = state + "/transcript"
        do {
            for name in try files.list(directory) where name.hasSuffix(".tmp") { try files.remove(directory + "/" + name) }
            let segments = try TranscriptReader.segments(directory, files)
            guard !segments.isEmpty else { return }
            // Usually one: the last. An older one is needed only when the header of the last is damaged.
            var scans: [(first: UInt64, scan: SegmentScan)] = []
            for first in segments.reversed() {
                let scan = try Self.scan(first, directory, files, before: scans.first?.first)
                scans.insert((first, scan), at: 0)
                guard let header = scan.header else {
                    // It may have been a later epoch's.
                    epoch += 1
                    continue
                }
                guard header.segment.format <= Segment.format else {
                    throw JournalError(
                        .format,
                        "\(directory) was written in format \(header.segment.format), and this version reads up to \(Segment.format); use a newer sidecar."
                    )
                }
                journal = header.segment.journal
                queue = TurnQueue(header.checkpoint)
                epoch += header.segment.epoch
                gaps = header.segment.gaps ?? []
                last = first - 1
                break
            }
            let blobs = Blobs(directory: state + "/blobs", files: files)
            var present = scans[0].first
            for (first, scan) in scans {
                note(gapBefore: first, in: present)
                present = first
                for line in scan.events {
                    note(gapBefore: line.sequence, in: first)
                    last = line.sequence
                    epoch = max(epoch, line.epoch)
                    if EventBody.concernsQueue(type: line.type) {
                        try fold(line, blobs, directory)
                    } else if EventBody.showsWork(type: line.type) {
                        queue.agentWorked()
                    }
                }
                if first == segments.last, let end = scan.damage.last, end.before == nil {
                    // Not one line of it can be read, its header included: it may have held as many events as fit. None of
                    // their numbers is used again, and neither is its name.
                    note(gapBefore: last + UInt64(max(1, end.range.count / EventLine.shortest)) + 1, in: first)
                }
            }
        } catch let error as FileError {
            throw JournalError(error.isFull ? .full : .unusable, "The journal cannot be opened: \(error).")
        } catch let error as JournalError {
            throw error
        } catch {
            throw JournalError(.unusable, "The journal cannot be opened: \(error).")
        }
    }

    private mutating func fold(_ line: EventLine, _ blobs: Blobs, _ directory: String) throws(JournalError) {
        var event: Event?
        if let blob = line.blob {
            // The line is shortened; the prompt as a whole is what the agent gets.
            event = blobs.load(blob).flatMap { try? line.event(data: $0) }
            if event == nil {
                gaps.append(
                    JournalGap(
                        from: line.sequence, to: line.sequence, file: "blobs/\(blob)",
                        reason: "the event's blob is damaged or missing"))
            }
        }
        if event == nil { event = try? line.event() }
        guard let event else {
            throw JournalError(
                .format, "Event \(line.sequence) in \(directory) cannot be read by this version; use a newer sidecar.")
        }
        if case .journalGap(let gap) = event.body { gaps.removeAll { $0 == gap } }
        queue.apply(event)
    }

    private mutating func note(gapBefore sequence: UInt64, in first: UInt64) {
        guard sequence > last + 1 else { return }
        gaps.append(
            JournalGap(
                from: last + 1, to: sequence - 1, file: Segment.name(first: first), reason: "the lines are damaged or missing"))
        last = sequence - 1
    }

    /// - Parameter next: the segment after this one; nil for the last, which alone may be torn.
    private static func scan(
        _ first: UInt64, _ directory: String, _ files: any FileLayer, before next: UInt64?
    ) throws(FileError) -> SegmentScan {
        let path = directory + "/" + Segment.name(first: first)
        let file = try files.open(path, next == nil ? .write : .read)
        defer { file.close() }
        let bytes = try file.contents()
        if let next { return SegmentScan(bytes, first: first, acknowledged: next - 1) }
        let scan = SegmentScan(bytes, first: first)
        if let torn = scan.tornFrom {
            // Nothing of it was acknowledged, but if whole lines are in it a person may want to see them.
            if bytes[torn...].contains(UInt8(ascii: "\n")) { try keep(bytes[torn...], aside: directory, first, torn, files) }
            try file.truncate(to: torn)
        }
        // Lines that were written but not synced when the writer died are served from now on: they have to be durable first.
        try file.sync()
        return scan
    }

    private static func keep(
        _ bytes: ArraySlice<UInt8>, aside directory: String, _ first: UInt64, _ offset: Int, _ files: any FileLayer
    ) throws(FileError) {
        let file = try files.open("\(directory)/\(Segment.name(first: first)).torn-\(offset)", .create)
        defer { file.close() }
        try file.write(bytes, at: 0)
        try file.sync()
        try files.syncDirectory(directory)
    }
}
