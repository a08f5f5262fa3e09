import ArgumentParser
import Foundation
import SessionModel
import Testing

@testable import Holdfast

/// From the command line to what is sent, without a server.
struct ArgumentTests {
    private func draft(_ arguments: [String], files: [String: String] = [:]) throws -> TaskDraft {
        let command = try #require(try Root.parseAsRoot(["run"] + arguments) as? Run)
        return try TaskDraft(command.task, prompt: command.prompt ?? "", directory: "/home/me/work", read: { files[$0] })
    }

    @Test func aPromptAloneIsATaskOfItsOwn() throws {
        #expect(try draft(["Fix it"]).spec == TaskSpec(prompt: "Fix it"))
    }

    @Test func everyOptionHasItsPlace() throws {
        let draft = try draft([
            "--scope", "pr:acme/widgets#12", "--profile", "fixer", "--ref", "main", "--setup", "make deps", "--agent", "demo",
            "--model", "opus", "--effort", "high", "--timeout", "30m", "--when-busy", "supersede", "--supersede-key", "review",
            "--idle-timeout", "1h", "--on-idle", "end", "--ttl", "2d", "--on-interrupt", "retry:2", "--raw", "Fix it",
        ])
        var lifetime = Lifetime()
        lifetime.idleTimeout = .hours(1)
        lifetime.onIdle = .end
        lifetime.ttl = .days(2)
        #expect(
            draft.spec
                == TaskSpec(
                    prompt: "Fix it",
                    scope: ScopeSpec(kind: .pullRequest, repository: "github.com/acme/widgets", number: 12, profile: "fixer"),
                    workspace: WorkspaceSpec(
                        repository: "https://github.com/acme/widgets", ref: "main", setupCommand: "make deps"),
                    turn: TurnSpec(
                        timeout: .minutes(30), whenBusy: .supersede, supersedeKey: "review", model: "opus", effort: "high",
                        onInterrupt: .retry(2), raw: true),
                    lifetime: lifetime))
        #expect(draft.agent == "demo")
    }

    @Test(arguments: [
        ("pr:acme/widgets#1", "github.com/acme/widgets", "https://github.com/acme/widgets"),
        ("pr:git.acme.dev/a/b#1", "git.acme.dev/a/b", "https://git.acme.dev/a/b"),
        ("issue:/srv/repo#1", "/srv/repo", "/srv/repo"), ("pr:./repo#1", "/home/me/work/repo", "/home/me/work/repo"),
        ("pr:../repo#1", "/home/me/repo", "/home/me/repo"),
    ])
    func theScopeSaysWhereTheRepositoryIs(scope: String, repository: String, url: String) throws {
        let spec = try draft(["--scope", scope, "x"]).spec
        #expect(spec.scope?.repository == repository)
        #expect(spec.workspace?.repository == url)
    }

    @Test func commitScopes() throws {
        let bare = try draft(["--scope", "commit:0123abcd", "--repo", "./r", "x"]).spec
        #expect(bare.scope == ScopeSpec(kind: .commit, sha: "0123abcd"))
        #expect(bare.workspace?.repository == "/home/me/work/r")
        let full = try draft(["--scope", "commit:acme/widgets@0123abcd", "x"]).spec
        #expect(full.scope == ScopeSpec(kind: .commit, repository: "github.com/acme/widgets", sha: "0123abcd"))
        #expect(full.workspace?.repository == "https://github.com/acme/widgets")
        #expect(try draft(["--scope", "commit", "x"]).spec.scope == ScopeSpec(kind: .commit))
    }

    @Test(arguments: [
        (["--scope", "pr:acme/widgets", "x"], "it has no number"), (["--scope", "acme/widgets#1", "x"], "is not a session key"),
        (["--scope", "mr:acme/widgets#1", "x"], "there is no scope “mr”"),
        (["--scope", "commit:xyz", "x"], "is not a commit's object name"),
        (["--scope", "pr:a/b#1~x", "--profile", "y", "x"], "give one"), (["--profile", "y", "x"], "needs a --scope"),
        (["--ref", "main", "x"], "needs a repository"), (["--when-busy", "supersede", "x"], "--supersede-key"),
        (["  "], "the prompt is empty"), (["--agent", "none.yaml", "x"], "cannot be read"),
        (["--agent", "bad.yaml", "x"], "does not describe an agent: driver is missing"),
        (["--agent", "empty.json", "x"], "agent.command is empty"),
    ])
    func mistakesAreUsageErrorsThatSayWhatToDo(arguments: [String], says: String) throws {
        let files = ["bad.yaml": "command: [agent]\n", "empty.json": #"{"driver":"acp","command":[]}"#]
        let failure = try #require(throws: Failure.self) { try draft(arguments, files: files) }
        #expect(failure.status == .usage)
        #expect(failure.message.contains(says), "\(failure.message)")
    }

    @Test func anAgentFileIsRead() throws {
        let yaml = "driver: acp\ncommand: [my-agent, --fast]\nenv: {LANG: C}\nstartTimeout: 30s\n"
        let json = #"{"driver":"acp","command":["my-agent","--fast"],"env":{"LANG":"C"},"startTimeout":"30s"}"#
        let expected = AgentDescription(
            driver: .acp, command: ["my-agent", "--fast"], env: ["LANG": "C"], startTimeout: .seconds(30))
        for (name, text) in [("a.yaml", yaml), ("a.json", json), ("./a.yml", yaml)] {
            let draft = try draft(["--agent", name, "x"], files: [name: text])
            #expect(draft.spec.worker == expected)
            #expect(draft.agent == nil)
        }
    }

    @Test func aWholeWorkerIsDescribedInAFile() throws {
        let yaml = """
            driver: acp
            command: [my-agent]
            credentials: {env: {API_KEY: /run/secrets/key}}
            permissions: Ask
            mode: code
            model: large
            effort: high
            systemPrompt: Be brief.
            allowedTools: [read, edit]
            mcpServers:
              files: {command: [mcp-files, /w], env: {A: b}}
              web: {url: "https://host/mcp", headers: {Authorization: Bearer x}}
            """
        let draft = try draft(["--agent", "w.yaml", "x"], files: ["w.yaml": yaml])
        #expect(
            draft.spec.worker
                == AgentDescription(
                    driver: .acp, command: ["my-agent"], credentials: AgentCredentials(env: ["API_KEY": "/run/secrets/key"]),
                    permissions: .ask, mode: "code", model: "large", effort: "high", systemPrompt: "Be brief.",
                    allowedTools: ["read", "edit"],
                    mcpServers: [
                        "files": MCPServer(command: ["mcp-files", "/w"], env: ["A": "b"]),
                        "web": MCPServer(url: "https://host/mcp", headers: ["Authorization": "Bearer x"]),
                    ]))
    }

    @Test(arguments: [
        (#""credentials":{"env":{"K":"key"}}"#, "credentials.env.K must be the absolute path"),
        (#""env":{"K":"v"},"credentials":{"env":{"K":"/k"}}"#, "both have K"),
        (#""mcpServers":{"x":{}}"#, "either a command or a url"),
    ])
    func mistakesInAWorkerAreNamed(fields: String, says: String) throws {
        let files = ["w.json": #"{"driver":"acp","command":["a"],\#(fields)}"#]
        let failure = try #require(throws: Failure.self) { try draft(["--agent", "w.json", "x"], files: files) }
        #expect(failure.message.contains(says), "\(failure.message)")
    }

    @Test(arguments: ["never", "retry:0", "retry:99", "fail:1"]) func onInterruptIsChecked(text: String) {
        #expect(throws: (any Error).self) { try draft(["--on-interrupt", text, "x"]) }
    }

    @Test func theServerIsFoundByOptionThenEnvironmentThenRecord() throws {
        func resolve(_ arguments: [String], _ environment: [String: String], _ files: [String: String]) throws -> ServerAddress {
            let command = try #require(try Root.parseAsRoot(["version"] + arguments) as? Version)
            return try ServerAddress.resolve(command.server, environment: environment, read: { files[$0] })
        }
        let record = #"{"url":"http://127.0.0.1:7","tokenFile":"/t","pid":4}"#
        let files = ["/d/server.json": record, "/h/.local/share/holdfast/server.json": record, "/t": "secret\n", "/u": "other"]
        #expect(try resolve([], ["HOME": "/h"], files) == ServerAddress(url: "http://127.0.0.1:7", token: "secret"))
        #expect(try resolve(["--data-dir", "/d"], [:], files) == ServerAddress(url: "http://127.0.0.1:7", token: "secret"))
        #expect(try resolve([], ["HOLDFAST_DATA": "/d", "HOLDFAST_TOKEN_FILE": "/u"], files).token == "other")
        #expect(
            try resolve(["--server", "http://x/"], ["HOLDFAST_SERVER": "http://y"], files)
                == ServerAddress(url: "http://x", token: nil))
        let none = try #require(throws: Failure.self) { try resolve([], ["XDG_DATA_HOME": "/x"], [:]) }
        #expect(none.status == .unreachable)
        #expect(none.message.contains("/x/holdfast/server.json"))
        #expect(none.message.contains("holdfast-supervisor serve"))
        #expect(throws: Failure.self) { try resolve(["--server", "localhost"], [:], [:]) }
        #expect(throws: Failure.self) { try resolve(["--server", "http://x", "--token-file", "/none"], [:], [:]) }
    }

    @Test func sessionNamesAreCompletedAndQuoted() throws {
        #expect(try ScopeArgument.sessionID("pr:acme/widgets#12", directory: "/") == "pr:github.com/acme/widgets#12")
        #expect(try ScopeArgument.sessionID("pr12-widge", directory: "/") == "pr12-widge")
        #expect(API.segment("pr:a/b#1~x y") == "pr%3Aa%2Fb%231~x%20y")
        #expect(shellWord("pr:a/b#1") == "'pr:a/b#1'")
        #expect(shellWord("it's") == "'it'\\''s'")
        #expect(shellWord("task-1") == "task-1")
    }

    @Test func phasesHaveTheirExitStatuses() {
        #expect(TaskPhase.allCases.map(\.exitStatus.rawValue) == [1, 1, 1, 1, 0, 1, 3, 4])
    }

    @Test(arguments: [
        [], ["run"], ["run", "a", "b"], ["nonsense"], ["run", "--timeout", "soon", "x"],
        ["answer", "t", "--option", "a", "--refuse"],
    ])
    func wrongCommandLinesExitWith2(arguments: [String]) async {
        let outcome = await holdfast(arguments, environment: ["HOLDFAST_SERVER": "http://127.0.0.1:1"])
        #expect(outcome.status == (arguments.isEmpty ? 0 : 2))
        #expect(arguments.isEmpty ? outcome.output.contains("SUBCOMMANDS") : !outcome.errors.isEmpty)
    }
}
