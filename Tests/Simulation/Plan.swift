import Seeds
import SessionModel

/// What users do and what goes wrong in a run, and when: all that a run is made of besides its seed. A failing run is made
/// smaller by leaving parts of it out.
struct Plan {
    var sessions: [Lifetime]
    var acts: [Act]
    /// When everything heals and users leave, milliseconds.
    var end: Int64
    var weather: World.Weather
    /// There are no faults in it.
    var isFair: Bool

    struct Act: CustomStringConvertible {
        var at: Int64
        var what: What
        var description: String { "at \(TimeSpan(milliseconds: at)): \(what)" }
    }

    enum What {
        /// `kind` is the first letter of the prompt, and says how the agent behaves: it works, fails, asks or hangs; and for r, c
        /// and x, that the turn is to be taken up again when it is cut off; for s and p, that it takes the place of earlier ones of
        /// these two.
        case task(session: Int, kind: Character, key: Int?)
        case commitTask(kind: Character)
        /// The same request again, as a webhook is delivered again.
        case redeliver(key: Int)
        case forgetTask(Int)
        case cancel(task: Int)
        case keep(session: Int, TimeSpan)
        case suspend(session: Int)
        case resume(session: Int)
        case end(session: Int)
        case lifetime(session: Int, Lifetime)
        case scope(session: Int, closed: Bool)
        case attach(session: Int, TimeSpan)
        case answer(session: Int)
        case jump(TimeSpan)
        case killSidecar(session: Int, powerLoss: Bool)
        /// So many syncs fail, one after the other.
        case failSync(session: Int, Int)
        case fillDisk(session: Int, TimeSpan)
        /// An fdatasync takes at most so long, for a time.
        case slowDisk(session: Int, sync: TimeSpan, TimeSpan)
        case hang(session: Int, TimeSpan)
        /// For a time the probe says ready when the sidecar is not, and not ready when it is.
        case lie(session: Int, TimeSpan)
        case killHost(session: Int)
        case loseJournal(session: Int)
        case damageJournal(session: Int)
        case failStarts(session: Int, Int)
        case killSupervisor(downFor: TimeSpan)
        /// The leader is cut off until another is elected. With an overlap it does not know that yet when it is connected again:
        /// for so long both act, and both write.
        case partition(TimeSpan, overlap: TimeSpan)
    }

    /// - Parameter dense: several times as much happens, at almost the same time.
    init(seed: UInt64, dense: Bool = false) {
        // Another stream than the run's own.
        var random = SeededRandom(seed: seed ^ 0x5eed)
        func span(_ range: ClosedRange<Int64>) -> TimeSpan { .milliseconds(Int64.random(in: range, using: &random)) }
        let count = random.oneIn(3) ? 2 : 1
        sessions = (0..<count).map { _ in Self.lifetime(&random) }
        let size =
            dense
            ? Int.random(in: 40...160, using: &random)
            : random.oneIn(4) ? Int.random(in: 12...45, using: &random) : Int.random(in: 2...12, using: &random)
        let stormy = !random.oneIn(3)
        isFair = !stormy
        weather = World.Weather()
        if stormy {
            weather.storeFails = random.pick([0, 0, 30, 8])
            weather.watchLoses = random.pick([0, 20, 5, 2])
            weather.watchDelay = random.pick([30_000, 600_000])
            weather.callFails = random.pick([0, 0, 25, 6])
            weather.latency = random.pick([5, 20, 400, 3000])
            weather.startLatency = random.pick([0, 0, 2000, 30_000])
        }
        acts = []
        var at: Int64 = 0
        for _ in 0..<size {
            at +=
                random.oneIn(dense ? 8 : 3)
                ? Int64.random(in: 0...1_200_000, using: &random) : Int64.random(in: 0...15_000, using: &random)
            let session = Int.random(in: 0..<count, using: &random)
            let kind = random.pick(["w", "w", "w", "w", "r", "c", "x", "f", "a", "h", "s", "s", "p"] as [Character])
            let what: What
            switch Int.random(in: 0..<(stormy ? 51 : 30), using: &random) {
            case 0...10:
                what = .task(session: session, kind: kind, key: random.oneIn(3) ? Int.random(in: 0...3, using: &random) : nil)
            case 11: what = .commitTask(kind: kind)
            case 12, 13: what = .redeliver(key: Int.random(in: 0...3, using: &random))
            case 14: what = .forgetTask(Int.random(in: 0...9, using: &random))
            case 15, 16: what = .cancel(task: Int.random(in: 0...9, using: &random))
            case 17: what = .keep(session: session, span(1000...1_800_000))
            case 18, 19: what = .suspend(session: session)
            case 20, 21: what = .resume(session: session)
            case 22: what = .end(session: session)
            case 23, 24: what = .lifetime(session: session, Self.lifetime(&random))
            case 25: what = .scope(session: session, closed: !random.oneIn(3))
            case 26: what = .attach(session: session, span(1000...600_000))
            case 27, 28: what = .answer(session: session)
            case 29:
                // Set back, waits take so much longer: by less than the time that is given to settle in the end. Forward, by less
                // than keys are remembered.
                what = .jump(random.pick([span(-2000...2000), span(-7_200_000...7_200_000), span(0...172_800_000)]))
            case 30...33: what = .killSidecar(session: session, powerLoss: random.oneIn(2))
            case 34: what = .failSync(session: session, random.pick([1, 1, 2, 7]))
            case 35, 36: what = .fillDisk(session: session, span(1000...300_000))
            case 37:
                let sync = random.pick([.milliseconds(200), .seconds(8), .minutes(1)] as [TimeSpan])
                what = .slowDisk(session: session, sync: sync, span(1000...300_000))
            case 38: what = .hang(session: session, span(1000...900_000))
            case 39: what = .killHost(session: session)
            case 40: what = .loseJournal(session: session)
            case 41: what = .damageJournal(session: session)
            case 42: what = .failStarts(session: session, random.pick([1, 3, 8]))
            case 43, 44: what = .killSupervisor(downFor: span(0...120_000))
            case 45: what = .lie(session: session, span(1000...600_000))
            default: what = .partition(span(1000...60_000), overlap: random.oneIn(3) ? .zero : span(100...60_000))
            }
            acts.append(Act(at: at, what: what))
        }
        end = at + 60_000
    }

    private static func lifetime(_ random: inout SeededRandom) -> Lifetime {
        var lifetime = Lifetime()
        lifetime.idleTimeout = random.pick([.seconds(2), .seconds(20), .minutes(5)])
        lifetime.onIdle = random.oneIn(3) ? .end : nil
        lifetime.ttl = random.pick([nil, nil, .minutes(10), .hours(2)])
        lifetime.drainTimeout = random.pick([nil, .seconds(5), .minutes(2)])
        lifetime.suspendedTTL = random.pick([nil, .minutes(30), .hours(5)])
        lifetime.onScopeClosed = random.pick([nil, .keep])
        lifetime.turnTimeout = random.pick([.seconds(30), .minutes(20)])
        lifetime.inputTimeout = random.pick([.seconds(20), .minutes(10)])
        lifetime.agentIdle = random.pick([nil, .seconds(10)])
        // Not a number of its own, so that a seed goes on to mean what it did.
        lifetime.resultHold = lifetime.agentIdle == nil ? nil : .seconds(30)
        lifetime.startTimeout = random.pick([nil, .seconds(20)])
        lifetime.maxQueuedTurns = random.pick([nil, 1, 2])
        lifetime.maxTurns = random.pick([nil, nil, nil, nil, nil, 3])
        lifetime.maxTokens = random.pick([nil, nil, nil, nil, nil, 250])
        return lifetime
    }
}
