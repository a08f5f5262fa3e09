import Agents
import Glibc
import Processes
import SessionModel
import Testing

/// What every driver must get right. The same list is run with a scripted agent of each protocol (`make test`) and with the real
/// programs (`make test-agents`); docs/agents.md shows it as a table.
///
/// The prompts are in the language of Tests/AgentPrograms/script.py.
enum Scenario: String, CaseIterable, Sendable {
    case remembers = "two turns remember"
    case longTool = "a long tool call"
    case edits = "changes of files as diffs"
    case thoughts = "thoughts"
    case usage = "tokens of the turn"
    case interruptStreaming = "interrupt while it streams"
    case interruptTool = "interrupt while a tool runs"
    case interruptIdle = "interrupt while it is idle"
    case interruptAtOnce = "interrupt before it has begun"
    case permissionAllowed = "permission allowed"
    case permissionDenied = "permission denied"
    case permissionTimedOut = "permission not answered"
    case interruptQuestion = "interrupt at a question"
    case choice = "a question with choices"
    case promptIntoOwnWork = "prompt into its own work"
    case interruptOwnWork = "interrupt behind its own work"
    case terminated = "killed by SIGTERM, resumed"
    case killed = "killed by SIGKILL, resumed"
    case killedWithTools = "killed with all its processes, resumed"
    case apiError400 = "API error 400"
    case apiError401 = "API error 401"
    case apiError429 = "API error 429"
    case apiError500 = "API error 500"
    case apiRefused = "API refuses the connection"
    case apiHangs = "API hangs"
    case unknownConversation = "unknown conversation"
    case tornTranscript = "torn transcript of the agent's own"
    case movedState = "state directory moved"
    case oldConversation = "an old conversation outlives new ones"
    case fiftyTurns = "50 turns in a row"
    case stdinFlood = "stdin flood"

    func run(_ bench: ConformanceBench) async throws {
        switch self {
        case .remembers: try await remembers(bench)
        case .longTool: try await longTool(bench)
        case .edits: try await edits(bench)
        case .thoughts: try await thoughts(bench)
        case .usage: try await usage(bench)
        case .interruptStreaming:
            try await interrupt(bench, "Count. {{stream: 30}}") {
                if bench.agent.streams { await bench.deltaSeen() } else { await bench.quiet() }
            }
        case .interruptTool:
            try await interrupt(bench, "Wait. {{shell: touch begun; sleep 1000}}") { await bench.fileSeen("begun") }
        case .interruptIdle: try await interruptIdle(bench)
        case .interruptAtOnce: try await interruptAtOnce(bench)
        case .permissionAllowed: try await permission(bench, .allowed)
        case .permissionDenied: try await permission(bench, .denied)
        case .permissionTimedOut: try await permission(bench, .timedOut)
        case .interruptQuestion: try await interruptQuestion(bench)
        case .choice: try await choice(bench)
        case .promptIntoOwnWork: try await promptIntoOwnWork(bench)
        case .interruptOwnWork: try await interruptOwnWork(bench)
        case .terminated: try await killed(bench) { kill(await bench.agentPID(), SIGTERM) }
        case .killed: try await killed(bench) { kill(await bench.agentPID(), SIGKILL) }
        case .killedWithTools:
            try await killed(bench) {
                // All at one moment: an agent that outlived its tool would see it end.
                let all = bench.processes
                for process in all { kill(process.pid, SIGSTOP) }
                for process in all { kill(process.pid, SIGKILL) }
            }
        case .apiError400: try await apiError(bench, "400")
        case .apiError401: try await apiError(bench, "401")
        case .apiError429: try await apiError(bench, "429")
        case .apiError500: try await apiError(bench, "500")
        case .apiRefused: try await apiError(bench, "refused")
        case .apiHangs: try await interrupt(bench, "Think. {{hang}}") { await bench.quiet() }
        case .unknownConversation: try await unknownConversation(bench)
        case .tornTranscript: try await tornTranscript(bench)
        case .movedState: try await movedState(bench)
        case .oldConversation: try await oldConversation(bench)
        case .fiftyTurns: try await fiftyTurns(bench)
        case .stdinFlood: try await stdinFlood(bench)
        }
    }

    /// Whether a turn that says how many prompts the conversation holds has said so.
    private func expectMemory(
        _ bench: ConformanceBench, _ outcome: TurnOutcome, of earlier: String..., prompts: Int? = nil
    ) {
        #expect(outcome.end.state == .succeeded, "\(outcome.end)")
        // What a program that runs once leaves running for a moment is ended with its turn, and no fault of the turn.
        #expect(outcome.clean || bench.agent.runsOnce)
        let answer = outcome.end.results?.answer ?? ""
        if let prompts { #expect(answer.contains("prompts=\(prompts) "), "\(answer)") }
        for prompt in earlier { #expect(answer.contains(prompt), "\(answer)") }
    }

    // MARK: Working

    private func remembers(_ bench: ConformanceBench) async throws {
        let first = await bench.run("Make a file. {{say: Hello.}} {{shell: echo one > a.txt; cat a.txt}}")
        expectMemory(bench, first, prompts: 1)
        #expect(try bench.file("a.txt") == "one\n")
        #expect(await bench.recorder.durable.map(\.type) == ["conversation.started"])
        #expect(await bench.recorder.messages.first?.contains("Hello.") == true)
        if bench.agent.tells != .nothing { try await expectCommand(bench, first) }

        let second = await bench.run("Go on.")
        expectMemory(bench, second, of: "Make a file.", prompts: 2)
        #expect(await bench.recorder.types.contains("agent.started") == bench.agent.runsOnce)
        #expect(await bench.recorder.messages.count == 1)
    }

    /// Whether the command “cat a.txt” is told of.
    private func expectCommand(_ bench: ConformanceBench, _ outcome: TurnOutcome) async throws {
        #expect(outcome.end.results?.toolCalls == 1)
        let calls = await bench.recorder.events.compactMap { if case .toolCall(let call) = $0 { call } else { nil } }
        let call = try #require(calls.first)
        #expect(call.kind == "execute")
        if bench.agent.tells == .everything { #expect(call.input?.contains("cat a.txt") == true) }
        let result = try #require(await bench.recorder.results.first)
        #expect(result.milliseconds != nil)
        if bench.agent.tells == .names {
            #expect(result.status == "unfinished")
        } else {
            #expect(call.title.contains("cat a.txt"))
            #expect(result.status == "completed")
            #expect(result.output?.contains("one") == true)
        }
    }

    private func longTool(_ bench: ConformanceBench) async throws {
        let outcome = await bench.run("Work long. {{shell: sleep 3; echo slept}}")
        expectMemory(bench, outcome, prompts: 1)
        if bench.agent.tells == .nothing { return }
        let result = try #require(await bench.recorder.results.first)
        if bench.agent.tells != .names { #expect(result.output?.contains("slept") == true) }
        // The beginning may have been read late, on a machine that all the other tests use, too.
        #expect(try #require(result.milliseconds) >= 1000)
    }

    private func edits(_ bench: ConformanceBench) async throws {
        let outcome = await bench.run(
            "Edit. {{write: \(bench.directory)/a.txt|one}} {{edit: \(bench.directory)/a.txt|one|three}}")
        expectMemory(bench, outcome, prompts: 1)
        #expect(try bench.file("a.txt").hasPrefix("three"))
        let diffs = await bench.recorder.results.map(\.diffs)
        #expect(diffs.count == 2)
        #expect(diffs.allSatisfy { $0?.first?.path == "a.txt" }, "\(diffs)")
        #expect(diffs.first??.first?.newText.hasPrefix("one") == true)
        #expect(diffs.last??.first?.newText.hasPrefix("three") == true)
        #expect(diffs.last??.first?.oldText?.hasPrefix("one") == true)
    }

    private func thoughts(_ bench: ConformanceBench) async throws {
        expectMemory(bench, await bench.run("Think. {{think: It is simple.}} {{say: Done.}}"), prompts: 1)
        let thoughts = await bench.recorder.events.compactMap { if case .thought(let thought) = $0 { thought.text } else { nil } }
        #expect(thoughts == ["It is simple."])
    }

    private func usage(_ bench: ConformanceBench) async throws {
        for number in 1...3 {
            let usage = await bench.run("Turn \(number).").end.results?.usage
            // The same in every turn, and no running total.
            #expect(try #require(usage?.outputTokens) > 0)
            #expect(try #require(usage?.outputTokens) < 25)
            #expect(await bench.recorder.types.contains("usage"))
        }
    }

    private func fiftyTurns(_ bench: ConformanceBench) async throws {
        for number in 1...50 {
            let outcome = await bench.run("Turn \(number).")
            expectMemory(bench, outcome, prompts: number)
            guard outcome.end.state == .succeeded else { return }
        }
        #expect(bench.started == (bench.agent.runsOnce ? 50 : 1))
    }

    /// A prompt as long as a Task can have one.
    private func stdinFlood(_ bench: ConformanceBench) async throws {
        let outcome = await bench.run("Read this: " + String(repeating: "word ", count: 209_000) + "{{say: Read.}}")
        expectMemory(bench, outcome, prompts: 1)
        #expect(await bench.recorder.messages.first?.hasPrefix("Read.") == true)
        expectMemory(bench, await bench.run("Again."), of: "Read this", prompts: 2)
    }

    // MARK: Interruptions

    private func interrupt(_ bench: ConformanceBench, _ prompt: String, when ready: () async -> Void) async throws {
        expectMemory(bench, await bench.run("First."), prompts: 1)
        let running = bench.begin(prompt)
        await ready()
        await bench.interrupt()
        let outcome = await running.value
        #expect(outcome.end.state == .cancelled, "\(outcome.end)")
        #expect(await bench.recorder.results.allSatisfy { $0.status != "completed" })
        // Whether it is still the same process or another one: the conversation goes on.
        expectMemory(bench, await bench.run("Then."), of: "First.")
    }

    private func interruptAtOnce(_ bench: ConformanceBench) async throws {
        let running = bench.begin("Count. {{stream: 30}}")
        try await bench.recorder.seen { $0.type == "agent.started" }
        await bench.interrupt()
        #expect(await running.value.end.state == .cancelled)
        expectMemory(bench, await bench.run("Then."))
        // An agent that is killed as it begins may not have kept its conversation: then this prompt came behind a digest.
        let isReseeded = await bench.recorder.events.contains { $0.type == "conversation.reseeded" }

        let stopped = await bench.begin("Never. {{write: \(bench.directory)/never.txt|yes}}", stopped: true).value
        #expect(stopped.end.state == .cancelled, "\(stopped.end)")
        #expect(!bench.fileExists("never.txt"))
        let last = await bench.run("At last.")
        if isReseeded { expectMemory(bench, last, prompts: 2) } else { expectMemory(bench, last, of: "Then.") }
    }

    private func interruptIdle(_ bench: ConformanceBench) async throws {
        expectMemory(bench, await bench.run("First."), prompts: 1)
        await bench.driver.interrupt()
        expectMemory(bench, await bench.run("Second."), of: "First.", prompts: 2)
    }

    // MARK: Permissions

    private enum Answer { case allowed, denied, timedOut }

    private func permission(_ bench: ConformanceBench, _ answer: Answer) async throws {
        bench.asks = true
        let running = bench.begin("Ask. {{write: \(bench.directory)/a.txt|yes}}")
        let question = try await bench.recorder.question()
        #expect(question.question.contains("a.txt"), "\(question)")
        #expect(await bench.recorder.types.contains("tool.call"))
        let wanted = answer == .allowed ? "allow_once" : "reject_once"
        let option = try #require(question.options.first { $0.kind == wanted })
        let by = answer == .timedOut ? InputAnswered.By.deadline : .person
        await bench.driver.answer(
            InputAnswered(request: question.id, option: answer == .timedOut ? nil : option.id, text: nil, by: by))
        let outcome = await running.value
        #expect(outcome.end.state == .succeeded, "\(outcome.end)")
        #expect(bench.fileExists("a.txt") == (answer == .allowed))
        if bench.agent.tells == .everything {
            #expect(await bench.recorder.results.map(\.status) == [answer == .allowed ? "completed" : "failed"])
        }
        expectMemory(bench, await bench.run("Then."), of: "Ask.", prompts: 2)
    }

    private func choice(_ bench: ConformanceBench) async throws {
        bench.asks = true
        let running = bench.begin("Choose. {{ask: Which colour?|green|blue}}")
        let question = try await bench.recorder.question()
        #expect(question.question.contains("Which colour?"), "\(question)")
        #expect(question.options.map(\.name).prefix(2).map { $0.prefix(4) } == ["gree", "blue"], "\(question)")
        await bench.driver.answer(
            InputAnswered(request: question.id, option: question.options[1].id, text: nil, by: .person))
        expectMemory(bench, await running.value, prompts: 1)
        let chosen = try #require(await bench.recorder.results.first)
        #expect(chosen.status == "completed")
        #expect(chosen.output?.contains("blue") == true, "\(chosen)")

        let again = bench.begin("Once more. {{ask: Which colour?|green|blue}}")
        let second = try await bench.recorder.question()
        let words = try #require(second.options.first { $0.kind == "text" })
        await bench.driver.answer(InputAnswered(request: second.id, option: words.id, text: "violet", by: .person))
        expectMemory(bench, await again.value, prompts: 2)
        #expect(await bench.recorder.results.first?.output?.contains("violet") == true)
    }

    private func interruptQuestion(_ bench: ConformanceBench) async throws {
        bench.asks = true
        let running = bench.begin("Ask. {{write: \(bench.directory)/a.txt|yes}}")
        let question = try await bench.recorder.question()
        // As the queue does it: it takes its question back, and interrupts the turn.
        await bench.driver.answer(InputAnswered(request: question.id, option: nil, text: nil, by: .cancellation))
        await bench.interrupt()
        #expect(await running.value.end.state == .cancelled)
        #expect(!bench.fileExists("a.txt"))
        expectMemory(bench, await bench.run("Then."), of: "Ask.")
    }

    // MARK: What it does by itself

    /// Lets it begin a turn by itself, with a tool that runs until there is a file, and begins a turn before that can be known.
    private func prompt(
        _ text: String, intoWorkUntil end: String, _ bench: ConformanceBench
    ) async throws -> Task<TurnOutcome, Never> {
        bench.isLate = true
        let background = "{{background: until [ -e go ]; do sleep 0.05; done}}"
        let start = "Start. \(background) {{after: touch begun; until [ -e \(end) ]; do sleep 0.05; done}}"
        expectMemory(bench, await bench.run(start), prompts: 1)
        try bench.make("go")
        await bench.fileSeen("begun")
        return bench.begin(text)
    }

    private func promptIntoOwnWork(_ bench: ConformanceBench) async throws {
        let outcome = try await prompt("Then.", intoWorkUntil: ConformanceBench.promptThere, bench).value
        expectMemory(bench, outcome, of: "Start.", prompts: 2)
        // What it did by itself is this turn's, too.
        #expect(outcome.end.results?.toolCalls == 1)
        expectMemory(bench, await bench.run("Last."), of: "Start.", prompts: 3)
    }

    private func interruptOwnWork(_ bench: ConformanceBench) async throws {
        let running = try await prompt("Then. {{stream: 30}}", intoWorkUntil: "never", bench)
        await bench.fileSeen(ConformanceBench.promptThere)
        await bench.interrupt()
        let outcome = await running.value
        #expect(outcome.end.state == .cancelled, "\(outcome.end)")
        // Without having to be ended.
        #expect(outcome.clean)
        expectMemory(bench, await bench.run("Last."), of: "Start.")
    }

    // MARK: Deaths

    private func killed(_ bench: ConformanceBench, _ strike: () async -> Void) async throws {
        expectMemory(bench, await bench.run("First."), prompts: 1)
        let conversation = bench.conversation
        let running = bench.begin("Work. {{say: Here I go.}} {{shell: touch begun; sleep 1000}}")
        await bench.fileSeen("begun")
        // Codex tells of a command about 0.2 s after it has started it.
        if bench.agent.tells != .nothing { try await bench.recorder.seen { $0.type == "tool.call" } }
        await strike()
        let outcome = await running.value
        #expect(outcome.end.state == .failed)
        #expect(outcome.end.reason == .agentExited)
        #expect(!outcome.clean)
        // Some agents report the tool's end before their own.
        let isTold = bench.agent.tells != .nothing
        #expect(await bench.recorder.results.map { $0.status == "completed" } == (isTold ? [false] : []))
        #expect(await bench.recorder.types.contains("agent.exited"))
        let then = await bench.run("Then.")
        expectMemory(bench, then, of: "First.")
        if bench.agent.keepsPromptsAtOnce { expectMemory(bench, then, of: "Work.") }
        #expect(bench.conversation == conversation)
        #expect(await bench.recorder.types.contains(bench.agent.resumption))
    }

    // MARK: The model's API

    private func apiError(_ bench: ConformanceBench, _ status: String) async throws {
        expectMemory(bench, await bench.run("First."), prompts: 1)
        let failed = await bench.run("Fail. {{error: \(status)}}")
        #expect(failed.end.state == .failed, "\(failed.end)")
        #expect([.agentError, .refused].contains(failed.end.reason))
        #expect(failed.end.message?.isEmpty == false)
        expectMemory(bench, await bench.run("Then."), of: "First.")
    }

    // MARK: Conversations

    private func unknownConversation(_ bench: ConformanceBench) async throws {
        bench.conversation = "00000000-0000-4000-8000-000000000000"
        let outcome = await bench.run("Go on.")
        #expect(outcome.end.state == .succeeded, "\(outcome.end)")
        guard case .conversationReseeded(let new)? = await bench.recorder.durable.first else {
            Issue.record("not reseeded: \(await bench.recorder.events)")
            return
        }
        #expect(new.id != "00000000-0000-4000-8000-000000000000")
        // Its own words for a conversation that it does not know, or that it can take up none at all.
        let words = ["00000000-0000-4000-8000-000000000000", "cannot take a conversation up again"]
        #expect(words.contains { new.reason?.contains($0) == true }, "\(new.reason ?? "")")
        // The new conversation began with the digest.
        expectMemory(bench, await bench.run("Then."), of: "You worked on this before", prompts: 2)
    }

    private func tornTranscript(_ bench: ConformanceBench) async throws {
        expectMemory(bench, await bench.run("First."), prompts: 1)
        let conversation = try #require(bench.conversation)
        try await bench.release()
        try bench.tear(conversation)
        expectMemory(bench, await bench.run("Then."), of: "First.", prompts: 2)
        #expect(bench.conversation == conversation)
    }

    private func movedState(_ bench: ConformanceBench) async throws {
        expectMemory(bench, await bench.run("First."), prompts: 1)
        let conversation = bench.conversation
        try await bench.release()
        try bench.move()
        expectMemory(bench, await bench.run("Then."), of: "First.", prompts: 2)
        #expect(bench.conversation == conversation)
        #expect(await bench.recorder.types.contains("conversation.resumed"))
        // What was replayed does not enter the transcript again.
        #expect(await bench.recorder.messages.count == 1)
    }

    private func oldConversation(_ bench: ConformanceBench) async throws {
        expectMemory(bench, await bench.run("First."), prompts: 1)
        let old = bench.conversation
        try await bench.release()
        try bench.age()
        bench.conversation = nil
        expectMemory(bench, await bench.run("Another."), prompts: 1)
        #expect(bench.conversation != old)
        try await bench.release()
        bench.conversation = old
        expectMemory(bench, await bench.run("Then."), of: "First.", prompts: 2)
        #expect(bench.conversation == old)
    }
}
