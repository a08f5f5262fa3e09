import Foundation
import SessionModel
import Support
import Testing

@testable import Agents

/// The `command` driver with what `codex exec --json` prints, as Codex 0.163 was seen to.
@Suite(.timeLimit(.minutes(1))) struct CodexExecTests {
    let bench: Bench
    init() throws { bench = try Bench() }

    private static let message = #"{"type":"item.completed","item":{"id":"item_1","type":"agent_message","text":"Hi."}}"#

    private static func done(_ input: Int, _ output: Int) -> String {
        #"{"type":"turn.completed","usage":{"input_tokens":\#(input),"cached_input_tokens":0,"output_tokens":\#(output)}}"#
    }

    private static func started(_ id: String) -> String { #"{"type":"thread.started","thread_id":"\#(id)"}"# }

    /// Prints one list of lines for a new conversation, another for one that is taken up.
    private func driver(_ fresh: [String], resumed: [String] = [], status: Int = 0, errors: String = "") -> any AgentDriver {
        func command(_ lines: [String], _ end: String) -> [String] {
            ["/bin/sh", "-c", lines.map { "echo '\($0)'" }.joined(separator: "\n") + "\n" + end, "sh"]
        }
        return bench.driver(
            AgentDescription(
                driver: .command, command: command(fresh, "echo \"$1\" >> prompts"),
                invocation: Invocation(
                    output: .codex,
                    resume: command(resumed, "echo '\(errors)' >&2; echo \"$1 $2\" >> prompts; exit \(status)") + [
                        "{conversation}"
                    ])))
    }

    @Test func countsThatCannotBeAreNone() throws {
        func counts(_ input: Int64, _ cached: Int64, _ output: Int64) -> CodexTokens? {
            CodexTokens([
                "inputTokens": .integer(input), "cachedInputTokens": .integer(cached), "outputTokens": .integer(output),
            ])
        }
        #expect(counts(.min, 0, 0) == nil && counts(1, 0, -1) == nil)
        let most = try #require(counts(.max, .min, .max))
        #expect(most.usage(since: .none) == Usage(inputTokens: .max, outputTokens: .max, cachedInputTokens: 0))
        #expect(most - most == .none)
    }

    @Test func aThreadIsNamedByCodexAndTakenUp() async throws {
        let driver = driver(
            [Self.started("th1"), #"{"type":"turn.started"}"#, Self.message, Self.done(100, 10)],
            resumed: [Self.started("th1"), Self.message, Self.done(250, 25)])
        let first = await bench.run(driver, "one")
        #expect(first.outcome.end.state == .succeeded)
        #expect(first.outcome.end.results?.answer == "Hi.")
        #expect(await first.recorder.durable == [.conversationStarted(Conversation(id: "th1"))])
        #expect(first.outcome.end.results?.usage == Usage(inputTokens: 100, outputTokens: 10, cachedInputTokens: 0))

        let second = await bench.run(driver, "two", turn: 2, conversation: "th1")
        #expect(await second.recorder.events.contains(.conversationResumed(Conversation(id: "th1"))))
        #expect(second.outcome.end.results?.usage == Usage(inputTokens: 150, outputTokens: 15, cachedInputTokens: 0))
        #expect(try bench.file("prompts") == "one\nth1 two\n")

        // Another incarnation does not know what was used before, and says nothing.
        let other = self.driver([], resumed: [Self.started("th1"), Self.message, Self.done(250, 25)])
        #expect(await bench.run(other, "three", turn: 3, conversation: "th1").outcome.end.results?.usage == nil)
    }

    @Test(arguments: [
        "Error: thread/resume: thread/resume failed: no rollout found for thread id th0 (code -32600)",
        "Error: failed to read thread: failed to read session metadata /x.jsonl: rollout at /x.jsonl is empty",
        "Error: failed to read session metadata /x.jsonl: rollout at /x.jsonl does not start with session metadata",
    ])
    func aLostThreadIsReseeded(error: String) async throws {
        let driver = driver([Self.started("th1"), Self.message, Self.done(1, 1)], status: 1, errors: error)
        let (outcome, recorder) = await bench.run(driver, "two", conversation: "th0")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.durable == [.conversationReseeded(Conversation(id: "th1", reason: error))])
        #expect(try bench.file("prompts").contains("the digest"))
        #expect(outcome.end.results?.usage == Usage(inputTokens: 1, outputTokens: 1, cachedInputTokens: 0))
    }

    @Test(arguments: [
        "Error: failed to read session metadata /x.jsonl: Permission denied (os error 13)", "Error: error sending request",
        "Error: no space left on device",
    ])
    func aTransientFailureIsNoLoss(error: String) async throws {
        let (outcome, recorder) = await bench.run(
            driver([Self.started("th1")], status: 1, errors: error), "two", conversation: "th0")
        #expect(outcome.end.state == .failed)
        #expect(outcome.end.message?.contains(error) == true)
        #expect(await recorder.durable == [])
    }

    /// `codex exec resume` takes what is no UUID for a name, and begins a new thread without a word.
    @Test func anotherThreadThanTheOneAskedForIsTold() async throws {
        let (outcome, recorder) = await bench.run(
            driver([], resumed: [Self.started("th9"), Self.message, Self.done(1, 1)]), "two", conversation: "th0")
        #expect(outcome.end.state == .succeeded)
        #expect(
            await recorder.durable == [
                .conversationReseeded(
                    Conversation(id: "th9", reason: "the program began another conversation instead of taking th0 up again"))
            ])
    }

    @Test func whatCodexSaysOfTheEndCounts() async throws {
        let failed = #"{"type":"turn.failed","error":{"message":"quota exceeded"}}"#
        let retry = #"{"type":"error","message":"Reconnecting... 1/5"}"#
        let (outcome, recorder) = await bench.run(driver([Self.started("a"), retry, failed]), "hello")
        #expect(outcome.end.state == .failed)
        #expect(outcome.end.message == "quota exceeded")
        #expect(await recorder.events.contains(.error(Reason("Reconnecting... 1/5"))))

        // An exit without trouble is no success when nothing was said of the turn's end.
        let silent = await bench.run(driver([Self.started("b"), Self.message]), "hello")
        #expect(silent.outcome.end.state == .failed)
        #expect(silent.outcome.end.message?.contains("did not say that its turn is over") == true)
    }

    @Test func itemsAreEvents() async throws {
        let items = [
            #"{"id":"i0","type":"reasoning","text":"Hm."}"#,
            #"{"id":"i1","type":"command_execution","command":"make","aggregated_output":"no","exit_code":2,"status":"failed"}"#,
            #"{"id":"i2","type":"file_change","changes":[{"path":"\#(bench.directory)/a.txt","kind":"add"}],"status":"completed"}"#,
            #"{"id":"i3","type":"mcp_tool_call","server":"s","tool":"t","arguments":{"x":1},"result":{"content":[{"type":"text","text":"r"}]},"error":null,"status":"completed"}"#,
            #"{"id":"i4","type":"todo_list","items":[{"text":"a","completed":true},{"text":"b","completed":false}]}"#,
            #"{"id":"i5","type":"web_search","query":"q"}"#, #"{"id":"i6","type":"error","message":"mind the gap"}"#,
            #"{"id":"i7","type":"from_the_future"}"#,
        ].map { #"{"type":"item.completed","item":\#($0)}"# }
        let noise = #"{"level":"info"}"#
        let (outcome, recorder) = await bench.run(
            driver([Self.started("a"), noise, "plain"] + items + [Self.message, Self.done(1, 1)]), "hello")
        #expect(outcome.end.state == .succeeded)
        let results = await recorder.results
        #expect(results.map(\.title) == ["make", "add a.txt", "s.t", "q"])
        #expect(results.map(\.status) == ["failed", "completed", "completed", "completed"])
        #expect(results.map(\.output) == ["no\nexit code 2", nil, "r", nil])
        #expect(await recorder.events.contains(.thought(Thought(text: "Hm."))))
        #expect(await recorder.events.contains(.error(Reason("mind the gap"))))
        #expect(
            await recorder.events.contains(
                .plan(Plan(entries: [.init(content: "a", status: "completed"), .init(content: "b", status: "pending")]))))
        #expect(await recorder.output.map(\.text).joined() == noise + "\nplain\n")
        #expect(outcome.end.results?.toolCalls == 4)
    }
}
