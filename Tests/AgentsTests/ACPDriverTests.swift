import AgentHost
import Agents
import Foundation
import SessionModel
import Support
import Testing

/// The driver with the real demonstration agent.
@Suite(.timeLimit(.minutes(2))) struct ACPDriverTests {
    let bench: Bench
    init() throws { bench = try Bench() }

    @Test func twoTurnsAreRememberedByOneProcess() async throws {
        let driver = bench.driver()
        let first = await bench.run(driver, "write: a.txt | one\\n\nrun: cat a.txt")
        #expect(first.outcome.end.state == .succeeded)
        #expect(first.outcome.end.reason == .completed)
        #expect(first.outcome.clean)
        #expect(first.outcome.end.results?.toolCalls == 2)
        #expect(first.outcome.end.results?.answer?.hasPrefix("Done: 2 steps. This is the first prompt") == true)
        #expect(
            await first.recorder.types == [
                "agent.started", "conversation.started", "tool.call", "tool.result", "tool.call", "tool.result", "message",
            ])
        let results = await first.recorder.results
        #expect(results[0].diffs == [.init(path: "a.txt", oldText: nil, newText: "one\n")])
        #expect(results[1].output == "one\n")
        #expect(results.allSatisfy { $0.status == "completed" && $0.milliseconds != nil })
        #expect(try bench.file("a.txt") == "one\n")

        let status = await driver.status
        #expect(status.warm)
        let second = await bench.run(driver, "hello", turn: 2, conversation: status.conversation)
        #expect(await second.recorder.types == ["message"])
        #expect(second.outcome.end.results?.answer?.contains("I remember 1 earlier prompt: “write: a.txt | one") == true)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func anotherProcessLoadsTheConversationWithoutRepeatingIt() async throws {
        let driver = bench.driver()
        _ = await bench.run(driver, "write: a.txt | one\nsay: hi")
        let conversation = try #require(await driver.status.conversation)
        try await bench.host.endAll(grace: .seconds(5))
        await driver.processesEnded()
        #expect(await driver.status.warm == false)

        for driver in [driver, bench.driver()] {
            let again = await bench.run(driver, "hello", turn: 2, conversation: conversation)
            #expect(again.outcome.clean)
            #expect(await again.recorder.types == ["agent.started", "conversation.resumed", "message"])
            #expect(await again.recorder.messages[0].contains("earlier prompt"))
            try await bench.host.endAll(grace: .seconds(5))
        }
    }

    @Test func aLostConversationIsReseededWithADigest() async throws {
        let driver = bench.driver()
        let (outcome, recorder) = await bench.run(driver, "hello", conversation: "demo-gone")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.types == ["agent.started", "conversation.reseeded", "message"])
        #expect(await recorder.durable.map(\.type) == ["conversation.reseeded"])
        guard case .conversationReseeded(let new) = await recorder.durable.first else { return }
        #expect(new.id != "demo-gone")
        #expect(new.reason?.contains("there is no session demo-gone") == true)
        #expect(try bench.conversations().contains("You worked on this before, but your conversation was lost"))
        #expect(try bench.conversations().contains("the digest"))
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func noPromptLeavesBeforeTheConversationIsKept() async throws {
        let driver = bench.driver()
        let recorder = Recorder()
        await recorder.fail(with: Problem(.storageFull, "no space"))
        let (outcome, _) = await bench.run(driver, "say: one", recorder)
        #expect(outcome.end.reason == .storageFull)
        #expect(outcome.clean)
        #expect(!(try bench.conversations().contains("say: one")))

        let second = await bench.run(driver, "say: two", turn: 2)
        #expect(second.outcome.end.state == .succeeded)
        #expect(await second.recorder.types.first == "conversation.started")
        #expect(try bench.conversations().contains("say: two"))
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func messagesAreWholeAndTheirPartsAreShown() async throws {
        let (outcome, recorder) = await bench.run(
            bench.driver(), "say-slowly: 0.01 one two three\nthink: 0.01 well well\nplan: a; b")
        #expect(outcome.end.results?.answer?.hasPrefix("Done: 3 steps.") == true)
        #expect(await recorder.types.suffix(4) == ["message", "thought", "plan", "message"])
        #expect(await recorder.messages.first == "one two three")
        #expect(await recorder.deltas.prefix(3) == ["one", " two", " three"])
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func bypassAllowsAtOnce() async throws {
        let (outcome, recorder) = await bench.run(bench.driver(), "ask: May I?\nwrite: a.txt | yes")
        #expect(outcome.end.state == .succeeded)
        #expect(await recorder.results.map(\.output) == ["allowed", nil])
        #expect(try bench.file("a.txt") == "yes")
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test(arguments: ["allow", "reject", nil])
    func aPersonIsAsked(option: String?) async throws {
        let driver = bench.driver(permissions: .ask)
        let recorder = Recorder()
        let started = Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
        async let run = bench.run(driver, "ask: May I?\nwrite: a.txt | yes", turn: 7, inputTimeout: .hours(1), recorder)
        let question = try await recorder.question()
        #expect(question.question == "May I?")
        #expect(question.options.map(\.kind) == ["allow_once", "reject_once"])
        #expect(question.deadline >= started + .hours(1))
        #expect(await recorder.types.last == "tool.call")
        // An answer to another question changes nothing.
        await driver.answer(InputAnswered(request: "t1-q1", option: "allow", text: nil, by: .person))
        await driver.answer(
            InputAnswered(request: question.id, option: option, text: nil, by: option == nil ? .deadline : .person))
        let outcome = await run.outcome
        #expect(outcome.end.state == .succeeded)
        #expect(outcome.end.results?.answer?.contains(option == "allow" ? "Done: 2 steps." : "was not allowed") == true)
        #expect(FileManager.default.fileExists(atPath: bench.directory + "/a.txt") == (option == "allow"))
        #expect(await recorder.withdrawn == 0)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func cancelStopsTheStepAndKeepsTheAgent() async throws {
        let driver = bench.driver()
        let recorder = Recorder()
        async let run = bench.run(driver, "run: echo $$ > pid; sleep 1000", recorder)
        try await recorder.seen { $0.type == "tool.call" }
        await driver.interrupt()
        let outcome = await run.outcome
        #expect(outcome.end.state == .cancelled)
        #expect(outcome.clean)
        let next = await bench.run(driver, "hello", turn: 2, conversation: await driver.status.conversation)
        #expect(next.outcome.end.state == .succeeded)
        #expect(await next.recorder.types == ["message"])
        try await bench.host.endAll(grace: .seconds(5))
    }

    /// The queue takes its question back before it interrupts the turn: the agent must not mistake that for a refusal.
    @Test(arguments: [true, false]) func cancelAnswersAnOpenQuestion(answeredFirst: Bool) async throws {
        let driver = bench.driver(permissions: .ask)
        let recorder = Recorder()
        async let run = bench.run(driver, "ask: May I?", recorder)
        let question = try await recorder.question()
        if answeredFirst {
            await driver.answer(InputAnswered(request: question.id, option: nil, text: nil, by: .cancellation))
        }
        await driver.interrupt()
        #expect(await run.outcome.end.state == .cancelled)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func aCrashSaysHowAndTheNextTurnGoesOn() async throws {
        let driver = bench.driver()
        let (outcome, recorder) = await bench.run(driver, "say: before\nstderr: the reason\ncrash: 3")
        #expect(outcome.end.state == .failed)
        #expect(outcome.end.reason == .agentExited)
        #expect(outcome.end.message?.contains("exit code 3") == true)
        #expect(outcome.end.message?.contains("the reason") == true)
        #expect(!outcome.clean)
        #expect(await recorder.messages == ["before"])
        #expect(await recorder.types.last == "agent.exited")
        guard case .conversationStarted(let conversation) = await recorder.durable.first else { return }
        await driver.processesEnded()
        let next = await bench.run(driver, "hello", turn: 2, conversation: conversation.id)
        #expect(await next.recorder.types == ["agent.started", "conversation.resumed", "message"])
        #expect(next.outcome.end.results?.answer?.contains("“say: before") == true)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func errorsAndRefusalsLeaveTheSessionUsable() async throws {
        let driver = bench.driver()
        let failed = await bench.run(driver, "fail: out of luck")
        #expect(failed.outcome.end.reason == .agentError)
        #expect(failed.outcome.end.message?.contains("out of luck") == true)
        // It is started anew: what made it fail, such as a rejected key, may be in its memory.
        #expect(!failed.outcome.clean)
        let conversation = await failed.recorder.durable.compactMap {
            if case .conversationStarted(let conversation) = $0 { conversation.id } else { nil }
        }.first
        try await bench.host.endAll(grace: .seconds(5))
        let refused = await bench.run(driver, "refuse:", turn: 2, conversation: conversation)
        #expect(refused.outcome.end.reason == .refused)
        #expect(refused.outcome.clean)
        #expect(await refused.recorder.types == ["agent.started", "conversation.resumed"])
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func badStartsAreClear() async throws {
        let demo = Products.path("holdfast-demo-agent")
        let missing = await bench.run(bench.driver(["no-such-agent"]), "hello")
        #expect(missing.outcome.end.reason == .agentStart)
        #expect(missing.outcome.end.message?.contains("no-such-agent") == true)

        let exits = await bench.run(bench.driver([demo, "--exit-at-start", "9"]), "hello")
        #expect(exits.outcome.end.reason == .agentStart)
        #expect(exits.outcome.end.message?.contains("exit code 9") == true)
        #expect(!exits.outcome.clean)

        let hangs = await bench.run(bench.driver([demo, "--hang-at-start"], startTimeout: .milliseconds(300)), "hello")
        #expect(hangs.outcome.end.reason == .agentStart)
        #expect(hangs.outcome.end.message?.contains("did not answer within 300ms") == true)
        #expect(!hangs.outcome.clean)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func interruptAndCancellationEndAHangingStart() async throws {
        let command = ["/bin/sh", "-c", "echo ready >&2; exec sleep 1000"]
        let driver = bench.driver(command)
        let recorder = Recorder()
        async let run = bench.run(driver, "hello", recorder)
        try await recorder.seen { $0.type == "agent.output" }
        await driver.interrupt()
        #expect(await run.outcome.end.state == .cancelled)
        #expect(await run.outcome.clean == false)

        let other = Recorder()
        let task = Task { await bench.run(bench.driver(command), "hello", other).outcome }
        try await other.seen { $0.type == "agent.output" }
        task.cancel()
        #expect(await task.value.clean == false)
        try await bench.host.endAll(grace: .seconds(5))
    }

    @Test func anAgentThatIgnoresTheCancellationEndsWithItsProcesses() async throws {
        let driver = bench.driver()
        let recorder = Recorder()
        async let run = bench.run(driver, "say: now\nhang:", recorder)
        try await recorder.seen { $0.type == "conversation.started" }
        await driver.interrupt()
        try await bench.host.endAll(grace: .seconds(5))
        await driver.processesEnded()
        let outcome = await run.outcome
        #expect(outcome.end.state == .cancelled)
    }

    @Test func aStubbornAgentEndsWithTheHost() async throws {
        let driver = bench.driver()
        let (outcome, _) = await bench.run(driver, "ignore-sigterm:\norphan: 0.1")
        #expect(outcome.clean)
        #expect(try await bench.host.processes().count == 1)
        try await bench.host.endAll(grace: .milliseconds(100))
        await driver.processesEnded()
        #expect(try await bench.host.processes() == [])
    }

    @Test func noiseIsBounded() async throws {
        let driver = bench.driver()
        let (outcome, recorder) = await bench.run(driver, "noise: 50000000\nlongline: 20000000\ninvalid-utf8:\nstderr: hi")
        #expect(outcome.end.state == .succeeded)
        let output = await recorder.output
        let kept = output.reduce(0) { $0 + $1.text.utf8.count }
        #expect(kept > 900_000 && kept <= 1_100_000)
        #expect(output.allSatisfy { $0.text.utf8.count <= 16 << 10 })
        #expect(output.count < 200)
        let dropped = output.filter { $0.stream == .stdout }.compactMap(\.dropped)
        #expect(dropped.count == 1)
        #expect(dropped[0] > 68_000_000)
        #expect(await recorder.types.filter { $0 == "error" }.count == 1)
        #expect(await recorder.messages.first == "broken <\u{FFFD}> text")
        // The two streams are not ordered: what comes after the turn's last frame is told in the next turn.
        _ = await bench.run(driver, "And now?", turn: 2, recorder)
        #expect(await recorder.output.contains { $0.stream == .stderr && $0.text == "hi\n" })
        try await bench.host.endAll(grace: .seconds(5))
    }
}
