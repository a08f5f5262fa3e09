import Agents
import Foundation
import SessionModel

/// The real programs, where scripts/test-agents.sh has installed them.
extension ConformanceAgent {
    /// Every real agent that the tests know.
    static let real = [claudeCode]

    /// The real agents that are installed.
    static let installed = real.filter { $0.program != nil }

    /// The folder with a link to each installed program, as scripts/test-agents.sh makes it.
    private static let folder = ProcessInfo.processInfo.environment["HOLDFAST_AGENT_PROGRAMS"]

    static func path(of program: String) -> String? {
        guard let folder else { return nil }
        let path = "\(folder)/\(program)"
        return FileManager.default.isExecutableFile(atPath: path) ? path : nil
    }

    /// Where the agent's program is; nil when it is not installed.
    private var program: String? { Self.path(of: name) }

    /// The address of the scripted model. A test that needs it fails when it cannot be started.
    private static var model: String { (try? ScriptedModel.shared.get().address) ?? "http://127.0.0.1:9" }

    static let claudeCode = ConformanceAgent(name: "claude", driver: .claudeCode) { _ in
        AgentDescription(
            driver: .claudeCode, command: [path(of: "claude") ?? "claude"],
            env: [
                "ANTHROPIC_BASE_URL": model, "ANTHROPIC_API_KEY": "scripted", "CLAUDE_CODE_MAX_RETRIES": "1",
            ])
    }
}
