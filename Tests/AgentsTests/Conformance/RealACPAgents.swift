import Agents
import Foundation
import SessionModel

/// The real program that speaks ACP.
extension ConformanceAgent {
    /// Mistral Vibe. Its home is among the agent's state, so that its conversations move with it.
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
        }, cannot: [:])

    private static func write(_ text: String, to path: String) {
        let folder = URL(filePath: path).deletingLastPathComponent().path()
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try? text.write(toFile: path, atomically: true, encoding: .utf8)
    }
}
