import AgentHost
import Agents
import Foundation
import Glibc
import SessionModel
import Support
import Testing

/// The driver with shell scripts as programs.
@Suite(.timeLimit(.minutes(1))) struct CommandDriverTests {
    let bench: Bench
    init() throws { bench = try Bench() }

    /// The script sees the prompt as `$1`, after what else the command has.
    private func driver(_ script: String, _ arguments: [String] = [], _ invocation: Invocation? = nil) -> any AgentDriver {
        bench.driver(
            AgentDescription(driver: .command, command: ["/bin/sh", "-c", script, "sh"] + arguments, invocation: invocation))
    }

    @Test func standardOutputIsTheMessage() async throws {
        let (outcome, recorder) = await bench.run(
            driver(#"printf 'I was asked: %s\n\n  {"not":"a frame"}\nend\n\n\n' "$1"; echo oops >&2"#), "say --hello {model}")
        #expect(outcome.end.state == .succeeded)
        #expect(outcome.end.results?.answer == "I was asked: say --hello {model}\n\n  {\"not\":\"a frame\"}\nend")
        #expect(await recorder.deltas.joined() == outcome.end.results?.answer)
        #expect(await recorder.output.map(\.text) == ["oops\n"])
        #expect(outcome.end.results?.toolCalls == nil)
        #expect(await recorder.types.first == "conversation.started")
        #expect(outcome.clean)
    }

    @Test func thePromptOnStandardInputMayBeLarge() async throws {
        let prompt = String(repeating: "0123456789", count: 100_000)
        let (outcome, _) = await bench.run(driver("wc -c", [], Invocation(prompt: .stdin)), prompt)
        #expect(outcome.end.results?.answer == "1000000")
    }

    @Test func aProgramNeedNotReadItsInput() async throws {
        let prompt = String(repeating: "x", count: 1_000_000)
        let (outcome, _) = await bench.run(driver("exec <&-; sleep 0.1; echo done", [], Invocation(prompt: .stdin)), prompt)
        #expect(outcome.end.results?.answer == "done")
        #expect(outcome.end.state == .succeeded)
    }

    /// `codex exec` reads what is piped to it, to its end.
    @Test func withThePromptAsAnArgumentTheInputIsEmpty() async throws {
        let (outcome, _) = await bench.run(driver("wc -c"), "hello")
        #expect(outcome.end.results?.answer == "0")
    }

    @Test func aPromptThatIsTooLongForAnArgumentIsRefusedInWords() async throws {
        let (outcome, recorder) = await bench.run(driver("echo no"), String(repeating: "x", count: 128 << 10))
        #expect(outcome.end.reason == .agentStart)
        #expect(outcome.end.message?.contains("the prompt has 131072 bytes") == true)
        #expect(outcome.end.message?.contains("Stdin") == true)
        #expect(!(await recorder.types.contains("agent.started")))
        let longest = await bench.run(driver("echo ${#1}"), String(repeating: "x", count: (128 << 10) - 1))
        #expect(longest.outcome.end.results?.answer == "131071")
    }

    @Test(arguments: [
        ("exit 3", EndReason.agentError, "the program ended with exit code 3; it printed last: why"),
        ("kill -9 $$", .agentExited, "signal 9"), ("kill -TERM $$", .agentExited, "signal 15"),
    ])
    func theEndOfTheProcessIsJudged(script: String, reason: EndReason, message: String) async throws {
        let (outcome, _) = await bench.run(driver("echo partial; echo why >&2; \(script)"), "hello")
        #expect(outcome.end.state == .failed)
        #expect(outcome.end.reason == reason)
        #expect(outcome.end.message?.contains(message) == true, "\(outcome.end.message ?? "")")
        #expect(outcome.end.results?.answer == "partial")
    }

    @Test func aProgramThatIsNotThereIsNamed() async throws {
        let (outcome, _) = await bench.run(
            bench.driver(AgentDescription(driver: .command, command: ["no-such-program"])), "hello")
        #expect(outcome.end.reason == .agentStart)
        #expect(outcome.end.message?.contains("no-such-program") == true)
    }

    @Test func aConversationWhoseNameIsGivenIsTakenUpAgain() async throws {
        let driver = driver(
            #"echo "$2" >> "$1"; cat "$1""#, ["{conversation}"],
            Invocation(resume: ["/bin/sh", "-c", #"echo "$2" >> "$1"; cat "$1""#, "sh", "{conversation}", "{prompt}"]))
        let first = await bench.run(driver, "one")
        #expect(first.outcome.end.results?.answer == "one")
        let id = try #require(await driver.status.conversation)
        #expect(await first.recorder.durable == [.conversationStarted(Conversation(id: id))])
        let second = await bench.run(driver, "two", turn: 2, conversation: id)
        #expect(second.outcome.end.results?.answer == "one\ntwo")
        #expect(await second.recorder.events.first == .conversationResumed(Conversation(id: id)))
    }

    @Test func aProgramThatCannotResumeIsToldWhatWasDone() async throws {
        let driver = driver(#"echo "$1""#)
        let first = await bench.run(driver, "one")
        let id = try #require(await driver.status.conversation)
        let second = await bench.run(driver, "two", turn: 2, conversation: id)
        guard case .conversationReseeded(let new)? = await second.recorder.durable.first else {
            Issue.record("no conversation.reseeded")
            return
        }
        #expect(new.id != id)
        #expect(new.reason == "the program cannot take a conversation up again")
        let answer = try #require(second.outcome.end.results?.answer)
        #expect(answer.contains("the digest") && answer.hasSuffix("\n\ntwo"))
        #expect(first.outcome.end.results?.answer == "one")
    }

    @Test func modelAndEffortGoWhereTheCommandHasAPlaceForThem() async throws {
        let driver = driver(#"echo "$@""#, ["--model={model}", "--effort={effort}", "--"])
        #expect(await bench.run(driver, "hello").outcome.end.results?.answer == "-- hello")
        #expect(await bench.run(driver, "hello", model: "large").outcome.end.results?.answer == "--model=large -- hello")

        let (outcome, recorder) = await bench.run(self.driver("echo ok"), "hello", model: "large")
        #expect(outcome.end.state == .succeeded)
        #expect(
            await recorder.events.contains(
                .error(Reason("the command has no place for {model}, so “large” is not set"))))
    }

    @Test func nothingRunsWhenTheConversationCannotBeKept() async throws {
        let recorder = Recorder()
        await recorder.fail(with: Problem(.storageFull, "no space"))
        let (outcome, _) = await bench.run(driver("touch ran"), "hello", recorder)
        #expect(outcome.end.reason == .storageFull)
        #expect(throws: (any Error).self) { try bench.file("ran") }
    }

    @Test func anInterruptionIsASignalAndTheTurnCancelled() async throws {
        let driver = driver("echo begun; sleep 1000")
        let recorder = Recorder()
        async let run = bench.run(driver, "hello", recorder)
        try await until { await !recorder.deltas.isEmpty }
        await driver.interrupt()
        let (outcome, _) = await run
        #expect(outcome.end.state == .cancelled)
        #expect(!outcome.clean)
        #expect(await recorder.messages == ["begun"])
    }

    @Test func whoIgnoresTheSignalIsEndedWithItsDescendants() async throws {
        let driver = driver("trap '' TERM; (trap '' TERM; sleep 1000) & echo begun; wait; sleep 1000")
        let recorder = Recorder()
        async let run = bench.run(driver, "hello", recorder)
        try await until { await !recorder.deltas.isEmpty }
        await driver.interrupt()
        try await bench.host.endAll(grace: .milliseconds(100))
        await driver.processesEnded()
        #expect(await run.outcome.end.state == .cancelled)
        #expect(try await bench.host.processes().isEmpty)
    }

    /// It holds the standard output open, too; and the bench sees that it is gone when its processes have been ended.
    @Test(arguments: ["sleep 1000", "while :; do echo x; sleep 0.05; done"])
    func whatAProgramLeavesRunningHoldsUpNothingAndIsEnded(_ left: String) async throws {
        try await ConformanceBench.with(.scripted(.command)) { bench in
            let outcome = await bench.run("Begin. {{background: \(left)}}")
            #expect(outcome.end.state == .succeeded)
            #expect(!outcome.clean)
            #expect(await bench.run("Then.").clean)
        }
    }

    @Test func aProgramThatClosesItsOutputRunsOn() async throws {
        let (outcome, _) = await bench.run(driver("echo done; exec >&- 2>&-; sleep 2.5; touch late"), "hello")
        #expect(outcome.end.state == .succeeded)
        #expect(try bench.file("late") == "")
    }
}
