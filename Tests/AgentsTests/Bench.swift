import AgentHost
import Agents
import Foundation
import SessionModel
import Support

/// A directory, a host and a driver for one test.
final class Bench: Sendable {
    let host = LocalProcessHost()
    let root: String
    let directory: String

    init() throws {
        root = NSTemporaryDirectory() + "hf-" + UUID().uuidString.prefix(8)
        directory = root + "/work"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func driver(
        _ command: [String]? = nil, permissions: AgentDescription.Permissions? = nil, mode: String? = nil,
        startTimeout: TimeSpan? = nil
    ) -> any AgentDriver {
        driver(
            AgentDescription(
                driver: .acp, command: command ?? [Products.path("holdfast-demo-agent")], permissions: permissions, mode: mode,
                startTimeout: startTimeout))
    }

    func driver(
        _ description: AgentDescription, workspace: WorkspaceDescription? = nil,
        learn: @escaping @Sendable ([String]) -> Void = { _ in }
    ) -> any AgentDriver {
        AgentDrivers.make(
            description: description, host: host,
            environment: AgentEnvironment(
                ["PATH": "/usr/bin:/bin", "HOLDFAST_AGENT_STATE": root + "/demo", "SWIFT_BACKTRACE": "enable=no"],
                for: description, learn: learn),
            workspace: workspace, digest: { "the digest" })
    }

    /// Runs one turn of the demonstration agent.
    func run(
        _ driver: any AgentDriver, _ text: String, turn: UInt64 = 1, conversation: String? = nil, model: String? = nil,
        effort: String? = nil, inputTimeout: TimeSpan = .minutes(5), _ recorder: Recorder = Recorder()
    ) async -> (outcome: TurnOutcome, recorder: Recorder) {
        let prompt = AgentPrompt(
            turn: TurnID(turn), text: text, model: model, effort: effort, directory: directory, conversation: conversation,
            inputTimeout: inputTimeout)
        return (await driver.run(prompt, reporting: recorder), recorder)
    }

    /// What the demonstration agent has on disk of its conversations.
    func conversations() throws -> String {
        let folder = root + "/demo"
        return try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            .map { try String(contentsOfFile: "\(folder)/\($0)", encoding: .utf8) }.joined()
    }

    func file(_ name: String) throws -> String { try String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8) }

    /// An agent made of canned frames: whenever a line with `method` arrives it prints `frames`, in which `%s` is the line's id.
    static func scripted(_ rules: [(method: String, frames: [String])]) -> [String] {
        var cases = ""
        for rule in rules {
            let prints = rule.frames.map { "printf '\($0)\\n' \"$id\"" }.joined(separator: "; ")
            cases += "*'\"method\":\"\(rule.method)\"'*) \(prints.isEmpty ? ":" : prints);;\n"
        }
        return [
            "/bin/sh", "-c",
            """
            while read -r line; do
            id=${line#*'"id":'}; id=${id%%,*}
            case "$line" in
            \(cases)esac
            done
            """,
        ]
    }

    static let initialized = (
        method: "initialize",
        frames: [
            #"{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":1,"agentCapabilities":{"loadSession":true},"agentInfo":{"name":"canned"}}}"#
        ]
    )
    static let opened = (method: "session/new", frames: [#"{"jsonrpc":"2.0","id":%s,"result":{"sessionId":"s1"}}"#])
    static let ended = #"{"jsonrpc":"2.0","id":%s,"result":{"stopReason":"end_turn"}}"#
    static func update(_ update: String) -> String {
        #"{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":\#(update)}}"#
    }
}
