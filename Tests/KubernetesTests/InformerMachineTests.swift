import Curl
import Support
import Testing

@testable import Kubernetes

/// Every turn of the cache's machine, and then all of them in random order against a server that is simulated.
@Suite struct InformerMachineTests {
    typealias Machine = InformerMachine<GenericObject>

    static func object(_ name: String, version: Int, uid: String? = nil) -> GenericObject {
        var metadata = ObjectMeta(name: name, namespace: "n")
        metadata.uid = uid ?? "uid-\(name)"
        metadata.resourceVersion = "\(version)"
        return GenericObject(.pods, metadata: metadata)
    }

    static func page(_ objects: [GenericObject], version: Int, next: String? = nil) -> Page<GenericObject> {
        Page(metadata: .init(resourceVersion: "\(version)", continue: next), items: objects)
    }

    private func machine(usesPages: Bool = true) -> Machine {
        Machine(usesPages: usesPages, random: SeededRandom(seed: 1))
    }

    private func error(_ code: KubernetesError.Code, retryAfter: Duration? = nil) -> KubernetesError {
        KubernetesError(code, "it failed", retryAfter: retryAfter)
    }

    /// A machine that has `a` at version 1 and watches from version 10.
    private func synced() -> Machine {
        var machine = machine()
        _ = machine.handle(.start)
        _ = machine.handle(.page(.success(Self.page([Self.object("a", version: 1)], version: 10))))
        return machine
    }

    @Test func pagesAreReadToTheEndBeforeAnythingIsTold() {
        var machine = machine()
        #expect(machine.handle(.start).next == .list(continuation: nil))
        let first = machine.handle(.page(.success(Self.page([Self.object("a", version: 1)], version: 10, next: "t"))))
        #expect(first.changes.isEmpty)
        #expect(first.next == .list(continuation: "t"))
        #expect(!machine.isSynced)
        let second = machine.handle(.page(.success(Self.page([Self.object("b", version: 2)], version: 10))))
        #expect(second.changes == [.added(Self.object("a", version: 1)), .added(Self.object("b", version: 2))])
        #expect(second.next == .watch(resourceVersion: "10"))
        #expect(machine.isSynced)
    }

    @Test func tooOldInTheMiddleOfThePagesBeginsAgain() {
        var machine = machine()
        _ = machine.handle(.start)
        _ = machine.handle(.page(.success(Self.page([Self.object("a", version: 1)], version: 10, next: "t"))))
        guard case .wait = machine.handle(.page(.failure(error(.expired)))).next else {
            Issue.record("it waits")
            return
        }
        #expect(machine.handle(.woke).next == .list(continuation: nil))
        // What the first attempt had is forgotten.
        let output = machine.handle(.page(.success(Self.page([Self.object("b", version: 2)], version: 20))))
        #expect(output.changes == [.added(Self.object("b", version: 2))])
    }

    @Test func initialEventsAreToldWhenTheyEnd() {
        var machine = machine(usesPages: false)
        #expect(machine.handle(.start).next == .watch(resourceVersion: nil))
        #expect(machine.handle(.event(.added(Self.object("a", version: 1)))).changes.isEmpty)
        #expect(machine.handle(.event(.bookmark(resourceVersion: "5", endsInitialEvents: false))).changes.isEmpty)
        #expect(!machine.isSynced)
        let end = machine.handle(.event(.bookmark(resourceVersion: "10", endsInitialEvents: true)))
        #expect(end.changes == [.added(Self.object("a", version: 1))])
        // The same watch goes on.
        #expect(end.next == .read)
        #expect(machine.handle(.event(.modified(Self.object("a", version: 11)))).changes.count == 1)
    }

    @Test(arguments: [KubernetesError.Code.invalid, .badRequest, nil])
    func aServerWithoutInitialEventsIsAskedForPages(code: KubernetesError.Code?) {
        var machine = machine(usesPages: false)
        _ = machine.handle(.start)
        _ = machine.handle(.event(.added(Self.object("a", version: 1))))
        _ = machine.handle(.watchEnded(code.map { error($0) }))
        #expect(machine.handle(.woke).next == .list(continuation: nil))
    }

    @Test func aServerThatIsOnlyAwayIsAskedForInitialEventsAgain() {
        for code in [KubernetesError.Code.unreachable, .tooManyRequests, .unavailable, .internalError, .unauthorized, .forbidden]
        {
            var machine = machine(usesPages: false)
            _ = machine.handle(.start)
            _ = machine.handle(.watchEnded(error(code)))
            #expect(machine.handle(.woke).next == .watch(resourceVersion: nil), "\(code)")
        }
    }

    @Test func changesAreToldAndRepetitionsAreNot() {
        var machine = synced()
        // Synthetic ADDED of what is known.
        #expect(machine.handle(.event(.added(Self.object("a", version: 1)))).changes.isEmpty)
        let update = machine.handle(.event(.added(Self.object("a", version: 11))))
        #expect(update.changes == [.updated(from: Self.object("a", version: 1), to: Self.object("a", version: 11))])
        // MODIFIED of what is not.
        #expect(
            machine.handle(.event(.modified(Self.object("b", version: 12)))).changes == [.added(Self.object("b", version: 12))])
        // DELETED of what is not.
        #expect(machine.handle(.event(.deleted(Self.object("c", version: 13)))).changes.isEmpty)
        #expect(
            machine.handle(.event(.deleted(Self.object("a", version: 14)))).changes == [.deleted(Self.object("a", version: 14))])
        #expect(machine.store.keys.map(\.name) == ["b"])
        // It goes on from the last version that it saw, whatever that was about.
        #expect(machine.handle(.watchEnded(nil)).next == .watch(resourceVersion: "14"))
        _ = machine.handle(.event(.bookmark(resourceVersion: "99", endsInitialEvents: false)))
        #expect(machine.handle(.watchEnded(nil)).next == .watch(resourceVersion: "99"))
    }

    @Test func anotherObjectOfTheSameNameIsAnotherObject() {
        var machine = synced()
        let other = Self.object("a", version: 20, uid: "other")
        #expect(machine.handle(.event(.modified(other))).changes == [.deleted(Self.object("a", version: 1)), .added(other)])
        // A late word about the first one does not touch the second one.
        #expect(machine.handle(.event(.deleted(Self.object("a", version: 21)))).changes.isEmpty)
        #expect(machine.store.count == 1)
    }

    @Test func whatANewListLacksWasDeleted() {
        var machine = synced()
        _ = machine.handle(.event(.error(error(.expired))))
        #expect(machine.handle(.woke).next == .list(continuation: nil))
        #expect(machine.store.count == 1, "until the new list is complete, the old one serves")
        let output = machine.handle(.page(.success(Self.page([Self.object("b", version: 30)], version: 31))))
        #expect(output.changes == [.deleted(Self.object("a", version: 1)), .added(Self.object("b", version: 30))])
    }

    @Test func tooOldByStatusAndByEventAreTheSame() {
        for input in [Machine.Input.event(.error(error(.expired))), .watchEnded(error(.expired))] {
            var machine = synced()
            guard case .wait = machine.handle(input).next else {
                Issue.record("it waits")
                continue
            }
            #expect(machine.handle(.woke).next == .list(continuation: nil))
        }
    }

    @Test func aBrokenWatchIsResumedWhereItWas() {
        for code in KubernetesError.Code.allCases where code != .expired {
            var machine = synced()
            _ = machine.handle(.event(.modified(Self.object("a", version: 11))))
            let output = machine.handle(.watchEnded(error(code)))
            guard case .wait = output.next else {
                Issue.record("it waits")
                continue
            }
            #expect(output.problems.count == 1)
            #expect(machine.handle(.woke).next == .watch(resourceVersion: "11"))
        }
    }

    @Test func twoWatchesWithoutAWordAreOneTooMany() {
        let silence = KubernetesError(.unreachable, "nothing was received", transport: .timeout)
        for end in [nil, silence] {
            var machine = synced()
            _ = machine.handle(.watchEnded(end))
            #expect(machine.handle(.woke).next == .watch(resourceVersion: "10"))
            _ = machine.handle(.watchEnded(end))
            #expect(machine.handle(.woke).next == .list(continuation: nil), "the version may be from a future that was lost")
        }
        // A word between them counts.
        var machine = synced()
        _ = machine.handle(.watchEnded(silence))
        _ = machine.handle(.woke)
        _ = machine.handle(.event(.bookmark(resourceVersion: "12", endsInitialEvents: false)))
        _ = machine.handle(.watchEnded(silence))
        #expect(machine.handle(.woke).next == .watch(resourceVersion: "12"))
        // No answer at all is not silence.
        machine = synced()
        for _ in 0..<5 {
            _ = machine.handle(.watchEnded(KubernetesError(.unreachable, "refused", transport: .connect)))
            #expect(machine.handle(.woke).next == .watch(resourceVersion: "10"))
        }
    }

    @Test func pausesGrowAndHonourTheServersWish() {
        var machine = machine()
        _ = machine.handle(.start)
        var pauses: [Duration] = []
        for _ in 0..<10 {
            guard case .wait(let pause) = machine.handle(.page(.failure(error(.unavailable)))).next else { break }
            pauses.append(pause)
            _ = machine.handle(.woke)
        }
        #expect(pauses.count == 10)
        #expect(pauses[0] < .seconds(1))
        #expect(pauses[9] >= .seconds(15) && pauses[9] <= .seconds(30))
        guard case .wait(let pause) = machine.handle(.page(.failure(error(.tooManyRequests, retryAfter: .seconds(60))))).next
        else {
            Issue.record("it waits")
            return
        }
        #expect(pause >= .seconds(60))
    }

    @Test func whatCannotBeReadHidesNothingElse() {
        var machine = synced()
        let broken = BrokenObject(key: ObjectKey(namespace: "n", name: "a"), resourceVersion: "11", problem: "spec is missing")
        let output = machine.handle(.event(.broken(broken)))
        #expect(output.changes.isEmpty)
        #expect(output.problems.first?.message == "n/a cannot be read: spec is missing")
        #expect(machine.store.count == 1, "the last readable state stays")
        // In a list as well.
        _ = machine.handle(.event(.error(error(.expired))))
        _ = machine.handle(.woke)
        var page = Self.page([Self.object("b", version: 12)], version: 13)
        page.broken = [broken]
        #expect(machine.handle(.page(.success(page))).changes == [.added(Self.object("b", version: 12))])
        #expect(machine.store.count == 2)
    }

    /// A server of one namespace with a history that is forgotten now and then; watches break, lists expire, the same is told twice.
    @Test(arguments: 1...300)
    func inTheEndTheCopyIsWhatTheServerHas(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        var server: [String: GenericObject] = [:]
        var history: [(version: Int, event: WatchEvent<GenericObject>)] = []
        var version = 10
        var compacted = 0
        var machine = Machine(usesPages: random.oneIn(2), random: SeededRandom(seed: 7))
        var told: [ObjectKey: GenericObject] = [:]

        func mutate() {
            let name = random.pick(["a", "b", "c", "d"])
            version += 1
            if let old = server[name], random.oneIn(3) {
                var last = old
                last.metadata.resourceVersion = "\(version)"
                server[name] = nil
                history.append((version, .deleted(last)))
            } else {
                let new = Self.object(name, version: version, uid: server[name]?.metadata.uid ?? "uid-\(version)")
                history.append((version, server[name] == nil ? .added(new) : .modified(new)))
                server[name] = new
            }
            if random.oneIn(15) {
                compacted = version
                history = []
            }
        }

        func feed(_ input: Machine.Input) -> Machine.Step {
            let output = machine.handle(input)
            for change in output.changes {
                switch change {
                case .added(let object):
                    #expect(told.updateValue(object, forKey: object.key) == nil, "seed \(seed): told twice")
                case .updated(let old, let new): #expect(told.updateValue(new, forKey: new.key) == old, "seed \(seed)")
                case .deleted(let object): #expect(told.removeValue(forKey: object.key) != nil, "seed \(seed)")
                }
            }
            return output.next
        }

        var step = feed(.start)
        var isQuiet = false
        for round in 0..<400 {
            isQuiet = round > 300
            if !isQuiet { mutate() }
            let isUnlucky = !isQuiet && random.oneIn(4)
            switch step {
            case .read: preconditionFailure()
            case .wait: step = feed(.woke)
            case .list(let continuation):
                if isUnlucky {
                    step = feed(.page(.failure(error(random.pick([.expired, .unavailable, .unreachable])))))
                } else {
                    let names = server.keys.sorted()
                    let half = continuation == nil ? names.prefix(2) : names.dropFirst(2)
                    // Pages of one list are of one moment: a change between them expires it.
                    let isLast = continuation != nil || names.count <= 2
                    if continuation == "\(version)" || continuation == nil {
                        step = feed(
                            .page(
                                .success(Self.page(half.map { server[$0]! }, version: version, next: isLast ? nil : "\(version)"))
                            ))
                    } else {
                        step = feed(.page(.failure(error(.expired))))
                    }
                }
            case .watch(let from):
                var events: [WatchEvent<GenericObject>]
                if let from {
                    if Int(from)! < compacted {
                        events = [.error(error(.expired))]
                    } else {
                        events = history.filter { $0.version > Int(from)! }.map(\.event)
                    }
                } else {
                    events =
                        server.values.map { .added($0) } + [.bookmark(resourceVersion: "\(version)", endsInitialEvents: true)]
                }
                if random.oneIn(3), let first = events.first, from != nil { events.insert(first, at: 0) }
                step = .read
                for event in events where step == .read {
                    if isUnlucky, random.oneIn(2) { break }
                    step = feed(.event(event))
                }
                if step == .read { step = feed(.watchEnded(isUnlucky ? error(.unreachable) : nil)) }
            }
        }
        #expect(machine.store == Dictionary(uniqueKeysWithValues: server.values.map { ($0.key, $0) }), "seed \(seed)")
        #expect(told == machine.store, "seed \(seed)")
    }
}
