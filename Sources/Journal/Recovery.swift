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
                let scan = try Self.scan(first, directory, files, isLast: first == segments.last)
                scans.insert((first, scan), at: 0)
                if let header = scan.header {
                    guard header.segment.format <= Segment.format else {
                        throw JournalError(
                            .format,
                            "\(directory) was written in format \(header.segment.format), and this version reads up to \(Segment.format); use a newer sidecar."
                        )
                    }
                    journal = header.segment.journal
                    queue = TurnQueue(header.checkpoint)
                    epoch = header.segment.epoch
                    break
                }
            }
            last = scans[0].first - 1
            for (first, scan) in scans {
                note(gapBefore: first, in: first)
                for line in scan.events {
                    note(gapBefore: line.sequence, in: first)
                    last = line.sequence
                    epoch = max(epoch, line.epoch)
                    guard EventBody.concernsQueue(type: line.type) else { continue }
                    guard var event = try? line.event() else {
                        throw JournalError(
                            .format, "Event \(line.sequence) in \(directory) cannot be read by this version; use a newer sidecar."
                        )
                    }
                    if let blob = line.blob, case .turnQueued = event.body {
                        // The prompt in the line is shortened; the whole of it is what the agent gets.
                        if let data = try? Self.read(files.open("\(state)/blobs/\(blob)", .read)),
                            let queued = try? JSON.decode(TurnQueued.self, from: Data(data))
                        {
                            event.body = .turnQueued(queued)
                        } else {
                            gaps.append(
                                JournalGap(
                                    from: line.sequence, to: line.sequence, file: "blobs/\(blob)",
                                    reason: "the prompt's blob is damaged or missing"))
                        }
                    }
                    queue.apply(event)
                }
            }
        } catch let error as FileError {
            throw JournalError(.unusable, "The journal cannot be opened: \(error).")
        } catch let error as JournalError {
            throw error
        } catch {
            throw JournalError(.unusable, "The journal cannot be opened: \(error).")
        }
    }

    private mutating func note(gapBefore sequence: UInt64, in first: UInt64) {
        guard sequence > last + 1 else { return }
        gaps.append(
            JournalGap(
                from: last + 1, to: sequence - 1, file: Segment.name(first: first), reason: "the lines are damaged or missing"))
        last = sequence - 1
    }

    private static func scan(
        _ first: UInt64, _ directory: String, _ files: any FileLayer, isLast: Bool
    ) throws(FileError) -> SegmentScan {
        let path = directory + "/" + Segment.name(first: first)
        let file = try files.open(path, isLast ? .write : .read)
        defer { file.close() }
        let bytes = try read(file)
        let scan = SegmentScan(bytes, first: first)
        guard isLast else { return scan }
        if let torn = scan.tornFrom {
            // Nothing of it was acknowledged, but if whole lines are in it a person may want to see them.
            if bytes[torn...].contains(UInt8(ascii: "\n")) { try keep(bytes[torn...], aside: directory, first, torn, files) }
            try file.truncate(to: torn)
        }
        // Lines that were written but not synced when the writer died are served from now on: they have to be durable first.
        try file.sync()
        return scan
    }

    private static func read(_ file: any File) throws(FileError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: try file.size())
        var done = 0
        while done < bytes.count {
            let count = try file.read(into: &bytes, from: done, at: done)
            if count == 0 { break }
            done += count
        }
        return bytes
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
