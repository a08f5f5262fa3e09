import Agents
import Foundation
import Glibc
import SessionModel
import Support
import Testing

/// Every scenario with the real programs, against the scripted model (`make test-agents`).
@Suite(.serialized, .enabled(if: !ConformanceAgent.installed.isEmpty, "no real agent is installed: run make test-agents"))
struct RealAgentTests {
    static let cases = ConformanceAgent.installed.flatMap { agent in
        Scenario.allCases.filter(isWanted).map { ConformanceCase(agent: agent, scenario: $0) }
    }

    /// All, or those that have a part of `SCENARIOS` in their names; parts are divided by commas.
    private static func isWanted(_ scenario: Scenario) -> Bool {
        guard let wanted = ProcessInfo.processInfo.environment["SCENARIOS"] else { return true }
        return wanted.split(separator: ",").contains { scenario.rawValue.contains($0) }
    }

    @Test(.timeLimit(.minutes(2)), arguments: cases) func scenario(_ it: ConformanceCase) async throws {
        if let reason = it.agent.cannot[it.scenario] {
            // What is cancelled is not shown; scripts/test-agents.sh shows these lines.
            print("skipped: \(it.testDescription): \(reason)")
            try Test.cancel("\(reason)")
        }
        try await ConformanceBench.with(it.agent) { bench in try await it.scenario.run(bench) }
    }

    /// Two turns with a tool call, kill -9 of the sidecar in the middle of the third, and the next epoch goes on.
    @Test(.timeLimit(.minutes(3)), arguments: ConformanceAgent.installed.filter { $0.cannot[.killed] == nil })
    func theSidecarResumesTheConversationInTheNextEpoch(_ agent: ConformanceAgent) async throws {
        let home = try SidecarHome()
        let description = agent.describe(home.state)
        var conversation: String?
        do {
            let sidecar = try await SidecarProcess.start(in: home, agent: description)
            defer { sidecar.kill(SIGKILL) }
            let first = try await sidecar.end(of: sidecar.enqueue("Make a file. {{shell: echo one > a.txt; cat a.txt}}").id)
            #expect(first.state == .succeeded, "\(first)")
            if agent.tells != .nothing { #expect(first.results?.toolCalls == 1) }
            let second = try await sidecar.end(of: sidecar.enqueue("Go on.").id)
            #expect(second.results?.answer?.contains("prompts=2 ") == true, "\(second)")
            let third = try await sidecar.enqueue("Wait. {{shell: touch begun; sleep 1000}}")
            try await sidecar.until { FileManager.default.fileExists(atPath: home.workspace + "/begun") }
            conversation = try await sidecar.json(SessionStatus.self, "GET", "/v1/session").agent.conversation
            sidecar.kill(SIGKILL)
            try await sidecar.waitForExit()
            #expect(third.id == TurnID(3))
        }
        do {
            let sidecar = try await SidecarProcess.start(in: home, agent: description)
            defer { sidecar.kill(SIGKILL) }
            #expect(try await sidecar.end(of: TurnID(3)).state == .interrupted)
            let fourth = try await sidecar.end(of: sidecar.enqueue("Then.").id)
            #expect(fourth.state == .succeeded, "\(fourth)")
            #expect(fourth.results?.answer?.contains("Make a file.") == true, "\(fourth)")
            let status = try await sidecar.json(SessionStatus.self, "GET", "/v1/session")
            #expect(status.agent.conversation == conversation)
            let events = try await sidecar.events()
            #expect(events.contains { $0.epoch == 2 && $0.body.type == agent.resumption })
        }
        await home.remove()
        #expect(home.processes.isEmpty)
    }
}
