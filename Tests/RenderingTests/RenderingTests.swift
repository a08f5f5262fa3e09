import Rendering
import SessionModel
import Testing

struct RenderingTests {
    private func event(_ body: EventBody, _ sequence: UInt64 = 1) -> Event {
        Event(sequence: sequence, epoch: 1, time: Sample.start, turn: TurnID(1), body: body)
    }

    @Test(arguments: [
        ("\u{1B}[2J\u{1B}[1;1Hgone", "gone"), ("\u{1B}]0;title\u{07}x", "x"), ("\u{1B}]8;;http://x\u{1B}\\link", "link"),
        ("a\u{8}b\u{7F}", "a␈b␡"), ("\u{9B}31m", "�31m"), ("50%\r100%\r\n", "50%\n100%\n"), ("a\tb", "a    b"),
        ("\u{202E}txt.exe", "�txt.exe"), ("\u{1B}", "␛"), ("\u{1B}[31", "␛[31"), ("\u{1B}]0;never ends", "␛]0;never ends"),
        ("grüße 漢字 👩‍👩‍👧", "grüße 漢字 👩‍👩‍👧"),
    ])
    func controlCharactersAreMadeHarmless(text: String, expected: String) {
        #expect(TerminalText.harmless(text) == expected)
    }

    @Test func noEventCanControlTheTerminal() {
        let evil = "\u{1B}[31m\u{9B}A\u{7}\u{8}\u{202E}\u{1B}]0;t\u{7}"
        let bodies: [EventBody] = [
            .message(Message(text: evil)), .thought(Thought(text: evil)), .agentOutput(AgentOutput(stream: .stdout, text: evil)),
            .toolCall(ToolCall(id: "1", title: evil, kind: evil, input: #"{"command":"\#(evil)"}"#)),
            .toolResult(
                ToolResult(
                    id: "2", title: evil, status: evil, output: evil, diffs: [.init(path: evil, oldText: nil, newText: evil)])),
            .plan(Plan(entries: [.init(content: evil, status: evil)])), .error(Reason(evil)),
            .workspaceStep(WorkspaceStep(.failed, evil)), .turnQueued(TurnQueued(request: TurnRequest(prompt: evil), key: nil)),
            .turnDispatched,
            .inputRequested(
                InputRequest(id: evil, question: evil, options: [.init(id: evil, name: evil)], deadline: Sample.start)),
            .inputAnswered(InputAnswered(request: evil, option: evil, text: evil, by: .person)),
            .agentStarted(AgentStarted(driver: evil, name: evil, version: evil, pid: 1)),
            .workspaceState(WorkspaceState(branch: evil)),
            .turnEnded(
                TurnEnded(
                    state: .failed, reason: .agentError, message: evil,
                    results: TurnResults(workspace: WorkspaceState(branch: evil, diffstat: evil)))),
            .unknown(type: evil, data: .null),
        ]
        for format in TranscriptRenderer.Format.allCases {
            var renderer = TranscriptRenderer(format: format, color: false, width: 60)
            for (index, body) in bodies.enumerated() {
                let text = renderer.render(event(body, UInt64(index + 1))) + renderer.renderDelta(evil) + renderer.finish()
                for scalar in text.unicodeScalars {
                    let isControl = (scalar.value < 0x20 && scalar != "\n") || (0x7F...0x9F).contains(scalar.value)
                    #expect(!isControl && scalar.value != 0x202E, "\(format) \(body.type): \(scalar.value)")
                }
            }
        }
    }

    @Test func deltasAreShownOnceAndTheMessageAddsWhatIsMissing() {
        let message = "The first line is here.\nThe second line follows it."
        for cut in 0...message.count {
            for step in [1, 3, 100] {
                var renderer = TranscriptRenderer(width: 20)
                var text = ""
                var rest = message.prefix(cut)
                while !rest.isEmpty {
                    text += renderer.renderDelta(String(rest.prefix(step)))
                    rest = rest.dropFirst(step)
                }
                text += renderer.render(event(.message(Message(text: message))))
                #expect(text == "\n  The first line is\n  here.\n  The second line\n  follows it.\n")
            }
        }
    }

    @Test func whoCameLateSeesTheRestOfTheMessageOnce() {
        var renderer = TranscriptRenderer()
        var text = renderer.renderDelta("of it.")
        text += renderer.render(event(.message(Message(text: "The whole of it."))))
        #expect(text == "\n  of it.\n")
    }

    @Test func anotherEventEndsTheLineOfADelta() {
        var renderer = TranscriptRenderer()
        var text = renderer.renderDelta("half a")
        text += renderer.render(event(.error(Reason("the model is overloaded"))))
        #expect(text == "\n  half a\n18:14:05 · error: the model is overloaded\n")
    }

    @Test func aHugeLineIsCutAndStaysFast() {
        var renderer = TranscriptRenderer(width: 40)
        let text = renderer.render(
            event(.toolResult(ToolResult(id: "1", status: "completed", output: String(repeating: "漢", count: 1_000_000)))))
        #expect(text == "    │ \(String(repeating: "漢", count: 16))…\n    └ done\n")
    }

    @Test func aTurnThatNeverRanSaysSo() {
        var renderer = TranscriptRenderer(width: 60)
        _ = renderer.render(event(.turnQueued(TurnQueued(request: TurnRequest(prompt: "Fix it"), key: nil))))
        let text = renderer.render(
            event(.turnEnded(TurnEnded(state: .cancelled, reason: .superseded, message: "a newer turn took its place"))))
        #expect(text.contains("❯ Fix it\n"))
        #expect(text.hasSuffix("⊘ cancelled (Superseded): a newer turn took its place\n"))
    }

    @Test func tablesAlignByWhatIsSeen() {
        var table = Table(["NAME", "PHASE", "MESSAGE"])
        table.add(["漢字", "Running", "a long message that does not fit"], styles: [nil, .green])
        table.add(["b\u{1B}[2J", "Failed"])
        #expect(
            table.text(color: false, width: 30) == """
                NAME  PHASE    MESSAGE
                漢字  Running  a long message…
                b     Failed

                """)
        #expect(table.text(color: true, width: 0).contains("\u{1B}[32mRunning\u{1B}[0m  a long message that does not fit\n"))
    }

    @Test(arguments: [
        (0, "0ms"), (999, "999ms"), (1400, "1.4s"), (59_999, "59s"), (61_000, "1m 01s"), (3_661_000, "1h 01m"),
        (180_000_000, "2d 2h"),
    ])
    func durations(milliseconds: Int64, expected: String) {
        #expect(Wording.duration(.milliseconds(milliseconds)) == expected)
    }
}
