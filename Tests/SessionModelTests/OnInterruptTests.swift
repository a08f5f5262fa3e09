import SessionModel
import Testing

/// What becomes of a turn that is cut off.
@Suite struct OnInterruptTests {
    private typealias Bench = TurnQueueTests.Bench

    private func bench(_ policy: OnInterrupt?) -> Bench {
        var bench = Bench()
        bench.send(.enqueue(TurnRequest(prompt: "p", onInterrupt: policy), key: nil))
        bench.enqueue("next")
        return bench
    }

    private let exited = TurnEnded(
        state: .failed, reason: .agentExited, message: "it crashed", results: TurnResults(usage: Usage(inputTokens: 7)))

    enum Cut: CaseIterable, Sendable { case sidecar, host, agent, hostSeenByDriver }

    /// Cuts the running turn off.
    private func cut(_ cut: Cut, _ bench: inout Bench) -> [TurnQueue.Effect] {
        switch cut {
        case .sidecar:
            bench.queue = TurnQueue(bench.queue.checkpoint)
            return bench.send(.opened(epoch: bench.queue.epoch + 1, SessionOpened(version: "t", session: nil)))
                + bench.send(.agentConfigured(true)) + bench.send(.hostConnected)
        case .host: return bench.send(.hostLost(reason: "killed")) + bench.send(.hostConnected)
        case .agent: return bench.send(.finished(TurnID(1), exited, clean: false))
        case .hostSeenByDriver:
            return bench.send(.finished(TurnID(1), TurnEnded(state: .interrupted, reason: .hostLost), clean: false))
        }
    }

    @Test(arguments: Cut.allCases) func withoutAWishItEndsThere(cut: Cut) {
        for policy in [nil, OnInterrupt.fail] {
            var bench = bench(policy)
            #expect(self.cut(cut, &bench).dispatched == [])
            #expect(bench.send(.hostClear).dispatched == [TurnID(2)])
            #expect(bench.state(1)?.isTerminal == true && bench.state(1) != .succeeded)
        }
    }

    @Test(arguments: Cut.allCases) func itIsTakenUpAgainAsOftenAsItSays(cut: Cut) {
        for policy in [OnInterrupt.retry(2), .continue(2)] {
            var bench = bench(policy)
            for attempt in 1...2 {
                #expect(self.cut(cut, &bench).dispatched == [], "while processes may be alive")
                #expect(bench.send(.hostClear).dispatched == [TurnID(1)], "before the one behind it")
                #expect(bench.queue.running?.attempts == attempt + 1)
                #expect(bench.queue.running?.interruption?.attempt == attempt)
                #expect(bench.queue.running?.interruption?.next == (policy == .retry(2) ? .retry : .continue))
            }
            #expect(self.cut(cut, &bench).dispatched == [])
            #expect(bench.send(.hostClear).dispatched == [TurnID(2)])
            #expect(bench.queue.turn(TurnID(1))?.message?.hasSuffix("it was the last of 3 attempts") == true)
        }
    }

    @Test func anAttemptThatSucceedsEndsTheTurn() {
        var bench = bench(.retry(3))
        bench.send(.finished(TurnID(1), exited, clean: false))
        #expect(bench.state(1) == .queued)
        #expect(bench.queue.turn(TurnID(1))?.position == 1)
        #expect(bench.send(.hostClear).dispatched == [TurnID(1)])
        #expect(bench.finish(1).dispatched == [TurnID(2)])
        #expect(bench.state(1) == .succeeded)
        #expect(bench.queue.turn(TurnID(1))?.attempts == 2)
        #expect(bench.queue.usage.inputTokens == 7, "what the first attempt cost counts")
    }

    @Test func anErrorOfTheAgentIsNoInterruption() {
        for reason in [EndReason.agentError, .refused, .agentLimit, .agentStart, .workspace] {
            var bench = bench(.retry(3))
            bench.send(.finished(TurnID(1), TurnEnded(state: .failed, reason: reason), clean: true))
            #expect(bench.state(1) == .failed)
        }
    }

    @Test(arguments: Cut.allCases) func aCancelledTurnIsNeverTakenUpAgain(cut: Cut) {
        var running = bench(.retry(3))
        running.send(.cancel(TurnID(1)))
        #expect(self.cut(cut, &running).dispatched == [])
        #expect(running.state(1)?.isTerminal == true)
    }

    @Test func oneThatWaitsForItsSecondAttemptCanBeCancelled() {
        var waiting = bench(.continue(3))
        waiting.send(.finished(TurnID(1), exited, clean: false))
        waiting.send(.cancel(TurnID(1)))
        #expect(waiting.state(1) == .cancelled)
        #expect(waiting.send(.hostClear).dispatched == [TurnID(2)])
    }

    @Test func itsTimeIsUpEachTime() {
        var bench = Bench()
        bench.send(.enqueue(TurnRequest(prompt: "p", timeout: .minutes(1), onInterrupt: .retry(3)), key: nil))
        bench.send(.hostLost(reason: "r"), after: .seconds(50))
        for input in [.hostConnected, .hostClear] as [TurnQueue.Input] { bench.send(input) }
        #expect(bench.queue.running != nil)
        #expect(bench.queue.nextDeadline == bench.now + .minutes(1))
        // A turn that is being ended for its time is not cut off by what ends its processes.
        _ = bench.wait(.minutes(1))
        bench.send(.hostLost(reason: "r"))
        #expect(bench.state(1) == .failed && bench.reason(1) == .timeout)
    }

    @Test func aDrainCutsItOffAndTheNextEpochGoesOn() throws {
        var bench = bench(.continue(1))
        bench.send(.drain(DrainRequest(deadline: .seconds(10))))
        _ = bench.wait(.seconds(10))
        #expect(bench.queue.isStopping && bench.queue.running?.cancelRequested == false)
        bench.send(.finished(TurnID(1), TurnEnded(state: .cancelled, reason: .cancelled), clean: false))
        #expect(bench.state(1) == .queued && bench.queue.drained)
        #expect(bench.send(.hostClear).dispatched == [])

        var next = TurnQueue(bench.queue.checkpoint)
        for input in [
            .opened(epoch: 2, SessionOpened(version: "t", session: nil)), .agentConfigured(true), .hostConnected,
        ] as [TurnQueue.Input] { _ = next.handle(input, at: bench.now) }
        #expect(next.handle(.hostClear, at: bench.now).dispatched == [TurnID(1)])
        #expect(next.running?.interruption?.reason == .drained)
    }

    /// The sidecar may be killed between the drain's deadline and the end of the turn.
    @Test func aCrashWhileADrainCutsItOffIsNoCancellation() {
        var bench = bench(.continue(1))
        bench.send(.drain(DrainRequest(deadline: .seconds(10))))
        _ = bench.wait(.seconds(10))
        bench.send(.opened(epoch: 2, SessionOpened(version: "t", session: nil)))
        #expect(bench.queue.turn(TurnID(1))?.interruption?.reason == .sidecarLost)
    }

    @Test func aCancellationGoesBeforeADrain() {
        var bench = bench(.continue(1))
        bench.send(.drain(DrainRequest(deadline: .seconds(10))))
        _ = bench.wait(.seconds(10))
        bench.send(.cancel(TurnID(1)))
        bench.send(.finished(TurnID(1), TurnEnded(state: .cancelled, reason: .cancelled), clean: false))
        #expect(bench.state(1) == .cancelled && bench.reason(1) == .cancelled)
    }

    @Test func damageLeavesNoDoubtWhatToDo() {
        var bench = bench(.retry(3))
        bench.send(.opened(epoch: 2, SessionOpened(version: "t", session: nil)))
        bench.send(.damaged(JournalGap(from: 1, to: 2, file: "f", reason: "r")))
        #expect(bench.state(1) == .interrupted && bench.reason(1) == .journalDamaged)
    }

    @Test func howItIsWritten() throws {
        let written: [(String, OnInterrupt?)] = [
            ("Fail", .fail), ("Retry", .retry(1)), ("Retry:3", .retry(3)), ("Continue", .continue(5)),
            ("Continue:20", .continue(20)),
            ("Retry:0", nil), ("Retry:21", nil), ("Retry:+1", nil), ("Fail:1", nil), ("retry", nil), ("", nil), ("Retry:", nil),
        ]
        for (text, value) in written {
            #expect(OnInterrupt(text) == value, "\(text)")
            if let value { #expect(OnInterrupt(value.description) == value) }
        }
        let request = try JSON.decode(TurnRequest.self, from: #"{"prompt":"p","onInterrupt":"Retry:2"}"#)
        #expect(request.onInterrupt == .retry(2))
        #expect(throws: DecodingError.self) { try JSON.decode(OnInterrupt.self, from: #""Perhaps""#) }
    }
}
