import SessionModel
import Testing

@testable import Agents

/// What goes to Claude Code and what its frames mean, without a process.
@Suite struct ClaudeCodeFrameTests {
    private func command(_ change: (inout AgentDescription) -> Void = { _ in }) -> ClaudeCodeCommand {
        var description = AgentDescription(driver: .claudeCode, command: ["claude"])
        change(&description)
        return ClaudeCodeCommand(description: description, state: "/state/claude")
    }

    // MARK: The command

    @Test func aCommandIsKnownForAnAgentThatNamesNone() throws {
        let description = try JSON.decode(AgentDescription.self, from: #"{"driver":"claude-code"}"#)
        #expect(description.arguments == ["claude"])
        #expect(description.mistake == nil)
        #expect(try JSON.decode(AgentDescription.self, from: #"{"driver":"acp"}"#).mistake != nil)
    }

    @Test func theFirstStartNamesTheConversationAndLaterOnesResumeIt() {
        let new = command().arguments(.new("u1"), .init())
        #expect(new.contains("--session-id=u1"))
        #expect(!new.contains { $0.hasPrefix("--resume") })
        let resumed = command().arguments(.resumed("u1"), .init(model: "m", effort: "low"))
        #expect(resumed.contains("--resume=u1"))
        #expect(!resumed.contains { $0.hasPrefix("--session-id") })
        #expect(resumed.contains("--model=m"))
        #expect(resumed.contains("--effort=low"))
        // stream-json needs --verbose, and old transcripts are not deleted.
        #expect(resumed.contains("--verbose"))
        #expect(resumed.contains(#"--settings={"cleanupPeriodDays":36500}"#))
    }

    @Test func permissionsChooseTheMode() {
        func mode(_ change: (inout AgentDescription) -> Void) -> String? {
            command(change).arguments(.new("u"), .init()).first { $0.hasPrefix("--permission-mode=") }
        }
        #expect(mode { _ in } == "--permission-mode=bypassPermissions")
        #expect(mode { $0.permissions = .ask } == "--permission-mode=default")
        #expect(mode { $0.mode = "plan" } == "--permission-mode=plan")
        // Nobody is asked, and only these are allowed.
        #expect(mode { $0.allowedTools = ["Bash(git log:*)"] } == "--permission-mode=dontAsk")
        #expect(command { $0.permissions = .ask }.arguments(.new("u"), .init()).contains("--permission-prompt-tool=stdio"))
        #expect(
            command { $0.allowedTools = ["Bash(git log:*)", "Read"] }.arguments(.new("u"), .init()).filter {
                $0.hasPrefix("--allowedTools")
            } == ["--allowedTools=Bash(git log:*)", "--allowedTools=Read"])
    }

    @Test func itsEnvironmentIsItsOwn() {
        let variables = command().variables
        #expect(variables["CLAUDE_CONFIG_DIR"] == "/state/claude")
        #expect(variables["DISABLE_TELEMETRY"] == "1")
        #expect(variables["DISABLE_AUTOUPDATER"] == "1")
        #expect(variables["IS_SANDBOX"] == "1")
        #expect(variables["CLAUDECODE"] == .some(nil))
        #expect(command { $0.permissions = .ask }.variables["IS_SANDBOX"] == nil)
        // What a description sets is left as it is.
        #expect(command { $0.env = ["CLAUDE_CONFIG_DIR": "/home/me/.claude"] }.variables["CLAUDE_CONFIG_DIR"] == nil)
    }

    @Test func secretsOfMCPServersAreInNoArgument() throws {
        let command = command {
            $0.systemPrompt = "Be brief."
            $0.mcpServers = [
                "a": MCPServer(command: ["srv", "--x"], env: ["TOKEN": "hush"]),
                "b": MCPServer(url: "http://b/", headers: ["Authorization": "Bearer hush"]),
            ]
        }
        let arguments = command.arguments(.new("u"), .init())
        #expect(arguments.contains("--mcp-config=/state/claude/mcp.json"))
        #expect(arguments.contains("--append-system-prompt=Be brief."))
        #expect(!arguments.joined().contains("hush"))
        let servers = try #require(command.mcpConfiguration?["mcpServers"])
        #expect(servers["a"] == ["type": "stdio", "command": "srv", "args": ["--x"], "env": ["TOKEN": "hush"]])
        #expect(servers["b"] == ["type": "http", "url": "http://b/", "headers": ["Authorization": "Bearer hush"]])
    }

    // MARK: The result

    private func result(_ text: String) throws -> ClaudeCodeResult {
        ClaudeCodeResult(try JSON.decode(JSONValue.self, from: text))
    }

    @Test(arguments: [
        (#"{"subtype":"success","is_error":false,"terminal_reason":"completed"}"#, TurnState.succeeded, EndReason.completed),
        (#"{"subtype":"success","is_error":false}"#, .succeeded, .completed),
        (#"{"subtype":"success","is_error":false,"stop_reason":"refusal"}"#, .failed, .refused),
        // An API failure says success.
        (#"{"subtype":"success","is_error":true,"terminal_reason":"api_error","result":"no"}"#, .failed, .agentError),
        (#"{"subtype":"success","is_error":false,"terminal_reason":"prompt_too_long"}"#, .failed, .agentError),
        (#"{"subtype":"success","is_error":true,"api_error":"max_output_tokens"}"#, .failed, .agentLimit),
        (#"{"subtype":"error_max_turns","is_error":false,"terminal_reason":"max_turns"}"#, .failed, .agentLimit),
        (#"{"subtype":"error_max_budget_usd","is_error":true}"#, .failed, .agentLimit),
        (#"{"subtype":"error_during_execution","is_error":true,"errors":["why"]}"#, .failed, .agentError),
        (#"{}"#, .failed, .agentError),
    ])
    func resultsAreJudgedByAllTheySay(frame: String, state: TurnState, reason: EndReason) throws {
        let stop = try result(frame).stop(interrupted: false)
        #expect(stop.state == state)
        #expect(stop.reason == reason)
        #expect(stop.clean)
        #expect((stop.message == nil) == (state == .succeeded))
    }

    @Test func anInterruptionIsNoFailureAndComesTooLateForASuccess() throws {
        let aborted = try result(
            #"{"subtype":"error_during_execution","is_error":true,"terminal_reason":"aborted_tools","errors":["x"]}"#)
        #expect(aborted.stop(interrupted: true).state == .cancelled)
        #expect(aborted.stop(interrupted: false).state == .failed)
        #expect(try result(#"{"subtype":"success","is_error":false}"#).stop(interrupted: true).state == .succeeded)
    }

    @Test func onlyTheExactWordsAreALoss() throws {
        let lost = try result(#"{"errors":["No conversation found with session ID: u1"]}"#)
        #expect(lost.isLoss(of: "u1"))
        #expect(!lost.isLoss(of: "u2"))
        #expect(!(try result(#"{"errors":["No conversation found: network unreachable"]}"#)).isLoss(of: "u1"))
    }

    @Test func usageIsThisTurnsAlone() throws {
        let told = try result(
            #"{"total_cost_usd":9,"usage":{"input_tokens":1},"model_usage_since_last_result":{"a":{"inputTokens":3,"outputTokens":1,"cacheReadInputTokens":7,"cacheCreationInputTokens":2,"costUSD":0.5},"b":{"inputTokens":1,"outputTokens":1,"costUSD":0.25}}}"#
        )
        let own = Usage(inputTokens: 6, outputTokens: 2, cachedInputTokens: 7, costUSD: 0.75)
        #expect(told.usage(with: [], costBefore: 1) == own)
        // What it did by itself is paid as well.
        #expect(told.usage(with: [told], costBefore: 1).costUSD == 1.5)

        let old = try result(#"{"total_cost_usd":2.5,"usage":{"input_tokens":4,"output_tokens":2}}"#)
        #expect(old.usage(with: [], costBefore: 2).costUSD == 0.5)
        #expect(old.usage(with: [], costBefore: nil) == Usage(inputTokens: 4, outputTokens: 2))
        // Counted from zero again, as after a SIGKILL.
        #expect(old.usage(with: [], costBefore: 3).costUSD == 2.5)
    }

    @Test func figuresThatCannotBeAreNone() throws {
        let huge = try result(
            #"{"model_usage_since_last_result":{"a":{"inputTokens":9223372036854775807,"outputTokens":-5,"costUSD":1e308},"b":{"inputTokens":1,"outputTokens":2,"costUSD":1e308}}}"#
        )
        #expect(huge.usage(with: [], costBefore: 1) == Usage(inputTokens: .max, outputTokens: 2))
        let old = try result(#"{"total_cost_usd":-1e308,"usage":{"input_tokens":-4,"output_tokens":2}}"#)
        #expect(old.totalCost == nil)
        #expect(old.usage(with: [], costBefore: 1e308) == Usage(outputTokens: 2))
    }

    // MARK: Frames

    private let now = Timestamp(milliseconds: 0)

    private func events(_ translation: inout ClaudeCodeTranslation, _ frames: String...) throws -> [TurnOutput] {
        try frames.flatMap { translation.frame(try JSON.decode(JSONValue.self, from: $0), at: now) }
    }

    private func delta(_ text: String, parent: String = "null") -> String {
        #"{"type":"stream_event","parent_tool_use_id":\#(parent),"event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"\#(text)"}}}"#
    }

    private func block(_ block: String, _ more: String = "") -> String {
        #"{"type":"assistant",\#(more)"message":{"content":[\#(block)]}}"#
    }

    @Test func aMessageIsShownInPartsAndRecordedOnce() throws {
        var translation = ClaudeCodeTranslation()
        let outputs = try events(
            &translation, delta("Hel"), delta("lo"), block(#"{"type":"text","text":"Hello"}"#),
            block(#"{"type":"thinking","thinking":"hm"}"#))
        #expect(
            outputs == [
                .delta("Hel"), .delta("lo"), .event(.message(Message(text: "Hello"))), .event(.thought(Thought(text: "hm"))),
            ])
        #expect(translation.finish(at: now) == [])
        #expect(translation.assembly.lastMessage == "Hello")
    }

    @Test func whatFollowersSawOfAMessageIsRecordedWhenItsEndNeverComes() throws {
        var translation = ClaudeCodeTranslation()
        _ = try events(&translation, delta("Half a"))
        #expect(translation.finish(at: now) == [.message(Message(text: "Half a"))])
    }

    @Test func aSubagentsWordsAreNotTheAnswer() throws {
        var translation = ClaudeCodeTranslation()
        let outputs = try events(
            &translation, block(#"{"type":"text","text":"Answer"}"#), delta("x", parent: #""t1""#),
            block(#"{"type":"text","text":"Inside"}"#, #""parent_tool_use_id":"t1","#),
            block(#"{"type":"tool_use","id":"t2","name":"Read","input":{"file_path":"/a"}}"#, #""parent_tool_use_id":"t1","#))
        #expect(
            outputs.dropFirst() == [
                .event(.thought(Thought(text: "Inside"))),
                .event(.toolCall(ToolCall(id: "t2", title: "Read /a", kind: "read", input: #"{"file_path":"/a"}"#))),
            ])
        #expect(translation.assembly.lastMessage == "Answer")
    }

    /// After an interruption it puts a note into the conversation, as if the user had written it.
    @Test func theUsersOwnWordsAreNoEvents() throws {
        var translation = ClaudeCodeTranslation()
        let note =
            #"{"type":"user","message":{"role":"user","content":[{"type":"text","text":"[Request interrupted by user]"}]}}"#
        #expect(try events(&translation, note, #"{"type":"user","message":{"content":"again"}}"#) == [])
        #expect(translation.finish(at: now) == [])
    }

    @Test func todosAreThePlan() throws {
        var translation = ClaudeCodeTranslation()
        let outputs = try events(
            &translation,
            block(#"{"type":"tool_use","id":"t","name":"TodoWrite","input":{"todos":[{"content":"x","status":"pending"}]}}"#),
            #"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":"ok"}]}}"#)
        #expect(outputs == [.event(.plan(Plan(entries: [.init(content: "x", status: "pending")])))])
        #expect(translation.assembly.toolCalls == 0)
    }

    @Test func aWrittenFileIsADiff() throws {
        var translation = ClaudeCodeTranslation(directory: "/w")
        let outputs = try events(
            &translation, block(#"{"type":"tool_use","id":"t","name":"Write","input":{"file_path":"/w/a"}}"#),
            #"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"done"},{"type":"image"}]}]},"tool_use_result":{"filePath":"/w/a","content":"new","originalFile":null}}"#
        )
        let result = ToolResult(
            id: "t", title: "Write a", status: "completed", output: "done\n[image]",
            diffs: [.init(path: "a", oldText: nil, newText: "new")], milliseconds: 0)
        #expect(outputs.last == .event(.toolResult(result)))
    }

    @Test func failuresOfTheAPIAreErrorsAndNoAnswer() throws {
        var translation = ClaudeCodeTranslation()
        let outputs = try events(
            &translation,
            #"{"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"retry_delay_ms":578.5,"error_status":429,"error":"rate_limit"}"#,
            block(#"{"type":"text","text":"API Error: 429"}"#, #""is_api_error_message":true,"#),
            #"{"type":"from_the_future"}"#, #"{"type":"assistant"}"#, #"{"type":"system","subtype":"status"}"#)
        #expect(
            outputs == [
                .event(
                    .error(
                        Reason("the model's API failed (status 429, rate_limit); attempt 1 of 10 follows in 578ms"))),
                .event(.error(Reason("API Error: 429"))),
            ])
        #expect(translation.assembly.lastMessage == nil)
    }
}
