import AgentHost
import Agents
import Foundation
import SessionModel
import Support
import Testing

/// The driver with agents made of canned frames, for what the demonstration agent never does.
@Suite(.timeLimit(.minutes(1))) struct ScriptedAgentTests {
    let bench: Bench
    init() throws { bench = try Bench() }

    private func run(
        _ rules: [(method: String, frames: [String])], conversation: String? = nil, model: String? = nil, mode: String? = nil,
        permissions: AgentDescription.Permissions? = nil
    ) async throws -> (outcome: TurnOutcome, recorder: Recorder) {
        let driver = bench.driver(Bench.scripted(rules), permissions: permissions, mode: mode)
        let result = await bench.run(driver, "hello", conversation: conversation, model: model)
        try await bench.host.endAll(grace: .seconds(5))
        return result
    }

    @Test func unknownUpdatesAndOtherSessionsAreIgnored() async throws {
        let (outcome, recorder) = try await run([
            Bench.initialized, Bench.opened,
            (
                "session/prompt",
                [
                    Bench.update(#"{"sessionUpdate":"from_the_future","x":[1]}"#),
                    #"{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"other","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"no"}}}}"#,
                    #"{"jsonrpc":"2.0","method":"_vendor/thing","params":{}}"#,
                    #"{"jsonrpc":"2.0","id":99,"result":{}}"#,
                    Bench.update(#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"yes"}}"#),
                    Bench.ended,
                ]
            ),
        ])
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.types == ["agent.started", "conversation.started", "message"])
        #expect(await recorder.messages == ["yes"])
    }

    @Test func anotherProtocolVersionIsRefused() async throws {
        let (outcome, _) = try await run([("initialize", [#"{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":2}}"#])])
        #expect(outcome.end.reason == .agentStart)
        #expect(outcome.end.message?.contains("version 2") == true)
        #expect(!outcome.clean)
    }

    @Test func aLoginThatIsAskedForNamesTheWays() async throws {
        let (outcome, recorder) = try await run([
            (
                "initialize",
                [
                    #"{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":1,"authMethods":[{"id":"key","name":"API key","description":"Set KEY"}]}}"#
                ]
            ),
            ("session/new", [#"{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"Authentication required"}}"#]),
        ])
        #expect(outcome.end.reason == .agentStart)
        #expect(outcome.end.message?.contains("API key (Set KEY)") == true)
        #expect(await recorder.durable == [])
    }

    @Test(arguments: ["max_tokens", "max_turn_requests", "refusal", "cancelled", "later"])
    func stopReasons(stop: String) async throws {
        let (outcome, _) = try await run([
            Bench.initialized, Bench.opened,
            ("session/prompt", [#"{"jsonrpc":"2.0","id":%s,"result":{"stopReason":"\#(stop)"}}"#]),
        ])
        let expected: (TurnState, EndReason) =
            switch stop {
            case "max_tokens", "max_turn_requests": (.failed, .agentLimit)
            case "refusal": (.failed, .refused)
            default: (.failed, .agentError)
            }
        #expect(outcome.end.state == expected.0)
        #expect(outcome.end.reason == expected.1)
        // gptme-acp would end every later turn so, too.
        #expect(outcome.clean == (stop != "cancelled"))
    }

    @Test func retriesOfVibeAreShown() async throws {
        let retrying =
            #"{"jsonrpc":"2.0","method":"_session/retrying","params":{"sessionId":"s1","category":"rate_limited","detail":"HTTP 429"}}"#
        let (outcome, recorder) = try await run([
            Bench.initialized, Bench.opened, ("session/prompt", [retrying, Bench.ended]),
        ])
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.events.contains(.error(Reason("the model's API failed (HTTP 429); the agent tries again"))))
    }

    /// So does gptme-acp end a turn whose model cannot be reached, and fast-agent-acp with a refusal.
    @Test(arguments: ["cancelled", "refusal"]) func aFailureThatIsCalledSomethingElseSaysWhatTheAgentSaid(stop: String)
        async throws
    {
        let (outcome, _) = try await run([
            Bench.initialized, Bench.opened,
            (
                "session/prompt",
                [
                    Bench.update(#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"Error code: 401"}}"#),
                    #"{"jsonrpc":"2.0","id":%s,"result":{"stopReason":"\#(stop)"}}"#,
                ]
            ),
        ])
        #expect(outcome.end.state == .failed)
        #expect(outcome.end.message?.hasSuffix("; it said: Error code: 401") == true, "\(outcome.end.message ?? "")")
    }

    @Test func aModeThatTheAgentDoesNotHaveIsNamedWithThoseItHas() async throws {
        let opened = (
            method: "session/new",
            frames: [
                #"{"jsonrpc":"2.0","id":%s,"result":{"sessionId":"s1","modes":{"currentModeId":"ask","availableModes":[{"id":"ask","name":"Ask"},{"id":"auto","name":"Auto"}]}}}"#
            ]
        )
        let (outcome, _) = try await run([Bench.initialized, opened], mode: "nonsense")
        #expect(outcome.end.reason == .agentStart)
        #expect(outcome.end.message == "the agent has no mode “nonsense”, but ask, auto")
    }

    @Test func aTransientFailureOfLoadingIsNoLoss() async throws {
        let (outcome, recorder) = try await run(
            [
                Bench.initialized, Bench.opened,
                ("session/load", [#"{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"network unreachable"}}"#]),
                ("session/prompt", [Bench.ended]),
            ], conversation: "s0")
        #expect(outcome.end.reason == .agentStart)
        #expect(outcome.end.message?.contains("network unreachable") == true)
        #expect(await recorder.types == ["agent.started"])
    }

    @Test func aConversationIsResumedWhereTheAgentCan() async throws {
        let (outcome, recorder) = try await run(
            [
                (
                    "initialize",
                    [
                        #"{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":1,"agentCapabilities":{"sessionCapabilities":{"resume":{}}}}}"#
                    ]
                ),
                ("session/resume", [#"{"jsonrpc":"2.0","id":%s,"result":{}}"#]),
                ("session/prompt", [Bench.ended]),
            ], conversation: "s1")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.types == ["agent.started", "conversation.resumed"])
    }

    /// gptme even gives the new one the same id.
    @Test(arguments: ["s0", "s1"]) func anAgentThatCannotLoadIsReseeded(known: String) async throws {
        let (outcome, recorder) = try await run(
            [
                ("initialize", [#"{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":1}}"#]), Bench.opened,
                ("session/prompt", [Bench.ended]),
            ], conversation: known)
        #expect(outcome.end.state == .succeeded)
        #expect(
            await recorder.durable == [
                .conversationReseeded(Conversation(id: "s1", reason: "the agent cannot take a conversation up again"))
            ])
    }

    /// As Hermes does; one that the agent has is not given up for a refusal.
    @Test(arguments: [("s0", false), ("other", true)])
    func aConversationThatIsTakenUpAndNotThereIsReseeded(listed: String, isGone: Bool) async throws {
        let (outcome, recorder) = try await run(
            [
                (
                    "initialize",
                    [
                        #"{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":1,"agentCapabilities":{"sessionCapabilities":{"resume":{},"list":{}}}}}"#
                    ]
                ),
                ("session/resume", [#"{"jsonrpc":"2.0","id":%s,"result":{}}"#]), Bench.opened,
                ("session/list", [#"{"jsonrpc":"2.0","id":%s,"result":{"sessions":[{"sessionId":"\#(listed)"}]}}"#]),
                ("session/prompt", [#"{"jsonrpc":"2.0","id":%s,"result":{"stopReason":"refusal"}}"#]),
            ], conversation: "s0")
        #expect(outcome.end.reason == .refused)
        let reason = "the agent refused the prompt, and the conversation s0 is none of those that it has"
        #expect(
            await recorder.durable == (isGone ? [.conversationReseeded(Conversation(id: "s1", reason: reason))] : []))
    }

    @Test func fileAndTerminalRequestsAreNotOffered() async throws {
        // The agent writes down what it is answered.
        let command = [
            "/bin/sh", "-c",
            """
            read -r line; printf '{"id":1,"result":{"protocolVersion":1}}\\n'
            read -r line; printf '{"id":2,"result":{"sessionId":"s1"}}\\n'
            read -r line; printf '{"id":"a","method":"fs/read_text_file","params":{}}\\n'; read -r line; echo "$line" >>answers
            printf '{"id":0,"method":"terminal/create","params":{}}\\n'; read -r line; echo "$line" >>answers
            printf '{"id":3,"result":{"stopReason":"end_turn"}}\\n'; exec sleep 1000
            """,
        ]
        let (outcome, _) = await bench.run(bench.driver(command), "hello")
        #expect(outcome.end.state == .succeeded)
        let text = try bench.file("answers")
        #expect(text.contains(#"{"error":{"code":-32601,"message":"this client does not offer fs/read_text_file"},"id":"a""#))
        #expect(text.contains("this client does not offer terminal/create"))
        #expect(text.contains(#""id":0"#))
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func modelAndModeAreSetWhereTheyAreOffered() async throws {
        let opened = (
            method: "session/new",
            frames: [
                #"{"jsonrpc":"2.0","id":%s,"result":{"sessionId":"s1","configOptions":[{"id":"m","name":"Model","category":"model","type":"select","currentValue":"small","options":[{"value":"small","name":"S"},{"value":"large","name":"L"}]}]}}"#
            ]
        )
        let setting = (
            method: "session/set_config_option",
            frames: [
                #"{"jsonrpc":"2.0","id":%s,"result":{"configOptions":[{"id":"m","category":"model","currentValue":"large","options":[{"value":"small"},{"value":"large"}]}]}}"#,
                Bench.update(#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"never"}}"#),
            ]
        )
        let rules = [
            Bench.initialized, opened, setting,
            ("session/set_mode", [#"{"jsonrpc":"2.0","id":%s,"result":{}}"#, "noise: the mode is set"]),
            ("session/prompt", [Bench.ended]),
        ]
        let (outcome, recorder) = try await run(rules, model: "large", mode: "auto")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.output.map(\.text) == ["noise: the mode is set\n"])
        #expect(!(await recorder.types.contains("error")))

        let unknown = try await run(rules, model: "huge")
        #expect(unknown.outcome.end.state == .succeeded)
        #expect(await unknown.recorder.types.contains("error"))
    }

    @Test func questionsAreAskedOneAtATimeAndCanBeTakenBack() async throws {
        func request(_ id: String) -> String {
            #"{"jsonrpc":"2.0","id":"\#(id)","method":"session/request_permission","params":{"sessionId":"s1","toolCall":{"toolCallId":"\#(id)","title":"May \#(id)?"},"options":[{"optionId":"y","name":"Yes","kind":"allow_once"},{"optionId":"n","name":"No","kind":"reject_once"}]}}"#
        }
        let driver = bench.driver(
            Bench.scripted([
                Bench.initialized, Bench.opened,
                (
                    "session/prompt",
                    [
                        request("p1"), request("p2"),
                        #"{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":"p1"}}"#,
                    ]
                ),
                // The cancellation ends the turn.
                ("session/cancel", [#"{"jsonrpc":"2.0","id":3,"result":{"stopReason":"cancelled"}}"#]),
            ]), permissions: .ask)
        let recorder = Recorder()
        async let run = bench.run(driver, "hello", recorder)
        #expect(try await recorder.question().question == "May p1?")
        #expect(try await recorder.question().question == "May p2?")
        #expect(await recorder.withdrawn == 1)
        await driver.interrupt()
        #expect(await run.outcome.end.state == .cancelled)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func anExitBetweenTurnsIsRecordedInTheNext() async throws {
        let command = [
            "/bin/sh", "-c",
            """
            read -r line; printf '{"id":1,"result":{"protocolVersion":1,"agentCapabilities":{"loadSession":true}}}\\n'
            read -r line; printf '{"id":2,"result":{"sessionId":"s1"}}\\n'
            read -r line; printf '{"id":3,"result":{"stopReason":"end_turn"}}\\n'
            read -r line; printf '{"id":4,"result":{"stopReason":"end_turn"}}\\n'
            sleep 0.5  # until well after the turn's end: an exit before it would belong to that turn
            exit 5
            """,
        ]
        let driver = bench.driver(command)
        #expect(await bench.run(driver, "hello").outcome.clean)
        let second = await bench.run(driver, "hello", turn: 2, conversation: "s1")
        #expect(second.outcome.clean)
        try await until { await !driver.status.warm }
        let third = await bench.run(driver, "hello", turn: 3, conversation: "s1")
        #expect(await third.recorder.events.prefix(1) == [.agentExited(Reason("exit code 5"))])
        #expect(await third.recorder.types.prefix(2) == ["agent.exited", "agent.started"])
        try await bench.host.endAll(grace: .seconds(5))
    }
}

/// What a worker's description says, on its way to an agent that speaks ACP.
@Suite(.timeLimit(.minutes(1))) struct WorkerTests {
    let bench: Bench
    init() throws { bench = try Bench() }

    /// What the agent got, each line a frame, and what was reported.
    private func run(
        _ description: AgentDescription, initialized: String, conversation: String? = nil
    ) async throws -> (frames: [JSONValue], recorder: Recorder) {
        var description = description
        // It keeps what it gets in a file.
        description.command = [
            "/bin/sh", "-c",
            """
            while read -r line; do
            printf '%s\\n' "$line" >> frames
            id=${line#*'"id":'}; id=${id%%,*}
            case "$line" in
            *initialize*) printf '{"id":%s,"result":{"protocolVersion":1,"agentCapabilities":\(initialized)}}\\n' "$id";;
            *session/set_config*) printf '{"id":%s,"result":{"configOptions":[]}}\\n' "$id";;
            *session/new*|*session/load*) printf '{"id":%s,"result":{"sessionId":"s1","configOptions":[{"id":"m","category":"model","currentValue":"small","options":[{"value":"small"},{"value":"large"}]}]}}\\n' "$id";;
            *) printf '{"id":%s,"result":{"stopReason":"end_turn"}}\\n' "$id";;
            esac
            done
            """,
        ]
        let result = await bench.run(bench.driver(description), "hello", conversation: conversation)
        #expect(result.outcome.end.state == .succeeded, "\(result.outcome)")
        try await bench.host.endAll(grace: .seconds(5))
        return (try bench.file("frames").split(separator: "\n").map { try JSON.decode(from: String($0)) }, result.recorder)
    }

    private let servers = [
        "files": MCPServer(command: ["/bin/mcp", "--root", "/w"], env: ["A": "1"]),
        "web": MCPServer(url: "https://host/mcp", headers: ["Authorization": "Bearer x"]),
    ]

    @Test(arguments: [nil, "s0"]) func serversAreGivenToEveryConversation(conversation: String?) async throws {
        let (frames, recorder) = try await run(
            AgentDescription(driver: .acp, command: [], mcpServers: servers),
            initialized: #"{"loadSession":true,"mcpCapabilities":{"http":true}}"#, conversation: conversation)
        let opening = try #require(frames.first { $0["method"]?.string?.hasPrefix("session/") == true })
        #expect(opening["method"] == (conversation == nil ? "session/new" : "session/load"))
        #expect(
            opening["params"]?["mcpServers"] == [
                [
                    "name": "files", "command": "/bin/mcp", "args": ["--root", "/w"], "env": [["name": "A", "value": "1"]],
                ],
                [
                    "type": "http", "name": "web", "url": "https://host/mcp",
                    "headers": [["name": "Authorization", "value": "Bearer x"]],
                ],
            ])
        #expect(!(await recorder.types.contains("error")))
    }

    @Test func whatCannotBePassedOnIsSaid() async throws {
        let description = AgentDescription(
            driver: .acp, command: [], model: "large", effort: "high", systemPrompt: "Be brief.", allowedTools: ["read"],
            mcpServers: servers)
        let (frames, recorder) = try await run(description, initialized: #"{"loadSession":true}"#)
        let errors = await recorder.events.compactMap { if case .error(let reason) = $0 { reason.reason } else { nil } }
        for field in ["systemPrompt", "allowedTools", "mcpServers.web", "effort"] {
            #expect(errors.count { $0.contains(field) } == 1, "\(field): \(errors)")
        }
        #expect(errors.count == 4)
        #expect(frames.contains { $0["params"]?["value"] == "large" }, "the model is offered, so it is set")
        let opening = frames.first { $0["method"] == "session/new" }
        #expect(opening?["params"]?["mcpServers"]?.array?.map { $0["name"] } == ["files"])
    }

    @Test func aCredentialIsReadWhenTheAgentStarts() async throws {
        let path = bench.root + "/key"
        var description = AgentDescription(
            driver: .acp, command: [], env: ["PLAIN": "plain"], credentials: AgentCredentials(env: ["LOGIN": path]))
        description.command = Bench.scripted([
            Bench.initialized, Bench.opened,
            (
                "session/prompt",
                [
                    #"{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"'"$PLAIN $LOGIN"'"}}}}"#,
                    Bench.ended,
                ]
            ),
        ])
        let driver = bench.driver(description)
        let missing = await bench.run(driver, "hello")
        #expect(missing.outcome.end.reason == .agentStart && missing.outcome.clean)
        #expect(missing.outcome.end.message?.contains("credentials.env") == true)
        try "value\n".write(toFile: path, atomically: true, encoding: .utf8)
        let found = await bench.run(driver, "hello")
        #expect(found.outcome.end.state == .succeeded)
        #expect(await found.recorder.messages == ["plain value"])
        try await bench.host.endAll(grace: .seconds(5))
    }
}
