import Foundation
import Processes
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// The main job with the real Claude Code, by the command line, as a user has it; only the model is scripted (`make test-agents`).
    @Suite(.enabled(if: AgentPrograms.path(of: "claude") != nil, "Claude Code is not installed: run make test-agents"))
    struct RealAgentStoryTests {
        private static func environment() throws -> [String: String] {
            [
                "PATH": "\(AgentPrograms.installed ?? ""):/usr/local/bin:/usr/bin:/bin",
                "ANTHROPIC_BASE_URL": try ScriptedModel.shared.get().address, "ANTHROPIC_API_KEY": "scripted-key-of-the-story",
                "CLAUDE_CODE_MAX_RETRIES": "1",
            ]
        }

        @Test(.timeLimit(.minutes(5))) func twoTasksOnOnePullRequestReachOneRememberingClaude() async throws {
            let git = try GitFixture()
            try git.commit("greet.txt", "hello\n")
            try git.setPullRequest(1)
            try await SupervisorHome.run(environment: try Self.environment()) { home in
                try await home.start()
                func run(_ prompt: String) async throws -> (code: Int32, output: String) {
                    try await home.holdfast([
                        "run", "--agent", "claude", "--scope", "pr:acme/widgets#1", "--repo", git.remote, "--follow", prompt,
                    ])
                }
                let first = try await run("Remember the plum. {{shell: cat greet.txt; echo note > note.txt}}")
                #expect(first.code == 0, "\(first.output)")
                #expect(first.output.contains("hello") && first.output.contains("DONE prompts=1 tools=1"), "\(first.output)")
                let second = try await run("What was it?")
                #expect(second.code == 0, "\(second.output)")
                #expect(second.output.contains("prompts=2"), "\(second.output)")
                #expect(second.output.contains("Remember the plum."), "\(second.output)")

                // Asleep, nothing of it runs; awake again it has its memory and its files.
                let name = try SessionKey(parsing: "pr:acme/widgets#1").name
                _ = try await home.holdfast(["suspend", "pr:acme/widgets#1"])
                _ = try await home.session(name) { $0.status.phase == .suspended }
                #expect(home.sidecars.isEmpty && home.processes.isEmpty, "\(home.processes.map(\.command))")
                let third = try await run("And now? {{shell: cat note.txt}}")
                #expect(third.code == 0, "\(third.output)")
                #expect(third.output.contains("prompts=3") && third.output.contains("Remember the plum."), "\(third.output)")
                #expect(third.output.contains("note"), "\(third.output)")
                let events = try await home.transcript(name)
                #expect(events.filter { $0.body.type == "conversation.started" }.count == 1)
                #expect(events.contains { $0.epoch == 2 && $0.body.type == "conversation.resumed" })
                #expect(try await home.sessions().count == 1)

                _ = try await home.holdfast(["end", "pr:acme/widgets#1"])
                _ = try await home.session(name) { $0.status.phase == .ended }
                #expect(home.sidecars.isEmpty && home.processes.isEmpty, "\(home.processes.map(\.command))")
            }
        }

        @Test(.timeLimit(.minutes(3))) func aQuestionOfClaudeIsAnsweredByTheCommandLine() async throws {
            try await SupervisorHome.run(environment: try Self.environment()) { home in
                try await home.start()
                let worker = AgentDescription(driver: .claudeCode, permissions: .ask)
                let task = try await home.create(
                    TaskSpec(prompt: "Choose. {{ask: Which colour?|green|blue||How big?|small|large}}", worker: worker), key: "q"
                ).metadata.name
                for (question, option) in [
                    ("Which colour?", ["--option", "2"]), ("How big?", ["--option", "text", "--text", "huge"]),
                ] {
                    _ = try await home.task(task) { $0.status.phase == .awaitingInput }
                    var shown = ""
                    while !shown.contains(question) { shown = try await home.holdfast(["answer", task]).output }
                    #expect(question != "Which colour?" || shown.contains("blue: take blue"), "\(shown)")
                    let answer = try await home.holdfast(["answer", task] + option)
                    #expect(answer.code == 0, "\(answer.output)")
                }
                let end = try await home.end(of: task)
                #expect(end.status.phase == .succeeded, "\(end.status)")
                let events = try await home.transcript(try #require(end.status.session).name)
                let results = events.compactMap { if case .toolResult(let result) = $0.body { result.output } else { nil } }
                #expect(results.contains { $0.contains("blue") && $0.contains("huge") }, "\(results)")
            }
        }
    }
}
