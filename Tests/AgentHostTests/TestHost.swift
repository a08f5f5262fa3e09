import AgentHost
import Foundation
import Glibc
import Logging
import Processes
import SessionModel
import Support

/// A link to a real host process, and a directory for the test to work in.
final class TestHost: Sendable {
    let directory: String
    let marker: String
    let link: HostLink

    private init(directory: String, marker: String, link: HostLink) {
        self.directory = directory
        self.marker = marker
        self.link = link
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    static func makeDirectory() throws -> String {
        let directory = "/tmp/hf-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        return directory
    }

    static func makeMarker() -> String { "HOLDFAST_TEST=\(UUID().uuidString)" }

    static func start(arguments: [String] = []) async throws -> TestHost {
        let directory = try makeDirectory()
        let marker = makeMarker()
        let null = open("/dev/null", O_WRONLY | O_CLOEXEC)
        defer { close(null) }
        let link = try await HostLink.start(
            directory: directory + "/run", marker: marker, executable: [Products.path("holdfast-sidecar"), "host"] + arguments,
            log: null, deadline: .seconds(60), logger: logger)
        return TestHost(directory: directory, marker: marker, link: link)
    }

    /// Starts a host, gives it to `body`, and checks that nothing of it is left at the end.
    static func with(arguments: [String] = [], _ body: (TestHost) async throws -> Void) async throws {
        let host = try await start(arguments: arguments)
        do {
            try await body(host)
        } catch {
            try await host.link.close()
            throw error
        }
        try await host.link.close()
        guard host.carriers.isEmpty else { throw Leftover(processes: host.carriers.map(\.command)) }
    }

    struct Leftover: Error { var processes: [String] }

    /// The living processes that carry this host's marker.
    var carriers: [ProcessEntry] { ProcessSweep.Targets(marker: marker).find() }

    func spec(_ arguments: [String], environment: [String: String] = [:]) -> ProcessSpec {
        ProcessSpec(
            arguments: arguments, environment: ["PATH": "/usr/bin:/bin"].merging(environment) { $1 }, directory: directory)
    }

    func shell(_ script: String, environment: [String: String] = [:]) async throws -> any HostedProcess {
        try await link.start(spec(["sh", "-c", script], environment: environment))
    }

    /// Runs a shell script to its end.
    func output(_ script: String, environment: [String: String] = [:]) async throws -> (String, String, ExitStatus) {
        let process = try await shell(script, environment: environment)
        async let output = text(process.stdout)
        async let errors = text(process.stderr)
        return await (output, errors, process.exit())
    }
}

func text(_ output: ProcessOutput) async -> String {
    var bytes: [UInt8] = []
    for await chunk in output { bytes += chunk }
    return String(decoding: bytes, as: UTF8.self)
}

/// Looks again and again until it is so.
func eventually(_ limit: Duration = .seconds(20), _ isSo: () async throws -> Bool) async throws -> Bool {
    let end = ContinuousClock.now + limit
    while ContinuousClock.now < end {
        if try await isSo() { return true }
        try await Task.sleep(for: .milliseconds(5))
    }
    return try await isSo()
}
