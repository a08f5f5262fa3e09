import SessionModel
import Testing

/// What a session's conditions say, from its reconciler alone: each step is answered here.
@Suite struct ConditionTests {
    private struct World {
        var now = Timestamp(milliseconds: 1_800_000_000_000)
        var session: SessionResource
        var reconciler: SessionReconciler
        /// What is found of the process.
        var found = SessionReconciler.Answer.unknown("node node-7 has not been heard of for 5m")

        init(phase: SessionPhase, workspace: WorkspaceState? = nil) throws {
            let key = try SessionKey(parsing: "pr:github.com/acme/widgets#12")
            session = SessionResource(
                kind: "Session",
                metadata: Metadata(name: key.name, uid: "u", resourceVersion: "1", creationTimestamp: now),
                spec: SessionSpec(
                    key: key, scope: ScopeSpec(kind: .pullRequest, repository: "github.com/acme/widgets", number: 12),
                    worker: AgentDescription(driver: .acp, command: ["agent"])),
                status: SessionResourceStatus(phase: phase, since: now))
            session.status.epoch = 3
            session.status.workspace = workspace
            reconciler = SessionReconciler(session)
        }

        mutating func send(_ event: SessionReconciler.Event) {
            reconciler.take(event, at: now)
            while let step = reconciler.next(at: now) {
                switch step {
                case .load: reconciler.answer(.loaded(session, []), at: now)
                case .store(let write):
                    session.status = write.status
                    reconciler.answer(.stored(session), at: now)
                case .find: reconciler.answer(found, at: now)
                default: reconciler.answer(.done, at: now)
                }
            }
        }

        /// Lets time pass, and tells the reconciler whenever something is due.
        mutating func advance(_ span: TimeSpan) {
            let end = now + span
            while let due = reconciler.nextDeadline, due <= end {
                now = max(now, due)
                send(.timer)
            }
            now = end
        }

        func condition(_ type: String) -> Condition? { session.status.conditions.first { $0.type == type } }
    }

    @Test func aLostNodeIsSaidAfterTheStartTimeoutAndGoesAwayWhenItAnswers() throws {
        var world = try World(phase: .ready)
        world.send(.restored)
        #expect(world.condition("NodeLost") == nil)
        world.advance(.minutes(4))
        #expect(world.condition("NodeLost") == nil, "it may still answer")
        world.advance(.minutes(2))
        let lost = try #require(world.condition("NodeLost"))
        #expect(lost.status == .true && lost.reason == "NodeLost")
        #expect(lost.message.contains("epoch 3") && lost.message.contains("node-7") && lost.message.contains("out-of-service"))
        let since = lost.lastTransitionTime
        world.advance(.hours(3))
        #expect(world.condition("NodeLost")?.lastTransitionTime == since)
        #expect(world.session.status.epoch == 3 && world.session.status.phase == .ready, "nothing is started beside it")
        world.found = .alive(pid: nil)
        world.advance(.minutes(1))
        #expect(world.condition("NodeLost") == nil)
    }

    @Test func workLeftIsSaidWhenTheSessionEnds() throws {
        let left = WorkspaceState(
            branch: "fix", commit: "0123456789abcdef", unpushed: 2, dirtyFiles: ["a"], dirtyFileCount: 1)
        var world = try World(phase: .suspended, workspace: left)
        world.send(.restored)
        #expect(world.condition("WorkLeft") == nil, "it can still be pushed")
        world.session.spec.end = true
        world.send(.changed)
        #expect(world.session.status.phase == .ended)
        #expect(world.condition("WorkLeft")?.message == "1 uncommitted file and 2 unpushed commits on branch fix")
        var clean = try World(
            phase: .suspended,
            workspace: WorkspaceState(branch: "fix", commit: "0123456789abcdef", unpushed: 0))
        clean.session.spec.end = true
        clean.send(.restored)
        #expect(clean.session.status.phase == .ended && clean.condition("WorkLeft") == nil)
    }
}
