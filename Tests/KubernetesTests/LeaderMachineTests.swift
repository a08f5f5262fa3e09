import SessionModel
import Support
import Testing

@testable import Kubernetes

/// The rules of the election, and then many candidates against one lease with everything that can go wrong.
@Suite struct LeaderMachineTests {
    private let start = ContinuousClock.now
    private let clock = Timestamp(milliseconds: 1_700_000_000_000)
    private let timing = LeaderElector.Timing()

    private func machine(_ identity: String = "me", seed: UInt64 = 1) -> LeaderMachine {
        LeaderMachine(identity: identity, timing: timing, random: SeededRandom(seed: seed))
    }

    private func lease(holder: String, renewed: Int64 = 0, transitions: Int = 3, version: Int = 1) -> Lease {
        var spec = Lease.Spec()
        spec.holderIdentity = holder
        spec.leaseDurationSeconds = 15
        spec.renewTime = MicroTime(Timestamp(milliseconds: renewed))
        spec.leaseTransitions = transitions
        var metadata = ObjectMeta(name: "l", namespace: "n")
        metadata.uid = "uid"
        metadata.resourceVersion = "\(version)"
        return Lease(metadata: metadata, spec: spec)
    }

    private func updated(_ effects: [LeaderMachine.Effect]) -> Lease? {
        for case .update(let lease) in effects { return lease }
        return nil
    }

    @Test func aMissingLeaseIsMadeAndLed() {
        var machine = machine()
        #expect(machine.handle(.tick, at: start, wallClock: clock) == [.read])
        let made = machine.handle(.read(.success(nil)), at: start, wallClock: clock)
        guard case .create(let spec) = made.first else {
            Issue.record("it creates")
            return
        }
        #expect(spec.holderIdentity == "me" && spec.leaseDurationSeconds == 15 && spec.leaseTransitions == 0)
        let sent = lease(holder: "me", transitions: 0)
        let led = machine.handle(.written(.success(sent)), at: start + .seconds(3), wallClock: clock)
        // From when it was sent, not from when the answer came.
        #expect(led.first == .lead(until: start + .seconds(10), term: 0))
    }

    @Test func anotherOnesLeaseIsTakenOnlyAfterItsTimeWithoutAnySign() {
        var machine = machine()
        _ = machine.handle(.tick, at: start, wallClock: clock)
        // By the server's clock it has been dead for ages: that is not looked at.
        #expect(updated(machine.handle(.read(.success(lease(holder: "other", renewed: -5))), at: start, wallClock: clock)) == nil)
        for second in stride(from: 2, to: 14, by: 2) {
            _ = machine.handle(.tick, at: start + .seconds(second), wallClock: clock)
            let effects = machine.handle(
                .read(.success(lease(holder: "other", renewed: -5))), at: start + .seconds(second), wallClock: clock)
            #expect(updated(effects) == nil)
        }
        // A sign of life at the last moment.
        _ = machine.handle(.tick, at: start + .milliseconds(14_900), wallClock: clock)
        _ = machine.handle(
            .read(.success(lease(holder: "other", renewed: -4))), at: start + .milliseconds(14_900), wallClock: clock)
        _ = machine.handle(.tick, at: start + .seconds(29), wallClock: clock)
        #expect(
            updated(
                machine.handle(.read(.success(lease(holder: "other", renewed: -4))), at: start + .seconds(29), wallClock: clock))
                == nil)
        _ = machine.handle(.tick, at: start + .seconds(30), wallClock: clock)
        let taken = updated(
            machine.handle(.read(.success(lease(holder: "other", renewed: -4))), at: start + .seconds(30), wallClock: clock))
        #expect(taken?.spec.holderIdentity == "me")
        #expect(taken?.spec.leaseTransitions == 4)
        #expect(taken?.metadata.resourceVersion == "1", "so that only one of those who want it gets it")
    }

    @Test func aReleasedLeaseIsTakenAtOnce() {
        var machine = machine()
        _ = machine.handle(.tick, at: start, wallClock: clock)
        #expect(
            updated(machine.handle(.read(.success(lease(holder: ""))), at: start, wallClock: clock))?.spec.holderIdentity == "me")
    }

    @Test func aLeaderThatCannotRenewStopsInTime() {
        for answer in [nil, KubernetesError(.unreachable, "gone"), KubernetesError(.internalError, "no")] {
            var machine = leader()
            var now = start
            var stopped: ContinuousClock.Instant?
            // It tries again and again; no answer or a bad one.
            var effects = machine.handle(.tick, at: now, wallClock: clock)
            while now < start + .seconds(20), stopped == nil {
                if updated(effects) != nil, let answer {
                    effects = machine.handle(.written(.failure(answer)), at: now, wallClock: clock)
                    continue
                }
                guard let wake = effects.compactMap({ if case .wake(let instant) = $0 { instant } else { nil } }).last else {
                    break
                }
                now = wake
                effects = machine.handle(.tick, at: now, wallClock: clock)
                if effects.contains(where: { if case .stopLeading = $0 { true } else { false } }) { stopped = now }
            }
            #expect(stopped == start + .seconds(10), "\(String(describing: answer))")
        }
    }

    @Test func anAnswerThatComesTooLateGivesNoRight() {
        var machine = leader()
        _ = machine.handle(.tick, at: start + .seconds(2), wallClock: clock)
        let effects = machine.handle(
            .written(.success(lease(holder: "me", version: 3))), at: start + .seconds(13), wallClock: clock)
        #expect(effects.contains { if case .stopLeading = $0 { true } else { false } })
        #expect(!effects.contains { if case .lead = $0 { true } else { false } })
        #expect(!machine.isLeading)
    }

    @Test func whoSeesAnotherHolderStopsAtOnce() {
        var machine = leader()
        _ = machine.handle(.tick, at: start + .seconds(2), wallClock: clock)
        let read = machine.handle(.written(.failure(KubernetesError(.conflict, "no"))), at: start + .seconds(2), wallClock: clock)
        #expect(read.first == .read)
        let effects = machine.handle(.read(.success(lease(holder: "other"))), at: start + .seconds(2), wallClock: clock)
        #expect(effects.first == .stopLeading(why: "other holds the lease"))
        #expect(!machine.isLeading)
    }

    @Test func aDeletedLeaseEndsTheLeadership() {
        var machine = leader()
        _ = machine.handle(.tick, at: start + .seconds(2), wallClock: clock)
        let effects = machine.handle(
            .written(.failure(KubernetesError(.notFound, "no"))), at: start + .seconds(2), wallClock: clock)
        #expect(effects.first == .stopLeading(why: "the lease was deleted"))
    }

    @Test func aWriteWhoseAnswerWasLostCountsFromTheNextOne() {
        var machine = machine()
        _ = machine.handle(.tick, at: start, wallClock: clock)
        _ = machine.handle(.read(.success(nil)), at: start, wallClock: clock)
        _ = machine.handle(.written(.failure(KubernetesError(.unreachable, "lost"))), at: start + .seconds(1), wallClock: clock)
        _ = machine.handle(.tick, at: start + .seconds(3), wallClock: clock)
        let renewal = machine.handle(.read(.success(lease(holder: "me"))), at: start + .seconds(3), wallClock: clock)
        #expect(!machine.isLeading)
        #expect(updated(renewal) != nil)
        let led = machine.handle(.written(.success(lease(holder: "me", version: 2))), at: start + .seconds(4), wallClock: clock)
        #expect(led.first == .lead(until: start + .seconds(13), term: 3))
    }

    @Test func whoResignsStopsBeforeItLetsGo() {
        var machine = leader()
        let effects = machine.handle(.resign, at: start + .seconds(1), wallClock: clock)
        #expect(effects.first == .stopLeading(why: "it resigned"))
        guard case .end(let release?) = effects.last else {
            Issue.record("it releases")
            return
        }
        #expect(release.spec.holderIdentity == "")
        #expect(machine.handle(.tick, at: start + .seconds(3), wallClock: clock).isEmpty)
        var candidate = self.machine()
        #expect(candidate.handle(.resign, at: start, wallClock: clock) == [.end(release: nil)])
    }

    private func leader() -> LeaderMachine {
        var machine = machine()
        _ = machine.handle(.tick, at: start, wallClock: clock)
        _ = machine.handle(.read(.success(nil)), at: start, wallClock: clock)
        _ = machine.handle(.written(.success(lease(holder: "me", version: 2))), at: start, wallClock: clock)
        precondition(machine.isLeading)
        return machine
    }

    /// Several candidates, whose requests take their time, fail before or after the server has acted, and whose clocks are each at
    /// another time. At no moment do two of them believe that they lead.
    @Test(arguments: 1...200)
    func neverTwoLeaders(seed: Int) {
        struct Candidate {
            var machine: LeaderMachine
            /// Its wall clock is wrong by so much.
            var skew: Int64
            var until: ContinuousClock.Instant?
            var wake: ContinuousClock.Instant?
            /// When it comes, and what.
            var answer: (at: ContinuousClock.Instant, input: LeaderMachine.Input)?
        }
        var random = SeededRandom(seed: UInt64(seed))
        var stored: Lease?
        var version = 0
        var now = start
        var led = 0
        var candidates = (0..<3).map { index in
            Candidate(
                machine: machine("c\(index)", seed: UInt64(index + seed)),
                skew: Int64.random(in: -1_000_000_000...1_000_000_000, using: &random),
                wake: start + .milliseconds(index * 100))
        }

        func perform(_ effects: [LeaderMachine.Effect], _ index: Int) {
            for effect in effects {
                switch effect {
                case .wake(let instant): candidates[index].wake = instant
                case .lead(let until, _):
                    candidates[index].until = until
                    led += 1
                case .stopLeading: candidates[index].until = nil
                case .end: break
                case .read, .create, .update:
                    let latency = Duration.milliseconds(random.oneIn(8) ? Int.random(in: 1000...25_000, using: &random) : 20)
                    let isLost = random.oneIn(5)
                    let reachesServer = !isLost || random.oneIn(2)
                    var input: LeaderMachine.Input
                    func failed(_ code: KubernetesError.Code) -> LeaderMachine.Input {
                        .written(.failure(KubernetesError(code, "no")))
                    }
                    // The server acts at once; only the answer takes its time.
                    switch effect {
                    case .read: input = .read(isLost ? .failure(KubernetesError(.unreachable, "lost")) : .success(stored))
                    case .create(let spec):
                        if stored != nil {
                            input = failed(.alreadyExists)
                        } else {
                            var metadata = ObjectMeta(name: "l")
                            version += 1
                            metadata.resourceVersion = "\(version)"
                            metadata.uid = "uid"
                            if reachesServer { stored = Lease(metadata: metadata, spec: spec) }
                            input = isLost ? failed(.unreachable) : .written(.success(stored!))
                        }
                    case .update(let lease):
                        if lease.metadata.resourceVersion != stored?.metadata.resourceVersion {
                            input = failed(.conflict)
                        } else {
                            var new = lease
                            version += 1
                            new.metadata.resourceVersion = "\(version)"
                            if reachesServer { stored = new }
                            input = isLost ? failed(.unreachable) : .written(.success(new))
                        }
                    default: continue
                    }
                    candidates[index].answer = (now + latency, input)
                }
            }
        }

        for _ in 0..<1500 {
            let moments = candidates.flatMap { [$0.wake, $0.answer?.at].compactMap(\.self) }
            guard let next = moments.min() else { break }
            now = max(now, next)
            for index in candidates.indices {
                let wall = Timestamp(milliseconds: clock.milliseconds + candidates[index].skew)
                if let answer = candidates[index].answer, answer.at <= now {
                    candidates[index].answer = nil
                    perform(candidates[index].machine.handle(answer.input, at: now, wallClock: wall), index)
                }
                if let wake = candidates[index].wake, wake <= now {
                    candidates[index].wake = nil
                    // A process may be stopped for a while, at any moment.
                    if random.oneIn(40) {
                        candidates[index].wake = now + .seconds(Int.random(in: 1...40, using: &random))
                    } else {
                        perform(candidates[index].machine.handle(.tick, at: now, wallClock: wall), index)
                    }
                }
            }
            let leading = candidates.filter { $0.until.map { $0 > now } ?? false }
            #expect(leading.count <= 1, "seed \(seed)")
        }
        #expect(led > 0, "seed \(seed): somebody leads")
    }
}
