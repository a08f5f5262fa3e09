import SessionModel

/// A short session as its transcript tells it: two turns, a question, a failure.
enum Sample {
    static let start = Timestamp("2026-11-23T18:14:05.000Z")!

    static let events: [Event] = {
        var events: [Event] = []
        var now = start
        func add(_ turn: UInt64?, _ body: EventBody, after milliseconds: Int64 = 100) {
            now = now + .milliseconds(milliseconds)
            events.append(
                Event(sequence: UInt64(events.count + 1), epoch: 1, time: now, turn: turn.map { TurnID($0) }, body: body))
        }
        let key = try? SessionKey(parsing: "pr:acme/widgets#12")
        add(nil, .sessionOpened(SessionOpened(version: "0.1.0", session: key)))
        add(nil, .hostConnected(HostConnected(pid: 4)))
        add(nil, .workspaceStep(WorkspaceStep(.cloned, "cloned https://github.com/acme/widgets at 3f2a1c9")))
        add(
            1,
            .turnQueued(
                TurnQueued(request: TurnRequest(prompt: "Make the parser accept empty files.\n\nSee the review."), key: nil)))
        add(1, .turnDispatched)
        add(1, .agentStarted(AgentStarted(driver: "acp", name: "demo-agent", version: "1.0", pid: 7)))
        add(1, .conversationStarted(Conversation(id: "c-1")))
        add(1, .thought(Thought(text: "The parser reads the first byte without looking.")))
        add(
            1,
            .message(
                Message(
                    text:
                        "I will look at the parser first, then at its tests, and change only what the review asks for, so that the diff stays small."
                )))
        add(1, .plan(Plan(entries: [.init(content: "Read", status: "completed"), .init(content: "Fix", status: "in_progress")])))
        add(1, .toolCall(ToolCall(id: "a", title: "Run the tests", kind: "execute", input: #"{"command":"make test"}"#)))
        add(
            1,
            .toolResult(
                ToolResult(
                    id: "a", status: "failed",
                    output: (1...40).map { "test \($0) … \u{1B}[32mok\u{1B}[0m" }.joined(separator: "\n"),
                    milliseconds: 1400)))
        add(1, .toolCall(ToolCall(id: "b", title: "Edit parser.c", kind: "edit")))
        add(2, .turnQueued(TurnQueued(request: TurnRequest(prompt: "Also update the changelog."), key: nil)))
        add(
            1,
            .toolResult(
                ToolResult(
                    id: "b", title: "Edit parser.c", status: "completed",
                    diffs: [
                        .init(path: "parser.c", oldText: "a\nint c = *p;\nb\n", newText: "a\nif (!n) return 0;\nint c = *p;\nb\n")
                    ],
                    milliseconds: 12)))
        add(
            1,
            .inputRequested(
                InputRequest(
                    id: "q1", question: "May I push to fix-12?",
                    options: [.init(id: "allow", name: "Allow"), .init(id: "reject", name: "Reject")], deadline: now + .hours(1)))
        )
        add(1, .inputAnswered(InputAnswered(request: "q1", option: "allow", text: nil, by: .person)), after: 4000)
        add(1, .message(Message(text: "Done. Empty files parse to **no** records.")))
        add(
            1,
            .turnEnded(
                TurnEnded(
                    state: .succeeded, reason: .completed,
                    results: TurnResults(
                        answer: "Done.", usage: Usage(inputTokens: 12_345, outputTokens: 678, costUSD: 0.0421),
                        workspace: WorkspaceState(
                            branch: "fix-12", commit: "9b1e2d3c4a5f", unpushed: 1, dirtyFiles: ["x"], dirtyFileCount: 1,
                            diffstat: " 1 file changed, 1 insertion(+)"),
                        toolCalls: 2))))
        add(2, .turnDispatched)
        add(2, .agentOutput(AgentOutput(stream: .stderr, text: "panic: \u{1B}]0;owned\u{07}out of memory\u{8}", dropped: nil)))
        add(2, .agentExited(Reason("signal 9")))
        add(2, .turnEnded(TurnEnded(state: .failed, reason: .agentExited, message: "the agent's process ended with signal 9")))
        return events
    }()

    static let key = "pr:github.com/acme/widgets#12"
}
