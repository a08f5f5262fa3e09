import SessionModel
import Testing

/// A tiny world around one machine: a process that may be alive, and a clock.
private struct World {
    var machine: SessionMachine
    var now = Timestamp(milliseconds: 1_000_000)
    var alive: UInt32?
    var version: Int64 = 0
    var effects: [SessionMachine.Effect] = []

    init(scope: ScopeKind = .pullRequest, lifetime: Lifetime? = nil) {
        machine = SessionMachine(scope: scope, lifetime: lifetime, createdAt: now)
    }

    @discardableResult
    mutating func send(_ input: SessionMachine.Input) -> [SessionMachine.Effect] {
        let new = machine.handle(input, at: now)
        effects += new
        return new
    }

    mutating func advance(_ span: TimeSpan) -> [SessionMachine.Effect] {
        now = now + span
        return send(.tick)
    }

    mutating func activity(busy: Bool = false, idleSince: Timestamp? = nil, draining: Bool = false, drained: Bool = false)
        -> Activity
    {
        version += 1
        return Activity(
            version: version, journal: "0123456789abcdef", epoch: machine.epoch, busy: busy,
            idleSince: busy ? nil : idleSince ?? now,
            running: nil, awaitingInput: nil, queued: 0, attached: 0, keepAliveUntil: nil, draining: draining, drained: drained,
            waitingFor: nil, cursor: Cursor(journal: "0123456789abcdef", sequence: 1))
    }

    mutating func becomeReady() {
        send(.tasks(open: 1))
        send(.started(epoch: machine.epoch))
        send(.ready(activity()))
    }
}

@Suite struct SessionMachineTests {
    /// Any other process is a stray, and is ended.
    @Test func onlyTheProcessOfTheStoredEpochIsTheSessionsOwn() {
        for phase in SessionPhase.allCases {
            var status = SessionResourceStatus(since: Timestamp(milliseconds: 0))
            (status.phase, status.epoch) = (phase, 3)
            for epoch in UInt32(1)...5 {
                let runs = [.starting, .ready, .draining].contains(phase)
                #expect(status.owns(epoch: epoch) == (runs && epoch == 3), "\(phase) \(epoch)")
            }
        }
    }

    @Test func aTaskStartsTheFirstEpochOnce() {
        var world = World()
        #expect(world.send(.tasks(open: 1)) == [.start(epoch: 1)])
        #expect(world.machine.phase == .starting)
        #expect(world.send(.tasks(open: 2)).isEmpty)
        #expect(world.send(.wishes(.init(wake: 1))).isEmpty)
        world.send(.ready(world.activity()))
        #expect(world.machine.phase == .ready)
        #expect(world.machine.acceptsTurns)
    }

    @Test func whatIsNotWantedAnyMoreNeedNotBecomeReady() {
        var world = World()
        world.send(.tasks(open: 1))
        let stopped = world.send(.wishes(.init(end: true)))
        #expect(stopped == [.stop(epoch: 1, grace: SessionMachine.stopGrace)])
        world.send(.gone(epoch: 1, why: "it was deleted", crashed: true))
        #expect(world.machine.phase == .ended)

        // One whose journal can tell what became of a Task is waited for.
        world = World()
        world.send(.tasks(open: 1, sent: true))
        #expect(world.send(.wishes(.init(end: true))).isEmpty)
        world.send(.ready(world.activity()))
        #expect(world.machine.phase == .draining)

        // It was no crash: suspended again and again, a session does not fail of it.
        world = World()
        for round in 1...SessionMachine.maxCrashes + 1 {
            world.send(.wishes(.init()))
            world.send(.tasks(open: 1))
            #expect(world.send(.wishes(.init(suspend: true))).count == 1)
            world.send(.gone(epoch: world.machine.epoch, why: "it was deleted", crashed: true))
            #expect(world.machine.phase == .suspended, "round \(round)")
        }
    }

    /// It is no crash, however often it comes, and its pause is kept.
    @Test func aPostponedStartIsTriedAgainAfterItsPause() {
        var world = World()
        world.send(.tasks(open: 1))
        for _ in 0..<(SessionMachine.maxCrashes * 2) {
            let epoch = world.machine.epoch
            #expect(world.send(.postponed(epoch: epoch, why: "no room", pause: .seconds(15))).isEmpty)
            #expect(world.machine.phase == .starting && world.machine.message == "no room")
            #expect(world.advance(.seconds(14)).isEmpty)
            #expect(world.advance(.seconds(1)) == [.start(epoch: epoch + 1)])
        }
    }

    @Test func whatCanNeverStartFailsAtOnce() {
        var world = World()
        world.send(.tasks(open: 1))
        #expect(world.send(.impossible(epoch: 1, why: "no such image")).isEmpty)
        #expect(world.machine.phase == .failed)
        #expect(world.machine.message == "no such image")
        // A new Task tries again.
        #expect(world.send(.tasks(open: 1)) == [.start(epoch: 2)])
    }

    /// What waits for it then sleeps until a user or a new Task wakes it, and says so.
    @Test func oneThatHasFailedCanBeSuspended() {
        var world = World()
        world.send(.tasks(open: 1))
        world.send(.impossible(epoch: 1, why: "no such image"))
        world.send(.wishes(.init(suspend: true)))
        #expect(world.machine.phase == .suspended)
        #expect(world.send(.tasks(open: 1)).isEmpty)
        #expect(world.send(.wishes(.init(suspend: false))) == [.start(epoch: 2)])
    }

    @Test func whatWasChangedIsTakenUpAtTheNextIdleMoment() {
        var world = World()
        world.becomeReady()
        let reason = "its worker or its workspace was changed: it wakes with what it has now"
        // It works: nothing is cut off for it.
        #expect(world.send(.wishes(.init(isOutdated: true))).isEmpty)
        #expect(world.advance(.hours(2)).isEmpty)
        #expect(world.send(.tasks(open: 0)) == [.conditionalDrain(epoch: 1, ifIdleFor: .zero, reason: reason)])

        // One that ends when it has been idle for long enough does that, and not sooner.
        world = World()
        world.becomeReady()
        var lifetime = Lifetime()
        lifetime.onIdle = .end
        world.send(.wishes(.init(lifetime: lifetime, isOutdated: true)))
        #expect(world.send(.tasks(open: 0)).isEmpty)
        #expect(world.advance(.minutes(29)).isEmpty)
    }

    @Test func anIdleSessionIsAskedAndSuspendedOnlyWhenItAgrees() {
        var world = World()
        world.becomeReady()
        world.send(.tasks(open: 0))
        let idleSince = world.now
        #expect(world.advance(.minutes(29)).isEmpty)
        let asked = world.advance(.minutes(1))
        #expect(asked == [.conditionalDrain(epoch: 1, ifIdleFor: .minutes(30), reason: "idle for 30m")])
        // No: someone was attached in between, and left five minutes ago.
        let since = idleSince + .minutes(25)
        world.send(.drainRefused(epoch: 1, world.activity(idleSince: since)))
        #expect(world.machine.phase == .ready)
        #expect(world.machine.nextDeadline == since + .minutes(30))
        #expect(world.advance(.minutes(25)).count == 1)
        world.send(.drainAccepted(epoch: 1))
        #expect(world.machine.phase == .draining)
        #expect(!world.machine.acceptsTurns)
        #expect(
            world.send(.activity(world.activity(draining: true, drained: true))) == [
                .stop(epoch: 1, grace: SessionMachine.stopGrace)
            ])
        world.send(.gone(epoch: 1, why: "exit code 0", crashed: false))
        #expect(world.machine.phase == .suspended)
        #expect(world.send(.tasks(open: 1)) == [.start(epoch: 2)])
    }

    @Test func aBusySessionOutlivesItsIdleTimeout() {
        var world = World()
        world.becomeReady()
        world.send(.activity(world.activity(busy: true)))
        world.send(.tasks(open: 0))
        for _ in 0..<100 { #expect(world.advance(.minutes(30)).isEmpty) }
        #expect(world.machine.phase == .ready)
    }

    @Test func aTaskThatArrivesWhileItDrainsStartsTheNextEpoch() {
        var lifetime = Lifetime()
        lifetime.onIdle = .end
        var world = World(lifetime: lifetime)
        world.becomeReady()
        world.send(.tasks(open: 0))
        _ = world.advance(.minutes(30))
        world.send(.drainAccepted(epoch: 1))
        world.send(.tasks(open: 1))
        #expect(world.send(.gone(epoch: 1, why: "exit code 0", crashed: false)) == [.start(epoch: 2)])
    }

    @Test func aCommitSessionEndsAfterItsTask() {
        var world = World(scope: .commit)
        world.becomeReady()
        let asked = world.send(.tasks(open: 0))
        #expect(asked == [.conditionalDrain(epoch: 1, ifIdleFor: .zero, reason: "its Task has ended")])
        world.send(.drainAccepted(epoch: 1))
        world.send(.activity(world.activity(draining: true, drained: true)))
        world.send(.gone(epoch: 1, why: "exit code 0", crashed: false))
        #expect(world.machine.phase == .ended)
        #expect(world.machine.nextDeadline == nil)
        #expect(world.send(.tasks(open: 1)).isEmpty)
    }

    @Test func ttlDrainsARunningTurnAndEnds() {
        var world = World()
        world.becomeReady()
        world.send(.activity(world.activity(busy: true)))
        let effects = world.advance(.days(7))
        #expect(world.machine.phase == .draining)
        #expect(effects == [.forcedDrain(epoch: 1, deadline: .minutes(10), reason: "older than its ttl of 7d")])
        // The sidecar never says that it is drained: it is stopped all the same.
        world.send(.activity(world.activity(busy: true, draining: true)))
        #expect(world.advance(.minutes(10)).isEmpty)
        #expect(world.advance(.minutes(1)) == [.stop(epoch: 1, grace: SessionMachine.stopGrace)])
        world.send(.gone(epoch: 1, why: "signal 9", crashed: true))
        #expect(world.machine.phase == .ended)
    }

    /// Whoever looks after a long time may not have heard yet that it has answered.
    @Test func aSidecarIsGivenUpWhenItStillDoesNotAnswerAndNotForTimeAlone() {
        let stop = SessionMachine.Effect.stop(epoch: 1, grace: SessionMachine.stopGrace)
        for isDraining in [false, true] {
            var world = World()
            world.becomeReady()
            world.send(.activity(world.activity(busy: true)))
            if isDraining { world.send(.wishes(.init(suspend: true))) }
            world.send(.unreachable(epoch: 1))
            #expect(!world.advance(.minutes(5)).contains(stop))
            world.send(.activity(world.activity(busy: true)))
            world.send(.unreachable(epoch: 1))
            #expect(!world.advance(.minutes(4)).contains(stop))
            #expect(!world.send(.unreachable(epoch: 1)).contains(stop))
            #expect(!world.advance(.minutes(1)).contains(stop))
            #expect(world.send(.unreachable(epoch: 1)) == [stop])
        }
    }

    /// Its node was emptied, or its pod deleted: it was not idle, and does not say so.
    @Test func aSidecarThatWasToldToEndSleepsForThatReason() {
        var world = World()
        world.becomeReady()
        world.send(.activity(world.activity(busy: true, draining: true)))
        #expect(world.machine.phase == .draining && world.machine.cause == .sidecar)
        world.send(.tasks(open: 0))
        world.send(.gone(epoch: 1, why: "its pod was evicted", crashed: false))
        #expect(world.machine.phase == .suspended && world.machine.cause == .sidecar)
        #expect(world.machine.message == "its process was told to end")
    }

    @Test func crashesAreRetriedWithGrowingPausesAndThenFail() {
        var world = World()
        world.send(.tasks(open: 1))
        var pauses: [TimeSpan] = []
        for crash in 1...6 {
            let effects = world.send(.gone(epoch: UInt32(crash), why: "exit code 70", crashed: true))
            #expect(effects.isEmpty)
            guard crash < 6 else { break }
            guard let due = world.machine.nextDeadline else {
                Issue.record("no deadline after crash \(crash)")
                return
            }
            pauses.append(due - world.now)
            #expect(world.advance(due - world.now) == [.start(epoch: UInt32(crash) + 1)])
        }
        #expect(pauses == [.seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(16)])
        #expect(world.machine.phase == .failed)
        #expect(world.machine.message?.contains("exit code 70") == true)
        #expect(world.send(.tasks(open: 0)).isEmpty)
        #expect(world.send(.tasks(open: 1)) == [.start(epoch: 7)])
    }

    @Test func aStableSessionForgetsItsCrashes() {
        var world = World()
        world.becomeReady()
        for _ in 0..<20 {
            world.now = world.now + .minutes(2)
            world.send(.gone(epoch: world.machine.epoch, why: "signal 9", crashed: true))
            #expect(world.machine.phase == .starting)
            _ = world.advance(.seconds(1))
            world.send(.ready(world.activity()))
            #expect(world.machine.phase == .ready)
        }
    }

    @Test func aProcessThatDoesNotBecomeReadyIsStoppedAndRetried() {
        var world = World()
        world.send(.tasks(open: 1))
        #expect(world.advance(.minutes(5)) == [.stop(epoch: 1, grace: SessionMachine.stopGrace)])
        // Ready too late: it is being stopped.
        world.send(.ready(world.activity()))
        #expect(world.machine.phase == .starting)
        world.send(.gone(epoch: 1, why: "signal 9", crashed: true))
        #expect(world.advance(.seconds(1)) == [.start(epoch: 2)])
    }

    @Test func afterARestartNothingStartsBeforeTheOldProcessIsKnownToBeGone() {
        var stored = SessionResourceStatus(phase: .ready, since: Timestamp(milliseconds: 0))
        stored.epoch = 4
        var world = World()
        world.machine = SessionMachine(scope: .issue, lifetime: nil, createdAt: world.now, stored: stored)
        #expect(world.send(.restored) == [.checkRuntime(epoch: 4)])
        #expect(world.send(.tasks(open: 3)).isEmpty)
        #expect(world.send(.gone(epoch: 3, why: "stale", crashed: true)).isEmpty)
        #expect(world.advance(.seconds(30)) == [.checkRuntime(epoch: 4)])
        #expect(world.send(.gone(epoch: 4, why: "its process is gone", crashed: true)).isEmpty)
        #expect(world.advance(.seconds(1)) == [.start(epoch: 5)])
    }

    @Test func aNodeOfWhichNothingIsKnownIsLostAndNothingStartsBesideIt() {
        var world = World()
        world.becomeReady()
        world.send(.unknown(epoch: 1, why: "the kubelet does not answer"))
        #expect(world.machine.nodeLost(at: world.now) == nil)
        let effects = world.advance(.minutes(6))
        let said = world.machine.nodeLost(at: world.now)
        #expect(said?.contains("the kubelet does not answer") == true && said?.contains("out-of-service") == true)
        #expect(!effects.contains(.start(epoch: 2)))
        #expect(!world.advance(.hours(5)).contains(.start(epoch: 2)), "however long it takes")
        // It is known to have ended: only now another one starts.
        world.send(.gone(epoch: 1, why: "its Node is gone", crashed: false))
        #expect(world.machine.nodeLost(at: world.now) == nil)
        #expect(world.effects.contains(.start(epoch: 2)))
    }

    @Test func afterARestartALivingProcessIsAdopted() {
        var stored = SessionResourceStatus(phase: .ready, since: Timestamp(milliseconds: 0))
        stored.epoch = 4
        var world = World()
        world.machine = SessionMachine(scope: .issue, lifetime: nil, createdAt: world.now, stored: stored)
        world.send(.restored)
        #expect(world.send(.started(epoch: 4)).isEmpty)
        #expect(world.send(.activity(world.activity())).isEmpty)
        #expect(world.machine.acceptsTurns)
    }

    @Test func userSuspendsAndResumes() {
        var world = World()
        world.becomeReady()
        let effects = world.send(.wishes(.init(suspend: true)))
        #expect(effects == [.forcedDrain(epoch: 1, deadline: .minutes(10), reason: "suspended by a user")])
        world.send(.activity(world.activity(draining: true, drained: true)))
        world.send(.gone(epoch: 1, why: "exit code 0", crashed: false))
        #expect(world.machine.phase == .suspended)
        // The Tasks that were open then wait for a resume or for a new Task.
        #expect(world.send(.tasks(open: 1)).isEmpty)
        #expect(world.send(.wishes(.init(suspend: false))) == [.start(epoch: 2)])
    }

    /// Random inputs in a random order, stale and repeated ones included, must keep the rules after every step, and once the
    /// world answers properly the session must come to rest.
    @Test func rulesHoldForRandomInputs() {
        var system = SystemRandomNumberGenerator()
        let first = system.next()
        for offset in 0..<1000 as Range<UInt64> {
            let seed = first &+ offset
            var random = SplitMix(seed)
            guard let violation = run(&random) else { continue }
            Issue.record("seed \(seed): \(violation)")
            return
        }
    }

    private func run(_ random: inout SplitMix) -> String? {
        var lifetime = Lifetime()
        lifetime.onIdle = Bool.random(using: &random) ? .end : .suspend
        lifetime.ttl = .hours(Int64.random(in: 1...48, using: &random))
        let scope = ScopeKind.allCases[Int.random(in: 0..<3, using: &random)]
        var world = World(scope: scope, lifetime: lifetime)
        var open = 1
        world.send(.tasks(open: open))
        var seen = 0
        /// The process of this epoch may be alive.
        var alive: Set<UInt32> = []
        var phase = world.machine.phase
        var lastEpoch: UInt32 = 0

        func check(_ step: String) -> String? {
            for effect in world.effects[seen...] {
                if case .start(let epoch) = effect {
                    if !alive.isEmpty { return "\(step): epoch \(epoch) started while \(alive) may be alive" }
                    if epoch != lastEpoch + 1 { return "\(step): epoch \(epoch) after \(lastEpoch)" }
                    lastEpoch = epoch
                    alive = [epoch]
                }
                if case .conditionalDrain(_, let idle, _) = effect, open > 0, idle < .minutes(30) {
                    return "\(step): asked to drain with \(open) open Tasks"
                }
            }
            seen = world.effects.count
            if phase == .ended, world.machine.phase != .ended { return "\(step): left Ended" }
            if [.suspended, .ended, .failed, .pending].contains(world.machine.phase), !alive.isEmpty {
                return "\(step): \(world.machine.phase) with \(alive) alive"
            }
            phase = world.machine.phase
            if phase == .failed { open = 0 }
            if phase != .ended {
                guard let due = world.machine.nextDeadline else { return "\(step): \(phase) has no deadline" }
                if due <= world.now {
                    _ = world.send(.tick)
                    guard let again = world.machine.nextDeadline else { return nil }
                    if again <= world.now { return "\(step): the deadline of \(phase) has passed and nothing happened" }
                }
            }
            return nil
        }

        if let violation = check("begin") { return violation }
        for step in 0..<120 {
            let epoch = UInt32.random(in: 0...(world.machine.epoch + 1), using: &random)
            let choice = Int.random(in: 0..<14, using: &random)
            switch choice {
            case 0:
                open = Int.random(in: 0...2, using: &random)
                world.send(.tasks(open: open))
            case 1: world.send(.wishes(.init(lifetime: lifetime, wake: world.machine.epoch + 1)))
            case 2:
                // Nobody reports that a process runs which does not; stale epochs may be reported at any time.
                if epoch != world.machine.epoch || alive.contains(epoch) { world.send(.started(epoch: epoch)) }
            case 3, 4:
                if alive.contains(world.machine.epoch) { world.send(.ready(world.activity(busy: .random(using: &random)))) }
            case 5:
                guard epoch != world.machine.epoch || alive.contains(epoch) else { continue }
                var activity = world.activity(busy: .random(using: &random), idleSince: world.now)
                activity.epoch = epoch
                world.send(.activity(activity))
            case 6: world.send(.unreachable(epoch: epoch))
            case 7:
                // Only what is true is reported: a process that is reported gone is gone.
                alive.remove(epoch)
                world.send(.gone(epoch: epoch, why: "test", crashed: .random(using: &random)))
            case 8:
                if Bool.random(using: &random) { world.send(.drainAccepted(epoch: epoch)) }
            case 9: world.send(.drainRefused(epoch: epoch, nil))
            case 10:
                if Int.random(in: 0..<8, using: &random) == 0 {
                    world.send(.wishes(.init(lifetime: lifetime, suspend: .random(using: &random))))
                }
            case 11:
                // The supervisor restarts: what is stored is all that is left.
                var stored = SessionResourceStatus(phase: world.machine.phase, since: world.machine.since)
                stored.epoch = world.machine.epoch
                stored.startedAt = world.machine.startedAt
                world.machine = SessionMachine(
                    scope: scope, lifetime: lifetime, createdAt: Timestamp(milliseconds: 1_000_000), stored: stored)
                world.send(.restored)
                world.send(.tasks(open: open))
            default:
                _ = world.advance(.milliseconds(Int64.random(in: -1000...600_000, using: &random)))
            }
            if let violation = check("step \(step), choice \(choice)") { return violation }
        }
        // Now the world answers everything: it must end by its ttl.
        for step in 0..<2000 where world.machine.phase != .ended {
            let epoch = world.machine.epoch
            if let last = world.effects.last, case .stop = last, alive.contains(epoch) {
                alive.remove(epoch)
                world.send(.gone(epoch: epoch, why: "stopped", crashed: false))
            } else if case .conditionalDrain(let asked, _, _) = world.effects.last, asked == epoch, world.machine.phase == .ready
            {
                world.send(.drainAccepted(epoch: epoch))
            } else if let due = world.machine.nextDeadline {
                world.now = max(world.now, due)
                world.send(.tick)
            }
            if case .checkRuntime = world.effects.last {
                if alive.contains(epoch) {
                    world.send(.started(epoch: epoch))
                } else {
                    world.send(.gone(epoch: epoch, why: "gone", crashed: false))
                }
            }
            if let violation = check("rest \(step)") { return violation }
        }
        return world.machine.phase == .ended ? nil : "never ended: \(world.machine)"
    }
}

/// Steele, Lea and Flood's SplitMix64: a generator whose whole state is its seed.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// What users change of a session holds at once.
@Suite struct ChangedLifetimeTests {
    @Test func aDrainIsHastenedByAShorterDrainTimeoutAndNotPutOff() {
        var world = World()
        world.becomeReady()
        world.send(.activity(world.activity(busy: true)))
        #expect(
            world.send(.wishes(.init(suspend: true)))
                == [.forcedDrain(epoch: 1, deadline: .minutes(10), reason: "suspended by a user")])
        world.send(.activity(world.activity(busy: true, draining: true)))
        var lifetime = Lifetime()
        lifetime.drainTimeout = .hours(1)
        #expect(world.send(.wishes(.init(lifetime: lifetime, suspend: true))).isEmpty)
        lifetime.drainTimeout = .minutes(1)
        #expect(
            world.send(.wishes(.init(lifetime: lifetime, suspend: true)))
                == [.forcedDrain(epoch: 1, deadline: .minutes(1), reason: "suspended by a user")])
        #expect(world.send(.wishes(.init(lifetime: lifetime, suspend: true))).isEmpty)
    }

    @Test func aStartThatIsUnderWayGetsTheNewStartTimeout() {
        var world = World()
        world.send(.tasks(open: 1))
        world.send(.started(epoch: 1))
        var lifetime = Lifetime()
        lifetime.startTimeout = .minutes(20)
        world.send(.wishes(.init(lifetime: lifetime)))
        #expect(world.advance(.minutes(19)).isEmpty)
        #expect(world.advance(.minutes(1)) == [.stop(epoch: 1, grace: SessionMachine.stopGrace)])
    }
}
