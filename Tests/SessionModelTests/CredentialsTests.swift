import SessionModel
import Testing

/// Which descriptions of an agent's secrets are taken.
@Suite struct CredentialsTests {
    private func mistake(_ json: String) throws -> String? {
        try JSON.decode(AgentDescription.self, from: #"{"driver":"claude-code",\#(json)}"#).mistake
    }

    @Test func whatIsRight() throws {
        #expect(try mistake(#""credentials":{"env":{"ANTHROPIC_API_KEY":"/run/key"}}"#) == nil)
        #expect(try mistake(#""credentials":{"token":"/run/token","expose":"Token"}"#) == nil)
        #expect(try mistake(#""env":{"GH_HOST":"ghe.example.org"},"credentials":{"token":"/t","expose":"Token"}"#) == nil)
    }

    @Test(arguments: [
        (#"{"token":"token","expose":"Token"}"#, "credentials.token must be the absolute path"),
        (#"{"expose":"Token"}"#, "credentials.token does not name the file"),
        (#"{"token":"/run/token"}"#, "not used without expose: Token"),
        (#"{"env":{"KEY":"key"}}"#, "credentials.env.KEY must be"),
        (#"{"directory":"keys"}"#, "credentials.directory must be the absolute path"),
        (#"{"secretRef":{"name":""}}"#, "credentials.secretRef.name is empty"),
    ])
    func whatIsWrong(_ credentials: String, _ words: String) throws {
        #expect(try mistake(#""credentials":\#(credentials)"#)?.contains(words) == true)
    }

    @Test(arguments: [
        (#""image":"a b""#, "agent.image"), (#""podTemplate":[]"#, "agent.podTemplate must be an object"),
        (#""storage":"EmptyDir","volumeClaimTemplate":{}"#, "choose one"),
    ])
    func whatIsWrongAboutThePod(_ fields: String, _ words: String) throws {
        #expect(try mistake(fields)?.contains(words) == true)
    }

    /// The sidecar is told what it can do something with, and finds the Secret's keys as files.
    @Test func aPodsSidecarFindsTheSecretAsFiles() throws {
        let json =
            #"{"driver":"claude-code","image":"x","podTemplate":{},"storage":"EmptyDir","credentials":{"secretRef":{"name":"s"},"expose":"Token"}}"#
        let worker = try JSON.decode(AgentDescription.self, from: json)
        #expect(worker.mistake == nil && worker.podField == "image")
        let inPod = worker.inPod(credentials: "/keys")
        #expect(inPod.mistake == nil && inPod.podField == nil)
        #expect(inPod.credentials == AgentCredentials(directory: "/keys", token: "/keys/GITHUB_TOKEN", expose: .token))
    }

    /// Otherwise a token would reach the agent and its session would not show it.
    @Test(arguments: ["GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"])
    func noOtherFieldSetsTheTokenOfTheForge(_ name: String) throws {
        for field in [
            #""env":{"\#(name)":"x"}"#, #""credentials":{"env":{"\#(name)":"/run/token"}}"#,
            #""mcpServers":{"forge":{"command":["serve"],"env":{"\#(name)":"x"}}}"#,
        ] {
            #expect(try mistake(field)?.contains("\(name): an agent gets the forge's token by credentials.token") == true)
        }
    }

    @Test func anotherExposureIsRefused() {
        #expect(throws: (any Error).self) { try mistake(#""credentials":{"token":"/t","expose":"Everything"}"#) }
    }
}
