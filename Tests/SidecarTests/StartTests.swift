import Curl
import Foundation
import Processes
import SessionModel
import Support
import Testing

/// Starts a sidecar that is expected to refuse, and returns how it ended and what it said.
private func refusal(
    _ arguments: [String], in home: SidecarHome, agent: AgentDescription? = nil
) async throws -> (end: ProcessEnd, log: String) {
    let before = home.log.count
    let sidecar = try SidecarProcess(in: home, agent: agent, arguments: arguments)
    defer { sidecar.kill(SIGKILL) }
    let end = try await sidecar.waitForExit()
    return (end, String(home.log.dropFirst(before)))
}

@Suite struct StartTests {
    private let token = "0123456789abcdef0123456789abcdef"

    private func withHome(_ test: (SidecarHome) async throws -> Void) async throws {
        let home = try SidecarHome()
        do { try await test(home) } catch {
            await home.remove()
            throw error
        }
        await home.remove()
    }

    /// The port that a sidecar with `--listen 127.0.0.1:0` logs.
    private func port(_ sidecar: SidecarProcess) async throws -> String {
        var found: Substring?
        try await sidecar.until {
            found = sidecar.home.log.split(whereSeparator: \.isWhitespace).last { $0.hasPrefix("port=") }?.dropFirst(5)
            return found != nil
        }
        return String(found!)
    }

    @Test func aSessionOfOneTaskEndsByItselfWhenNobodyAsksForItsResult() async throws {
        try await withHome { home in
            let sidecar = try await SidecarProcess.start(in: home, agent: .demo(), arguments: ["--result-hold", "300ms"])
            defer { sidecar.kill(SIGKILL) }
            _ = try await sidecar.enqueue("run: sleep 1\nsay: done")
            #expect(try await sidecar.waitForExit() == .code(0))
            // Not before its time, and with all of it on the disk.
            let folder = home.state + "/transcript"
            let lines = try FileManager.default.contentsOfDirectory(atPath: folder).sorted().flatMap { file in
                try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8).split(separator: "\n")
            }
            let ended = lines.firstIndex { $0.contains(#""turn.ended""#) && $0.contains("succeeded") }
            let drained = lines.firstIndex { $0.contains(#""session.drained""#) }
            #expect(ended != nil && drained != nil && ended! < drained!, "\(lines)")
            #expect(home.processes.isEmpty)
        }
    }

    @Test func overTCPOnlyTheTokenOpens() async throws {
        try await withHome { home in
            let file = try home.write("token", token + "\n")
            let sidecar = try await SidecarProcess.start(in: home, arguments: ["--listen", "127.0.0.1:0", "--token-file", file])
            defer { sidecar.kill(SIGKILL) }
            let url = "http://127.0.0.1:\(try await port(sidecar))"
            func status(_ path: String, _ authorization: String?) async throws -> Int {
                let headers = authorization.map { [(name: "Authorization", value: $0)] } ?? []
                return try await CurlClient.shared.execute(CurlRequest("GET", url + path, headers: headers)).status
            }
            for wrong in [nil, "Bearer ", "Bearer x", "Basic \(token)", "Bearer \(token)x", "Bearer \(token.dropLast())", token] {
                #expect(try await status("/v1/session", wrong) == 401, "\(wrong ?? "none")")
                #expect(try await status("/metrics", wrong) == 401)
                #expect(try await status("/no/such/path", wrong) == 401)
            }
            #expect(try await status("/v1/session", "Bearer \(token)") == 200)
            #expect(try await status("/livez", nil) == 200)
            #expect(try await status("/readyz", nil) == 200)
            let answer = try await CurlClient.shared.execute(CurlRequest("GET", url + "/v1/turns"))
            #expect(answer.header("WWW-Authenticate") == "Bearer")
            #expect(try JSON.decode(Problem.self, from: Data(answer.body)).kind == .unauthorized)
        }
    }

    @Test func theSocketIsOpenToItsUserOnly() async throws {
        try await SidecarProcess.with { sidecar in
            let mode = try FileManager.default.attributesOfItem(atPath: sidecar.home.socket)[.posixPermissions] as? Int
            #expect(mode == 0o600)
        }
    }

    @Test func refusesWhatCannotBeRight() async throws {
        try await withHome { home in
            let short = try home.write("short", "secret")
            let token = try home.write("long", "0123456789abcdef")
            let long = "/tmp/" + String(repeating: "x", count: 110)
            let cases: [([String], String)] = [
                (["--listen", "127.0.0.1:0"], "--token-file"),
                (["--listen", "127.0.0.1:0", "--token-file", short], "16 characters"),
                (["--listen", "127.0.0.1:0", "--token-file", home.path + "/none"], "cannot be read"),
                (["--listen", "8080", "--token-file", short], ""),
                (["--tls-certificate", short], "belong together"),
                (["--tls-certificate", short, "--tls-key", short], "which is missing"),
                (
                    ["--listen", "127.0.0.1:0", "--token-file", token, "--tls-certificate", short, "--tls-key", short],
                    "The certificate \(short) cannot be read"
                ),
                (
                    ["--agent", try home.write("pod.json", #"{"driver":"acp","command":["x"],"image":"y"}"#)],
                    "agent.image is what"
                ),
                (["--agent", home.path + "/none"], "cannot be read"),
                (["--workspace", try home.write("w.json", #"{"branch":"main"}"#)], "no repository"),
                (["--session", "nonsense"], ""),
                (["--socket", long], "bytes"),
                (["--runtime-dir", long], "bytes"),
                (["--max-queued-turns", "0"], "maxQueuedTurns must be 1 or more"),
                (["--turn-timeout", "soon"], "--turn-timeout"),
                (["--no-such-flag"], "--no-such-flag"),
                (["--epoch", "-1"], "--epoch"),
            ]
            for (arguments, words) in cases {
                let (end, log) = try await refusal(arguments, in: home)
                #expect(end == .code(64), "\(arguments): \(log)")
                #expect(words.isEmpty || log.contains(words), "\(arguments): \(log)")
                #expect(!log.contains("Problem(") && !log.contains("Fatal"), "\(log)")
            }
            #expect(!FileManager.default.fileExists(atPath: home.state + "/transcript"), "a refused start leaves nothing behind")
        }
    }

    @Test(arguments: [
        ("{", "not valid"), (#"{"driver":"telepathy","command":["x"]}"#, "driver"), (#"{"driver":"acp"}"#, "command is empty"),
        (#"{"driver":"acp","command":[]}"#, "command is empty"), (#"{"driver":"acp","command":"x"}"#, "command"),
        (#"{"driver":"acp","command":["x"],"startTimeout":"0s"}"#, "startTimeout"),
    ])
    func aBadAgentDescriptionIsOneSentence(text: String, words: String) async throws {
        try await withHome { home in
            let (end, log) = try await refusal(["--agent", try home.write("agent.json", text)], in: home)
            #expect(end == .code(64))
            #expect(log.contains(words), "\(log)")
            #expect(log.split(separator: "\n").count == 1, "\(log)")
        }
    }

    @Test func aStateDirectoryHasOneSidecarAndItsEpochNeverGoesBack() async throws {
        try await withHome { home in
            let first = try await SidecarProcess.start(in: home, arguments: ["--epoch", "5"])
            defer { first.kill(SIGKILL) }
            let second = try await refusal([], in: home)
            #expect(second.end == .code(75))
            #expect(second.log.contains("holdfast-sidecar: "), "\(second.log)")
            #expect(try await first.send("GET", "/livez").status == 200, "the first one goes on, and keeps its socket")
            first.kill(SIGTERM)
            #expect(try await first.waitForExit() == .code(0))

            #expect(try await refusal(["--epoch", "4"], in: home).end == .code(76))
            let next = try await SidecarProcess.start(in: home)
            defer { next.kill(SIGKILL) }
            #expect(try await next.json(Activity.self, "GET", "/v1/activity").epoch == 6)
        }
    }

    @Test func aMissingAgentFailsTheTurnAndNotTheSession() async throws {
        let agent = AgentDescription(driver: .acp, command: ["/no/such/agent"])
        try await SidecarProcess.with(agent: agent) { sidecar in
            for number in 1...2 {
                try await sidecar.enqueue("x")
                let turn = try await sidecar.end(of: TurnID(UInt64(number)))
                #expect(turn.state == .failed && turn.reason == .agentStart)
                #expect(turn.message?.contains("/no/such/agent") == true)
            }
            #expect(try await sidecar.send("GET", "/readyz").status == 200)
        }
    }
}
