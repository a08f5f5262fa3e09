import Agents
import Foundation
import SessionModel
import Support
import Testing

/// Scripts that behave as the images made for Kelos do.
@Suite(.timeLimit(.minutes(1))) struct KelosTests {
    let bench: Bench
    init() throws { bench = try Bench() }

    private func run(
        _ entrypoint: String, type: String = "custom", model: String? = nil, adjust: (inout AgentDescription) -> Void = { _ in },
        workspace: WorkspaceDescription? = nil
    ) async throws -> (outcome: TurnOutcome, recorder: Recorder) {
        let path = bench.root + "/kelos_entrypoint.sh"
        try "#!/bin/bash\nset -uo pipefail\n\(entrypoint)\n".write(toFile: path, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        var description = AgentDescription(driver: .command, command: [path], invocation: Invocation(kelos: type))
        adjust(&description)
        #expect(description.mistake == nil)
        return await bench.run(bench.driver(description, workspace: workspace), "fix\nit", model: model)
    }

    private func outputs(_ lines: String...) -> String {
        "printf '%s\\n' ---KELOS_OUTPUTS_START--- \(lines.map { "'\($0)'" }.joined(separator: " ")) ---KELOS_OUTPUTS_END---"
    }

    @Test func theEntrypointIsTheCommand() throws {
        let json = #"{"driver":"command","invocation":{"kelos":"codex"}}"#
        let description = try JSON.decode(AgentDescription.self, from: json)
        #expect(description.arguments == ["/kelos_entrypoint.sh"])
        #expect(description.mistake == nil)
    }

    @Test func theVariablesOfTheContract() async throws {
        let (outcome, _) = try await run(
            #"""
            printf '%s|' "$#" "$1" "$KELOS_AGENT_TYPE" "$KELOS_MODEL" "${KELOS_EFFORT-unset}" "$KELOS_BASE_BRANCH" "$KELOS_AGENTS_MD" "$KELOS_MCP_SERVERS" "${KELOS_SETUP_COMMAND-unset}"
            """#, model: "large",
            adjust: {
                $0.systemPrompt = "Be brief."
                $0.mcpServers = [
                    "files": MCPServer(command: ["serve", "-x"], env: ["A": "b"]),
                    "web": MCPServer(url: "http://127.0.0.1:1/", headers: ["H": "v"]),
                ]
            }, workspace: WorkspaceDescription(repository: "/r", branch: "develop"))
        let servers =
            #"{"mcpServers":{"files":{"args":["-x"],"command":"serve","env":{"A":"b"},"type":"stdio"},"#
            + #""web":{"headers":{"H":"v"},"type":"http","url":"http://127.0.0.1:1/"}}}"#
        #expect(outcome.end.results?.answer == "1|fix\nit|custom|large|unset|develop|Be brief.|\(servers)|unset|")
    }

    @Test func resultsAreTakenFromTheLastBlock() async throws {
        let (outcome, recorder) = try await run(
            [
                "echo working", outputs("branch: stale", "pr: stale"), "echo more",
                outputs(
                    "branch: holdfast/fix", "pr: https://github.com/acme/widgets/pull/7", "commit: 0123abc", "base-branch: main",
                    "input-tokens: 1200", "output-tokens: 34", "cost-usd: 0.5", "no key", "url: a: b"),
            ].joined(separator: "\n"))
        #expect(outcome.end.state == .succeeded)
        let results = try #require(outcome.end.results)
        #expect(results.answer == "working\nmore")
        #expect(results.pr == "https://github.com/acme/widgets/pull/7")
        #expect(results.usage == Usage(inputTokens: 1200, outputTokens: 34, costUSD: 0.5))
        #expect(
            results.outputs == [
                "branch": "holdfast/fix", "pr": "https://github.com/acme/widgets/pull/7", "commit": "0123abc",
                "base-branch": "main", "url": "a: b",
            ])
        #expect(await recorder.events.contains(.usage(Usage(inputTokens: 1200, outputTokens: 34, costUSD: 0.5))))
    }

    @Test func figuresThatAreNoneStayReadable() async throws {
        let (outcome, _) = try await run(outputs("cost-usd: lots", "input-tokens: 5", "output-tokens: nan"))
        #expect(outcome.end.results?.usage == Usage(inputTokens: 5))
        #expect(outcome.end.results?.outputs == ["cost-usd": "lots", "output-tokens": "nan"])
    }

    @Test func aBlockWithoutAnEndIsOutput() async throws {
        let (outcome, _) = try await run("echo a; echo ---KELOS_OUTPUTS_START---; echo 'branch: x'")
        #expect(outcome.end.results?.outputs == nil)
        #expect(outcome.end.results?.answer == "a\n---KELOS_OUTPUTS_START---\nbranch: x")
    }

    @Test func theAnswerOfAnAgentWhoseFramesAreNotKnown() async throws {
        let response = Data("All done.\nReally.".utf8).base64EncodedString()
        let (outcome, recorder) = try await run(
            #"echo '{"type":"result","stats":{}}'"# + "\n" + outputs("response: \(response)"), type: "gemini")
        #expect(outcome.end.results?.answer == "All done.\nReally.")
        #expect(await recorder.messages == ["All done.\nReally."])
        #expect(await recorder.output.map(\.text) == ["{\"type\":\"result\",\"stats\":{}}\n"])
        #expect(outcome.end.results?.outputs == nil)
    }

    @Test func theFramesOfCodexAreEvents() async throws {
        let (outcome, recorder) = try await run(
            """
            agent() {
              echo '{"type":"thread.started","thread_id":"th1"}'
              echo '{"type":"turn.started"}'
              echo '{"type":"item.completed","item":{"id":"i0","type":"command_execution","command":"ls","aggregated_output":"a","exit_code":0,"status":"completed"}}'
              echo '{"type":"item.completed","item":{"id":"i1","type":"agent_message","text":"Fixed."}}'
              echo '{"type":"turn.completed","usage":{"input_tokens":10,"cached_input_tokens":4,"output_tokens":2}}'
            }
            agent | cat
            AGENT_EXIT_CODE=${PIPESTATUS[0]}
            \(outputs("branch: b", "input-tokens: 10", "output-tokens: 2", "response: \(Data("Fixed.".utf8).base64EncodedString())"))
            exit $AGENT_EXIT_CODE
            """, type: "codex")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.messages == ["Fixed."])
        #expect(await recorder.results.map(\.output) == ["a"])
        #expect(await recorder.durable == [.conversationStarted(Conversation(id: "th1"))])
        #expect(outcome.end.results?.usage == Usage(inputTokens: 10, outputTokens: 2, cachedInputTokens: 4))
        #expect(outcome.end.results?.outputs == ["branch": "b"])
    }

    @Test func aFailureKeepsItsExitCodeAndItsOutputs() async throws {
        let (outcome, _) = try await run("echo tried; \(outputs("branch: b")); exit 4")
        #expect(outcome.end.state == .failed)
        #expect(outcome.end.message?.contains("exit code 4") == true)
        #expect(outcome.end.results?.outputs == ["branch": "b"])
    }
}
