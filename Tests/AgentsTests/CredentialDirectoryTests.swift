import Agents
import Foundation
import SessionModel
import Support
import Testing

/// `credentials.directory`: a Secret as a pod has it.
@Suite struct CredentialDirectoryTests {
    private let bench: Bench
    private var folder: String { bench.root + "/keys" }

    /// Laid out as the kubelet does: links into a directory that is changed as a whole.
    init() throws {
        bench = try Bench()
        try FileManager.default.createDirectory(atPath: folder + "/..data", withIntermediateDirectories: true)
        try put("sk-1", "ANTHROPIC_API_KEY")
        try put("x", "tls.crt")
        try put("y", "0DIGIT")
    }

    private func put(_ value: String, _ name: String) throws {
        try value.write(toFile: "\(folder)/..data/\(name)", atomically: true, encoding: .utf8)
        try FileManager.default.createSymbolicLink(atPath: "\(folder)/\(name)", withDestinationPath: "..data/\(name)")
    }

    private func environment(_ credentials: AgentCredentials) -> AgentEnvironment {
        AgentEnvironment([:], for: AgentDescription(driver: .acp, command: ["x"], credentials: credentials))
    }

    @Test func everyKeyIsAVariableAndIsReadAnew() throws {
        let environment = environment(AgentCredentials(directory: folder))
        #expect(try environment.read() == ["ANTHROPIC_API_KEY": "sk-1"])
        try "sk-2".write(toFile: folder + "/..data/ANTHROPIC_API_KEY", atomically: true, encoding: .utf8)
        #expect(try environment.read() == ["ANTHROPIC_API_KEY": "sk-2"])
    }

    @Test func aFileOfItsOwnGoesBeforeIt() throws {
        let own = bench.root + "/own"
        try "sk-own".write(toFile: own, atomically: true, encoding: .utf8)
        let credentials = AgentCredentials(env: ["ANTHROPIC_API_KEY": own], directory: folder)
        #expect(try environment(credentials).read()["ANTHROPIC_API_KEY"] == "sk-own")
    }

    @Test func theForgesTokenComesOnlyWhereItIsAskedFor() throws {
        try put("ghs_x", "GITHUB_TOKEN")
        let error = #expect(throws: AgentEnvironment.MissingCredential.self) {
            try environment(AgentCredentials(directory: folder)).read()
        }
        #expect(error?.message.contains("credentials.expose: Token only") == true)
        let exposed = AgentCredentials(directory: folder, token: folder + "/GITHUB_TOKEN", expose: .token)
        #expect(try environment(exposed).read()["GH_TOKEN"] == "ghs_x")
    }

    @Test func aMissingDirectorySaysWhichAndWhatToDo() throws {
        let error = #expect(throws: AgentEnvironment.MissingCredential.self) {
            try environment(AgentCredentials(directory: folder + "/none")).read()
        }
        #expect(error?.message.contains("/keys/none cannot be read: No such file or directory. Put a file there") == true)
    }
}
