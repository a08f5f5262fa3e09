import SessionModel
import Support
import Testing

@Suite struct RedactorTests {
    private let token = "s3cr3t-token-value"
    private var redact: Redactor { Redactor([token]) }

    @Test func aKnownValueIsTakenOutWhereverItStands() {
        #expect(redact("Authorization: Bearer \(token)\n") == "Authorization: Bearer ***\n")
        #expect(redact(token) == "***")
        #expect(redact("\(token)\(token)x\(token)") == "***x***")
        #expect(redact("nothing of it") == "nothing of it")
    }

    @Test func shortValuesAreNoSecrets() {
        #expect(Redactor(["1234567", ""]).isEmpty)
        #expect(Redactor(["12345678"])("12345678 1234567") == "*** 1234567")
    }

    @Test func overlappingSecretsLeaveNothingOfEither() {
        let redact = Redactor(["abcdefgh-1", "gh-1-ijklm", "abcdefgh-1-and-more"])
        #expect(redact("<abcdefgh-1-ijklm>") == "<***>")
        #expect(redact("<abcdefgh-1-and-more>") == "<***>")
        #expect(redact("<abcdefgh-1-and-less>") == "<***-and-less>")
    }

    @Test func aSecretIsFoundAsJSONSpellsIt() throws {
        let secret = "pass\"word/with\\all"
        let json = try JSON.string(["key": secret])
        #expect(Redactor([secret])(json) == #"{"key":"***"}"#)
        #expect(Redactor([secret])(json.split(separator: "/").joined(separator: "\\/")) == #"{"key":"***"}"#)
    }

    @Test func everyLineOfALongSecretIsSecret() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"
        #expect(Redactor([key])("1: MIIEvQIBADANBgkq\n2: hkiG9w0BAQEFAASC") == "1: ***\n2: ***")
        #expect(Redactor([key])("<\(key)>") == "<***>")
    }

    @Test func whatACutHasLeftOfItIsFound() {
        #expect(redact("the key is s3cr3t-tok") == "the key is ***")
        #expect(redact("token-value is the key") == "*** is the key")
        #expect(redact("3cr3t-tok") == "***")
        // Too little to be of use, and too likely to be something else.
        #expect(redact("the key is s3cr3t-") == "the key is s3cr3t-")
        #expect(redact("n-value is the key") == "n-value is the key")
    }

    @Test func aSecretInTwoPartsIsFound() {
        var stream = redact.stream()
        #expect(stream.feed("key s3cr3t-") == "key ")
        #expect(!stream.isSettled)
        #expect(stream.feed("token-value, and") == "***, and")
        #expect(stream.isSettled)
        #expect(stream.feed(" s3cr") == " ")
        #expect(stream.finish() == "s3cr")
    }

    @Test func nothingIsKeptBackThatCannotBecomeASecret() {
        var stream = redact.stream()
        #expect(stream.feed("Hello") == "Hello")
        #expect(stream.feed(" s") == " ")
        #expect(stream.feed("o") == "so")
        #expect(Redactor([]).isEmpty)
        var plain = Redactor([String]()).stream()
        #expect(plain.feed("s3cr3t") == "s3cr3t")
    }

    @Test(arguments: 0..<200 as Range<UInt64>)
    func partsAndTheWholeGiveTheSame(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        func word(_ count: ClosedRange<Int>) -> String {
            // Few letters, so that secrets overlap, begin alike and nearly match.
            String((0..<Int.random(in: count, using: &random)).map { _ in random.pick(["a", "b", "é", "\"", "\n"]) })
        }
        let secrets = (0..<3).map { _ in word(6...14) }
        let redact = Redactor(secrets)
        let text = (0..<12).map { _ in random.oneIn(3) ? random.pick(secrets) : word(0...6) }.joined()
        var stream = redact.stream()
        var parts = ""
        var rest = Array(text)[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...4, using: &random)
            parts += stream.feed(String(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        parts += stream.finish()
        #expect(parts == redact(text), "seed \(seed)")
        for secret in secrets where secret.utf8.count >= Redactor.minimum {
            #expect(!parts.contains(secret), "seed \(seed)")
        }
    }

    @Test func everyEventThatAgentsWriteIsRedacted() throws {
        let results = TurnResults(answer: token, workspace: WorkspaceState(branch: token, dirtyFiles: [token]))
        let bodies: [EventBody] = [
            .inputRequested(
                InputRequest(
                    id: "q", question: token, options: [.init(id: "y", name: token)], deadline: Timestamp(milliseconds: 0))),
            .turnEnded(TurnEnded(state: .failed, reason: .agentError, message: token, results: results)),
            .hostLost(Reason(token)), .agentExited(Reason(token)), .agentReleased(Reason(token)),
            .agentOutput(AgentOutput(stream: .stderr, text: token)),
            .conversationReseeded(Conversation(id: "c", reason: token)), .message(Message(text: token)),
            .thought(Thought(text: token)), .toolCall(ToolCall(id: "1", title: token, input: #"{"a":"\#(token)"}"#)),
            .toolResult(
                ToolResult(
                    id: "1", title: token, status: "completed", output: token,
                    diffs: [.init(path: token, oldText: token, newText: token)])),
            .plan(Plan(entries: [.init(content: token, status: nil)])), .error(Reason(token)),
            .workspaceStep(WorkspaceStep(.setup, token)), .workspaceState(WorkspaceState(branch: token)),
            .unknown(type: "later", data: ["a": [.string(token)]]),
        ]
        for body in bodies {
            let line = String(decoding: try redact(body).encodedData(), as: UTF8.self)
            #expect(!line.contains(token) && line.contains("***"), "\(body.type)")
            #expect(redact(body).type == body.type)
        }
        let request = EventBody.turnQueued(TurnQueued(request: TurnRequest(prompt: token), key: nil))
        #expect(redact(request) == request)
    }
}

@Suite struct SecretsTests {
    @Test(arguments: ["GH_TOKEN", "ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "db_password", "OPENAI_APIKEY", "GH_PAT", "KEY"])
    func namesOfSecrets(name: String) { #expect(Secrets.values(ofEnvironment: [name: "value-of-it"]) == ["value-of-it"]) }

    @Test(arguments: ["PATH", "MONKEY", "AWS_ACCESS_KEY_ID", "KEYBOARD", "TOKENIZER", "LANG"])
    func namesOfOthers(name: String) { #expect(Secrets.values(ofEnvironment: [name: "value-of-it"]) == []) }

    @Test func passwordsInURLs() {
        #expect(Secrets.values(ofEnvironment: ["DATABASE": "postgres://me:hunter22@host/db"]) == ["hunter22"])
        #expect(Secrets.password(inURL: "https://ghp_token@host/x") == "ghp_token")
        #expect(Secrets.password(inURL: "ssh://git@host/x") == nil)
        #expect(Secrets.password(inURL: "https://host/a@b") == nil)
    }

    @Test func whatAnAgentIsGivenForItsTools() {
        let agent = AgentDescription(
            driver: .acp, command: ["agent"], env: ["MY_TOKEN": "agent-token", "LANG": "C"],
            mcpServers: [
                "files": MCPServer(command: ["mcp"], env: ["ANY": "server-value", "DIR": "/work/dir"]),
                "web": MCPServer(url: "https://host/mcp", headers: ["Authorization": "Bearer header-token"]),
            ])
        #expect(Set(Secrets.values(of: agent)) == ["agent-token", "server-value", "Bearer header-token", "header-token"])
    }
}
