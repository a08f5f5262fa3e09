import Foundation
import Processes
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// The main job on one machine, as a user meets it.
    @Suite struct UserStoryTests {
        @Test(.timeLimit(.minutes(5))) func twoTasksOnOnePullRequestReachOneRememberingSession() async throws {
            let git = try GitFixture()
            try git.commit("greet.txt", "hello\n")
            try git.git("push", "--quiet", "origin", "HEAD:main", in: git.author)
            let head = try git.commit("greet.txt", "hello, world\n")
            try git.setPullRequest(1)

            try await SupervisorHome.run { home in
                try await home.start()
                var lifetime = Lifetime()
                lifetime.idleTimeout = .seconds(2)
                func task(_ prompt: String) -> TaskSpec {
                    TaskSpec(
                        prompt: prompt, scope: ScopeSpec(kind: .pullRequest, repository: "acme/widgets", number: 1),
                        workspace: WorkspaceSpec(repository: git.remote), lifetime: lifetime)
                }
                func run(_ key: String, _ prompt: String) async throws -> TaskResource {
                    let task = try await home.create(task(prompt), key: key)
                    return try await home.end(of: task.metadata.name)
                }

                // The first Task clones the pull request's head and changes something.
                let first = try await run("first", "Remember the plum.\nrun: cat greet.txt\nappend: notes.txt | one\\n\nrun: pwd")
                #expect(first.status.phase == .succeeded, "\(first.status)")
                let workspace = try #require(first.status.results?.workspace)
                #expect(workspace.commit == head)
                #expect(workspace.dirtyFiles == ["notes.txt"])
                let name = try #require(first.status.session).name

                // The second, at once, finds the same agent in the same directory, and commits.
                let second = try await run(
                    "second",
                    "append: notes.txt | two\\n\nrun: git add -A && git -c user.name=A -c user.email=a@b.c commit -qm notes && pwd"
                )
                #expect(second.status.phase == .succeeded, "\(second.status)")
                #expect(second.status.session == first.status.session)
                #expect(second.status.results?.answer?.contains("“Remember the plum.") == true)
                let mine = try #require(second.status.results?.workspace)
                #expect(mine.commit != head && mine.commit != nil)
                #expect(mine.branch != nil)
                #expect(mine.dirtyFileCount == 0)
                #expect(mine.diffstat?.contains("1 file changed") == true, "\(mine)")

                // Nobody asks for anything: the session sleeps, and nothing of it runs.
                let asleep = try await home.session(name) { $0.status.phase == .suspended }
                #expect(asleep.status.epoch == 1)
                #expect(home.sidecars.isEmpty && home.processes.isEmpty, "\(home.processes.map(\.command))")
                let events = try await home.transcript(name)
                #expect(events.map(\.sequence) == (1...UInt64(events.count)).map { $0 })
                #expect(events.contains { $0.body == .sessionDrained })
                let directories = events.compactMap { event in
                    if case .toolResult(let result) = event.body { result.output } else { nil }
                }.filter { $0.contains("/workspace") }
                #expect(directories.count == 2 && Set(directories).count == 1, "\(directories)")

                // The next Task wakes it, with its memory and its files.
                let third = try await run("third", "run: cat notes.txt\nrun: git log --format=%s -1")
                #expect(third.status.phase == .succeeded, "\(third.status)")
                #expect(third.status.results?.answer?.contains("I remember 2 earlier prompts: “Remember the plum.") == true)
                #expect(third.status.results?.workspace?.commit == mine.commit)
                let awake = try await home.session(name) { $0.status.phase == .ready }
                #expect(awake.status.epoch == 2)
                #expect(home.sidecars.count == 1)

                // The end: no process, and the transcript stays.
                let ending = try await home.json(SessionResource.self, "DELETE", "/v1/sessions/\(name)")
                #expect(ending.spec.end == true)
                _ = try await home.session(name) { $0.status.phase == .ended }
                #expect(home.sidecars.isEmpty && home.processes.isEmpty)
                let whole = try await home.transcript(name)
                #expect(whole.starts(with: events) && whole.count > events.count)
                let history = try History(state: home.state(of: name))
                #expect(history.faults.isEmpty)
                #expect(history.turns.count == 3)
                #expect(try await home.tasks().count == 3)
            }
        }

        /// More Tasks than a page has, in one session: nothing is cut off without a word.
        @Test(.timeLimit(.minutes(5))) func aSessionWithManyTasksIsListedWhole() async throws {
            let git = try GitFixture()
            try git.commit("greet.txt", "hello\n")
            try git.git("push", "--quiet", "origin", "HEAD:main", in: git.author)
            try await SupervisorHome.run { home in
                try await home.start()
                let spec = TaskSpec(
                    prompt: "Hello", scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7),
                    workspace: WorkspaceSpec(repository: git.remote))
                var names: [String] = []
                func send(_ number: Int) async throws {
                    names.append(try await home.create(spec, key: "\(number)").metadata.name)
                }
                for number in 0..<110 { try await send(number) }
                let known = names

                // Every page, while the list grows and its Tasks run.
                var (seen, next): ([String], String?) = ([], "")
                while let token = next {
                    let page = try await home.json(
                        SupervisorHome.List<TaskResource>.self, "GET",
                        "/v1/tasks?session=issue:acme%2Fwidgets%237&limit=20&continue=\(token)")
                    seen += page.items.map(\.metadata.name)
                    next = page.continue
                    try await send(names.count)
                }
                #expect(seen == known.reversed())

                struct Items: Decodable { var items: [TaskResource] }
                let session = ["tasks", "--session", "issue:acme/widgets#7"]
                let some = try await home.holdfast(session)
                #expect(some.code == 0 && some.output.contains("only the newest 100 are listed"), "\(some.output.suffix(300))")
                let all = try await home.holdfast(session + ["--limit", "0", "--output", "json"])
                #expect(try JSON.decode(Items.self, from: all.output).items.map(\.metadata.name) == names.reversed())
                let first = try await home.end(of: known[0])
                #expect(first.status.phase == .succeeded, "\(first.status)")
            }
        }
    }
}
