import Agents
import Foundation
import SessionModel
import Support

/// The real programs, where scripts/test-agents.sh has installed them.
extension ConformanceAgent {
    /// Every real agent that the tests know.
    static let real = [claudeCode, codex, codexExec, hermes, gptme, vibe, fastAgent]

    /// The real agents that are installed.
    static let installed = real.filter { $0.program != nil }

    static func path(of program: String) -> String? { AgentPrograms.path(of: program) }

    /// Where the agent's program is; nil when it is not installed.
    private var program: String? { Self.path(of: installedAs ?? name) }

    /// The address of the scripted model. A test that needs it fails when it cannot be started.
    static var model: String { (try? ScriptedModel.shared.get().address) ?? "http://127.0.0.1:9" }

    /// It writes its transcript a moment behind, so that SIGKILL may come before the last prompt is there.
    static let claudeCode = ConformanceAgent(
        name: "claude", driver: .claudeCode,
        describe: { _ in
            AgentDescription(
                driver: .claudeCode, command: [path(of: "claude") ?? "claude"],
                env: [
                    "ANTHROPIC_BASE_URL": model, "ANTHROPIC_API_KEY": "scripted", "CLAUDE_CODE_MAX_RETRIES": "1",
                ])
        }, keepsPromptsAtOnce: false)

    static let codex = ConformanceAgent(
        name: "codex", driver: .codex,
        describe: { _ in
            AgentDescription(
                driver: .codex, command: codexCommand("app-server") + codexSettings, env: ["SCRIPTED_KEY": "scripted"])
        }, cannot: codexCannot)

    /// One process for every turn, as docs/agents.md shows it.
    static let codexExec = ConformanceAgent(
        name: "codex exec", installedAs: "codex", driver: .command,
        describe: { _ in
            let options = ["--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"] + codexSettings
            return AgentDescription(
                driver: .command, command: codexCommand("exec") + options + ["--model={model}", "-"],
                invocation: Invocation(
                    prompt: .stdin, output: .codex,
                    resume: codexCommand("exec", "resume") + options + ["--model={model}", "{conversation}", "-"]),
                env: ["SCRIPTED_KEY": "scripted"])
        }, runsOnce: true, streams: false, cannot: codexExecCannot)

    private static func codexCommand(_ arguments: String...) -> [String] { [path(of: "codex") ?? "codex"] + arguments }

    private static var codexSettings: [String] {
        let provider =
            #"{name="scripted",base_url="\#(model)/v1",wire_api="responses",env_key="SCRIPTED_KEY",supports_websockets=false,"#
            + "request_max_retries=1,stream_max_retries=1}"
        let settings = [#"model="scripted""#, #"model_provider="scripted""#, "model_providers.scripted=\(provider)"]
        return settings.flatMap { ["-c", $0] }
    }
}
