import Foundation
import Journal
import SessionModel
import Testing

/// Stands for the sidecar's session: one queue, one journal, and a note of everything that was appended and acknowledged.
actor Owner {
    let journal: Journal
    private(set) var queue: TurnQueue
    /// Every event that was ever appended and may still be there, by sequence number.
    private(set) var events: [Event]
    /// Up to here ``Journal/synced(_:)`` has returned.
    private(set) var acknowledged: UInt64
    private var clock: Int64

    static let state = "/state"

    /// Opens the journal as a sidecar does; what earlier incarnations have appended comes along.
    init(
        _ files: any FileLayer, state: String = Owner.state, events: [Event] = [], acknowledged: UInt64 = 0, epoch: UInt32? = nil,
        options: Journal.Options = .small, onTrouble: @escaping @Sendable (Journal.Trouble) -> Void = { _ in }
    ) throws(JournalError) {
        clock = 1_800_000_000_000 + Int64(events.count)
        let gaps: [JournalGap]
        (journal, queue, gaps) = try Journal.open(
            state: state, epoch: epoch, now: Timestamp(milliseconds: clock), options: options, files: files, exclusive: false,
            onTrouble: onTrouble)
        // What was never acknowledged may be gone.
        self.events = Array(events.prefix(Int(journal.appended)))
        self.acknowledged = acknowledged
        var effects = queue.handle(
            .opened(epoch: journal.epoch, SessionOpened(version: "test", session: nil)), at: Timestamp(milliseconds: clock))
        for gap in gaps { effects += queue.handle(.damaged(gap), at: Timestamp(milliseconds: clock)) }
        for case .record(let body, let turn) in effects {
            self.events.append(Self.append(body, turn, to: journal, at: Timestamp(milliseconds: clock)))
        }
    }

    private static func append(_ body: EventBody, _ turn: TurnID?, to journal: Journal, at now: Timestamp) -> Event {
        Event(
            sequence: journal.append(body, turn: turn, at: now), epoch: journal.epoch, time: now, turn: turn, body: body)
    }

    private func now() -> Timestamp {
        clock += 1
        return Timestamp(milliseconds: clock)
    }

    func handle(_ input: TurnQueue.Input) {
        let now = now()
        for case .record(let body, let turn) in queue.handle(input, at: now) {
            events.append(Self.append(body, turn, to: journal, at: now))
        }
        journal.rotateIfNeeded(at: now) { queue.checkpoint }
    }

    func record(_ body: EventBody, turn: TurnID? = nil) {
        let now = now()
        queue.apply(body, turn: turn, at: now)
        events.append(Self.append(body, turn, to: journal, at: now))
        journal.rotateIfNeeded(at: now) { queue.checkpoint }
    }

    /// Waits for all that was appended.
    func settle() async throws(JournalError) {
        let last = journal.appended
        try await journal.synced(last)
        acknowledged = max(acknowledged, last)
    }
}

extension Journal.Options {
    /// Segments of a few lines, so that a short test rotates often.
    static var small: Self {
        var options = Self()
        options.segmentSize = 1500
        options.retry = .milliseconds(5)
        return options
    }
}

/// All items of a transcript up to its end.
func readAll(_ files: any FileLayer, state: String = Owner.state, after: UInt64 = 0, upTo end: UInt64 = .max) throws
    -> [TranscriptReader.Item]
{
    let reader = TranscriptReader(state: state, after: after, files: files)
    var items: [TranscriptReader.Item] = []
    while true {
        let more = try reader.next(upTo: end)
        if more.isEmpty { return items }
        items += more
    }
}

/// A directory for one test, removed with this object.
final class TemporaryDirectory {
    let path: String
    init() throws {
        path = NSTemporaryDirectory() + "hf-j-" + UUID().uuidString.prefix(8).lowercased()
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }
}
