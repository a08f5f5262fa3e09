import Foundation
import Processes
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// Lifetimes with real processes: idle sessions sleep, busy ones do not, and old ones end.
    @Suite struct LifetimeTests {
        private let git: GitFixture
        /// A repository on this machine: nothing is fetched from anywhere else.
        private var workspace: WorkspaceSpec { WorkspaceSpec(repository: git.remote) }

        init() throws {
            git = try GitFixture()
            try git.commit("greet.txt", "hello\n")
            try git.git("push", "--quiet", "origin", "HEAD:main", in: git.author)
        }

        @Test(.timeLimit(.minutes(3))) func aBusyAgentOutlivesItsIdleTimeoutAndAnIdleOneSleepsAndRemembers() async throws {
            try await SupervisorHome.run { home in
                try await home.start()
                var lifetime = Lifetime()
                lifetime.idleTimeout = .milliseconds(300)
                func task(_ key: String, _ prompt: String) async throws -> TaskResource {
                    let spec = TaskSpec(
                        prompt: prompt, scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 4),
                        workspace: workspace, lifetime: lifetime)
                    return try await home.end(of: try await home.create(spec, key: key).metadata.name)
                }
                // Ten idle timeouts of work, and the session is not touched.
                let busy = try await task("first", "Remember the plum.\nrun: sleep 3")
                #expect(busy.status.phase == .succeeded, "\(busy.status)")
                let name = try #require(busy.status.session).name
                let asleep = try await home.session(name) { $0.status.phase == .suspended }
                #expect(asleep.status.epoch == 1, "it has slept in the middle of its work")
                let events = try await home.transcript(name)
                let ended = try #require(events.first { if case .turnEnded = $0.body { true } else { false } })
                let drained = try #require(events.first { if case .sessionDraining = $0.body { true } else { false } })
                #expect(drained.sequence > ended.sequence && drained.time - ended.time >= .milliseconds(300))
                // Its memory is free: nothing of it runs.
                #expect(home.sidecars.isEmpty && home.processes.isEmpty, "\(home.processes.map(\.command))")
                // A follow-up wakes it, and the agent remembers.
                let second = try await task("second", "What do you remember?")
                #expect(second.status.phase == .succeeded, "\(second.status)")
                #expect(second.status.results?.answer?.contains("“Remember the plum.") == true, "\(second.status)")
                let phases = try await home.session(name) { $0.status.phase == .suspended && $0.status.epoch == 2 }
                #expect(
                    phases.status.history?.map(\.phase) == [
                        .pending, .starting, .ready, .draining, .suspended, .starting, .ready, .draining, .suspended,
                    ])
            }
        }

        @Test(.timeLimit(.minutes(3))) func usersKeepResumeSuspendAndEndASession() async throws {
            try await SupervisorHome.run { home in
                try await home.start()
                var lifetime = Lifetime()
                lifetime.idleTimeout = .milliseconds(300)
                let scope = ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7)
                func holdfast(_ arguments: String...) async throws {
                    let (code, output) = try await home.holdfast(arguments)
                    #expect(code == 0, "\(arguments): \(output)")
                }
                // It is kept while it works, so that there is no moment at which it could fall asleep.
                let working = try await home.create(
                    TaskSpec(prompt: "run: sleep 3", scope: scope, workspace: workspace, lifetime: lifetime), key: "first")
                let name = try #require(working.status.session).name
                _ = try await home.task(working.metadata.name) { $0.status.phase == .running }
                try await holdfast("keep", "issue:acme/widgets#7", "--for", "8s")
                #expect(try await home.end(of: working.metadata.name).status.phase == .succeeded)
                _ = try await home.session(name) { $0.status.phase == .suspended }
                let events = try await home.transcript(name)
                let until = events.compactMap { if case .keepAlive(let kept) = $0.body { kept.until } else { nil } }.max()
                let drained = try #require(events.first { if case .sessionDraining = $0.body { true } else { false } })
                #expect(try drained.time >= #require(until), "it slept although it was kept")
                // Woken with nothing to do it sleeps again; and a Task wakes what a user has suspended.
                try await holdfast("resume", "issue:acme/widgets#7")
                _ = try await home.session(name) { $0.status.phase == .suspended && $0.status.epoch == 2 }
                try await holdfast("suspend", "issue:acme/widgets#7")
                let second = try await home.create(
                    TaskSpec(prompt: "What do you remember?", scope: scope, workspace: workspace), key: "second")
                #expect(try await home.end(of: second.metadata.name).status.phase == .succeeded)
                try await holdfast("end", "issue:acme/widgets#7")
                let ended = try await home.session(name) { $0.status.phase == .ended }
                #expect(ended.status.epoch == 3 && ended.status.message == "ended by a user", "\(ended.status)")
            }
        }

        @Test(.timeLimit(.minutes(3))) func ttlEndsARunningTurnOnlyAfterTheDrainTimeoutAndSaysSo() async throws {
            try await SupervisorHome.run { home in
                try await home.start()
                var lifetime = Lifetime()
                lifetime.ttl = .seconds(2)
                lifetime.drainTimeout = .seconds(2)
                let spec = TaskSpec(
                    prompt: "run: sleep 60", scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 5),
                    workspace: workspace, lifetime: lifetime)
                let task = try await home.end(of: try await home.create(spec, key: "long").metadata.name)
                #expect(task.status.phase == .interrupted, "\(task.status)")
                #expect(task.status.reason == .drained)
                #expect(task.status.message?.contains("older than its ttl of 2s") == true, "\(task.status.message ?? "")")
                let name = try #require(task.status.session).name
                let session = try await home.session(name) { $0.status.phase == .ended }
                #expect(session.status.message?.contains("older than its ttl of 2s") == true)
                let events = try await home.transcript(name)
                let draining = try #require(events.first { if case .sessionDraining = $0.body { true } else { false } })
                let stopped = try #require(events.first { if case .cancelRequested = $0.body { true } else { false } })
                #expect(stopped.time - draining.time >= .milliseconds(1900), "it was given its drainTimeout")
                #expect(draining.time - session.metadata.creationTimestamp >= .seconds(2))
            }
        }

        @Test(.timeLimit(.minutes(3))) func limitsAreRaisedOnALivingSessionAndAKeyOutlivesItsTask() async throws {
            try await SupervisorHome.run { home in
                try await home.start()
                var lifetime = Lifetime()
                lifetime.maxTurns = 1
                lifetime.archiveTTL = .seconds(1)
                func spec(_ prompt: String) -> TaskSpec {
                    var spec = TaskSpec(
                        prompt: prompt, scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 6),
                        workspace: workspace, lifetime: lifetime)
                    spec.ttlSecondsAfterFinished = 0
                    return spec
                }
                let first = try await home.create(spec("one"), key: "a")
                let name = try #require(first.status.session).name
                _ = try await home.session(name) { $0.status.turns?.succeeded == 1 }
                // The Task goes when it has ended; its key stays, and makes no second turn.
                try await home.gone("/v1/tasks/\(first.metadata.name)")
                await #expect(throws: (any Error).self) { try await home.create(spec("one"), key: "a") }
                // The next turn is refused until a user raises the limit, and no process has to start again for that.
                var second = spec("append: notes.txt | two\\n")
                second.ttlSecondsAfterFinished = nil
                let refused = try await home.end(of: try await home.create(second, key: "b").metadata.name)
                #expect(refused.status.phase == .failed && refused.status.reason == .limitReached, "\(refused.status)")
                #expect(refused.status.message?.contains("holdfast set SESSION --max-turns") == true)
                _ = try await home.json(
                    SessionResource.self, "PATCH", "/v1/sessions/\(name)/lifetime", body: ["maxTurns": 5])
                let raised = try await home.end(of: try await home.create(second, key: "c").metadata.name)
                #expect(raised.status.phase == .succeeded, "\(raised.status)")
                #expect(try await home.session(name) { $0.status.phase == .ready }.status.epoch == 1)
                // Closed, it ends by itself; its transcript can be read for archiveTTL, and then it is gone.
                _ = try await home.json(
                    SessionResource.self, "POST", "/v1/sessions/\(name)/scope", body: ["closed": true])
                let ended = try await home.session(name) { $0.status.phase == .ended }
                #expect(ended.status.message == "its issue is closed")
                let left = ended.status.conditions.first { $0.type == "WorkLeft" }
                #expect(left?.message.hasPrefix("1 uncommitted file") == true, "\(ended.status.conditions)")
                try await home.gone("/v1/sessions/\(name)")
                #expect(!FileManager.default.fileExists(atPath: home.state(of: name)))
            }
        }

        @Test(.timeLimit(.minutes(3))) func commitsThatWereNotPushedAreReportedBeforeAnythingIsDeleted() async throws {
            try await SupervisorHome.run { home in
                try await home.start()
                let commit = "git -c user.name=a -c user.email=a@localhost commit -q --allow-empty -m work"
                let spec = TaskSpec(
                    prompt: "run: git checkout -q -b fix && \(commit) && \(commit)",
                    scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7), workspace: workspace)
                let task = try await home.end(of: try await home.create(spec, key: "work").metadata.name)
                #expect(task.status.phase == .succeeded, "\(task.status)")
                let name = try #require(task.status.session).name
                _ = try await home.session(name) { $0.status.workspace?.unpushed == 2 }
                _ = try await home.json(SessionResource.self, "DELETE", "/v1/sessions/\(name)")
                let ended = try await home.session(name) { $0.status.phase == .ended }
                let left = ended.status.conditions.first { $0.type == "WorkLeft" }
                #expect(left?.message == "2 unpushed commits on branch fix", "\(ended.status.conditions)")
                // Its transcript and its files are still there.
                #expect(try await !home.transcript(name).isEmpty)
                #expect(FileManager.default.fileExists(atPath: home.state(of: name)))
            }
        }
    }
}
