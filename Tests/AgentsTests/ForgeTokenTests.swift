import Agents
import Foundation
import NIOConcurrencyHelpers
import SessionModel
import Support
import Testing

/// The forge's token in the agent's environment: only where it is asked for.
@Suite(.timeLimit(.minutes(1))) struct ForgeTokenTests {
    private let bench: Bench
    private var token: String { bench.root + "/token" }

    init() throws {
        bench = try Bench()
        try "ghs_test\n".write(toFile: bench.root + "/token", atomically: true, encoding: .utf8)
    }

    private func environment(
        _ base: [String: String] = [:], env: [String: String]? = nil, exposed: Bool = true,
        learn: @escaping @Sendable ([String]) -> Void = { _ in }
    ) throws -> [String: String] {
        let credentials = exposed ? AgentCredentials(token: token, expose: .token) : nil
        let description = AgentDescription(driver: .acp, command: ["x"], env: env, credentials: credentials)
        #expect(description.mistake == nil)
        return try AgentEnvironment(base, for: description, learn: learn).read()
    }

    @Test func itIsThereUnderTheNamesThatToolsRead() throws {
        let learned = NIOLockedValueBox<[String]>([])
        let environment = try environment(learn: { values in learned.withLockedValue { $0 += values } })
        #expect(environment["GITHUB_TOKEN"] == "ghs_test")
        #expect(environment["GH_TOKEN"] == "ghs_test")
        #expect(environment["GH_ENTERPRISE_TOKEN"] == nil)
        #expect(learned.withLockedValue { $0 } == ["ghs_test"])
    }

    @Test func anotherForgeHasAnotherName() throws {
        let environment = try environment(env: ["GH_HOST": "ghe.example.org"])
        #expect(environment["GH_ENTERPRISE_TOKEN"] == "ghs_test")
        #expect(environment["GH_TOKEN"] == nil)
    }

    /// What a user has in the shell that started the supervisor is not the agent's.
    @Test func withoutBeingAskedForNoneIsPassedOn() throws {
        let base = ["GITHUB_TOKEN": "mine", "GH_TOKEN": "mine", "GH_ENTERPRISE_TOKEN": "mine", "GITHUB_ENTERPRISE_TOKEN": "mine"]
        #expect(try environment(base.merging(["LANG": "C"]) { $1 }, exposed: false) == ["LANG": "C"])
        #expect(try environment(base)["GH_ENTERPRISE_TOKEN"] == nil)
    }

    @Test func aMissingOneSaysWhereItIsLookedFor() throws {
        try FileManager.default.removeItem(atPath: token)
        let error = #expect(throws: AgentEnvironment.MissingCredential.self) { try environment() }
        #expect(error?.message.contains("credentials.token") == true && error?.message.contains(token) == true)
    }

    /// The real git, asked for a password as it asks for one at a push.
    @Test func gitFindsItForThatHostOnly() async throws {
        func answer(_ host: String, env: [String: String]? = nil) throws -> String {
            // One entry is there already, and a helper of the user's own that must not be asked.
            var base = ["PATH": "/usr/bin:/bin", "HOME": bench.root, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"]
            base.merge(["GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "Ada"]) { $1 }
            try "[credential]\n\thelper = \"!touch \(bench.root)/asked; false\"\n".write(
                toFile: bench.root + "/.gitconfig", atomically: true, encoding: .utf8)
            let process = Process()
            process.executableURL = URL(filePath: "/bin/sh")
            process.arguments = [
                "-c", "git config user.name; printf 'protocol=https\\nhost=\(host)\\n\\n' | git credential fill 2>&1",
            ]
            process.environment = try environment(base, env: env)
            process.currentDirectoryURL = URL(filePath: bench.directory)
            let output = Pipe()
            process.standardOutput = output
            try process.run()
            let text = output.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return String(decoding: text, as: UTF8.self)
        }
        let whole = try answer("github.com")
        #expect(whole.hasPrefix("Ada\n"))
        #expect(whole.contains("username=x-access-token\npassword=ghs_test\n"), "\(whole)")
        #expect(!FileManager.default.fileExists(atPath: bench.root + "/asked"))
        #expect(try answer("ghe.example.org", env: ["GH_HOST": "ghe.example.org"]).contains("password=ghs_test"))
        #expect(try !answer("example.org").contains("ghs_test"))
        #expect(FileManager.default.fileExists(atPath: bench.root + "/asked"))
    }
}
