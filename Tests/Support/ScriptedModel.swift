import Foundation

/// The scripted model's API, for real agents: one process for all tests, on loopback, that ends with this one.
public struct ScriptedModel: Sendable {
    /// `http://127.0.0.1:PORT`
    public let address: String

    public static let shared = Result { try start() }

    private static func start() throws -> ScriptedModel {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["python3", AgentPrograms.path + "/scripted_model.py"]
        let output = Pipe()
        let input = Pipe()
        process.standardOutput = output
        process.standardInput = input
        try process.run()
        // Held open as long as this process lives.
        _ = Unmanaged.passRetained(input)
        var line = Data()
        while line.last != UInt8(ascii: "\n") {
            guard let more = try output.fileHandleForReading.read(upToCount: 1), !more.isEmpty else {
                throw SidecarFailure("the scripted model did not start")
            }
            line += more
        }
        let text = String(decoding: line, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        guard let port = Int(text) else { throw SidecarFailure("the scripted model names no port: \(text)") }
        return ScriptedModel(address: "http://127.0.0.1:\(port)")
    }
}

/// The programs that tests run in the place of agents and models, and real agents.
public enum AgentPrograms {
    /// Tests/AgentPrograms.
    public static let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "AgentPrograms").path()

    /// The folder with a link to each real agent, as scripts/test-agents.sh makes it.
    public static let installed = ProcessInfo.processInfo.environment["HOLDFAST_AGENT_PROGRAMS"]

    /// A real agent's program; nil when it is not installed.
    public static func path(of program: String) -> String? {
        guard let installed else { return nil }
        let path = "\(installed)/\(program)"
        return FileManager.default.isExecutableFile(atPath: path) ? path : nil
    }
}
