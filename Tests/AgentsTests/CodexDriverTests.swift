import AgentHost
import Foundation
import Glibc
import SessionModel
import Support
import Testing

@testable import Agents

/// The driver with app servers made of canned frames, as Codex 0.163 was seen to send them.
@Suite(.timeLimit(.minutes(1))) struct CodexDriverTests {
    let bench: Bench
    init() throws { bench = try Bench() }

    // MARK: Turns

    @Test func twoTurnsInOneThreadOfOneProcess() async throws {
        let driver = driver([
            Codex.initialized, Codex.opened,
            Codex.turn([Codex.delta("m1", "Hel"), Codex.delta("m1", "lo"), Codex.message("m1", "Hello"), Codex.used(100, 10)]),
        ])
        let first = await bench.run(driver, "one")
        #expect(first.outcome.end.state == .succeeded)
        #expect(first.outcome.clean)
        #expect(await first.recorder.types == ["agent.started", "conversation.started", "message", "usage"])
        #expect(await first.recorder.durable == [.conversationStarted(Conversation(id: "th1"))])
        #expect(await first.recorder.messages == ["Hello"])
        #expect(await first.recorder.deltas == ["Hel", "lo"])
        guard case .agentStarted(let started)? = await first.recorder.events.first else { return }
        #expect(started.name == "Codex" && started.version == "0.163.0")

        let second = await bench.run(driver, "two", turn: 2, conversation: "th1")
        #expect(second.outcome.end.state == .succeeded)
        #expect(await second.recorder.types == ["message", "usage"])
        let sent = try bench.sent()
        #expect(sent.map { $0["method"]?.string } == ["initialize", "initialized", "thread/start", "turn/start", "turn/start"])
        #expect(sent[2]["params"]?["approvalPolicy"] == "never")
        #expect(sent[2]["params"]?["sandbox"] == "danger-full-access")
        #expect(sent[3]["params"]?["input"] == [["type": "text", "text": "one"]])
        #expect(sent[3]["params"]?["model"] == "usual")
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func aPromptThatIsFoldedIntoAnotherTurnFails() async throws {
        let rules = [Codex.initialized, Codex.opened, Codex.turn([Codex.message("m1", "Hi.")], id: "u1")]
        let driver = driver(rules)
        #expect(await bench.run(driver, "one").outcome.end.state == .succeeded)
        let second = await bench.run(driver, "two", turn: 2, conversation: "th1")
        #expect(second.outcome.end.state == .failed)
        #expect(second.outcome.end.message?.contains("did not begin a turn of its own") == true)
        #expect(!second.outcome.clean)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func nothingIsSentWhileCodexWorksOnATurnOfItsOwn() async throws {
        let driver = driver([
            Codex.initialized, Codex.opened,
            // Before the end of the first turn, so that it has been read when that turn is over.
            Codex.turn([Codex.message("m1", "Hi."), Codex.turnStarted("own")]),
        ])
        let first = await bench.run(driver, "one")
        #expect(first.outcome.end.state == .succeeded)
        let second = await bench.run(driver, "two", turn: 2, conversation: "th1")
        #expect(second.outcome.end.state == .failed)
        #expect(second.outcome.end.message?.contains("nobody asked for (own)") == true)
        #expect(try bench.sent().filter { $0["method"] == "turn/start" }.count == 1)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func theModelIsNamedEveryTimeAndAnEffortStays() async throws {
        let driver = driver([Codex.initialized, Codex.opened, Codex.turn([])])
        _ = await bench.run(driver, "one", model: "large", effort: "high")
        let second = await bench.run(driver, "two", turn: 2, conversation: "th1")
        let params = try bench.sent().filter { $0["method"] == "turn/start" }.compactMap { $0["params"] }
        #expect(params.map { $0["model"]?.string } == ["large", "usual"])
        #expect(params.map { $0["effort"]?.string } == ["high", nil])
        #expect(await second.recorder.types.contains("error"))
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func itemsAreEvents() async throws {
        let path = "\(bench.directory)/a.txt"
        func item(_ json: String, _ method: String = "item/completed") -> String {
            Codex.notification(method, #""item":\#(json)"#)
        }
        let call =
            #"{"type":"commandExecution","id":"c1","command":"/bin/bash -lc make","commandActions":[{"type":"unknown","command":"make"}],"#
        let (outcome, recorder) = await bench.run(
            driver([
                Codex.initialized, Codex.opened,
                Codex.turn([
                    item(#"{"type":"reasoning","id":"r1","summary":["Hm.","So."],"content":[]}"#),
                    item(call + #""status":"inProgress","aggregatedOutput":null,"exitCode":null}"#, "item/started"),
                    item(call + #""status":"failed","aggregatedOutput":"no","exitCode":2}"#),
                    item(
                        #"{"type":"fileChange","id":"f1","status":"completed","changes":[{"path":"\#(path)","kind":{"type":"add"},"diff":"one\n"}]}"#
                    ),
                    item(
                        #"{"type":"fileChange","id":"f2","status":"completed","changes":[{"path":"\#(path)","kind":{"type":"update","move_path":null},"diff":"@@ -1,2 +1,2 @@\n-one\n+two\n x\n@@ -9 +9 @@\n-a\n+b\n"}]}"#
                    ),
                    item(
                        #"{"type":"mcpToolCall","id":"t1","server":"s","tool":"t","arguments":{"x":1},"status":"completed","result":{"content":[{"type":"text","text":"r"}]}}"#
                    ),
                    Codex.notification("turn/plan/updated", #""plan":[{"step":"a","status":"inProgress"}]"#),
                    item(#"{"type":"fromTheFuture","id":"z"}"#), Codex.notification("from/the/future", #""x":1"#),
                    Codex.notification(
                        "error", #""willRetry":true,"error":{"message":"Reconnecting... 1/5","additionalDetails":"503"}"#),
                    Codex.message("m1", "Done."),
                ]),
            ]), "hello")
        #expect(outcome.end.state == .succeeded)
        let results = await recorder.results
        #expect(results.map(\.title) == ["make", "add a.txt", "update a.txt", "s.t"])
        #expect(results.map(\.status) == ["failed", "completed", "completed", "completed"])
        #expect(results[0].output == "no\nexit code 2")
        #expect(results[1].diffs == [.init(path: "a.txt", oldText: nil, newText: "one\n")])
        #expect(
            results[2].diffs == [
                .init(path: "a.txt", oldText: "one\nx\n", newText: "two\nx\n"),
                .init(path: "a.txt", oldText: "a\n", newText: "b\n"),
            ])
        #expect(results[3].output == "r")
        #expect(await recorder.events.contains(.thought(Thought(text: "Hm.\n\nSo."))))
        #expect(await recorder.events.contains(.plan(Plan(entries: [.init(content: "a", status: "in_progress")]))))
        #expect(await recorder.events.contains(.error(Reason("Reconnecting... 1/5: 503"))))
        #expect(outcome.end.results?.toolCalls == 4)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func framesOfOtherThreadsAreNotOurs() async throws {
        let other =
            #"{"method":"item/completed","params":{"threadId":"sub","turnId":"s1","item":{"type":"agentMessage","id":"x","text":"no"}}}"#
        let ended = #"{"method":"turn/completed","params":{"threadId":"sub","turn":{"id":"s1","status":"failed"}}}"#
        let (outcome, recorder) = await bench.run(
            driver([Codex.initialized, Codex.opened, Codex.turn([other, ended, "noise", Codex.message("m1", "yes")])]), "hello")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.messages == ["yes"])
        let output = await recorder.output.map(\.text)
        #expect(output == ["noise\n"])
        try await bench.host.endAll(grace: .seconds(5))
    }

    /// The thread is taken up by another process, which tells what it had used before.
    @Test func usageIsWhatTheTurnAdded() async throws {
        let (outcome, _) = await bench.run(
            driver([
                Codex.initialized, (Codex.resumed.method, Codex.resumed.frames + [Codex.used(500, 50, turn: "earlier")], ""),
                Codex.turn([
                    Codex.used(600, 60, last: (100, 10)), Codex.used(750, 75, last: (150, 15)),
                    Codex.used(750, 75, last: (150, 15)),
                ]),
            ]), "hello", conversation: "th1")
        #expect(outcome.end.results?.usage == Usage(inputTokens: 250, outputTokens: 25, cachedInputTokens: 0))
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test(arguments: [
        (
            #""failed","error":{"message":"{\"error\":{\"message\":\"bad\"}}","codexErrorInfo":"other"}"#, EndReason.agentError,
            "bad"
        ),
        (#""failed","error":{"message":"full","codexErrorInfo":"contextWindowExceeded"}"#, .agentLimit, "full"),
        (#""failed","error":{"message":"no","codexErrorInfo":"cyberPolicy"}"#, .refused, "no"),
        (#""failed","error":{"message":"x","codexErrorInfo":{"httpConnectionFailed":{"httpStatusCode":401}}}"#, .agentError, "x"),
        (#""interrupted""#, .agentError, "Codex interrupted the turn by itself"),
        (#""later""#, .agentError, "Codex ended the turn in a way that is not known here: later"),
    ])
    func endsAreJudged(status: String, reason: EndReason, message: String) async throws {
        let (outcome, _) = await bench.run(
            driver([Codex.initialized, Codex.opened, Codex.turn([], status: status)]), "hello")
        #expect(outcome.end.state == .failed)
        #expect(outcome.end.reason == reason)
        #expect(outcome.end.message == message)
        #expect(outcome.clean)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func anExitInTheMiddleKeepsWhatWasSaid() async throws {
        let (outcome, recorder) = await bench.run(
            driver([
                Codex.initialized, Codex.opened,
                ("turn/start", Codex.begun("u1") + [Codex.delta("m1", "half")], "echo why >&2; kill -9 $$"),
            ]), "hello")
        #expect(outcome.end.reason == .agentExited)
        #expect(outcome.end.message?.contains("signal 9") == true)
        #expect(outcome.end.message?.contains("why") == true)
        #expect(await recorder.messages == ["half"])
        #expect(!outcome.clean)
    }

    /// So it ends when it gets SIGTERM.
    @Test func anExitWithCode0InTheMiddleIsNoSuccess() async throws {
        let (outcome, _) = await bench.run(
            driver([Codex.initialized, Codex.opened, ("turn/start", Codex.begun("u1"), "exit 0")]), "hello")
        #expect(outcome.end.state == .failed)
        #expect(outcome.end.reason == .agentExited)
        #expect(outcome.end.message?.contains("exit code 0") == true)
        #expect(!outcome.clean)
    }

    /// As after the loss of the host, or when a turn did not stop by itself: the driver is told, and sees nothing of it.
    @Test func aTurnIsOverWhenItsProcessesWereEnded() async throws {
        let driver = driver([
            Codex.initialized, Codex.opened, ("turn/start", Codex.begun("u1") + [Codex.delta("m1", "half")], ""),
        ])
        let recorder = Recorder()
        async let run = bench.run(driver, "hello", recorder)
        try await until { await !recorder.deltas.isEmpty }
        await driver.processesEnded()
        let outcome = await run.outcome
        #expect(outcome.end.state == .failed)
        #expect(outcome.end.reason == .agentExited)
        #expect(outcome.end.message?.contains("its processes were ended") == true)
        #expect(await recorder.messages == ["half"])
        #expect(!outcome.clean)
        try await bench.host.endAll(grace: .seconds(5))
    }

    // MARK: Interruptions

    @Test func anInterruptionWaitsForTheTurnsBeginning() async throws {
        let driver = driver([
            Codex.initialized, Codex.opened,
            (
                "turn/start", [#"{"id":%s,"result":{"turn":{"id":"u1","status":"inProgress"}}}"#],
                // Codex would refuse it now, and go on with the turn.
                "touch prompted; until [ -e go ]; do :; done; if read -r -t 0.3 line; then echo \"early: $line\" >&2; fi; printf '%s\\n' '\(Codex.turnStarted("u1"))'"
            ),
            ("turn/interrupt", [#"{"id":%s,"result":{}}"#, Codex.completed("u1", status: "\"interrupted\"")], ""),
        ])
        async let run = bench.run(driver, "hello")
        try await until { FileManager.default.fileExists(atPath: bench.directory + "/prompted") }
        await driver.interrupt()
        #expect(FileManager.default.createFile(atPath: bench.directory + "/go", contents: nil))
        let (outcome, recorder) = await run
        #expect(outcome.end.state == .cancelled)
        #expect(outcome.clean)
        #expect(await recorder.output.isEmpty)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func aRefusedInterruptionIsAskedForAgain() async throws {
        let driver = driver([
            Codex.initialized, Codex.opened, ("turn/start", Codex.begun("u1") + [Codex.delta("m1", "a")], ""),
            (
                "turn/interrupt", [],
                "if [ -e once ]; then printf '%s\\n' '{\"id\":'$id',\"result\":{}}' '\(Codex.completed("u1", status: "\"interrupted\""))'; else touch once; printf '%s\\n' '{\"id\":'$id',\"error\":{\"code\":-32600,\"message\":\"no active turn to interrupt\"}}' '\(Codex.delta("m1", "b"))' '\(Codex.delta("m1", "c"))'; fi"
            ),
        ])
        let recorder = Recorder()
        async let run = bench.run(driver, "hello", recorder)
        try await until { await !recorder.deltas.isEmpty }
        await driver.interrupt()
        #expect(await run.outcome.end.state == .cancelled)
        #expect(await recorder.messages == ["abc"])
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func aTurnThatEndedBeforeItsInterruptionHasSucceeded() async throws {
        let driver = driver([
            Codex.initialized, Codex.opened, ("turn/start", Codex.begun("u1") + [Codex.delta("m1", "a")], ""),
            (
                "turn/interrupt",
                [Codex.completed("u1"), #"{"id":%s,"error":{"code":-32600,"message":"no active turn to interrupt"}}"#], ""
            ),
        ])
        let recorder = Recorder()
        async let run = bench.run(driver, "hello", recorder)
        try await until { await !recorder.deltas.isEmpty }
        await driver.interrupt()
        let outcome = await run.outcome
        #expect(outcome.end.state == .succeeded)
        #expect(outcome.clean)
        try await bench.host.endAll(grace: .seconds(5))
    }

    // MARK: Approvals

    private static let asked =
        #"{"id":0,"method":"item/commandExecution/requestApproval","params":{"threadId":"th1","turnId":"u1","itemId":"c1","command":"x","availableDecisions":["accept",{"acceptWithExecpolicyAmendment":{}},"cancel"]}}"#

    private func approval(_ permissions: AgentDescription.Permissions) -> any AgentDriver {
        let call = #""item":{"type":"commandExecution","id":"c1","command":"rm x","status":"inProgress"}"#
        return driver(
            [
                Codex.initialized, Codex.opened,
                ("turn/start", Codex.begun("u1") + [Codex.notification("item/started", call), Self.asked], ""),
                (
                    "\"id\":0", [],
                    "printf '%s\\n' '\(Codex.notification("serverRequest/resolved", "\"requestId\":0"))' '\(Codex.completed("u1"))'"
                ),
                ("turn/interrupt", [#"{"id":%s,"result":{}}"#, Codex.completed("u1", status: "\"interrupted\"")], ""),
            ], permissions: permissions)
    }

    @Test(arguments: [("accept", "accept"), ("decline", "decline"), (nil, "decline")])
    func aPersonDecides(option: String?, decision: String) async throws {
        let driver = approval(.ask)
        let recorder = Recorder()
        async let run = bench.run(driver, "hello", recorder)
        let question = try await recorder.question()
        #expect(question.question == "rm x")
        #expect(question.options.map(\.id) == ["accept", "decline"])
        await driver.answer(InputAnswered(request: question.id, option: option, text: nil, by: .person))
        #expect(await run.outcome.end.state == .succeeded)
        #expect(await recorder.withdrawn == 0)
        let sent = try bench.sent()
        #expect(sent.first { $0["method"] == "thread/start" }?["params"]?["approvalPolicy"] == "untrusted")
        #expect(sent.last?["result"] == ["decision": .string(decision)])
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func withoutAskingItIsAllowed() async throws {
        let (outcome, _) = await bench.run(approval(.bypass), "hello")
        #expect(outcome.end.state == .succeeded)
        #expect(try bench.sent().last?["result"] == ["decision": "accept"])
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func anInterruptionTakesTheQuestionBack() async throws {
        let driver = approval(.ask)
        let recorder = Recorder()
        async let run = bench.run(driver, "hello", recorder)
        let question = try await recorder.question()
        await driver.answer(InputAnswered(request: question.id, option: nil, text: nil, by: .cancellation))
        #expect(await run.outcome.end.state == .cancelled)
        #expect(try bench.sent().last?["method"] == "turn/interrupt")
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func requestsThatNobodyCanAnswerAreRefused() async throws {
        let ask =
            #"{"id":0,"method":"item/tool/requestUserInput","params":{"threadId":"th1","turnId":"u1","itemId":"i","questions":[{"id":"q1","header":"H","question":"Which?"},{"id":"q2","header":"H","question":"When?"}]}}"#
        let other = #"{"id":0,"method":"item/tool/call","params":{"threadId":"th1","turnId":"u1"}}"#
        let form =
            #"{"id":0,"method":"mcpServer/elicitation/request","params":{"threadId":"th1","message":"Name?","mode":"form","requestedSchema":{"required":["name"]}}}"#
        let cases: [(String, JSONValue)] = [
            (
                ask,
                [
                    "answers": [
                        "q1": ["answers": [.string(CodexApproval.nobody)]], "q2": ["answers": [.string(CodexApproval.nobody)]],
                    ]
                ]
            ), (other, ["code": -32601, "message": "this client does not offer item/tool/call"]),
            (form, ["action": "decline"]),
        ]
        for (request, answer) in cases {
            let (outcome, _) = await bench.run(
                driver([
                    Codex.initialized, Codex.opened, ("turn/start", Codex.begun("u1") + [request], ""),
                    ("\"id\":0", [Codex.completed("u1")], ""),
                ]), "hello")
            #expect(outcome.end.state == .succeeded)
            let last = try #require(try bench.sent().last)
            #expect(last["error"] ?? last["result"] == answer)
            try await bench.host.endAll(grace: .seconds(5))
        }
    }

    // MARK: Threads

    @Test func aThreadIsTakenUpByAnotherProcess() async throws {
        let rules = [Codex.initialized, Codex.resumed, Codex.turn([Codex.message("m1", "Hi.")])]
        let (outcome, recorder) = await bench.run(driver(rules), "hello", conversation: "th1")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.types == ["agent.started", "conversation.resumed", "message"])
        #expect(try bench.sent().contains { $0["method"] == "thread/resume" && $0["params"]?["threadId"] == "th1" })
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test(arguments: [
        "no rollout found for thread id th0",
        "invalid session id: invalid character: expected an optional prefix of `urn:uuid:`",
        "failed to read thread: thread-store internal error: failed to read session metadata /x.jsonl: rollout at /x.jsonl is empty",
        "failed to read thread: failed to read session metadata /x.jsonl: rollout at /x.jsonl does not start with session metadata",
    ])
    func aLostThreadIsReseeded(error: String) async throws {
        let lost = ("thread/resume", [#"{"id":%s,"error":{"code":-32600,"message":"\#(error)"}}"#], "")
        let (outcome, recorder) = await bench.run(
            driver([Codex.initialized, lost, Codex.opened, Codex.turn([Codex.message("m1", "Hi.")])]), "hello",
            conversation: "th0")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.durable == [.conversationReseeded(Conversation(id: "th1", reason: error))])
        let prompt = try bench.sent().first { $0["method"] == "turn/start" }?["params"]?["input"]?.array?.first?["text"]?.string
        #expect(prompt?.contains("the digest") == true && prompt?.hasSuffix("hello") == true)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test(arguments: ["failed to read session metadata /x.jsonl: Permission denied (os error 13)", "database is locked"])
    func aTransientFailureIsNoLoss(error: String) async throws {
        let failing = ("thread/resume", [#"{"id":%s,"error":{"code":-32603,"message":"\#(error)"}}"#], "")
        let (outcome, recorder) = await bench.run(
            driver([Codex.initialized, failing, Codex.opened, Codex.turn([])]), "hello", conversation: "th0")
        #expect(outcome.end.reason == .agentStart)
        #expect(outcome.end.message?.contains(error) == true)
        #expect(await recorder.durable == [])
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func noPromptLeavesBeforeTheThreadIsKept() async throws {
        let driver = driver([Codex.initialized, Codex.opened, Codex.turn([])])
        let recorder = Recorder()
        await recorder.fail(with: Problem(.storageFull, "no space"))
        #expect(await bench.run(driver, "one", recorder).outcome.end.reason == .storageFull)
        #expect(!(try bench.sent().contains { $0["method"] == "turn/start" }))
        let second = await bench.run(driver, "two", turn: 2)
        #expect(second.outcome.end.state == .succeeded)
        #expect(await second.recorder.durable == [.conversationStarted(Conversation(id: "th1"))])
        try await bench.host.endAll(grace: .seconds(5))
    }

    // MARK: Setting up

    @Test func secretsAreInNeitherArgumentsNorFilesNorEnvironment() async throws {
        let key = bench.root + "/key"
        try "sk-secret\n".write(toFile: key, atomically: true, encoding: .utf8)
        var description = AgentDescription(
            driver: .codex, credentials: AgentCredentials(env: ["CODEX_API_KEY": key]), model: "large", effort: "low",
            systemPrompt: "Be brief.", mcpServers: ["s": MCPServer(command: ["serve", "-x"], env: ["TOKEN": "mcp-secret"])])
        description.command = Codex.server([
            Codex.initialized, ("account/login/start", [#"{"id":%s,"result":{"type":"apiKey"}}"#], ""), Codex.opened,
            Codex.turn([], before: "{ tr '\\0' ' ' < /proc/$$/cmdline; env; } >seen"),
        ])
        #expect(description.mistake == nil)
        let (outcome, _) = await bench.run(bench.driver(description), "hello")
        #expect(outcome.end.state == .succeeded)
        let sent = try bench.sent()
        #expect(sent.contains { $0["params"] == ["type": "apiKey", "apiKey": "sk-secret"] })
        let start = try #require(sent.first { $0["method"] == "thread/start" }?["params"])
        #expect(start["developerInstructions"] == "Be brief.")
        #expect(start["model"] == "large")
        #expect(start["config"]?["model_reasoning_effort"] == "low")
        #expect(
            start["config"]?["mcp_servers"] == ["s": ["command": "serve", "args": ["-x"], "env": ["TOKEN": "mcp-secret"]]])
        let printed = try bench.file("seen")
        #expect(printed.contains("-c analytics.enabled=false -c check_for_update_on_startup=false -c features.goals=false"))
        #expect(!printed.contains("secret"))
        let home = bench.root + "/demo/codex"
        #expect(printed.contains("CODEX_HOME=\(home)\n"))
        let mode = try FileManager.default.attributesOfItem(atPath: home)[.posixPermissions] as? NSNumber
        #expect(mode == 0o700)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func whatCodexCannotDoIsAMistake() {
        #expect(AgentDescription(driver: .codex).arguments == ["codex", "app-server"])
        #expect(AgentDescription(driver: .codex).mistake == nil)
        #expect(AgentDescription(driver: .codex, allowedTools: ["x"]).mistake?.contains("allowedTools") == true)
        let server = MCPServer(command: ["x"])
        #expect(AgentDescription(driver: .codex, mcpServers: ["a b": server]).mistake?.contains("“a b”") == true)
        #expect(AgentDescription(driver: .codex, invocation: Invocation()).mistake?.contains("invocation") == true)
    }

    private func driver(
        _ rules: [Codex.Rule], permissions: AgentDescription.Permissions? = nil
    ) -> any AgentDriver {
        bench.driver(AgentDescription(driver: .codex, command: Codex.server(rules), permissions: permissions))
    }
}
