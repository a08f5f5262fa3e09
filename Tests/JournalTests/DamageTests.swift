import Foundation
import Glibc
import Journal
import SessionModel
import Support
import Testing

/// A journal on the real file system: damage of every kind, blobs, locks and readers.
@Suite struct DamageTests {
    private let directory: TemporaryDirectory
    private var state: String { directory.path + "/state" }
    private let files = PosixFileLayer()

    init() throws { directory = try TemporaryDirectory() }

    private func segments() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: state + "/transcript").filter { $0.hasSuffix(".jsonl") }.sorted()
            .map { state + "/transcript/" + $0 }
    }

    /// A journal with a running and a queued turn and some messages; returns after a clean end.
    @discardableResult private func write(messages: Int, size: Int = 100, options: Journal.Options = .small) async throws -> Owner
    {
        let owner = try Owner(files, state: state, options: options)
        for input in [.agentConfigured(true), .hostConnected, .hostClear] as [TurnQueue.Input] { await owner.handle(input) }
        for prompt in ["first", "second"] { await owner.handle(.enqueue(TurnRequest(prompt: prompt), key: nil)) }
        for index in 0..<messages {
            await owner.record(.message(Message(text: "\(index) " + String(repeating: "x", count: size))), turn: TurnID(1))
            try await owner.settle()
        }
        await owner.journal.close()
        return owner
    }

    private func change(_ path: String, _ edit: (inout [UInt8]) throws -> Void) throws {
        var bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        try edit(&bytes)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    private static func large() -> Journal.Options {
        var options = Journal.Options()
        options.segmentSize = 1 << 20
        return options
    }

    /// Flips a byte in the line of an event.
    private func damage(_ sequence: UInt64, in path: String) throws {
        try change(path) { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            let range = try #require(text.range(of: "{\"seq\":\(sequence),"))
            bytes[text.utf8.distance(from: text.startIndex, to: range.upperBound) + 20] ^= 1
        }
    }

    @Test func aTornLastLineIsCut() async throws {
        let first = try await write(messages: 3, options: Self.large())
        let count = first.journal.durable
        try change(try #require(segments().last)) { $0 += Array("{\"seq\":\(count + 1),\"epoch\":1,\"ti".utf8) }
        let owner = try Owner(files, state: state, events: await first.events)
        #expect(await owner.events.prefix(Int(count)) == first.events.prefix(Int(count)))
        #expect(await owner.queue.turn(TurnID(2))?.state == .queued)
        await owner.journal.close()
        #expect(try readAll(files, state: state).allSatisfy { if case .event = $0 { true } else { false } })
    }

    @Test func damageInTheLastSegmentIsReportedExactlyAndInterruptsTurns() async throws {
        try await write(messages: 8, options: Self.large())
        try damage(9, in: try #require(segments().last))
        let owner = try Owner(files, state: state)
        let gap = JournalGap(
            from: 9, to: 9, file: "00000000000000000001.jsonl", reason: "the lines are damaged or missing")
        #expect(await owner.queue.turns.map(\.state) == [.interrupted, .interrupted])
        try await owner.settle()
        await owner.journal.close()
        let items = try readAll(files, state: state)
        #expect(items.filter { $0 == .gap(gap) }.count == 1)
        #expect(items.count == Int(owner.journal.durable), "all the others can be read")
        let again = try Owner(files, state: state)
        #expect(await again.events.contains { $0.body.type == "journal.gap" } == false, "reported once")
        await again.journal.close()
    }

    @Test func damageThatACrashKeptFromBeingRecordedIsReportedAgain() async throws {
        try await write(messages: 8, options: Self.large())
        try damage(9, in: try #require(segments().last))
        for _ in 0..<2 {
            let (journal, queue, gaps) = try Journal.open(
                state: state, epoch: nil, now: Timestamp(milliseconds: 1), exclusive: false, onTrouble: { _ in })
            #expect(gaps.map(\.from) == [9] && !queue.live.isEmpty)
            await journal.close()
        }
    }

    @Test func aDamagedOldSegmentAndAMissingOneAreGapsForReadersOnly() async throws {
        try await write(messages: 60)
        let all = try segments()
        #expect(all.count > 4)
        let before = try readAll(files, state: state).count
        try change(all[1]) { $0[$0.count - 40] ^= 1 }
        let lost = try String(contentsOfFile: all[3], encoding: .utf8).split(separator: "\n").count - 1
        try FileManager.default.removeItem(atPath: all[3])
        let items = try readAll(files, state: state)
        let gaps = items.compactMap { if case .gap(let gap) = $0 { gap } else { nil } }
        #expect(gaps.map { Int($0.to - $0.from) + 1 } == [1, lost])
        #expect(gaps.map { state + "/transcript/" + $0.file } == [all[1], all[3]])
        #expect(items.count == before - 1 - lost + 2)
        let owner = try Owner(files, state: state)
        #expect(await owner.queue.turn(TurnID(2))?.state == .queued)
        await owner.journal.close()
    }

    @Test func aDamagedHeaderCostsNothingWhereThereIsAnEarlierOne() async throws {
        let first = try await write(messages: 60)
        try change(try #require(segments().last)) { $0[30] ^= 1 }
        let owner = try Owner(files, state: state, events: await first.events)
        #expect(owner.journal.epoch >= 2 && owner.journal.id == first.journal.id)
        #expect(await owner.queue.turns.map(\.state) == [.interrupted, .queued])
        #expect(await owner.events.starts(with: first.events))
        await owner.journal.close()
    }

    @Test func aSegmentOfWhichNothingCanBeReadIsKeptAndItsNumbersAreNotUsedAgain() async throws {
        let first = try await write(messages: 60)
        let last = try #require(segments().last)
        try change(last) { $0 = [UInt8](repeating: 0, count: $0.count) }
        let owner = try Owner(files, state: state)
        #expect(try segments().contains(last))
        #expect(owner.journal.appended > first.journal.durable)
        #expect(await owner.queue.turns.allSatisfy { $0.reason == .journalDamaged || $0.reason == .sidecarLost })
        await owner.journal.close()
    }

    @Test func otherFilesAreIgnored() async throws {
        let first = try await write(messages: 3)
        for name in [
            "notes.txt", "00000000000000000000.jsonl", "+0000000000000000009.jsonl", "9.jsonl", "00000000000000000009.jsonl.bak",
        ] {
            try Data("garbage".utf8).write(to: URL(fileURLWithPath: state + "/transcript/" + name))
        }
        let owner = try Owner(files, state: state, events: await first.events)
        #expect(await owner.events.starts(with: first.events))
        await owner.journal.close()
    }

    @Test func aLowerEpochAndASecondWriterAreRefused() async throws {
        let (journal, _, _) = try Journal.open(state: state, epoch: 5, now: Timestamp(milliseconds: 1), onTrouble: { _ in })
        let locked = #expect(throws: JournalError.self) {
            try Journal.open(state: state, epoch: 6, now: Timestamp(milliseconds: 1), onTrouble: { _ in })
        }
        #expect(locked?.code == .locked && locked?.message.contains("process \(getpid())") == true)
        await journal.close()
        let stale = #expect(throws: JournalError.self) {
            try Journal.open(state: state, epoch: 4, now: Timestamp(milliseconds: 1), onTrouble: { _ in })
        }
        #expect(stale?.code == .staleEpoch)
        let (next, _, _) = try Journal.open(state: state, epoch: nil, now: Timestamp(milliseconds: 1), onTrouble: { _ in })
        #expect(next.epoch == 6, "a closed journal has let go of its lock")
        await next.close()
    }

    @Test func whatIsTooLongForALineIsWholeInABlob() async throws {
        let prompt = String(repeating: "é\n", count: 200_000)
        var dirty = WorkspaceState()
        dirty.dirtyFiles = (0..<100).map { "\($0)" + String(repeating: "/d", count: 2000) }
        let first = try Owner(files, state: state)
        await first.handle(.enqueue(TurnRequest(prompt: prompt), key: nil))
        await first.record(.workspaceState(dirty))
        try await first.settle()
        await first.journal.close()
        for case .event(let line) in try readAll(files, state: state) {
            #expect(line.bytes.count < 300 << 10)
            _ = try line.event()
            _ = try JSON.decode(JSONValue.self, from: Data(line.bytes))
        }
        let owner = try Owner(files, state: state)
        #expect(await owner.queue.turn(TurnID(1))?.prompt == prompt)
        #expect(await owner.queue.workspace == dirty)
        await owner.journal.close()
    }

    @Test func aMissingBlobIsAGap() async throws {
        let first = try Owner(files, state: state, options: Self.large())
        await first.handle(.enqueue(TurnRequest(prompt: String(repeating: "p", count: 300 << 10)), key: nil))
        await first.journal.close()
        for name in try FileManager.default.contentsOfDirectory(atPath: state + "/blobs") {
            try change(state + "/blobs/" + name) { $0[1000] ^= 1 }
        }
        let owner = try Owner(files, state: state)
        #expect(await owner.queue.turn(TurnID(1))?.reason == .journalDamaged, "half a prompt never runs")
        await owner.journal.close()
    }

    @Test func everyCursorAndEveryChunkGivesTheSameEvents() async throws {
        let first = try await write(messages: 30, size: 900)
        let all = try readAll(files, state: state)
        #expect(all.count == Int(first.journal.durable))
        for start in 0...all.count {
            let reader = TranscriptReader(state: state, after: UInt64(start))
            var items: [TranscriptReader.Item] = []
            while case let more = try reader.next(limit: 1), !more.isEmpty { items += more }
            #expect(items == Array(all[start...]))
        }
        #expect(try TranscriptReader(state: state, after: .max).next().isEmpty)
        for path in try segments() {
            for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
                _ = try JSON.decode(JSONValue.self, from: String(line))
            }
        }
    }

    /// A session's directory is there before its sidecar has opened a journal in it.
    @Test func whereNothingWasWrittenIsNoTranscript() async throws {
        #expect(try TranscriptReader.end(state: state) == nil)
        try FileManager.default.createDirectory(atPath: state + "/transcript", withIntermediateDirectories: true)
        #expect(try TranscriptReader.end(state: state) == nil)
        try await write(messages: 1)
        #expect(try TranscriptReader.end(state: state) != nil)
    }

    @Test func aTurnOfLongAgoIsFound() async throws {
        let owner = try Owner(files, state: state)
        for input in [.agentConfigured(true), .hostConnected, .hostClear] as [TurnQueue.Input] { await owner.handle(input) }
        for ordinal in 1...200 as ClosedRange<UInt64> {
            await owner.handle(.enqueue(TurnRequest(prompt: "prompt \(ordinal)"), key: nil))
            await owner.handle(
                .finished(TurnID(ordinal), TurnEnded(state: .succeeded, reason: .completed, message: "\(ordinal)"), clean: true))
        }
        try await owner.settle()
        for ordinal in [1, 2, 77, 199, 200] as [UInt64] {
            let turn = try TranscriptReader.turn(TurnID(ordinal), state: state, upTo: owner.journal.durable)
            #expect(turn?.prompt == "prompt \(ordinal)" && turn?.message == "\(ordinal)")
        }
        #expect(try TranscriptReader.turn(TurnID(201), state: state, upTo: owner.journal.durable) == nil)
        await owner.journal.close()
    }

    @Test func aFollowerSeesEveryEventOnceWhileTheWriterRotates() async throws {
        let owner = try Owner(files, state: state)
        let journal = owner.journal
        let path = state
        let follower = Task {
            let reader = TranscriptReader(state: path, after: 0)
            var seen: [UInt64] = []
            while seen.last != 400 {
                let durable = journal.durable
                for item in try reader.next(upTo: durable) {
                    guard case .event(let line) = item else { throw FileError("gap", "\(item)", errno: EIO) }
                    #expect(line.sequence <= journal.durable)
                    seen.append(line.sequence)
                }
                if seen.last != 400 { await journal.changed(after: seen.last ?? 0) }
            }
            return seen
        }
        for index in 2...400 { await owner.record(.message(Message(text: "\(index)"))) }
        try await owner.settle()
        #expect(try await follower.value == Array(1...400))
        await journal.close()
    }

    @Test func manyWritersShareTheDisksSyncs() async throws {
        let (journal, _, _) = try Journal.open(state: state, epoch: nil, now: Timestamp(milliseconds: 1), onTrouble: { _ in })
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<64 {
                group.addTask {
                    for _ in 0..<50 {
                        try await journal.synced(
                            journal.append(.message(Message(text: "m")), turn: nil, at: Timestamp(milliseconds: 1)))
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(journal.durable == 3200)
        #expect(journal.syncs < 1600)
        await journal.close()
    }
}
