import Foundation
import NIOConcurrencyHelpers
import Processes
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// kill -9 of the supervisor loses no Task, and neither doubles nor ends a session.
    @Suite struct SupervisorCrashTests {
        private let git: GitFixture

        init() throws {
            git = try GitFixture()
            try git.setPullRequest(7)
        }

        /// A Task for the one pull request, or one with a session of its own. A line in a file shows how often it was done.
        private func task(_ key: String, in home: SupervisorHome, alone: Bool = false, seconds: Double = 0.004) -> TaskSpec {
            let prompt = "task \(key)\nrun: echo \(key) >> \(home.path)/done; sleep \(seconds)"
            if alone { return TaskSpec(prompt: prompt) }
            return TaskSpec(
                prompt: prompt, scope: ScopeSpec(kind: .pullRequest, repository: "acme/widgets", number: 7),
                workspace: WorkspaceSpec(repository: git.remote))
        }

        private func done(in home: SupervisorHome) -> [String] {
            ((try? String(contentsOfFile: home.path + "/done", encoding: .utf8)) ?? "").split(separator: "\n").map(String.init)
        }

        @Test(.timeLimit(.minutes(30))) func killedAtRandomMoments() async throws {
            let seed = Chance.seed()
            try await SupervisorHome.run(seed: seed) { home in
                let stopped = NIOLockedValueBox(false)
                let acknowledged = NIOLockedValueBox<[String: String]>([:])
                /// By command line, and so by session and epoch.
                let sidecars = NIOLockedValueBox<[String: Set<ProcessEntry.Identity>]>([:])
                let lookAtSidecars: @Sendable () -> Void = {
                    for one in home.sidecars {
                        // One that ends meanwhile has no command line any more.
                        let command = one.command
                        guard command.contains("--state-dir") else { continue }
                        sidecars.withLockedValue { _ = $0[command, default: []].insert(one.identity) }
                    }
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for client in 1...4 {
                        group.addTask {
                            var random = SeededRandom(seed: seed &+ UInt64(client))
                            var count = 0
                            while !stopped.withLockedValue({ $0 }) {
                                count += 1
                                let key = "c\(client)-\(count)"
                                let spec = task(key, in: home, alone: random.oneIn(6))
                                let made = try await home.create(spec, key: key)
                                acknowledged.withLockedValue { $0[key] = made.metadata.name }
                                if random.oneIn(4) {
                                    let again = try await home.create(spec, key: key)
                                    #expect(again.metadata.name == made.metadata.name, "seed \(seed): \(key)")
                                }
                                try await Task.sleep(for: random.milliseconds(50...250))
                            }
                        }
                    }
                    group.addTask {
                        defer { stopped.withLockedValue { $0 = true } }
                        var random = SeededRandom(seed: seed)
                        // Some three Tasks a round, and the API lists a thousand.
                        for _ in 1...min(300, Chance.rounds(40)) {
                            // One in three while it starts and adopts, the others while it serves.
                            if random.oneIn(3) { try home.launch() } else { try await home.start() }
                            try await Task.sleep(for: random.milliseconds(0...250))
                            lookAtSidecars()
                            home.kill()
                        }
                        try await home.start()
                    }
                    try await group.waitForAll()
                }

                var tasks = try await home.tasks()
                let names = acknowledged.withLockedValue { $0 }
                #expect(!names.isEmpty && Set(tasks.map(\.metadata.name)).isSuperset(of: names.values), "seed \(seed)")
                for index in tasks.indices {
                    tasks[index] = try await home.end(of: tasks[index].metadata.name)
                    #expect(tasks[index].status.phase == .succeeded, "seed \(seed): \(tasks[index].status)")
                }
                lookAtSidecars()
                for (command, processes) in sidecars.withLockedValue({ $0 }) {
                    #expect(processes.count == 1, "seed \(seed): doubled: \(command)")
                }
                let sessions = try await home.sessions()
                #expect(sessions.count { $0.spec.key.kind == .pullRequest } == 1, "seed \(seed)")
                #expect(sessions.count == 1 + tasks.count { $0.spec.scope == nil }, "seed \(seed)")
                var turns = 0
                for session in sessions {
                    let history = try History(state: home.state(of: session.metadata.name))
                    #expect(history.faults.isEmpty, "seed \(seed)")
                    // An epoch's number is lost when the supervisor is killed before it has started the process.
                    let epochs = Set(history.events.map(\.epoch))
                    #expect(epochs == [session.status.epoch], "seed \(seed): \(session.spec.key) was restarted")
                    turns += history.turns.count
                }
                #expect(turns == tasks.count, "seed \(seed): a Task is not one turn")
                #expect(done(in: home).sorted() == tasks.compactMap { $0.spec.idempotencyKey }.sorted(), "seed \(seed)")
                let places = tasks.map { "\($0.status.sentTo ?? "") \($0.status.turn?.description ?? "")" }
                #expect(Set(places).count == tasks.count, "seed \(seed): two Tasks have one turn")
            }
        }

        @Test(.timeLimit(.minutes(5))) func tasksForANewScopeAtOnceMakeOneSession() async throws {
            try await SupervisorHome.run { home in
                try await home.start()
                let tasks = try await withThrowingTaskGroup(of: TaskResource.self) { group in
                    for number in 1...20 {
                        group.addTask { try await home.create(task("t\(number % 10)", in: home), key: "t\(number % 10)") }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                // Each of ten keys was sent twice.
                #expect(tasks.count == 20)
                #expect(Set(tasks.map(\.metadata.name)).count == 10)
                for task in tasks { #expect(try await home.end(of: task.metadata.name).status.phase == .succeeded) }
                #expect(try await home.sessions().count == 1)
                #expect(home.sidecars.count == 1)
                #expect(done(in: home).count == 10)
            }
        }

        @Test(.timeLimit(.minutes(5))) func aSidecarThatIsKilledIsFollowedByTheNextEpoch() async throws {
            try await SupervisorHome.run { home in
                try await home.start()
                let first = try await home.create(task("first", in: home), key: "first")
                #expect(try await home.end(of: first.metadata.name).status.phase == .succeeded)
                let cut = try await home.create(task("cut", in: home, seconds: 600), key: "cut")
                let after = try await home.create(task("after", in: home), key: "after")
                let name = try #require(first.status.session).name
                // The agent is at work on it, and the next one waits.
                _ = try await home.session(name) {
                    $0.status.activity?.running != nil && $0.status.activity?.queued == 1 && done(in: home).contains("cut")
                }
                let sidecar = try #require(home.sidecars.first)
                sidecar.signal(SIGKILL)

                let interrupted = try await home.end(of: cut.metadata.name)
                #expect(interrupted.status.phase == .interrupted)
                #expect(interrupted.status.reason == .sidecarLost)
                #expect(try await home.end(of: after.metadata.name).status.phase == .succeeded)
                #expect(try await home.session(name) { $0.status.phase == .ready }.status.epoch == 2)
                #expect(done(in: home) == ["first", "cut", "after"])
                #expect(home.processes.allSatisfy { !$0.command.contains("sleep 600") })
            }
        }

        /// Six crashes in a row take half a minute, because each is waited for longer than the one before.
        @Test(.timeLimit(.minutes(5))) func aSidecarThatCrashesAgainAndAgainFailsItsSessionWithItsLastWordsAndCanBeRevived()
            async throws
        {
            try await SupervisorHome.run { home in
                try await home.start()
                let first = try await home.create(task("first", in: home), key: "first")
                #expect(try await home.end(of: first.metadata.name).status.phase == .succeeded)
                let name = try #require(first.status.session).name
                _ = try await home.json(SessionResource.self, "POST", "/v1/sessions/\(name)/suspend")
                _ = try await home.session(name) { $0.status.phase == .suspended }
                // Its transcript cannot be opened.
                let (transcript, aside) = (home.state(of: name) + "/transcript", home.state(of: name) + "/aside")
                try FileManager.default.moveItem(atPath: transcript, toPath: aside)
                try Data().write(to: URL(filePath: transcript))

                let started = ContinuousClock.now
                let second = try await home.create(task("second", in: home), key: "second")
                let waiting = try await home.task(second.metadata.name) { $0.status.message?.contains("after crash 2") == true }
                #expect(waiting.status.phase == .pending)
                let failed = try await home.session(name, within: .seconds(120)) { $0.status.phase == .failed }
                #expect(ContinuousClock.now - started > .seconds(1 + 2 + 4 + 8 + 16), "it did not wait between its starts")
                let message = failed.status.message ?? ""
                #expect(message.hasPrefix("6 crashes in a row") && message.contains("the end of its log"), "\(message)")
                #expect(message.contains(transcript), "its last words do not say what is wrong: \(message)")
                #expect(failed.status.epoch == 7)
                let refused = try await home.end(of: second.metadata.name)
                #expect(refused.status.phase == .failed && refused.status.reason == .sessionFailed, "\(refused.status)")
                #expect(home.sidecars.isEmpty && home.processes.isEmpty)

                // Mended, the next Task revives it.
                try FileManager.default.removeItem(atPath: transcript)
                try FileManager.default.moveItem(atPath: aside, toPath: transcript)
                let third = try await home.create(task("third", in: home), key: "third")
                #expect(try await home.end(of: third.metadata.name).status.phase == .succeeded)
                #expect(done(in: home) == ["first", "third"])
            }
        }
    }
}
