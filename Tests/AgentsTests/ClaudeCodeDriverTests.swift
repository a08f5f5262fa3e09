import AgentHost
import Foundation
import SessionModel
import Support
import Testing

@testable import Agents

/// The driver and what Claude Code was measured to do, with the scripted agent. The scenarios that all drivers share are in
/// Conformance/.
@Suite(.timeLimit(.minutes(2))) struct ClaudeCodeDriverTests {
    let bench: Bench
    init() throws { bench = try Bench() }

    private var state: String { bench.root + "/demo/claude" }

    /// - Parameter patience: longer than a user's, because all the other tests use the machine, too.
    private func driver(
        env: [String: String] = [:], patience: ClaudeCodeDriver.Patience = .init(interrupt: .seconds(30), input: .seconds(30)),
        _ change: (inout AgentDescription) -> Void = { _ in }
    ) -> ClaudeCodeDriver {
        var description = AgentDescription(
            driver: .claudeCode, command: ["python3", ConformanceAgent.programs + "/scripted_agent.py", "claude-code"], env: env)
        change(&description)
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        return ClaudeCodeDriver(
            description: description, host: bench.host,
            environment: AgentEnvironment(
                ["PATH": path, "HOLDFAST_AGENT_STATE": bench.root + "/demo", "CLAUDECODE": "1"], for: description),
            digest: { "the digest" }, patience: patience)
    }

    private func end(_ driver: ClaudeCodeDriver) async throws {
        try await bench.host.endAll(grace: .seconds(5))
        await driver.processesEnded()
    }

    private func transcript(_ conversation: String) throws -> String {
        let projects = state + "/projects"
        let folder = try #require(try FileManager.default.contentsOfDirectory(atPath: projects).first)
        return "\(projects)/\(folder)/\(conversation).jsonl"
    }

    @Test func theConversationIsChosenAndKeptBeforeThePrompt() async throws {
        let driver = driver()
        let recorder = Recorder()
        await recorder.fail(with: Problem(.storageFull, "no space"))
        let refused = await bench.run(driver, "One.", recorder)
        #expect(refused.outcome.end.reason == .storageFull)
        #expect(refused.outcome.clean)
        #expect(!FileManager.default.fileExists(atPath: state + "/projects"))

        let (outcome, kept) = await bench.run(driver, "Two. {{think: Well.}} {{plan: a; b}}", turn: 2)
        #expect(outcome.end.state == .succeeded)
        #expect(await kept.types == ["conversation.started", "thought", "plan", "message", "usage"])
        let id = try #require(await driver.status.conversation)
        #expect(UUID(uuidString: id) != nil)
        #expect(bench.host.commands.filter { $0.contains("--session-id=\(id)") }.count == 1)
        #expect(try String(contentsOfFile: try transcript(id), encoding: .utf8).contains("Two."))
        try await end(driver)
    }

    @Test func usageIsTheTurnsOwn() async throws {
        let driver = driver()
        let first = await bench.run(driver, "One.")
        let own = Usage(inputTokens: 10, outputTokens: 5, cachedInputTokens: 2, costUSD: 0.25)
        #expect(first.outcome.end.results?.usage == own)
        let second = await bench.run(driver, "Two.", turn: 2, conversation: await driver.status.conversation)
        #expect(second.outcome.end.results?.usage == own)
        #expect(await second.recorder.events.contains(.usage(own)))
        try await end(driver)
    }

    /// Versions that report running totals only, which a clean end keeps and a SIGKILL sets back.
    @Test(arguments: [SIGTERM, SIGKILL]) func totalsBecomeDifferences(signal: Int32) async throws {
        let driver = driver(env: ["SCRIPTED_OLD": "1"])
        let first = await bench.run(driver, "One.")
        #expect(first.outcome.end.results?.usage?.costUSD == 0.25)
        let conversation = try #require(await driver.status.conversation)
        let second = await bench.run(driver, "Two.", turn: 2, conversation: conversation)
        #expect(second.outcome.end.results?.usage?.costUSD == 0.25)
        for process in try await bench.host.processes() { kill(process.pid, signal) }
        try await until { await !driver.status.warm }
        let third = await bench.run(driver, "Three.", turn: 3, conversation: conversation)
        // What the resumed one counts from is not known.
        #expect(third.outcome.end.results?.usage?.costUSD == nil)
        let fourth = await bench.run(driver, "Four.", turn: 4, conversation: conversation)
        #expect(fourth.outcome.end.results?.usage?.costUSD == 0.25)
        try await end(driver)
    }

    @Test func anOldSessionIsNotDeletedByANewOne() async throws {
        let driver = driver()
        _ = await bench.run(driver, "Old.")
        let old = try #require(await driver.status.conversation)
        try await end(driver)
        let past = Date(timeIntervalSinceNow: -400 * 86_400)
        try FileManager.default.setAttributes([.modificationDate: past], ofItemAtPath: try transcript(old))
        let other = self.driver()
        _ = await bench.run(other, "New.")
        try await end(other)
        let again = await bench.run(self.driver(), "Go on.", conversation: old)
        #expect(again.outcome.end.results?.answer?.contains("earlier=[Old.]") == true)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func aTransientFailureIsNoLoss() async throws {
        let (outcome, recorder) = await bench.run(
            driver { $0.command = ["/bin/sh", "-c", "echo 'No conversation found: the network is down' >&2; exit 1"] }, "Go on.",
            conversation: "u1")
        #expect(outcome.end.reason == .agentStart)
        #expect(outcome.end.message?.contains("the network is down") == true)
        #expect(await recorder.durable == [])
        #expect(bench.host.commands.count == 1)
    }

    @Test func aConversationThatIsInUseGetsAnotherId() async throws {
        // Says once of a new conversation that it is in use.
        let script = ConformanceAgent.programs + "/scripted_agent.py"
        let wrapper = """
            for argument; do case $argument in --session-id=*) id=${argument#*=};; esac; done
            if [ ! -e "$HOLDFAST_AGENT_STATE.once" ]; then
              : >"$HOLDFAST_AGENT_STATE.once"; echo "Error: Session ID $id is already in use." >&2; exit 1
            fi
            exec python3 \(script) claude-code "$@"
            """
        let (outcome, recorder) = await bench.run(driver { $0.command = ["/bin/sh", "-c", wrapper, "sh"] }, "One.")
        #expect(outcome.end.state == .succeeded, "\(outcome)")
        #expect(await recorder.durable.map(\.type) == ["conversation.started"])
        let ids = bench.host.commands.compactMap { $0.first { $0.hasPrefix("--session-id=") } }
        #expect(Set(ids).count == 2)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func anotherModelNeedsAnotherProcessAndTheSameConversation() async throws {
        let driver = driver { $0.model = "usual" }
        _ = await bench.run(driver, "One.")
        let conversation = try #require(await driver.status.conversation)
        let second = await bench.run(driver, "Two.", turn: 2, conversation: conversation, model: "other")
        #expect(second.outcome.end.results?.answer?.contains("earlier=[One.]") == true)
        #expect(await second.recorder.types.prefix(2) == ["agent.started", "conversation.resumed"])
        let third = await bench.run(driver, "Three.", turn: 3, conversation: conversation, model: "other")
        #expect(await third.recorder.types == ["message", "usage"])
        let models = bench.host.commands.map { $0.first { $0.hasPrefix("--model=") } }
        #expect(models == ["--model=usual", "--model=other"])
        try await end(driver)
    }

    @Test func mcpServersAreInAFileOfTheOwnersOnly() async throws {
        let driver = driver { $0.mcpServers = ["a": MCPServer(command: ["srv"], env: ["TOKEN": "hush"])] }
        #expect(await bench.run(driver, "One.").outcome.end.state == .succeeded)
        let path = state + "/mcp.json"
        #expect(try String(contentsOfFile: path, encoding: .utf8).contains("hush"))
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(!bench.host.commands.joined().contains { $0.contains("hush") })
        try await end(driver)
    }

    @Test func allowedToolsRefuseAllOthersWhenNobodyIsAsked() async throws {
        let driver = driver { $0.allowedTools = ["Bash"] }
        let (outcome, recorder) = await bench.run(driver, "Both. {{shell: echo hi}} {{write: a.txt|no}}")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.results.map(\.status) == ["completed", "failed"])
        try await end(driver)
    }

    @Test func allowedForTheSessionIsAskedOnce() async throws {
        let driver = driver { $0.permissions = .ask }
        let recorder = Recorder()
        async let run = bench.run(driver, "Twice. {{shell: echo 1}} {{shell: echo 2}}", recorder)
        let question = try await recorder.question()
        #expect(question.question == "May the agent do this: echo 1")
        #expect(question.options.map(\.kind) == ["allow_once", "allow_always", "reject_once"])
        await driver.answer(
            InputAnswered(request: question.id, option: question.options[1].id, text: nil, by: .person))
        #expect(await run.outcome.end.state == .succeeded)
        #expect(await recorder.results.map(\.status) == ["completed", "completed"])
        try await end(driver)
    }

    @Test func aRefusalSaysWhatThePersonSaid() async throws {
        let driver = driver { $0.permissions = .ask }
        let recorder = Recorder()
        async let run = bench.run(driver, "Ask. {{shell: echo 1}}", recorder)
        let question = try await recorder.question()
        await driver.answer(InputAnswered(request: question.id, option: nil, text: "Use printf.", by: .person))
        _ = await run
        #expect(await recorder.results.map(\.output) == ["Use printf."])
        try await end(driver)
    }

    /// The agent answers the interruption of a prompt that it has not begun with success, and then works on it all the same.
    @Test func anInterruptionThatComesTooEarlyWaitsForTheTurnToBegin() async throws {
        let command = [
            "/bin/sh", "-c",
            """
            say() { printf '%s\\n' "$1"; }
            read -r line; say '{"type":"control_response","response":{"subtype":"success","response":{}}}'
            read -r line; until [ -e go ]; do sleep 0.05; done
            say '{"type":"system","subtype":"init"}'
            read -r line; echo "$line" >interrupt
            say '{"type":"result","subtype":"error_during_execution","is_error":true,"terminal_reason":"aborted_streaming"}'
            exec sleep 1000
            """,
        ]
        let driver = driver { $0.command = command }
        let recorder = Recorder()
        let prompt = AgentPrompt(turn: TurnID(1), text: "Go.", directory: bench.directory)
        let run = Task { await driver.run(prompt, reporting: recorder) }
        try await until { await driver.turn.prompt != nil }
        await driver.interrupt()
        try Data().write(to: URL(filePath: bench.directory + "/go"))
        let outcome = await run.value
        #expect(outcome.end.state == .cancelled)
        #expect(outcome.clean)
        #expect(try bench.file("interrupt").contains(#""subtype":"interrupt""#))
        try await end(driver)
    }

    @Test func anAgentThatIgnoresTheInterruptionLosesItsInputAndGetsSIGTERM() async throws {
        let driver = driver(patience: .init(interrupt: .milliseconds(300), input: .milliseconds(300)))
        let recorder = Recorder()
        async let run = bench.run(driver, "Deaf. {{deaf}} {{say: Now.}} {{stream: 60}}", recorder)
        try await recorder.seen { $0.type == "message" }
        await driver.interrupt()
        let outcome = await run.outcome
        #expect(outcome.end.state == .cancelled)
        #expect(!outcome.clean)
        #expect(await recorder.events.contains(.agentExited(Reason("exit code 143"))))
        try await end(driver)
    }

    /// With its input closed it finishes the turn, and ends: that is no failure of the turn.
    @Test func aTurnThatEndsAfterItsInputWasClosedHasSucceeded() async throws {
        let driver = driver(patience: .init(interrupt: .milliseconds(100), input: .seconds(90)))
        let recorder = Recorder()
        // So long that its input is closed in time on a machine that all the other tests use, too.
        async let run = bench.run(driver, "Deaf. {{deaf}} {{say: Now.}} {{stream: 25}}", recorder)
        try await recorder.seen { $0.type == "message" }
        let conversation = await driver.status.conversation
        await driver.interrupt()
        let outcome = await run.outcome
        #expect(outcome.end.state == .succeeded, "\(outcome)")
        #expect(!outcome.clean)
        try await end(driver)
        let next = await bench.run(driver, "Then.", turn: 2, conversation: conversation)
        #expect(next.outcome.end.results?.answer?.contains("prompts=2 ") == true)
        try await end(driver)
    }

    /// An agent in shell commands: `line` reads and keeps what it read in the file `sent`, `say` prints.
    private func agent(_ script: String) -> [String] {
        [
            "/bin/sh", "-c",
            """
            line() { IFS= read -r line && printf '%s\\n' "$line" >>sent; }
            say() { printf '%s\\n' "$1"; }
            \(script)
            exec sleep 1000
            """,
        ]
    }

    @Test func aRefusedBeginningSaysWhy() async throws {
        let refused = #"{"type":"control_response","response":{"subtype":"error","error":"no hooks here"}}"#
        let (outcome, recorder) = await bench.run(driver { $0.command = agent("line; say '\(refused)'") }, "One.")
        #expect(outcome.end.reason == .agentStart)
        #expect(outcome.end.message == "the agent refused to begin: no hooks here")
        #expect(await recorder.durable == [])
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func aQuestionCanBeTakenBackAndOtherRequestsAreRefused() async throws {
        let script = """
            line; say '{"type":"control_response","response":{"subtype":"success","response":{}}}'
            line; say '{"type":"system","subtype":"init"}'
            say '{"type":"control_request","request_id":"h","request":{"subtype":"hook_callback"}}'; line
            say '{"type":"control_request","request_id":"q","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{}}}'
            say '{"type":"control_cancel_request","request_id":"q"}'
            say '{"type":"result","subtype":"success","is_error":false}'
            """
        let (outcome, recorder) = await bench.run(
            driver {
                $0.command = agent(script)
                $0.permissions = .ask
            }, "One.")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.withdrawn == 1)
        let answers = try bench.sent().filter { $0["type"] == "control_response" }
        #expect(answers.count == 1)
        #expect(answers.first?["response"]?["request_id"] == "h")
        #expect(answers.first?["response"]?["error"] == "this client does not offer hook_callback")
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func whatItDoesByItselfIsRecordedInTheNextTurnAndNoPromptIsFoldedIntoIt() async throws {
        let driver = driver()
        let first = await bench.run(driver, "Start. {{background: until [ -e go ]; do sleep 0.05; done}} {{after: true}}")
        #expect(first.outcome.end.state == .succeeded)
        try Data().write(to: URL(filePath: bench.directory + "/go"))
        let id = try #require(await driver.status.conversation)
        // Its own turn has begun, or is over, and the driver knows it.
        try await until {
            let agent = await driver.agent
            return agent?.busy == true || agent?.unclaimed.isEmpty == false
        }
        let second = await bench.run(driver, "Then.", turn: 2, conversation: id)
        #expect(second.outcome.end.state == .succeeded)
        #expect(await second.recorder.messages.contains("It is over."))
        #expect(try !String(contentsOfFile: try transcript(id), encoding: .utf8).contains("while you were working"))
        #expect(second.outcome.end.results?.answer?.contains("prompts=2 ") == true)
        #expect(second.outcome.end.results?.usage?.costUSD == 0.5)
        try await end(driver)
    }

    /// Its own work may take longer than its start.
    @Test func aPromptWaitsForWhatItDoesByItself() async throws {
        let script = """
            taken() {
              line; say '{"type":"command_lifecycle","state":"started","command_uuid":"'$(tail -n 1 sent |
                sed 's/.*"uuid":"\\([^"]*\\)".*/\\1/')'"}'
            }
            line; say '{"type":"control_response","response":{"subtype":"success","response":{}}}'
            taken; say '{"type":"result","subtype":"success","is_error":false}'
            say '{"type":"system","subtype":"init"}'; sleep 11
            say '{"type":"result","subtype":"success","is_error":false,"origin":{}}'
            taken; say '{"type":"result","subtype":"success","is_error":false}'
            """
        let driver = driver {
            $0.command = agent(script)
            $0.startTimeout = .seconds(10)
        }
        #expect(await bench.run(driver, "One.").outcome.end.state == .succeeded)
        try await until { await driver.agent?.busy == true }
        let conversation = await driver.status.conversation
        let second = await bench.run(driver, "Two.", turn: 2, conversation: conversation)
        #expect(second.outcome.end.state == .succeeded, "\(second.outcome.end)")
        try await end(driver)
    }

    /// It was seen to tell so in every case, but its result counts when it does not.
    @Test func aResultThatNamesThePromptIsThePrompts() async throws {
        let script = """
            line; say '{"type":"control_response","response":{"subtype":"success","response":{}}}'
            line; id=$(tail -n 1 sent | sed 's/.*"uuid":"\\([^"]*\\)".*/\\1/')
            say '{"type":"command_lifecycle","state":"queued","command_uuid":"'$id'"}'
            say '{"type":"system","subtype":"init"}'
            say '{"type":"result","subtype":"success","is_error":false,"origin":{},"result":"mine"}'
            say '{"type":"result","subtype":"success","is_error":true,"user_message_uuids":["'$id'"],"result":"yours"}'
            """
        let (outcome, _) = await bench.run(driver { $0.command = agent(script) }, "One.")
        #expect(outcome.end.message == "the agent answered: yours")
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func noiseIsKeptAndUnknownFramesAreIgnored() async throws {
        let (outcome, recorder) = await bench.run(driver(), #"Noise. {{noise: plain}} {{noise: {"no":"type"}}} {{say: Yes.}}"#)
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.output.map(\.text).joined().hasPrefix("plain\n"))
        #expect(await recorder.messages.first == "Yes.")
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func badStartsAreClear() async throws {
        let missing = await bench.run(driver { $0.command = ["no-such-claude"] }, "One.")
        #expect(missing.outcome.end.reason == .agentStart)
        #expect(missing.outcome.end.message?.contains("no-such-claude") == true)
        let hangs = await bench.run(
            driver {
                $0.command = ["/bin/sh", "-c", "exec sleep 1000"]
                $0.startTimeout = .milliseconds(300)
            }, "One.")
        #expect(hangs.outcome.end.message?.contains("did not answer within 300ms") == true)
        #expect(!hangs.outcome.clean)
        try await bench.host.endAll(grace: .seconds(5))
    }
}
