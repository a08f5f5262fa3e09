import Testing

@testable import DemoAgent

@Suite struct AnswerTests {
    @Test func theFirstPrompt() {
        var answer = Answer(script: Script("run: true"), earlier: [])
        answer.done = 1
        #expect(
            answer.text == """
                Done: 1 step. This is the first prompt of our conversation.
                (holdfast-demo-agent is a demonstration: it carries out the commands in your prompt, no language model is involved.)
                """)
    }

    @Test func earlierPromptsAreRemembered() {
        var answer = Answer(script: Script("run: false\nrun: true"), earlier: ["one\ntwo", String(repeating: "x", count: 41)])
        answer.done = 2
        answer.failed = 1
        #expect(
            answer.text.hasPrefix(
                "Done: 2 steps, 1 failed. I remember 2 earlier prompts: “one two”, “\(String(repeating: "x", count: 40))…”.\n"))
    }

    @Test func onlyTheLastOfManyAreShown() {
        let answer = Answer(script: Script("hello\nthere"), earlier: (1...12).map { "p\($0)" })
        #expect(
            answer.text.hasPrefix(
                "Noted: 2 lines of plain text and no command. "
                    + "I remember 12 earlier prompts, the last 5 of them: “p8”, “p9”, “p10”, “p11”, “p12”.\n"))
    }

    @Test func aScriptThatWasStopped() {
        var answer = Answer(script: Script("ask: May I?\nrun: true"), earlier: [])
        answer.done = 1
        answer.stopped = "“May I?” was not allowed"
        #expect(answer.text.hasPrefix("Stopped after 1 step: “May I?” was not allowed. "))
    }
}
