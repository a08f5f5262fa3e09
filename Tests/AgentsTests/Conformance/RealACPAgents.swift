import Agents
import Foundation
import SessionModel

/// The real programs that speak ACP. Each has its home among the agent's state, so that its conversations move with it.
extension ConformanceAgent {
    /// Mistral Vibe, which would try for five minutes what fails, and sum up a conversation as long as the longest prompt.
    static let vibe = ConformanceAgent(
        name: "vibe-acp", driver: .acp,
        describe: { state in
            let home = state + "/vibe"
            write(
                """
                active_model = "scripted"
                enable_telemetry = false
                enable_update_checks = false
                enable_auto_update = false
                api_retry_max_elapsed_time = 1.0
                auto_compact_threshold = 0
                [[providers]]
                name = "scripted"
                api_base = "\(model)/v1"
                api_key_env_var = "SCRIPTED_KEY"
                [[models]]
                name = "scripted"
                provider = "scripted"
                alias = "scripted"
                """, to: home + "/config.toml")
            return AgentDescription(
                driver: .acp, command: [path(of: "vibe-acp") ?? "vibe-acp"],
                env: ["VIBE_HOME": home, "SCRIPTED_KEY": "scripted"], mode: "ask")
        }, cannot: acpCannot)

    /// Nous Research's Hermes.
    static let hermes = ConformanceAgent(
        name: "hermes-acp", driver: .acp,
        describe: { state in
            let home = state + "/hermes"
            write(
                """
                model:
                  default: scripted
                  provider: custom
                  base_url: \(model)/v1
                  api_key: scripted
                """, to: home + "/config.yaml")
            return AgentDescription(
                driver: .acp, command: [path(of: "hermes-acp") ?? "hermes-acp"], env: ["HERMES_HOME": home])
        }, tells: .titles, cannot: hermesCannot)

    /// What Hermes 0.19 was seen to do otherwise.
    private static let hermesCannot: [Scenario: String] = {
        let dishonest = "it gives a failure of its model's API as the answer of a turn that is done"
        let apart = "it tells of a change in a permission request, and never of that change's end"
        return acpCannot.merging([
            .edits: apart, .apiError400: dishonest, .apiError401: dishonest,
            .apiError429: dishonest, .apiError500: dishonest,
            .apiRefused: dishonest,
            .tornTranscript: "it keeps its conversations in a database",
        ]) { $1 }
    }()

    /// gptme: a peer with manners of its own. Without the proxy it would ask the Internet for a table of tokens at every message.
    static let gptme = ConformanceAgent(
        name: "gptme-acp", driver: .acp,
        describe: { state in
            AgentDescription(
                driver: .acp, command: [path(of: "gptme-acp") ?? "gptme-acp"],
                env: [
                    "OPENAI_BASE_URL": model + "/v1", "OPENAI_API_KEY": "scripted", "MODEL": "local/scripted",
                    "GPTME_LLM_MAX_RETRIES": "1", "XDG_DATA_HOME": state + "/data", "XDG_CONFIG_HOME": state + "/config",
                    "HTTPS_PROXY": "http://127.0.0.1:9",
                ])
        }, streams: false, tells: .nothing, resumes: false, keepsPromptsAtOnce: false, cannot: gptmeCannot)

    /// What gptme 0.35 was seen to do otherwise.
    private static let gptmeCannot: [Scenario: String] = {
        let words = "it tells of its tools in the words of its messages"
        let unasked = "it uses its tools without asking"
        let directory = "it has one conversation for each working directory"
        return acpCannot.merging([
            .edits: words, .thoughts: "it does not tell them", .usage: "it tells no tokens",
            .permissionAllowed: unasked, .permissionDenied: unasked, .permissionTimedOut: unasked, .interruptQuestion: unasked,
            .movedState: directory, .oldConversation: directory,
            .stdinFlood: "it leaves out a prompt that it takes to be too long for its model",
        ]) { $1 }
    }()

    /// fast-agent, with its own shell.
    static let fastAgent = ConformanceAgent(
        name: "fast-agent-acp", driver: .acp,
        describe: { state in
            let program = path(of: "fast-agent-acp") ?? "fast-agent-acp"
            return AgentDescription(
                driver: .acp, command: [program, "--model", "generic.scripted", "-x"],
                env: [
                    "FAST_AGENT_HOME": state + "/fast-agent", "GENERIC_BASE_URL": model + "/v1", "GENERIC_API_KEY": "scripted",
                ])
        }, tells: .names, cannot: fastAgentCannot)

    /// What fast-agent 0.10 was seen to do otherwise.
    private static let fastAgentCannot = acpCannot.merging([
        .edits: "it tells of a change in the tool's own words",
        .thoughts: "it does not tell them", .usage: "it tells no tokens in a field of the protocol",
        .permissionAllowed: "it asks nothing about its own shell and files",
        .permissionDenied: "it asks nothing about its own shell and files",
        .permissionTimedOut: "it asks nothing about its own shell and files",
        .interruptQuestion: "it asks nothing about its own shell and files",
        .tornTranscript: "it keeps a conversation as one document",
        .movedState: "it has a conversation only in the working directory in which that began",
    ]) { $1 }

    private static func write(_ text: String, to path: String) {
        let folder = URL(filePath: path).deletingLastPathComponent().path()
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try? text.write(toFile: path, atomically: true, encoding: .utf8)
    }
}
