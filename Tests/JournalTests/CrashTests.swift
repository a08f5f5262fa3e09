import Foundation
import Journal
import SessionModel
import Support
import Testing

/// Power failures at every operation of a journal's life, on a disk that keeps only what was synced.
@Suite struct CrashTests {
    private static let blob = String(repeating: "a long message, whole again after every crash. ", count: 6000)

    /// A journal's life: batches, waits, rotations, an event in a blob, a clean end. Ends early when the power fails.
    private static func live(_ owner: Owner, seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        try await owner.settle()
        await owner.handle(.agentConfigured(true))
        await owner.handle(.hostConnected)
        await owner.handle(.hostClear)
        for round in 0..<5 {
            for index in 0...Int.random(in: 0..<3, using: &random) {
                let request = TurnRequest(prompt: random.text(upTo: 60) + ".")
                await owner.handle(.enqueue(request, key: KeyDigest(key: "\(seed)-\(round)-\(index)", request: request)))
            }
            if random.oneIn(2) { try await owner.settle() }
            if let running = await owner.queue.running {
                if seed % 4 == 0, round == 2 { await owner.record(.message(Message(text: blob)), turn: running.id) }
                for _ in 0...Int.random(in: 0..<3, using: &random) {
                    await owner.record(.message(Message(text: random.text(upTo: 700))), turn: running.id)
                    if random.oneIn(3) { try await owner.settle() }
                }
                await owner.handle(.finished(running.id, TurnEnded(state: .succeeded, reason: .completed), clean: true))
            }
            try await owner.settle()
        }
    }

    /// Compares what is on the disk with all that was appended and acknowledged.
    private static func check(_ owner: Owner, _ files: UnreliableFiles, _ context: Comment) async throws {
        let (events, acknowledged) = (await owner.events, await owner.acknowledged)
        try await owner.settle()
        let items: [TranscriptReader.Item]
        do { items = try readAll(files, upTo: owner.journal.durable) } catch {
            #expect(!files.hasPower, "\(error); \(context)")
            throw error
        }
        var lines: [EventLine] = []
        for item in items {
            guard case .event(let line) = item else {
                Issue.record("a gap: \(item); \(context)")
                continue
            }
            lines.append(line)
        }
        #expect(lines.map(\.sequence) == Array(1...UInt64(events.count)), context)
        #expect(acknowledged <= UInt64(events.count), "an acknowledged event is lost; \(context)")
        for (line, event) in zip(lines, events) {
            if let name = line.blob {
                let whole = try #require(files.contents("/state/blobs/\(name)"), context)
                let same = try JSON.encode(Message(text: blob)) == Data(whole)
                #expect(same && event.body.type == "message", context)
                #expect(try line.event().turn == event.turn, context)
            } else {
                #expect(try line.event() == event, context)
            }
        }
        var fold = TurnQueue()
        for event in events { fold.apply(event) }
        let queue = await owner.queue
        let same = try JSON.encode(fold.checkpoint) == JSON.encode(queue.checkpoint)
        #expect(same, context)
    }

    /// One life with the power failing in the given operation, then a second one that may be cut as well, then a check.
    private static func round(cut: Int, seed: UInt64, again: Int?) async throws {
        let context: Comment = "seed \(seed), cut at \(cut), again at \(again.map(String.init) ?? "-")"
        var random = SeededRandom(seed: seed &* 7919 &+ UInt64(cut))
        let files = UnreliableFiles()
        files.failPower(in: cut)
        var events: [Event] = []
        var acknowledged: UInt64 = 0
        // What is cut: the first life, then perhaps the second, and the last never.
        for life in 0..<(again == nil ? 2 : 3) {
            // Two incarnations without a crash, unless one is due.
            for epoch in 0..<2 {
                do {
                    let owner = try Owner(files, events: events, acknowledged: acknowledged)
                    do {
                        if life > 0, epoch == 0 { try await check(owner, files, context) }
                        try await live(owner, seed: seed &+ UInt64(life * 2 + epoch))
                    } catch {
                        #expect(!files.hasPower, "\(error); \(context)")
                    }
                    events = await owner.events
                    acknowledged = await owner.acknowledged
                    await owner.journal.close()
                } catch {
                    #expect(!files.hasPower, "\(error); \(context)")
                }
            }
            files.crash(&random)
            if life == 0, let again { files.failPower(in: again) }
        }
        let owner = try Owner(files, events: events, acknowledged: acknowledged)
        try await check(owner, files, context)
        await owner.journal.close()
    }

    @Test func nothingAcknowledgedIsLostWhereverThePowerFails() async throws {
        let dry = UnreliableFiles()
        for epoch in 0..<2 {
            let owner = try Owner(dry)
            try await Self.live(owner, seed: 1 + UInt64(epoch))
            await owner.journal.close()
        }
        let operations = dry.operations
        #expect(operations > 60)
        for cut in 1...(operations + 5) {
            for seed in 1...(ProcessInfo.processInfo.environment["HOLDFAST_LONG"] == nil ? 1 : 20) as ClosedRange<UInt64> {
                try await Self.round(cut: cut, seed: seed == 1 ? 1 : seed * 1000, again: nil)
            }
        }
    }

    /// The power fails again while the journal recovers.
    @Test func norWhenItFailsAgainDuringRecovery() async throws {
        var random = SeededRandom(seed: 11)
        for _ in 0..<(ProcessInfo.processInfo.environment["HOLDFAST_LONG"] == nil ? 60 : 2000) {
            try await Self.round(
                cut: Int.random(in: 1...140, using: &random), seed: random.next() % 1_000_000,
                again: Int.random(in: 1...14, using: &random))
        }
    }
}
