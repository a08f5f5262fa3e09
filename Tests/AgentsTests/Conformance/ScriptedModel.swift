import Foundation
import Testing

/// The scripted model's API, for real agents: one process for all tests, on loopback, that ends with this one.
struct ScriptedModel: Sendable {
    /// `http://127.0.0.1:PORT`
    let address: String

    static let shared = Result { try start() }

    private static func start() throws -> ScriptedModel {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["python3", ConformanceAgent.programs + "/scripted_model.py"]
        let output = Pipe()
        let input = Pipe()
        process.standardOutput = output
        process.standardInput = input
        try process.run()
        // Held open as long as this process lives.
        _ = Unmanaged.passRetained(input)
        var line = Data()
        while line.last != UInt8(ascii: "\n") {
            let more = try #require(try output.fileHandleForReading.read(upToCount: 1), "the scripted model did not start")
            if more.isEmpty { throw CocoaError(.fileReadUnknown) }
            line += more
        }
        let port = try #require(Int(String(decoding: line, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)))
        return ScriptedModel(address: "http://127.0.0.1:\(port)")
    }
}
