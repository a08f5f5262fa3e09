import Agents
import Foundation
import SessionModel
import Support
import Testing

/// Every scenario with every driver, each with a scripted agent that speaks its protocol.
@Suite(.timeLimit(.minutes(3))) struct ScriptedConformanceTests {
    static let cases = AgentDescription.Driver.allCases.flatMap { driver in
        let agent = ConformanceAgent.scripted(driver)
        return Scenario.allCases.filter { agent.cannot[$0] == nil }.map { ConformanceCase(agent: agent, scenario: $0) }
    }

    @Test(arguments: cases) func scenario(_ it: ConformanceCase) async throws {
        try await ConformanceBench.with(it.agent) { bench in try await it.scenario.run(bench) }
    }
}

struct ConformanceCase: Sendable, CustomTestStringConvertible {
    var agent: ConformanceAgent
    var scenario: Scenario
    var testDescription: String { "\(agent.name): \(scenario.rawValue)" }
}

extension ConformanceAgent {
    /// The folder of the programs that the tests run.
    static let programs = AgentPrograms.path

    /// The scripted agent that speaks a driver's protocol.
    static func scripted(_ driver: AgentDescription.Driver, env: [String: String] = [:]) -> ConformanceAgent {
        let program = ["python3", programs + "/scripted_agent.py", driver.rawValue]
        guard driver == .command else {
            return ConformanceAgent(
                name: driver.rawValue, driver: driver,
                describe: { _ in AgentDescription(driver: driver, command: program, env: env) },
                cannot: driver == .acp ? acpCannot : driver == .codex ? codexCannot : [:])
        }
        return ConformanceAgent(
            name: driver.rawValue, driver: driver,
            describe: { _ in
                AgentDescription(
                    driver: driver, command: program,
                    invocation: Invocation(prompt: .stdin, output: .codex, resume: program + ["resume", "{conversation}"]),
                    env: env)
            }, runsOnce: true, streams: false, cannot: codexExecCannot)
    }

    /// What the protocol has no place for, or its agents use it for nothing.
    static let acpCannot: [Scenario: String] = [
        .choice: "it asks for permissions only", .promptIntoOwnWork: promptedOnly, .interruptOwnWork: promptedOnly,
    ]
    static let codexCannot: [Scenario: String] = [
        .choice: "it asks for permissions only", .promptIntoOwnWork: "it is kept from beginning turns by itself",
        .interruptOwnWork: "it is kept from beginning turns by itself",
    ]
    private static let promptedOnly = "its turns begin with prompts only"

    /// What `codex exec --json` does not do, scripted or real.
    static let codexExecCannot: [Scenario: String] = [
        .edits: "it names the files and does not tell what changed in them", .permissionAllowed: "it asks nothing",
        .permissionDenied: "it asks nothing", .permissionTimedOut: "it asks nothing", .interruptQuestion: "it asks nothing",
        .choice: "it asks nothing", .promptIntoOwnWork: promptedOnly, .interruptOwnWork: promptedOnly,
    ]
}
