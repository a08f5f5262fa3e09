import Foundation
import SessionModel
import Support
import Testing

/// Each rule of the queue, one at a time.
@Suite struct TurnQueueTests {
    /// A queue with a clock, and all effects it has had.
    struct Bench {
        var queue = TurnQueue()
        var now = Timestamp(milliseconds: 1_800_000_000_000)
        var events: [Event] = []

        init(ready: Bool = true, limits: TurnLimits = TurnLimits()) {
            queue.limits = limits
            send(.opened(epoch: 1, SessionOpened(version: "test", session: nil)))
            if ready { for input in [.agentConfigured(true), .hostConnected, .hostClear] as [TurnQueue.Input] { send(input) } }
        }

        @discardableResult mutating func send(_ input: TurnQueue.Input, after span: TimeSpan = .zero) -> [TurnQueue.Effect] {
            now = now + span
            let effects = queue.handle(input, at: now)
            for case .record(let body, let turn) in effects {
                events.append(
                    Event(sequence: UInt64(events.count) + 1, epoch: queue.epoch, time: now, turn: turn, body: body))
            }
            return effects
        }

        @discardableResult mutating func enqueue(
            _ prompt: String = "p", key: String? = nil, whenBusy: WhenBusy? = nil, supersede: String? = nil,
            timeout: TimeSpan? = nil
        ) -> TurnQueue.Reply? {
            let request = TurnRequest(prompt: prompt, whenBusy: whenBusy, supersedeKey: supersede, timeout: timeout)
            return send(.enqueue(request, key: key.map { KeyDigest(key: $0, request: request) })).reply
        }

        @discardableResult mutating func finish(_ ordinal: UInt64, clean: Bool = true) -> [TurnQueue.Effect] {
            send(.finished(TurnID(ordinal), TurnEnded(state: .succeeded, reason: .completed), clean: clean))
        }

        func state(_ ordinal: UInt64) -> TurnState? { queue.turn(TurnID(ordinal))?.state }
        func reason(_ ordinal: UInt64) -> EndReason? { queue.turn(TurnID(ordinal))?.reason }

        /// Time passes up to each deadline in turn, for so long.
        mutating func wait(_ span: TimeSpan) -> [TurnQueue.Effect] {
            let end = now + span
            var effects: [TurnQueue.Effect] = []
            while let due = queue.nextDeadline, due <= end {
                now = max(now, due)
                effects += send(.tick)
            }
            now = end
            return effects
        }
    }

    @Test func aRunningTurnGetsTheNewTurnTimeoutUnlessItHasItsOwn() {
        for own in [nil, TimeSpan.minutes(2)] {
            var bench = Bench()
            bench.enqueue(timeout: own)
            var limits = TurnLimits()
            limits.turnTimeout = .minutes(5)
            bench.send(.limits(limits), after: .minutes(1))
            let end = own ?? .minutes(5)
            #expect(bench.queue.nextDeadline == Timestamp(milliseconds: 1_800_000_000_000) + end)
        }
    }

    @Test func theTurnThatCrossesMaxTokensEndsNormallyAndNoOtherBeginsUntilTheyAreRaised() throws {
        var limits = TurnLimits()
        limits.maxTokens = 100
        var bench = Bench(limits: limits)
        for _ in 0..<2 { bench.enqueue() }
        let results = TurnResults(usage: Usage(inputTokens: 90, outputTokens: 20))
        bench.send(
            .finished(TurnID(1), TurnEnded(state: .succeeded, reason: .completed, results: results), clean: true))
        #expect(bench.state(1) == .succeeded)
        #expect(bench.state(2) == .failed && bench.reason(2) == .limitReached)
        guard case .refused(let problem)? = bench.enqueue() else { throw SidecarFailure("a third turn was accepted") }
        #expect(problem.kind == .limitReached)
        #expect(problem.detail.contains("has used 110 tokens, and its maxTokens is 100; raise it to go on: holdfast set SESSION"))
        limits.maxTokens = 111
        bench.send(.limits(limits))
        bench.enqueue()
        #expect(bench.state(3) == .running)
    }

    private let question = InputRequest(
        id: "q", question: "May I?", options: [.init(id: "yes", name: "Yes")],
        deadline: Timestamp(milliseconds: 1_800_000_600_000))

    @Test func turnsRunInTheOrderOfAcceptanceOneAtATime() {
        var bench = Bench()
        for _ in 0..<3 { bench.enqueue() }
        #expect(bench.queue.turns.map(\.state) == [.running, .queued, .queued])
        #expect(bench.queue.turns.map(\.position) == [nil, 1, 2])
        #expect(bench.finish(1).dispatched == [TurnID(2)])
        #expect(bench.finish(1).dispatched == [])
        #expect(bench.finish(3).dispatched == [], "not its turn")
        #expect(bench.finish(2).dispatched == [TurnID(3)])
        bench.finish(3)
        #expect(bench.queue.counts.succeeded == 3)
    }

    @Test func aResultThatNobodyAsksForIsKeptForItsTime() {
        var limits = TurnLimits()
        limits.resultHold = .minutes(10)
        limits.agentIdle = .days(1)
        var bench = Bench(limits: limits)
        _ = bench.wait(.hours(1))
        #expect(bench.queue.draining == nil, "there is no result yet")
        bench.enqueue()
        _ = bench.wait(.minutes(20))
        #expect(bench.queue.draining == nil, "it works")
        bench.finish(1)
        _ = bench.wait(.minutes(9))
        bench.send(.attached)
        _ = bench.wait(.hours(1))
        #expect(bench.queue.draining == nil, "somebody looks at it")
        bench.send(.detached)
        _ = bench.wait(.minutes(9))
        #expect(bench.queue.draining == nil && !bench.queue.endsByItself)
        _ = bench.wait(.minutes(2))
        #expect(bench.queue.drained && bench.queue.endsByItself)
        #expect(bench.enqueue().problem == .draining)
    }

    @Test func aSessionThatWasAskedToDrainDoesNotEndByItself() {
        var limits = TurnLimits()
        limits.resultHold = .minutes(10)
        for hold in [nil, TimeSpan.minutes(10)] {
            limits.resultHold = hold
            var bench = Bench(limits: limits)
            bench.enqueue()
            bench.finish(1)
            bench.send(.drain(DrainRequest(ifIdleFor: .zero)))
            bench.send(.hostClear)
            _ = bench.wait(.hours(1))
            #expect(bench.queue.drained && !bench.queue.endsByItself)
        }
        var bench = Bench()
        bench.enqueue()
        bench.finish(1)
        _ = bench.wait(.days(1))
        #expect(bench.queue.draining == nil, "others wait for whoever drains them")
    }

    @Test func aKeyMakesOneTurn() {
        var limits = TurnLimits()
        limits.dedupeWindow = .hours(1)
        var bench = Bench(limits: limits)
        #expect(bench.enqueue("a", key: "k") == .accepted(TurnID(1)))
        #expect(bench.enqueue("a", key: "k") == .repeated(TurnID(1)))
        #expect(bench.enqueue("b", key: "k").problem == .idempotencyMismatch)
        bench.finish(1)
        #expect(bench.enqueue("a", key: "k") == .repeated(TurnID(1)), "also when it has ended")
        #expect(bench.enqueue("a", key: "l") == .accepted(TurnID(2)))
        bench.now = bench.now + .minutes(61)
        #expect(bench.enqueue("b", key: "k") == .accepted(TurnID(3)), "forgotten after the window")
        #expect(bench.enqueue("b", key: "k") == .repeated(TurnID(3)))
        #expect(bench.enqueue("a", key: "l") == .accepted(TurnID(4)), "another key's return is not in the way")
    }

    @Test func aRepeatIsAnsweredEvenWhileNothingIsAccepted() {
        var bench = Bench()
        bench.enqueue("a", key: "k")
        bench.send(.storage(full: true))
        #expect(bench.enqueue("a", key: "k") == .repeated(TurnID(1)))
        #expect(bench.enqueue("a", key: "new").problem == .storageFull)
        bench.send(.storage(full: false))
        bench.send(.drain(DrainRequest()))
        #expect(bench.enqueue("a", key: "k") == .repeated(TurnID(1)))
        #expect(bench.enqueue("a", key: "new").problem == .draining)
    }

    @Test func aBusyQueueRejectsWhatAsksForIt() {
        var bench = Bench()
        #expect(bench.enqueue(whenBusy: .reject) == .accepted(TurnID(1)))
        #expect(bench.enqueue(whenBusy: .reject).problem == .busy)
        #expect(bench.enqueue() == .accepted(TurnID(2)))
    }

    @Test func aNewerTurnSupersedesThoseOfItsKey() {
        var bench = Bench()
        bench.enqueue(supersede: "head")
        bench.enqueue(supersede: "other")
        bench.enqueue(supersede: "head")
        let effects = bench.send(.enqueue(TurnRequest(prompt: "p", whenBusy: .supersede, supersedeKey: "head"), key: nil))
        #expect(effects.contains(.interrupt(TurnID(1))))
        #expect(effects.reply == .accepted(TurnID(4)))
        #expect(bench.reason(3) == .superseded && bench.state(3) == .cancelled)
        #expect(bench.state(2) == .queued)
        bench.send(.finished(TurnID(1), TurnEnded(state: .cancelled, reason: .cancelled), clean: true))
        #expect(bench.reason(1) == .superseded)
        #expect(bench.enqueue(whenBusy: .supersede).problem == .invalidRequest)
    }

    @Test func theQueueIsBounded() {
        var limits = TurnLimits()
        limits.maxQueuedTurns = 2
        limits.maxQueuedBytes = 10
        limits.maxPromptBytes = 8
        var bench = Bench(limits: limits)
        #expect(bench.enqueue("123456789").problem == .tooLarge)
        #expect(bench.enqueue("12345678") == .accepted(TurnID(1)))
        #expect(bench.enqueue("12345678") == .accepted(TurnID(2)), "what runs does not count")
        #expect(bench.enqueue("123").problem == .queueFull)
        #expect(bench.enqueue("12") == .accepted(TurnID(3)))
        #expect(bench.enqueue("").problem == .invalidRequest)
        #expect(bench.enqueue("1").problem == .queueFull)
        bench.finish(1)
        #expect(bench.enqueue("1") == .accepted(TurnID(4)))
    }

    @Test func cancelling() {
        var bench = Bench()
        for _ in 0..<3 { bench.enqueue() }
        #expect(bench.send(.cancel(TurnID(2))).reply == .done)
        #expect(bench.state(2) == .cancelled)
        let effects = bench.send(.cancel(TurnID(1)))
        #expect(effects.contains(.interrupt(TurnID(1))) && effects.reply == .done)
        #expect(bench.queue.turn(TurnID(1))?.cancelRequested == true)
        #expect(bench.send(.cancel(TurnID(1))) == [.reply(.done)], "asked once")
        #expect(bench.send(.cancel(TurnID(2))) == [.reply(.done)], "it has ended")
        #expect(bench.send(.cancel(TurnID(9))).reply.problem == .notFound)
        let end = bench.send(.finished(TurnID(1), TurnEnded(state: .failed, reason: .agentError), clean: true))
        #expect(bench.state(1) == .cancelled)
        #expect(end.endsProcesses && end.dispatched.isEmpty, "processes first")
        #expect(bench.send(.hostClear).dispatched == [TurnID(3)])
    }

    @Test func aCancelledTurnIsStoppedByForceAndEndsEvenIfItsDriverIsSilent() {
        var bench = Bench()
        bench.enqueue()
        bench.enqueue()
        bench.send(.cancel(TurnID(1)))
        #expect(!bench.wait(.seconds(9)).endsProcesses)
        #expect(bench.wait(.seconds(2)).endsProcesses)
        bench.send(.hostClear)
        #expect(bench.state(1) == .running)
        #expect(bench.wait(.minutes(1)).endsProcesses)
        #expect(bench.state(1) == .cancelled)
        #expect(bench.state(2) == .queued)
        #expect(bench.send(.hostClear).dispatched == [TurnID(2)])
    }

    @Test func everySweepUnderWayMustHaveEndedBeforeTheNextTurn() {
        var bench = Bench()
        bench.enqueue()
        bench.enqueue()
        bench.send(.cancel(TurnID(1)))
        #expect(bench.wait(.seconds(10)).endsProcesses)
        #expect(bench.finish(1, clean: false).endsProcesses)
        #expect(bench.send(.hostClear).dispatched.isEmpty, "the second sweep would end the next turn's agent")
        #expect(bench.send(.hostClear).dispatched == [TurnID(2)])
    }

    @Test func aQuestionWaitsForItsAnswer() {
        var bench = Bench()
        bench.enqueue()
        bench.send(.ask(TurnID(1), question))
        #expect(bench.state(1) == .awaitingInput)
        #expect(bench.send(.answer(TurnID(1), InputAnswer(option: "no"))).reply.problem == .invalidRequest)
        #expect(bench.send(.answer(TurnID(1), InputAnswer(request: "other"))).reply.problem == .conflict)
        #expect(bench.send(.answer(TurnID(7), InputAnswer())).reply.problem == .notFound)
        let effects = bench.send(.answer(TurnID(1), InputAnswer(option: "yes")))
        #expect(effects.contains(.answer(TurnID(1), InputAnswered(request: "q", option: "yes", text: nil, by: .person))))
        #expect(bench.state(1) == .running)
        #expect(bench.send(.answer(TurnID(1), InputAnswer(option: "yes"))).reply.problem == .conflict)
    }

    @Test func aQuestionEndsByItsDeadlineWithdrawalOrCancellation() {
        func asked() -> Bench {
            var bench = Bench()
            bench.enqueue()
            bench.send(.ask(TurnID(1), question))
            return bench
        }
        func refusal(_ by: InputAnswered.By) -> TurnQueue.Effect {
            .answer(TurnID(1), InputAnswered(request: "q", option: nil, text: nil, by: by))
        }
        var bench = asked()
        #expect(bench.wait(.minutes(11)).contains(refusal(.deadline)))
        #expect(bench.state(1) == .running)
        bench = asked()
        #expect(bench.send(.askWithdrawn(TurnID(1))).contains(refusal(.cancellation)))
        bench = asked()
        let effects = bench.send(.cancel(TurnID(1)))
        #expect(effects.contains(refusal(.cancellation)) && effects.contains(.interrupt(TurnID(1))))
        #expect(bench.send(.ask(TurnID(1), question)) == [refusal(.cancellation)], "a question of a turn that is being stopped")
    }

    @Test func aTurnsTimeStandsStillWhileItWaitsForAPerson() {
        var bench = Bench()
        bench.enqueue(timeout: .minutes(5))
        _ = bench.wait(.minutes(4))
        bench.send(.ask(TurnID(1), question))
        _ = bench.wait(.minutes(5))
        #expect(bench.state(1) == .awaitingInput)
        bench.send(.answer(TurnID(1), InputAnswer(option: "yes")))
        #expect(bench.wait(.seconds(59)).isEmpty)
        #expect(bench.wait(.seconds(2)).contains(.interrupt(TurnID(1))))
        bench.send(.finished(TurnID(1), TurnEnded(state: .cancelled, reason: .cancelled), clean: false))
        #expect(bench.state(1) == .failed && bench.reason(1) == .timeout)
    }

    @Test func nothingIsDispatchedUntilTheHostIsClear() {
        var bench = Bench(ready: false)
        bench.enqueue()
        #expect(bench.queue.waitingFor?.contains("no agent") == true)
        #expect(bench.send(.agentConfigured(true)).dispatched.isEmpty)
        #expect(bench.queue.waitingFor?.contains("not connected") == true)
        #expect(bench.send(.hostClear).dispatched.isEmpty)
        let connected = bench.send(.hostConnected)
        #expect(connected.endsProcesses && connected.dispatched.isEmpty)
        #expect(bench.send(.hostClear).dispatched == [TurnID(1)])
        bench.enqueue()
        let lost = bench.send(.hostLost(reason: "killed"))
        #expect(bench.state(1) == .interrupted && bench.reason(1) == .hostLost && lost.dispatched.isEmpty)
        #expect(bench.send(.hostLost(reason: "again")).isEmpty)
        bench.send(.hostConnected)
        #expect(bench.send(.hostClear).dispatched == [TurnID(2)])
    }

    @Test func aConditionalDrainIsAnsweredFromTheState() {
        var bench = Bench()
        func ask(_ span: TimeSpan) -> TurnQueue.Reply? { bench.send(.drain(DrainRequest(ifIdleFor: span))).reply }
        bench.now = bench.now + .minutes(1)
        #expect(ask(.minutes(2)).problem == .busy)
        bench.enqueue()
        bench.now = bench.now + .minutes(9)
        #expect(ask(.zero).problem == .busy)
        bench.finish(1)
        bench.send(.attached)
        bench.now = bench.now + .minutes(9)
        #expect(ask(.minutes(1)).problem == .busy)
        bench.send(.detached)
        bench.send(.keepAlive(.minutes(3)))
        #expect(ask(.zero).problem == .busy)
        _ = bench.wait(.minutes(4))
        #expect(ask(.minutes(2)).problem == .busy, "the lease ended a minute ago")
        bench.now = bench.now + .minutes(1)
        #expect(ask(.minutes(2)) == .done)
        #expect(bench.queue.drained)
        #expect(bench.enqueue().problem == .draining)
        #expect(bench.send(.keepAlive(.minutes(3))).reply.problem == .draining)
        #expect(ask(.minutes(99)) == .done, "a yes is final")
    }

    @Test func aForcedDrainLetsTheTurnEndUntilItsDeadline() {
        var bench = Bench()
        bench.enqueue()
        bench.enqueue()
        #expect(bench.send(.drain(DrainRequest(deadline: .minutes(1)))).reply == .done)
        #expect(!bench.queue.drained)
        #expect(bench.wait(.seconds(61)).contains(.interrupt(TurnID(1))))
        bench.send(.finished(TurnID(1), TurnEnded(state: .cancelled, reason: .cancelled), clean: false))
        #expect(bench.state(1) == .interrupted && bench.reason(1) == .drained)
        #expect(bench.queue.drained)
        bench.send(.hostClear)
        #expect(bench.state(2) == .queued, "it waits for the next epoch")
    }

    @Test func aMoreUrgentDrainBringsTheDeadlineForward() {
        var bench = Bench()
        bench.enqueue()
        bench.send(.drain(DrainRequest(deadline: .minutes(10))))
        bench.send(.drain(DrainRequest(deadline: .seconds(20))))
        bench.send(.drain(DrainRequest(deadline: .minutes(30))))
        #expect(bench.wait(.seconds(21)).contains(.interrupt(TurnID(1))))
    }

    @Test func aDrainIsFinalForItsEpochAndOverInTheNext() throws {
        var bench = Bench()
        bench.send(.drain(DrainRequest()))
        var same = TurnQueue()
        for event in bench.events { same.apply(event) }
        var next = same
        _ = same.handle(.opened(epoch: 1, SessionOpened(version: "test", session: nil)), at: bench.now)
        #expect(same.drained && same.draining != nil)
        _ = next.handle(.opened(epoch: 2, SessionOpened(version: "test", session: nil)), at: bench.now)
        #expect(!next.drained && next.draining == nil)
    }

    @Test func anIdleAgentIsReleased() {
        var bench = Bench()
        bench.send(.agentWarm(true))
        #expect(bench.wait(.minutes(6)).endsProcesses, "also one that never had a turn")
        bench.send(.hostClear)
        bench.enqueue()
        bench.send(.agentWarm(true))
        #expect(!bench.wait(.minutes(9)).endsProcesses)
        bench.finish(1)
        #expect(!bench.wait(.minutes(4)).endsProcesses)
        #expect(bench.wait(.minutes(2)).endsProcesses)
        #expect(bench.queue.nextDeadline == nil)
    }

    @Test(arguments: [false, true]) func whatTheAgentLeftRunningIsWorkOnlyIfItCounts(counts: Bool) {
        var limits = TurnLimits()
        limits.countBackground = counts
        var bench = Bench(limits: limits)
        bench.enqueue()
        bench.finish(1)
        bench.send(.background(["npm run dev"]))
        #expect(bench.events.last?.body == .background(Background(["npm run dev"])), "the transcript names it")
        bench.send(.background(["npm run dev"]))
        #expect(bench.events.count { $0.body.type == "agent.background" } == 1, "nothing new is not told again")
        #expect(bench.queue.isBusy(at: bench.now) == counts)
        let drain = TurnQueue.Input.drain(DrainRequest(ifIdleFor: .minutes(1)))
        #expect(bench.send(drain, after: .minutes(5)).reply.map { $0 == .done } == !counts)
        if counts {
            // It has ended by itself, and the session is idle from then on.
            bench.send(.background([]))
            #expect(!bench.queue.isBusy(at: bench.now))
            #expect(bench.send(drain, after: .seconds(59)).reply != .done)
            #expect(bench.send(drain, after: .seconds(1)).reply == .done)
        }
    }

    @Test func aFullDiskEndsTheTurnAndRefusesNewOnes() {
        var bench = Bench()
        bench.enqueue()
        bench.enqueue()
        #expect(bench.send(.storage(full: true)).contains(.interrupt(TurnID(1))))
        #expect(bench.enqueue().problem == .storageFull)
        bench.send(.finished(TurnID(1), TurnEnded(state: .cancelled, reason: .cancelled), clean: false))
        #expect(bench.state(1) == .failed && bench.reason(1) == .storageFull)
        #expect(bench.send(.hostClear).dispatched.isEmpty)
        #expect(bench.send(.storage(full: false)).dispatched == [TurnID(2)])
    }

    @Test func anAgentIsIdleFromTheEndOfWhatItLeftRunningOn() {
        var limits = TurnLimits()
        limits.countBackground = true
        limits.agentIdle = .minutes(5)
        var bench = Bench(limits: limits)
        bench.enqueue()
        bench.finish(1)
        bench.send(.agentWarm(true))
        bench.send(.background(["make"]))
        #expect(!bench.wait(.minutes(20)).endsProcesses, "it works")
        bench.send(.background([]))
        #expect(!bench.wait(.minutes(4)).endsProcesses, "it goes on with what came of that")
        #expect(bench.wait(.minutes(2)).endsProcesses)
    }

    /// A client that is told to try again must get a turn when it does, whatever was decided about its first one before the disk was
    /// known to be full.
    @Test(arguments: ["it was to run", "it was stopped", "it was queued"], [false, true])
    func whatWasNotAcceptedLeavesItsKeyFree(_ case: String, replayed: Bool) throws {
        var bench = Bench()
        if `case` == "it was queued" { bench.enqueue("before") }
        let id = TurnID(bench.queue.lastOrdinal + 1)
        #expect(bench.enqueue("a", key: "k") == .accepted(id))
        if `case` == "it was stopped" { bench.send(.storage(full: true)) }
        let effects = bench.send(.withdraw(id))
        #expect(!effects.contains(.interrupt(id)) && !effects.endsProcesses, "it was handed to nobody")
        #expect(bench.state(id.ordinal) == .cancelled && bench.reason(id.ordinal) == .storageFull)
        #expect(bench.send(.withdraw(id)).isEmpty)
        bench.send(.storage(full: false))
        if replayed {
            let expected = bench.queue.checkpoint
            bench.queue = TurnQueue()
            for event in bench.events.dropLast() { bench.queue.apply(event) }
            bench.queue = TurnQueue(try JSON.decode(TurnQueue.Checkpoint.self, from: JSON.encode(bench.queue.checkpoint)))
            for event in bench.events.suffix(1) { bench.queue.apply(event) }
            #expect(bench.queue.checkpoint == expected)
        }
        let next = TurnID(id.ordinal + 1)
        #expect(bench.enqueue("a", key: "k") == .accepted(next))
        #expect(bench.enqueue("a", key: "k") == .repeated(next))
    }

    @Test func whatRanInACrashIsInterruptedAndWhatWasQueuedRuns() {
        var bench = Bench()
        bench.enqueue()
        bench.enqueue()
        var queue = TurnQueue()
        for event in bench.events { queue.apply(event) }
        bench.queue = queue
        #expect(bench.send(.opened(epoch: 2, SessionOpened(version: "test", session: nil))).dispatched.isEmpty)
        #expect(bench.state(1) == .interrupted && bench.reason(1) == .sidecarLost)
        bench.send(.agentConfigured(true))
        bench.send(.hostConnected)
        #expect(bench.send(.hostClear).dispatched == [TurnID(2)])
    }

    @Test func damageInterruptsEveryTurnThatHasNotEnded() {
        var bench = Bench()
        bench.enqueue()
        bench.enqueue()
        let gap = JournalGap(from: 3, to: 4, file: "f", reason: "r")
        let effects = bench.send(.damaged(gap))
        #expect(bench.queue.turns.map(\.reason) == [.journalDamaged, .journalDamaged])
        #expect(effects.last == .record(.journalGap(gap), turn: nil), "last, so that a crash before it reports the gap again")
    }

    @Test func noFigureOfAnAgentTraps() throws {
        var bench = Bench()
        let usage = Usage(inputTokens: .max, outputTokens: .min, cachedInputTokens: 1, costUSD: 1e308)
        for turn in 1...4 as ClosedRange<UInt64> {
            bench.enqueue()
            let results = TurnResults(usage: usage)
            bench.send(.finished(TurnID(turn), TurnEnded(state: .succeeded, reason: .completed, results: results), clean: true))
        }
        #expect(bench.queue.usage.inputTokens == .max && bench.queue.usage.outputTokens == .min)
        #expect(throws: Never.self) { try JSON.encode(bench.queue.checkpoint) }
    }
}

extension [TurnQueue.Effect] {
    var reply: TurnQueue.Reply? { compactMap { if case .reply(let reply) = $0 { reply } else { nil } }.first }
    var dispatched: [TurnID] { compactMap { if case .dispatch(let turn) = $0 { turn } else { nil } } }
    var endsProcesses: Bool { contains { if case .endProcesses = $0 { true } else { false } } }
}

extension TurnQueue.Reply? {
    var problem: Problem.Kind? { if case .refused(let problem) = self { problem.kind } else { nil } }
}
