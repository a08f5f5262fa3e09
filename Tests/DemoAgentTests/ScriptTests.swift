import Testing

@testable import DemoAgent

@Suite struct ScriptTests {
    @Test func commandsAreReadAmongPlainText() {
        let script = Script(
            """
            Please greet the world.
              write: hello.txt | Hello, world.\\n
            edit: hello.txt | Hello => Good bye
            run: cat hello.txt | tr a-z A-Z

            Thank you: that is all.
            """)
        #expect(script.remarks == 2)
        #expect(
            script.steps == [
                .write(path: "hello.txt", text: "Hello, world.\n"),
                .edit(path: "hello.txt", old: "Hello", new: "Good bye"),
                .run(command: "cat hello.txt | tr a-z A-Z"),
            ])
    }

    @Test(arguments: [
        ("append: a | b\\tc\\\\n", Script.Step.append(path: "a", text: "b\tc\\n")),
        ("read: a b", .read(path: "a b")),
        ("think: 1.5", .think(seconds: 1.5, text: "Thinking about it for a while.")),
        ("think: 2 hard", .think(seconds: 2, text: "hard")),
        ("say: hi", .say(text: "hi", seconds: 0)),
        ("say-slowly: 3 well then", .say(text: "well then", seconds: 3)),
        ("plan: a; b ;; c", .plan(["a", "b", "c"])),
        ("ask: May I?", .ask(question: "May I?")),
        ("fail: no", .fail(message: "no")),
        ("refuse:", .refuse),
        ("crash: 7", .crash(code: 7)),
        ("noise: 10", .noise(bytes: 10)),
        ("longline: 10", .longLine(bytes: 10)),
        ("invalid-utf8:", .invalidUTF8),
        ("stderr: x", .standardError(text: "x")),
        ("orphan: 5", .orphan(seconds: 5)),
        ("ignore-sigterm:", .ignoreTermination),
        ("hang:", .hang),
    ])
    func eachCommand(line: String, step: Script.Step) {
        #expect(Script(line).steps == [step])
    }

    @Test(arguments: [
        "run:", "write: a", "write: | b", "edit: a | b", "think: soon", "crash: x", "noise: -1", "say-slowly: 1", "ask:",
    ])
    func aCommandThatIsWrongIsAMistakeAndNotText(line: String) {
        guard case .mistake(line, _) = Script(line).steps.first else {
            Issue.record("\(line) was read as \(Script(line).steps)")
            return
        }
    }

    @Test func textIsNoCommand() {
        #expect(Script("Note: this\nhttp://example.org/run:\nRun: x\n\n").steps == [])
    }
}
