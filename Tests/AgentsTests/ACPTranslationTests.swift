import SessionModel
import Testing

@testable import Agents

@Suite struct ACPTranslationTests {
    private var translation = ACPTranslation()

    private mutating func feed(_ updates: String..., at milliseconds: Int64 = 0) throws -> [TurnOutput] {
        try updates.flatMap {
            translation.update(try JSON.decode(JSONValue.self, from: $0), at: Timestamp(milliseconds: milliseconds))
        }
    }

    private func chunk(_ text: String, _ id: String? = nil, kind: String = "agent_message_chunk") -> String {
        let messageID = id.map { #","messageId":"\#($0)""# } ?? ""
        return #"{"sessionUpdate":"\#(kind)","content":{"type":"text","text":"\#(text)"}\#(messageID)}"#
    }

    @Test mutating func figuresThatCannotBeAreNone() throws {
        for amount in ["-1e308", "1e308", "-1"] {
            _ = try feed(#"{"sessionUpdate":"usage_update","used":1,"size":2,"cost":{"amount":\#(amount),"currency":"USD"}}"#)
        }
        #expect(translation.assembly.usage == Usage(costUSD: 1e308))
        #expect(translation.soFar.costUSD == 1e308)
    }

    /// Whatever a driver makes of them, what comes out of a turn can be written down.
    @Test func noTurnHoldsAFigureThatCannotBeWritten() throws {
        var assembly = TurnAssembly()
        assembly.usage = Usage(inputTokens: -1, outputTokens: 3, cachedInputTokens: .min, costUSD: .infinity)
        #expect(assembly.results.usage == Usage(outputTokens: 3))
        assembly.usage.costUSD = .nan
        #expect(assembly.finish(at: Timestamp(milliseconds: 0)) == [.usage(Usage(outputTokens: 3))])
    }

    @Test mutating func chunksBecomeOneMessage() throws {
        #expect(try feed(chunk("a"), chunk("b")) == [.delta("a"), .delta("b")])
        #expect(
            try feed(#"{"sessionUpdate":"plan","entries":[{"content":"x","status":"pending"}]}"#) == [
                .event(.message(Message(text: "ab"))), .event(.plan(Plan(entries: [.init(content: "x", status: "pending")]))),
            ])
        #expect(translation.assembly.lastMessage == "ab")
        #expect(translation.finish(at: Timestamp(milliseconds: 0)) == [])
    }

    @Test mutating func aNewMessageIDEndsAMessage() throws {
        #expect(
            try feed(chunk("a", "1"), chunk("b", "1"), chunk("c", "2")) == [
                .delta("a"), .delta("b"), .event(.message(Message(text: "ab"))), .delta("c"),
            ])
        #expect(translation.finish(at: Timestamp(milliseconds: 0)) == [.message(Message(text: "c"))])
    }

    @Test mutating func thoughtsAreJoinedAndNotShownInParts() throws {
        let outputs = try feed(
            chunk("a", kind: "agent_thought_chunk"), chunk("b", kind: "agent_thought_chunk"), chunk("c"))
        #expect(outputs == [.event(.thought(Thought(text: "ab"))), .delta("c")])
        #expect(translation.assembly.lastMessage == nil)
    }

    @Test mutating func metadataDoesNotCutAMessage() throws {
        let outputs = try feed(
            chunk("a"), #"{"sessionUpdate":"available_commands_update","availableCommands":[]}"#,
            #"{"sessionUpdate":"from_the_future","x":1}"#, #"{"sessionUpdate":"usage_update","used":1,"size":2}"#, "{}",
            chunk("me", kind: "user_message_chunk"), chunk("b"))
        #expect(outputs == [.delta("a"), .delta("b")])
        #expect(translation.finish(at: Timestamp(milliseconds: 0)) == [.message(Message(text: "ab"))])
    }

    @Test mutating func aLongMessageIsRecordedInParts() throws {
        let part = String(repeating: "x", count: 700_000)
        let outputs = try feed(chunk(part), chunk(part))
        #expect(outputs.count == 3)
        #expect(outputs[1] == .event(.message(Message(text: part))))
    }

    @Test mutating func aToolCallIsRecordedWhenItsInputIsKnown() throws {
        #expect(
            try feed(#"{"sessionUpdate":"tool_call","toolCallId":"c","title":"Bash","status":"pending","rawInput":{}}"#) == [])
        #expect(
            try feed(
                #"{"sessionUpdate":"tool_call_update","toolCallId":"c","title":"ls","kind":"execute","rawInput":{"b":1,"a":"/"}}"#
            )
                == [.event(.toolCall(ToolCall(id: "c", title: "ls", kind: "execute", input: #"{"a":"/","b":1}"#)))])
        #expect(try feed(#"{"sessionUpdate":"tool_call_update","toolCallId":"c","status":"in_progress"}"#, at: 100) == [])
        let result = ToolResult(id: "c", title: "ls", status: "completed", output: "one\ntwo", milliseconds: 250)
        #expect(
            try feed(
                #"""
                {"sessionUpdate":"tool_call_update","toolCallId":"c","status":"completed","content":[
                {"type":"content","content":{"type":"text","text":"one"}},{"type":"terminal","terminalId":"t"},
                {"type":"content","content":{"type":"text","text":"two"}}]}
                """#, at: 350) == [.event(.toolResult(result))])
        // What comes after the result belongs to nothing.
        #expect(try feed(#"{"sessionUpdate":"tool_call_update","toolCallId":"c","status":"completed"}"#) == [])
        #expect(translation.assembly.toolCalls == 1)
    }

    @Test mutating func aToolCallIsRecordedAtLatestWhenItRuns() throws {
        #expect(
            try feed(#"{"sessionUpdate":"tool_call","toolCallId":"c","title":"Bash","status":"in_progress"}"#)
                == [.event(.toolCall(ToolCall(id: "c", title: "Bash")))])
        let outputs = try feed(#"{"sessionUpdate":"tool_call_update","toolCallId":"d","status":"failed","rawOutput":{"e":1}}"#)
        #expect(
            outputs == [
                .event(.toolCall(ToolCall(id: "d", title: "d"))),
                .event(.toolResult(ToolResult(id: "d", status: "failed", output: #"{"e":1}"#, milliseconds: 0))),
            ])
    }

    /// As fast-agent tells of a shell command.
    @Test mutating func aPendingToolCallIsRecordedWhenTheAgentGoesOn() throws {
        #expect(
            try feed(
                #"{"sessionUpdate":"tool_call","toolCallId":"c","title":"bash","kind":"execute","status":"pending","content":[]}"#
            )
                == [])
        #expect(try feed(#"{"sessionUpdate":"session_info_update"}"#) == [])
        #expect(try feed(chunk("")) == [.event(.toolCall(ToolCall(id: "c", title: "bash", kind: "execute")))])
        #expect(try feed(chunk("a")) == [.delta("a")])
        #expect(
            translation.finish(at: Timestamp(milliseconds: 5)) == [
                .message(Message(text: "a")),
                .toolResult(ToolResult(id: "c", title: "bash", status: "unfinished", milliseconds: 5)),
            ])
    }

    @Test mutating func diffsAreKept() throws {
        let outputs = try feed(
            #"""
            {"sessionUpdate":"tool_call","toolCallId":"c","title":"Edit","kind":"edit","status":"completed","content":[
            {"type":"diff","path":"/a","oldText":"x","newText":"y"},{"type":"diff","path":"/b","newText":"z"}]}
            """#)
        guard case .event(.toolResult(let result)) = outputs.last else {
            Issue.record("no result in \(outputs)")
            return
        }
        #expect(result.diffs == [.init(path: "/a", oldText: "x", newText: "y"), .init(path: "/b", oldText: nil, newText: "z")])
        #expect(result.output == nil)
    }

    @Test mutating func openToolCallsEndUnfinished() throws {
        _ = try feed(#"{"sessionUpdate":"tool_call","toolCallId":"c","title":"t"}"#, at: 5)
        #expect(
            translation.finish(at: Timestamp(milliseconds: 15)) == [
                .toolCall(ToolCall(id: "c", title: "t")),
                .toolResult(ToolResult(id: "c", title: "t", status: "unfinished", milliseconds: 10)),
            ])
        #expect(translation.finish(at: Timestamp(milliseconds: 15)) == [])
    }

    @Test mutating func openToolCallsAreBounded() throws {
        var recorded = 0
        for number in 0..<3000 {
            recorded += try feed(#"{"sessionUpdate":"tool_call","toolCallId":"c\#(number)","title":"t"}"#).count
        }
        #expect(recorded == 2 * (3000 - TurnAssembly.openCallsLimit))
    }

    @Test mutating func pathsInTheWorkingDirectoryAreShortened() throws {
        translation = ACPTranslation(directory: "/work/a")
        let outputs = try feed(
            #"""
            {"sessionUpdate":"tool_call","toolCallId":"c","title":"t","status":"completed","content":[
            {"type":"diff","path":"/work/a/b.c","newText":"y"},{"type":"diff","path":"/work/ab","newText":"z"}]}
            """#)
        guard case .event(.toolResult(let result))? = outputs.last else {
            Issue.record("no result: \(outputs)")
            return
        }
        #expect(result.diffs?.map(\.path) == ["b.c", "/work/ab"])
    }

    @Test mutating func costIsThisTurnsAlone() throws {
        translation = ACPTranslation(before: Usage(costUSD: 1.5))
        _ = try feed(#"{"sessionUpdate":"usage_update","used":1,"size":2,"cost":{"amount":1.75,"currency":"USD"}}"#)
        #expect(translation.finish(at: Timestamp(milliseconds: 0)) == [.usage(Usage(costUSD: 0.25))])
        #expect(translation.soFar.costUSD == 1.75)
        // Counted from zero again.
        _ = try feed(#"{"sessionUpdate":"usage_update","used":1,"size":2,"cost":{"amount":0.5,"currency":"USD"}}"#)
        #expect(translation.assembly.usage.costUSD == 0.5)
    }

    @Test mutating func theCostOfAResumedConversationIsNotGuessed() throws {
        translation = ACPTranslation(before: Usage())
        _ = try feed(#"{"sessionUpdate":"usage_update","used":1,"size":2,"cost":{"amount":3,"currency":"USD"}}"#)
        #expect(translation.assembly.usage.costUSD == nil)
        _ = try feed(#"{"sessionUpdate":"usage_update","used":1,"size":2,"cost":{"amount":3.5,"currency":"USD"}}"#)
        #expect(translation.assembly.usage.costUSD == 0.5)
    }

    /// vibe-acp tells the whole conversation's tokens at the end of every turn.
    @Test mutating func tokensAreThisTurnsAlone() {
        func use(_ input: Int64, before: Usage) -> (turn: Int64?, soFar: Int64?) {
            var translation = ACPTranslation(before: before)
            translation.promptAnswered(["stopReason": "end_turn", "usage": ["inputTokens": .integer(input)]])
            return (translation.assembly.usage.inputTokens, translation.soFar.inputTokens)
        }
        #expect(use(100, before: ACPTranslation.nothingUsed) == (100, 100))
        #expect(use(130, before: Usage(inputTokens: 100)) == (30, 130))
        #expect(use(20, before: Usage(inputTokens: 100)) == (20, 20), "counted from zero again")
        #expect(use(130, before: Usage()) == (nil, 130), "a conversation that was taken up again")
    }

    @Test mutating func tokensOfThePrompt() {
        translation.promptAnswered([
            "stopReason": "end_turn", "usage": ["inputTokens": 3, "outputTokens": 4, "cachedReadTokens": 2],
        ])
        #expect(translation.assembly.usage == Usage(inputTokens: 3, outputTokens: 4, cachedInputTokens: 2))
    }

    @Test mutating func whatIsNoTextIsNamed() throws {
        func said(_ content: String) -> String { #"{"sessionUpdate":"agent_message_chunk","content":\#(content)}"# }
        let outputs = try feed(
            said(#"{"type":"image","data":"aGk=","mimeType":"image/png"}"#), said(#"{"type":"audio","data":"aGk="}"#),
            said(#"{"type":"resource_link","uri":"file:///a","name":"a"}"#),
            said(#"{"type":"resource","resource":{"uri":"file:///b","text":"inside"}}"#),
            said(#"{"type":"resource","resource":{"uri":"file:///c","blob":"aGk="}}"#), said(#"{"type":"from_the_future"}"#))
        #expect(outputs == ["[image/png]", "[audio]", "[a](file:///a)", "inside", "[file:///c]"].map { .delta($0) })
    }

    @Test mutating func aPermissionRequestShowsWhatItIsAbout() throws {
        _ = try feed(chunk("I need this"), #"{"sessionUpdate":"tool_call","toolCallId":"c","title":"rm"}"#)
        let outputs = translation.permissionRequested(for: ["toolCallId": "c"], at: Timestamp(milliseconds: 0))
        #expect(outputs == [.event(.toolCall(ToolCall(id: "c", title: "rm")))])
        #expect(translation.title(of: ["toolCallId": "c"]) == "rm")
    }
}
