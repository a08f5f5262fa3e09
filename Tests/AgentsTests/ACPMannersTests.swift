import Foundation
import SessionModel
import Support
import Testing

@testable import Agents

/// What agents that speak ACP may do, and were seen to do, besides answering prompts.
@Suite(.timeLimit(.minutes(1))) struct ACPMannersTests {
    let bench: Bench
    init() throws { bench = try Bench() }

    /// An agent that keeps what it reads in the file `sent`. After its opening it runs a script: `line` reads, `say` prints.
    private func agent(
        _ script: String, opened: String = "", permissions: AgentDescription.Permissions? = nil
    ) -> any AgentDriver {
        let frame = #"{"id":2,"result":{"sessionId":"s1"\#(opened)}}"#
        return bench.driver(
            [
                "/bin/sh", "-c",
                """
                line() { IFS= read -r line && printf '%s\\n' "$line" >>sent; }
                say() { printf '%s\\n' "$1"; }
                line; say '{"id":1,"result":{"protocolVersion":1,"authMethods":[{"id":"key","name":"API key"}]}}'
                line; say '\(frame)'
                \(script)
                exec sleep 1000
                """,
            ], permissions: permissions)
    }

    private func asks(_ id: String) -> String {
        let options = #"[{"optionId":"y","name":"Yes","kind":"allow_once"}]"#
        return
            #"say '{"id":"\#(id)","method":"session/request_permission","params":{"sessionId":"s1","toolCall":{"toolCallId":"\#(id)"},"options":\#(options)}}'"#
    }

    /// Ids are numbers, strings or null, and a request whose method is not known here must not stay without an answer.
    @Test func requestsThatAreNotOfferedAreRefusedByTheirOwnIds() async throws {
        let requests = [("null", "elicitation/create"), (#""a""#, "_vendor/ask"), ("3", "fs/write_text_file")]
        let exchange = requests.map { #"say '{"id":\#($0.0),"method":"\#($0.1)","params":{"_meta":{}}}'; line"# }
        let (outcome, _) = await bench.run(
            agent("line\n" + exchange.joined(separator: "\n") + "\n" + #"say '{"id":3,"result":{"stopReason":"end_turn"}}'"#),
            "hello")
        #expect(outcome.end.state == .succeeded)
        let answers = try bench.sent().suffix(3)
        #expect(answers.map { $0["id"] } == [.null, "a", 3])
        #expect(answers.allSatisfy { $0["error"]?["code"] == -32601 })
        try await bench.host.endAll(grace: .seconds(5))
    }

    /// An agent that is not answered might wait for ever, and one that is refused might go on.
    @Test func aCancellationAnswersEveryOpenQuestionAndThoseThatFollow() async throws {
        let driver = agent(
            """
            line; \(asks("p1")); \(asks("p2")); line; line; line; \(asks("p3")); line
            say '{"id":3,"result":{"stopReason":"cancelled"}}'
            """, permissions: .ask)
        let recorder = Recorder()
        async let run = bench.run(driver, "hello", recorder)
        _ = try await recorder.question()
        try await recorder.seen { if case .toolCall(let call) = $0 { call.id == "p2" } else { false } }
        await driver.interrupt()
        #expect(await run.outcome.end.state == .cancelled)
        let sent = try bench.sent().suffix(4)
        #expect(sent.first?["method"] == "session/cancel")
        #expect(sent.dropFirst().map { $0["id"] } == ["p1", "p2", "p3"])
        #expect(sent.dropFirst().allSatisfy { $0["result"] == ["outcome": ["outcome": "cancelled"]] })
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func aQuestionThatIsTakenBackIsAnsweredWithTheProtocolsError() async throws {
        let (outcome, recorder) = await bench.run(
            agent(
                """
                line; \(asks("p1")); say '{"method":"$/cancel_request","params":{"requestId":"p1"}}'; line
                say '{"id":3,"result":{"stopReason":"end_turn"}}'
                """, permissions: .ask), "hello")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.withdrawn == 1)
        #expect(try bench.sent().last?["error"]?["code"] == -32800)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func aLoginThatIsAskedForInAPromptEndsTheProcess() async throws {
        let (outcome, _) = await bench.run(
            agent(#"line; say '{"id":3,"error":{"code":-32000,"message":"Authentication required"}}'"#), "hello")
        #expect(outcome.end.reason == .agentError)
        #expect(outcome.end.message?.contains("API key") == true)
        #expect(!outcome.clean)
        try await bench.host.endAll(grace: .seconds(5))
    }

    /// Kimi's package is a tombstone: it prints a notice and ends with code 0.
    @Test func aNoticeInThePlaceOfAnAgentIsKept() async throws {
        let (outcome, recorder) = await bench.run(bench.driver(["/bin/sh", "-c", "echo This has moved."]), "hello")
        #expect(outcome.end.reason == .agentStart)
        #expect(outcome.end.message?.contains("exit code 0") == true, "\(outcome.end.message ?? "")")
        #expect(await recorder.output.map(\.text) == ["This has moved.\n"])
    }

    /// The next turn, which asks for no model, gets the one that there was at first.
    @Test func whatTheAgentChoosesByItselfIsKnown() async throws {
        func options(_ current: String) -> String {
            #"[{"id":"m","category":"model","currentValue":"\#(current)","options":[{"value":"small"},{"value":"large"}]}]"#
        }
        let update =
            #"{"method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"config_option_update","configOptions":\#(options("large"))}}}"#
        let driver = agent(
            """
            line; say '\(update)'; say '{"id":3,"result":{"stopReason":"end_turn"}}'
            line; say '{"id":4,"result":{"configOptions":\(options("small"))}}'
            line; say '{"id":5,"result":{"stopReason":"end_turn"}}'
            """, opened: #","configOptions":\#(options("small"))"#)
        #expect(await bench.run(driver, "one").outcome.end.state == .succeeded)
        #expect(await bench.run(driver, "two", turn: 2, conversation: "s1").outcome.end.state == .succeeded)
        let chosen = try bench.sent().filter { $0["method"] == "session/set_config_option" }
        #expect(chosen.map { $0["params"]?["value"] } == ["small"])
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test(arguments: [
        (-32002, "Session not found: nope", true), (-32601, "Method not found", true),
        (-32603, "Internal error: no session with that id: session unknown", true),
        (-32602, "Invalid params: conversation x does not exist", true),
        (-32603, "Internal error: network unreachable", false), (-32603, "session store: Permission denied", false),
        (-32000, "Session not found: log in first", false), (-32800, "unknown session: the request was cancelled", false),
    ])
    func onlyWhatSaysSoIsALoss(code: Int64, message: String, isLoss: Bool) {
        #expect(ACPAgent.isLoss(JSONRPCError(code: code, message: message)) == isLoss)
    }
}
