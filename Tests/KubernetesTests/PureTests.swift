import SessionModel
import Support
import Testing

@testable import Kubernetes

@Suite struct BackoffTests {
    @Test func stepsDoubleUpToTheLimitAndHalfOfEachIsChance() {
        var random = SeededRandom(seed: 5)
        var backoff = Backoff(base: .seconds(1), limit: .seconds(16))
        for step in [1, 2, 4, 8, 16, 16, 16] {
            let pause = backoff.next(using: &random)
            #expect(pause >= .seconds(step) / 2 && pause <= .seconds(step), "\(step): \(pause)")
        }
        backoff.reset()
        #expect(backoff.next(using: &random) <= .seconds(1))
        #expect(backoff.next(atLeast: .seconds(100), using: &random) >= .seconds(100))
        for _ in 0..<100 { #expect(backoff.next(using: &random) <= .seconds(16)) }
    }

    @Test func theSameSeedWaitsTheSame() {
        func pauses(_ seed: UInt64) -> [Duration] {
            var random = SeededRandom(seed: seed)
            var backoff = Backoff()
            return (0..<5).map { _ in backoff.next(using: &random) }
        }
        #expect(pauses(1) == pauses(1))
        #expect(pauses(1) != pauses(2))
    }
}

@Suite struct TokenBucketTests {
    private let start = ContinuousClock.now

    @Test func aBurstIsFreeAndThenEveryoneWaitsInOrder() {
        var bucket = TokenBucket(perSecond: 10, burst: 3, at: start)
        #expect(
            (0..<6).map { _ in bucket.take(at: start) } == [
                .zero, .zero, .zero, .milliseconds(100), .milliseconds(200), .milliseconds(300),
            ])
        // Two and a half have come back; three are owed.
        #expect(bucket.take(at: start + .milliseconds(250)) == .milliseconds(150))
        #expect(bucket.take(at: start + .seconds(3600)) == .zero)
        #expect(bucket.take(at: start + .seconds(3600)) == .zero, "what is left over is at most the burst")
        #expect(bucket.take(at: start + .seconds(3600)) == .zero)
        #expect(bucket.take(at: start + .seconds(3600)) > .zero)
    }

    @Test func whoGoesAwayGivesBack() {
        var bucket = TokenBucket(perSecond: 1, burst: 1, at: start)
        _ = bucket.take(at: start)
        #expect(bucket.take(at: start) == .seconds(1))
        bucket.giveBack()
        #expect(bucket.take(at: start) == .seconds(1))
        let now = bucket.takeIfAvailable(at: start)
        let later = bucket.takeIfAvailable(at: start + .seconds(3))
        #expect(!now && later)
    }

    @Test(arguments: 1...50)
    func neverMoreThanTheRateAllows(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        var bucket = TokenBucket(perSecond: 7, burst: 5, at: start)
        var now = start
        var served: [ContinuousClock.Instant] = []
        for _ in 0..<200 {
            now += .milliseconds(Int.random(in: 0...200, using: &random))
            served.append(now + bucket.take(at: now))
        }
        for (index, first) in served.enumerated() {
            for (other, last) in served.enumerated().dropFirst(index) {
                let allowed = 5 + (last - first) / .seconds(1) * 7
                #expect(Double(other - index) <= allowed + 1e-6, "seed \(seed)")
            }
        }
    }
}

@Suite struct LineBufferTests {
    @Test(arguments: 1...9)
    func linesDoNotDependOnChunks(size: Int) {
        let text = Array("one\n\ntwo two\nthree\nrest".utf8)
        var lines = LineBuffer(limit: 100)
        var seen: [String] = []
        for start in stride(from: 0, to: text.count, by: size) {
            lines.append(Array(text[start..<min(start + size, text.count)]))
            while let line = lines.next() { seen.append(String(decoding: line, as: UTF8.self)) }
        }
        #expect(seen == ["one", "", "two two", "three"])
        #expect(!lines.isOverflowing)
        lines.append([UInt8](repeating: 65, count: 200))
        #expect(lines.next() == nil && lines.isOverflowing)
    }
}

@Suite struct EventSeriesTests {
    private let start = ContinuousClock.now
    private let clock = Timestamp(milliseconds: 1_700_000_000_000)

    private func draft(_ name: String = "s", note: String = "idle for 30m") -> EventDraft {
        EventDraft(
            .normal, "Idle", action: "Suspend", note: note,
            regarding: .init(.sessions, ObjectMeta(name: name, namespace: "n")))
    }

    private func series(_ limits: EventSeries.Limits = .init()) -> EventSeries {
        EventSeries(controller: "holdfast.dev/supervisor", instance: "a", limits: limits, random: SeededRandom(seed: 1))
    }

    private func name(_ action: EventSeries.Action?) -> String? {
        if case .create(let event) = action { event.metadata.name } else { nil }
    }

    @Test func theSameAgainIsCountedNotRepeated() {
        var series = series()
        let first = series.record(draft(), at: start, wallClock: clock)
        #expect(name(first)?.hasPrefix("s.") == true)
        #expect(series.nextFlush == nil)
        for second in 1...20 { #expect(series.record(draft(), at: start + .seconds(second), wallClock: clock) == nil) }
        #expect(series.nextFlush == start + .seconds(30))
        #expect(series.flush(at: start + .seconds(29)).isEmpty)
        let update = EventSeries.Action.update(
            name: name(first)!, namespace: "n", .init(count: 21, lastObservedTime: MicroTime(clock)))
        #expect(series.flush(at: start + .seconds(30)) == [update])
        #expect(series.nextFlush == nil)
        // Something else is another event.
        #expect(name(series.record(draft(note: "idle for 31m"), at: start, wallClock: clock)) != nil)
        #expect(name(series.record(draft("t"), at: start, wallClock: clock)) != nil)
    }

    @Test func afterAWhileItIsNewsAgain() {
        var series = series()
        let first = name(series.record(draft(), at: start, wallClock: clock))
        let again = name(series.record(draft(), at: start + .seconds(361), wallClock: clock))
        #expect(again != nil && again != first)
        series.lost(again!)
        #expect(name(series.record(draft(), at: start + .seconds(362), wallClock: clock)) != nil, "the server has lost it")
    }

    @Test func anObjectThatSaysTooMuchIsCutOffAndOthersAreNot() {
        var limits = EventSeries.Limits()
        limits.burst = 3
        var series = series(limits)
        let sent = (0..<10).filter { series.record(draft(note: "\($0)"), at: start, wallClock: clock) != nil }
        #expect(sent.count == 3)
        #expect(series.suppressed == 7)
        #expect(series.record(draft("other"), at: start, wallClock: clock) != nil)
        #expect(series.record(draft(note: "later"), at: start + .seconds(301), wallClock: clock) != nil)
    }

    @Test func memoryIsBounded() {
        var limits = EventSeries.Limits()
        limits.capacity = 100
        var series = series(limits)
        for index in 0..<1000 {
            #expect(series.record(draft("s\(index)"), at: start + .milliseconds(index), wallClock: clock) != nil)
        }
        #expect(series.remembered <= 100)
    }

    @Test func aNoteIsCutAtTheServersLimit() {
        #expect(draft(note: String(repeating: "é", count: 600)).note.utf8.count == 1024)
    }
}

@Suite struct PathTests {
    @Test func pathsAreEncoded() {
        #expect(ResourceType.pods.path(namespace: "a", name: "b", subresource: "log") == "/api/v1/namespaces/a/pods/b/log")
        #expect(ResourceType.leases.path() == "/apis/coordination.k8s.io/v1/leases")
        #expect(ResourceType.nodes.path(namespace: "ignored", name: "n/../x?y") == "/api/v1/nodes/n%2F..%2Fx%3Fy")
    }
}
