import Foundation
import SessionModel
import Support
import Testing

/// Random inputs in random orders, and after every step the rules that must hold whatever came in.
@Suite struct TurnQueuePropertyTests {
    @Test(arguments: 1...(ProcessInfo.processInfo.environment["HOLDFAST_LONG"] == nil ? 250 : 50_000))
    func theRulesHold(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        var bench = TurnQueueTests.Bench(ready: false, limits: Self.limits)
        var model = Model()
        try model.check(bench.events.map { .record($0.body, turn: $0.turn) }, bench.queue, "seed \(seed), start")
        for step in 0..<60 {
            bench.now = bench.now + .milliseconds(Int64.random(in: 0...4000, using: &random))
            let input = Self.input(&random, bench.queue, bench.now)
            model.before(input)
            let effects = bench.send(input)
            try model.check(effects, bench.queue, "seed \(seed), step \(step): \(input)")
            if random.oneIn(30) {
                try Self.foldIsTheSame(
                    bench, from: Int.random(in: 0...bench.events.count, using: &random), "seed \(seed), step \(step)")
            }
        }
        // From here on the host obeys, drivers say nothing more, and time passes: every turn reaches an end, and time does not
        // stand still.
        var ticks = 0
        bench.send(.storage(full: false))
        bench.send(.agentConfigured(true))
        bench.send(.hostConnected)
        model.before(.hostConnected)
        while !bench.queue.live.isEmpty, bench.queue.draining == nil || bench.queue.running != nil, ticks < 2000 {
            ticks += 1
            for _ in 0..<4 { bench.send(.hostClear) }
            if let due = bench.queue.nextDeadline {
                bench.now = max(bench.now, due)
                bench.send(.tick)
            }
        }
        #expect(ticks < 2000, "a turn never ends: seed \(seed), \(bench.queue.turns)")
        for _ in 0..<20 where bench.queue.nextDeadline != nil {
            let due = try #require(bench.queue.nextDeadline)
            bench.now = max(bench.now, due)
            bench.send(.tick)
            #expect(bench.queue.nextDeadline.map { $0 > bench.now } ?? true, "seed \(seed): a deadline that stays due")
        }
        try Self.foldIsTheSame(bench, from: Int.random(in: 0...bench.events.count, using: &random), "seed \(seed), end")
    }

    private static var limits: TurnLimits {
        var limits = TurnLimits()
        limits.maxQueuedTurns = 4
        limits.turnTimeout = .seconds(20)
        limits.cancelGrace = .seconds(3)
        limits.agentIdle = .seconds(15)
        limits.dedupeWindow = .seconds(40)
        return limits
    }

    private static func input(_ random: inout SeededRandom, _ queue: TurnQueue, _ now: Timestamp) -> TurnQueue.Input {
        let running = queue.running?.id
        // Mostly the turn that runs, at times any other.
        let some = random.oneIn(5) ? TurnID(UInt64.random(in: 1...(queue.lastOrdinal + 2), using: &random)) : running ?? TurnID(1)
        switch Int.random(in: 0..<24, using: &random) {
        case 0...6:
            let busy = random.pick([nil, nil, nil, .queue, .reject, .supersede] as [WhenBusy?])
            let request = TurnRequest(
                prompt: random.pick(["a", "b", "c"]), whenBusy: busy,
                supersedeKey: random.oneIn(2) || busy == .supersede ? "s" : nil,
                onInterrupt: random.pick([nil, .fail, .retry(1), .retry(3), .continue(2)]))
            return .enqueue(
                request, key: random.oneIn(3) ? nil : KeyDigest(key: random.pick(["k1", "k2", "k3", "k4"]), request: request))
        case 7: return .cancel(some)
        case 8...10:
            let end =
                random.oneIn(2)
                ? TurnEnded(state: random.pick([.succeeded, .failed, .cancelled]), reason: .completed)
                : TurnEnded(
                    state: random.pick([.failed, .interrupted]), reason: random.pick([.agentExited, .hostLost]),
                    results: TurnResults(usage: Usage(inputTokens: 1)))
            return .finished(some, end, clean: random.oneIn(2))
        case 11:
            return .ask(
                some, InputRequest(id: "q", question: "?", options: [.init(id: "y", name: "Y")], deadline: now + .seconds(10)))
        case 12: return .answer(some, InputAnswer(option: random.pick(["y", "n", nil])))
        case 13: return .askWithdrawn(some)
        case 14: return random.oneIn(4) ? .hostLost(reason: "r") : .tick
        case 15: return .hostConnected
        case 16, 17: return .hostClear
        case 18:
            return random.oneIn(6)
                ? .drain(DrainRequest(ifIdleFor: random.oneIn(2) ? .seconds(5) : nil, deadline: .seconds(9))) : .tick
        case 19: return .keepAlive(.seconds(Int64.random(in: -1...9, using: &random)))
        case 20: return random.oneIn(2) ? .attached : .detached
        case 21: return .storage(full: random.oneIn(4))
        case 22 where random.oneIn(8): return .withdraw(some)
        case 22: return random.oneIn(3) ? .agentConfigured(!random.oneIn(5)) : .agentWarm(random.oneIn(2))
        default:
            if random.oneIn(8) { return .opened(epoch: queue.epoch + 1, SessionOpened(version: "t", session: nil)) }
            return random.oneIn(30) ? .damaged(JournalGap(from: 1, to: 2, file: "f", reason: "r")) : .tick
        }
    }

    /// What the queue may do, as a reader of the rules would keep score.
    private struct Model {
        var running: TurnID?
        var lastDispatched = TurnID(0)
        var ended: Set<TurnID> = []
        /// How often each turn may still be dispatched.
        var attempts: [TurnID: Int] = [:]
        /// The turn that was cut off last and is to be taken up again.
        var cutOff: TurnID?
        /// Turns that somebody wants no more, and those whose time is up.
        var unwanted: Set<TurnID> = []
        var sweeps: Int?  // nil: no host
        var epoch: UInt32 = 1

        mutating func before(_ input: TurnQueue.Input) {
            switch input {
            case .hostConnected: sweeps = 0  // Its own sweep is among the effects.
            case .hostLost: sweeps = nil
            case .hostClear: sweeps = sweeps.map { max(0, $0 - 1) }
            default: break
            }
        }

        mutating func check(_ effects: [TurnQueue.Effect], _ queue: TurnQueue, _ context: String) throws {
            for effect in effects {
                switch effect {
                case .record(.turnDispatched, let turn):
                    let turn = try #require(turn)
                    #expect(running == nil, "two turns run; \(context)")
                    #expect(turn > lastDispatched || turn == cutOff, "out of order, or twice; \(context)")
                    #expect(cutOff == nil || turn == cutOff, "passed the one that was cut off; \(context)")
                    #expect(attempts[turn, default: 0] > 0, "more often than it asked for; \(context)")
                    #expect(!unwanted.contains(turn), "not wanted any more; \(context)")
                    attempts[turn, default: 0] -= 1
                    cutOff = nil
                    #expect(!ended.contains(turn), "dispatched after its end; \(context)")
                    #expect(sweeps == 0, "processes may be alive; \(context)")
                    #expect(queue.draining == nil, "draining; \(context)")
                    running = turn
                    lastDispatched = turn
                case .record(.turnQueued(let queued), let turn):
                    attempts[try #require(turn)] = 1 + (queued.request.onInterrupt?.times ?? 0)
                case .record(.cancelRequested(let request), let turn):
                    if request.reason != .drained { unwanted.insert(try #require(turn)) }
                case .record(.turnInterrupted, let turn):
                    #expect(running == turn, "it did not run; \(context)")
                    cutOff = turn
                    running = nil
                case .record(.turnEnded, let turn):
                    let turn = try #require(turn)
                    if cutOff == turn { cutOff = nil }
                    #expect(ended.insert(turn).inserted, "ended twice; \(context)")
                    if running == turn { running = nil }
                case .endProcesses: sweeps = sweeps.map { $0 + 1 }
                default: break
                }
            }
            #expect(queue.running?.id == running, "\(context)")
            #expect(queue.live.dropFirst(running == nil ? 0 : 1).allSatisfy { $0.state == .queued }, "\(context)")
            #expect(queue.live.map(\.id) == queue.live.map(\.id).sorted(), "\(context)")
            #expect(effects.filter { if case .dispatch = $0 { true } else { false } }.count <= 1, "\(context)")
        }
    }

    /// The journal's events, folded from the beginning or from a checkpoint on, give the queue's state again.
    private static func foldIsTheSame(_ bench: TurnQueueTests.Bench, from middle: Int, _ context: String) throws {
        var fold = TurnQueue()
        for event in bench.events[..<middle] { fold.apply(event) }
        fold = TurnQueue(try JSON.decode(TurnQueue.Checkpoint.self, from: JSON.encode(fold.checkpoint)))
        for event in bench.events[middle...] { fold.apply(event) }
        // What time alone has ended is still in the fold: keys and leases say themselves when they are over.
        let expected = try remaining(bench.queue.checkpoint, at: bench.now)
        #expect(try remaining(fold.checkpoint, at: bench.now) == expected, "\(context)")
    }

    private static func remaining(_ checkpoint: TurnQueue.Checkpoint, at now: Timestamp) throws -> JSONValue {
        guard case .object(var members) = try JSON.decode(JSONValue.self, from: JSON.encode(checkpoint)) else { return nil }
        let oldest = now.milliseconds - limits.dedupeWindow.milliseconds
        let keys = (members["keys"]?.array ?? []).flatMap { $0.string?.split(separator: ",") ?? [] }
        members["keys"] = .array(
            keys.filter { Int64($0.split(separator: " ").last ?? "") ?? 0 >= oldest }.map { .string(String($0)) })
        if let until = members["keepAliveUntil"]?.string.flatMap(Timestamp.init), until <= now { members["keepAliveUntil"] = nil }
        return .object(members)
    }
}
