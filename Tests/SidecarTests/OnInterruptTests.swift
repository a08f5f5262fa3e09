import Foundation
import Processes
import SessionModel
import Support
import Testing

/// Turns that are cut off by real crashes, and what their agents are told then.
@Suite struct OnInterruptTests {
    /// Sleeps in its first attempt, and goes through in later ones.
    private let prompt = "run: if [ -e begun ]; then echo again; else touch begun; sleep 600; fi\nsay: done"

    /// Waits until the turn's command has begun, and the transcript says so.
    private func working(_ sidecar: SidecarProcess) async throws {
        try await sidecar.until { FileManager.default.fileExists(atPath: sidecar.home.workspace + "/begun") }
        try await sidecar.until { try await sidecar.events().contains { $0.body.type == "tool.call" } }
    }

    private func types(_ events: [Event], _ types: Set<String>) -> [String] {
        events.map(\.body.type).filter(types.contains)
    }

    @Test func theHostDiesAndThePromptIsSentAgain() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let turn = try await sidecar.enqueue(TurnRequest(prompt: prompt, onInterrupt: .retry(1)))
            try await working(sidecar)
            sidecar.host?.signal(SIGKILL)
            let end = try await sidecar.end(of: turn.id)
            #expect(end.state == .succeeded && end.attempts == 2)
            let events = try await sidecar.events()
            #expect(
                types(events, ["turn.dispatched", "turn.interrupted", "turn.ended", "host.lost", "turn.prompted"])
                    == ["turn.dispatched", "host.lost", "turn.interrupted", "turn.dispatched", "turn.ended"])
        }
    }

    @Test func theSidecarDiesAndTheAgentIsToldWhatWasCutOff() async throws {
        let home = try SidecarHome()
        var sidecar = try await SidecarProcess.start(in: home, agent: .demo())
        let turn = try await sidecar.enqueue(TurnRequest(prompt: prompt, onInterrupt: .continue(1)))
        try await working(sidecar)
        sidecar.kill(SIGKILL)
        try await sidecar.waitForExit()
        sidecar = try await SidecarProcess.start(in: home, agent: .demo())
        let end = try await sidecar.end(of: turn.id)
        #expect(end.state == .succeeded && end.attempts == 2, "\(end)")
        let told = try await sidecar.events().compactMap { if case .turnPrompted(let told) = $0.body { told.text } else { nil } }
        #expect(told.count == 1)
        let text = try #require(told.first)
        #expect(text.hasPrefix("[Holdfast] You were working on the request below when you were interrupted: the sidecar ended"))
        #expect(text.contains("The last tool call that was seen of you was “"))
        #expect(text.contains("sleep 600") && text.contains("no result of it was seen"))
        #expect(text.hasSuffix(prompt))
        sidecar.kill(SIGKILL)
        await home.remove()
    }

    @Test func anAgentThatAlwaysCrashesIsGivenUp() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let turn = try await sidecar.enqueue(TurnRequest(prompt: "run: echo x >> log\ncrash: 3", onInterrupt: .retry(2)))
            let end = try await sidecar.end(of: turn.id)
            #expect(end.state == .failed && end.reason == .agentExited && end.attempts == 3)
            #expect(end.message?.hasSuffix("it was the last of 3 attempts") == true, "\(end.message ?? "")")
            #expect(try String(contentsOfFile: sidecar.home.workspace + "/log", encoding: .utf8) == "x\nx\nx\n")
            let next = try await sidecar.end(of: try await sidecar.enqueue("say: still here").id)
            #expect(next.state == .succeeded)
        }
    }

    @Test func aShutdownCutsItOffAndTheNextIncarnationGoesOn() async throws {
        let home = try SidecarHome()
        var sidecar = try await SidecarProcess.start(in: home, agent: .demo(), arguments: ["--grace", "100ms"])
        let turn = try await sidecar.enqueue(TurnRequest(prompt: prompt, onInterrupt: .continue(1)))
        let behind = try await sidecar.enqueue("say: second")
        try await working(sidecar)
        sidecar.kill(SIGTERM)
        #expect(try await sidecar.waitForExit() == .code(0))
        sidecar = try await SidecarProcess.start(in: home, agent: .demo())
        #expect(try await sidecar.end(of: behind.id).state == .succeeded)
        let end = try await sidecar.turn(turn.id)
        #expect(end.state == .succeeded && end.attempts == 2, "\(end)")
        sidecar.kill(SIGKILL)
        await home.remove()
    }
}

/// The frames of the agent's protocol in the transcript.
@Suite struct RawFrameTests {
    private func frames(_ sidecar: SidecarProcess, of turn: TurnID) async throws -> [AgentFrame] {
        try await sidecar.events().compactMap { event in
            if case .agentFrame(let frame) = event.body, event.turn == turn { frame } else { nil }
        }
    }

    @Test func theyAreRecordedOnRequestOnly() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let first = try await sidecar.end(of: try await sidecar.enqueue(TurnRequest(prompt: "say: one", raw: true)).id)
            let raw = try await frames(sidecar, of: first.id)
            let sent = raw.filter { $0.direction == .sent }.map(\.text)
            #expect(sent.map { $0.contains("initialize") } == [true, false, false])
            #expect(sent.last?.contains("session/prompt") == true && sent.last?.contains("say: one") == true)
            #expect(raw.last?.direction == .received && raw.last?.text.contains("end_turn") == true)
            #expect(raw.allSatisfy { !$0.text.contains("\n") && (try? JSON.decode(JSONValue.self, from: $0.text)) != nil })

            let second = try await sidecar.end(of: try await sidecar.enqueue("say: two").id)
            #expect(try await frames(sidecar, of: second.id).isEmpty)
        }
    }

    @Test func theyAreBounded() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: ["--raw"]) { sidecar in
            // One long frame, and many more than are kept.
            let long = try await sidecar.end(of: try await sidecar.enqueue("run: head -c 200000 /dev/zero | tr '\\0' x").id)
            let cut = try await frames(sidecar, of: long.id).filter { $0.bytes != nil }
            #expect(!cut.isEmpty && cut.allSatisfy { $0.text.utf8.count <= 64 << 10 && $0.bytes! > 200_000 })
            let many = (0..<200).map { _ in "run: head -c 100000 /dev/zero | tr '\\0' x" }.joined(separator: "\n")
            let turn = try await sidecar.end(of: try await sidecar.enqueue(many).id)
            let kept = try await frames(sidecar, of: turn.id)
            #expect(kept.reduce(0) { $0 + $1.text.utf8.count } < 9 << 20)
            #expect(kept.last?.dropped ?? 0 > 0)
        }
    }
}
