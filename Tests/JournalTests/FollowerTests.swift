import Foundation
import Journal
import SessionModel
import Testing

/// Followers of a journal that is written: what is new comes from memory, what is older from the files, and both are the same.
@Suite struct FollowerTests {
    private static func items(_ follower: TranscriptFollower) throws -> (
        recent: [TranscriptReader.Item], stored: [TranscriptReader.Item]
    ) {
        var (recent, stored): ([TranscriptReader.Item], [TranscriptReader.Item]) = ([], [])
        while true {
            if let more = follower.recent(size: 1000) {
                if more.isEmpty { return (recent, stored) }
                recent += more
            } else {
                stored += try follower.stored(size: 1000)
            }
        }
    }

    /// The lines as they are in the file, each by its checksum: the whole would fill a log.
    private static func lines(_ items: some Sequence<TranscriptReader.Item>) -> [String] {
        items.map { if case .event(let line) = $0 { String(decoding: line.bytes.suffix(18), as: UTF8.self) } else { "a gap" } }
    }

    @Test func memoryAndFilesShowTheSameWithoutAGap() async throws {
        let directory = try TemporaryDirectory()
        let files = PosixFileLayer()
        let state = directory.path + "/state"
        let owner = try Owner(files, state: state)
        try await owner.settle()
        let journal = owner.journal
        let (early, late, slow) = (
            TranscriptFollower(journal, after: 0), TranscriptFollower(journal, after: journal.durable),
            TranscriptFollower(journal, after: journal.durable)
        )
        let watch = journal.watch { _ in }
        defer { journal.unwatch(watch) }
        var shown: [TranscriptReader.Item] = []
        for round in 0..<40 {
            for index in 0..<5 {
                await owner.record(.message(Message(text: "\(round).\(index) " + String(repeating: "x", count: 8000))))
            }
            try await owner.settle()
            let (recent, stored) = try Self.items(late)
            #expect(recent.count == 5 && stored.isEmpty)
            shown += recent
        }
        let all = try readAll(files, state: state)
        #expect(all.count == 201)
        #expect(Self.lines(shown) == Self.lines(all.dropFirst()))
        // One that was away for longer than memory reaches back reads the files first.
        let (recent, stored) = try Self.items(slow)
        #expect(!recent.isEmpty && !stored.isEmpty)
        #expect(Self.lines(stored + recent) == Self.lines(all.dropFirst()))
        let everything = try Self.items(early)
        #expect(Self.lines(everything.stored + everything.recent) == Self.lines(all[...]))
        await journal.close()
    }

    @Test func whoWatchesIsToldOfTheEnd() async throws {
        let directory = try TemporaryDirectory()
        let owner = try Owner(PosixFileLayer(), state: directory.path + "/state")
        try await owner.settle()
        let (calls, continuation) = AsyncStream.makeStream(of: Bool.self)
        _ = owner.journal.watch { isOpen in
            continuation.yield(isOpen)
            if !isOpen { continuation.finish() }
        }
        await owner.record(.message(Message(text: "one")))
        try await owner.settle()
        await owner.journal.close()
        var told: [Bool] = []
        for await call in calls { told.append(call) }
        #expect(told == [true, false])
        let (after, end) = AsyncStream.makeStream(of: Bool.self)
        _ = owner.journal.watch { isOpen in
            end.yield(isOpen)
            end.finish()
        }
        var iterator = after.makeAsyncIterator()
        #expect(await iterator.next() == false)
    }
}
