import SessionModel
import Testing

/// How a reconciler hands Tasks over to a sidecar, and what it makes of news that pile up. Each step is answered here.
@Suite struct FeedingTests {
    private struct World {
        var now = Timestamp(milliseconds: 1_795_000_000_000)
        var session: SessionResource
        var task: TaskResource
        var reconciler: SessionReconciler
        /// What the sidecar says to a Task, and how often it was asked.
        var refusal: Problem
        var asked = 0
        /// Answers in the place of the usual ones.
        var meets: (SessionReconciler.Step) -> SessionReconciler.Answer? = { _ in nil }
        private var version: Int64 = 1

        init(refusal: Problem) throws {
            let key = try SessionKey(parsing: "pr:github.com/acme/widgets#12")
            let scope = ScopeSpec(kind: .pullRequest, repository: "github.com/acme/widgets", number: 12)
            let now = now
            func metadata(_ name: String) -> Metadata {
                Metadata(name: name, uid: name, resourceVersion: "1", creationTimestamp: now)
            }
            session = SessionResource(
                kind: "Session", metadata: metadata(key.name),
                spec: SessionSpec(key: key, scope: scope, worker: AgentDescription(driver: .acp, command: ["agent"])),
                status: SessionResourceStatus(phase: .ready, since: now))
            session.status.epoch = 1
            task = TaskResource(
                kind: "Task", metadata: metadata("task-1"), spec: TaskSpec(prompt: "Answer.", scope: scope), status: TaskStatus())
            task.status.session = key
            reconciler = SessionReconciler(session)
            self.refusal = refusal
            send(.restored)
        }

        /// The sidecar says that something has changed.
        mutating func change() {
            version += 1
            send(.activity(Self.activity(version)))
        }

        static func activity(_ version: Int64, epoch: UInt32 = 1) -> Activity {
            Activity(
                version: version, journal: "j", epoch: epoch, busy: false, idleSince: nil, running: nil, awaitingInput: nil,
                queued: Int(version % 2),
                attached: 0, keepAliveUntil: nil, draining: false, drained: false, waitingFor: nil,
                cursor: Cursor(journal: "j", sequence: UInt64(version)))
        }

        mutating func send(_ event: SessionReconciler.Event) {
            reconciler.take(event, at: now)
            while let step = reconciler.next(at: now) { reconciler.answer(answer(step), at: now) }
        }

        private mutating func answer(_ step: SessionReconciler.Step) -> SessionReconciler.Answer {
            if let answer = meets(step) { return answer }
            switch step {
            case .load: return .loaded(session, [task])
            case .store(let write):
                session.status = write.status
                return .stored(session)
            case .change(let write):
                task.status.apply(write.change, at: now)
                return .task(task)
            case .find: return .alive(pid: 1)
            case .call(_, .enqueue):
                asked += 1
                return .refused(refusal)
            case .call(_, .status): return .unreachable("not asked here")
            default: return .done
            }
        }
    }

    /// A turn that a full disk refuses is made and ended, which is a change of the sidecar's activity, and no reason to try again.
    @Test func aFullDiskIsLeftAlone() throws {
        var world = try World(refusal: Problem(.storageFull, "full", retryAfter: 10))
        world.change()
        #expect(world.asked == 1)
        for _ in 0..<50 { world.change() }
        #expect(world.asked == 1)
        #expect(world.task.status.message == "waits: full")
        world.now = world.now + .seconds(10)
        world.send(.timer)
        #expect(world.asked == 2)
    }

    /// A Task was told that its session had failed, and the session was woken: its turn must not run after all, whatever fails first.
    @Test func aTurnThatWasGivenUpIsCancelledHoweverOftenThatFails() throws {
        var world = try World(refusal: Problem(.queueFull, "full"))
        var lost = world.task
        lost.status.phase = .failed
        lost.status.reason = .sessionFailed
        lost.status.sentTo = "j"
        let queued = Turn(id: TurnID(1), request: TurnRequest(prompt: "Answer."), createdAt: world.now)
        var answers: [SessionReconciler.Answer] = [
            .failed("the store is away"), .tasks([lost]), .unreachable("no answer"), .tasks([lost]), .known(true),
            .unreachable("no answer"), .tasks([lost]), .known(true), .turn(queued), .unreachable("no answer"), .tasks([lost]),
            .known(true), .turn(queued), .done,
        ]
        world.meets = { step in
            switch step {
            case .findAbandoned, .call(_, .knows), .call(_, .enqueue), .call(_, .cancel): answers.removeFirst()
            default: nil
            }
        }
        world.task.status.phase = .cancelled
        world.send(.changed)
        world.send(.ready(World.activity(1)))
        for _ in 0..<10 where !answers.isEmpty {
            world.now = try #require(world.reconciler.nextDeadline)
            world.send(.timer)
        }
        #expect(answers.isEmpty)
    }

    /// What is refused once will be refused again, and the Tasks that wait have nothing to do with it.
    @Test func aTurnThatCannotBeFoundHoldsNobodyUp() throws {
        var world = try World(refusal: Problem(.idempotencyMismatch, "another request"))
        var lost = world.task
        lost.metadata.uid = "lost"
        lost.status.phase = .failed
        lost.status.reason = .sessionFailed
        lost.status.sentTo = "j"
        var looks = 0
        let given = lost
        world.meets = { step in
            switch step {
            case .findAbandoned:
                looks += 1
                return .tasks([given])
            case .call(_, .knows): return .known(true)
            case .call(_, .enqueue(_, key: "lost")): return .refused(Problem(.idempotencyMismatch, "another request"))
            default: return nil
            }
        }
        world.send(.ready(World.activity(1)))
        #expect(world.asked == 1, "the Task that waits is handed over")
        for _ in 0..<5 {
            world.now = world.now + .seconds(2)
            world.send(.timer)
        }
        #expect(looks == 1)
    }

    /// Whereas a full queue is asked again as soon as something has happened there.
    @Test func aFullQueueIsAskedAgainWhenItHasMoved() throws {
        var world = try World(refusal: Problem(.queueFull, "100 are queued", retryAfter: 10))
        world.change()
        #expect(world.asked == 1)
        world.change()
        #expect(world.asked == 2)
    }

    @Test func eventsThatWaitStayFewWhileTheStoreIsAway() {
        var waiting: [SessionReconciler.Event] = []
        for version in 1...1000 {
            SessionReconciler.Event.add(.activity(World.activity(Int64(version))), to: &waiting)
            SessionReconciler.Event.add(.timer, to: &waiting)
        }
        for _ in 0..<3 { SessionReconciler.Event.add(.unreachable(epoch: 1), to: &waiting) }
        #expect(waiting.count { $0 == .unreachable(epoch: 1) } == 1)
        // It answers again.
        SessionReconciler.Event.add(.activity(World.activity(1000)), to: &waiting)
        #expect(!waiting.contains(.unreachable(epoch: 1)))
        SessionReconciler.Event.add(.gone(epoch: 1, why: "gone"), to: &waiting)
        SessionReconciler.Event.add(.activity(World.activity(1, epoch: 2)), to: &waiting)
        SessionReconciler.Event.add(.activity(World.activity(2, epoch: 2)), to: &waiting)
        #expect(waiting.last == .activity(World.activity(2, epoch: 2)))
        #expect(waiting.contains(.gone(epoch: 1, why: "gone")))
        #expect(waiting.contains(.activity(World.activity(1000))))
        #expect(waiting.count <= 5, "\(waiting)")
    }
}
