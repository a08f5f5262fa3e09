import Curl
import Foundation
import Processes
import SessionModel
import Support
import Testing

/// Secrets reach the agent's environment, and nothing that anybody can read.
@Suite struct SecretTests {
    private let secret = "hf-test-secret/0123456789\"ab"

    /// An agent that tells its credential in every way it has.
    private static let blabber = [
        "/bin/sh", "-c",
        #"""
        update() { printf '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":%s}}\n' "$1"; }
        while read -r line; do
        id=${line#*'"id":'}; id=${id%%,*}
        case "$line" in
        *'"method":"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":1}}\n' "$id";;
        *'"method":"session/new"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"sessionId":"s1"}}\n' "$id";;
        *'"method":"session/prompt"'*)
            quoted=$(printf %s "$AGENT_LOGIN" | sed 's/"/\\"/g')
            half=${quoted%???????????}
            printf 'my key is %s' "${AGENT_LOGIN%????}" >&2
            printf '%s, as you see\n' "${AGENT_LOGIN#"${AGENT_LOGIN%????}"}" >&2
            printf 'no frame: %s\n' "$AGENT_LOGIN"
            update '{"sessionUpdate":"agent_thought_chunk","content":{"type":"text","text":"'"$quoted"'"}}'
            update '{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"It is '"$half"'"}}'
            update '{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"'"${quoted#"$half"}"'!"}}'
            much=$(head -c 300000 /dev/zero | tr '\0' .)
            update '{"sessionUpdate":"tool_call","toolCallId":"1","title":"use '"$quoted"'","rawInput":{"key":"'"$quoted"'"}}'
            update '{"sessionUpdate":"tool_call_update","toolCallId":"1","status":"completed","content":[{"type":"content","content":{"type":"text","text":"'"$much$quoted$much"'"}}]}'
            printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"bad key '"$quoted"'"}}\n' "$id";;
        esac
        done
        """#,
    ]

    private func agent(_ home: SidecarHome) -> AgentDescription {
        AgentDescription(
            driver: .acp, command: Self.blabber,
            credentials: AgentCredentials(env: ["AGENT_LOGIN": home.path + "/login"]))
    }

    /// All that was written below a directory, and where.
    private func files(below directory: String) -> [(path: String, text: String)] {
        (FileManager.default.enumerator(atPath: directory)?.allObjects as? [String] ?? []).compactMap { name in
            FileManager.default.contents(atPath: "\(directory)/\(name)").map { (name, String(decoding: $0, as: UTF8.self)) }
        }
    }

    @Test func aCredentialIsInNothingThatIsKeptOrShown() async throws {
        let home = try SidecarHome()
        try home.write("login", secret + "\n")
        let sidecar = try await SidecarProcess.start(in: home, agent: agent(home))
        defer { sidecar.kill(SIGKILL) }
        let live = Task {
            var text = ""
            let request = sidecar.request("GET", "/v1/transcript", headers: ["Accept": "text/event-stream"])
            for try await part in try await CurlClient.shared.stream(request).body {
                text += String(decoding: part, as: UTF8.self)
                if text.contains("event: turn.ended") { break }
            }
            return text
        }
        try await sidecar.until {
            String(decoding: try await sidecar.send("GET", "/metrics").body, as: UTF8.self)
                .contains("holdfast_sidecar_followers 1\n")
        }
        let turn = try await sidecar.enqueue("tell me your key")
        let end = try await sidecar.end(of: turn.id)
        #expect(end.reason == .agentError)
        #expect(end.message?.contains("bad key ***") == true, "\(end.message ?? "")")
        #expect(end.results?.answer == "It is ***!")

        let events = try await sidecar.events()
        let types = Set(events.map(\.body.type))
        #expect(types.isSuperset(of: ["thought", "message", "tool.call", "tool.result", "agent.output"]), "\(types)")
        let output = events.compactMap { if case .agentOutput(let output) = $0.body { output } else { nil } }
        #expect(output.filter { $0.stream == .stderr }.map(\.text).joined() == "my key is ***, as you see\n")
        #expect(output.filter { $0.stream == .stdout }.map(\.text).joined() == "no frame: ***\n")

        var places = files(below: home.state)
        #expect(places.contains { $0.path.hasPrefix("blobs/") })
        places.append(("log", home.log))
        for path in ["/v1/session", "/v1/turns", "/v1/turns/\(turn.id)", "/v1/activity", "/metrics"] {
            places.append((path, String(decoding: try await sidecar.send("GET", path).body, as: UTF8.self)))
        }
        let quoted = try JSON.string(secret).dropFirst().dropLast()
        for place in places {
            #expect(!place.text.contains(secret) && !place.text.contains(quoted), "\(place.path)")
        }
        for process in home.processes where process.pid != sidecar.pid {
            #expect(!process.command.contains(secret), "\(process.command)")
        }
        let deltas = try await live.value.split(separator: "\n").compactMap { line -> String? in
            guard line.hasPrefix("data: "), let data = try? JSON.decode(JSONValue.self, from: String(line.dropFirst(6))) else {
                return nil
            }
            return data["delta"]?.string
        }
        // A follower that is behind misses parts: what it has seen is part of what may be seen.
        #expect(deltas.allSatisfy("It is ***!".contains), "\(deltas)")
        sidecar.kill(SIGKILL)
        await home.remove()
    }

    @Test func aMissingCredentialFailsTheTurnAndIsReadAgainInTheNext() async throws {
        let home = try SidecarHome()
        let sidecar = try await SidecarProcess.start(in: home, agent: agent(home))
        defer { sidecar.kill(SIGKILL) }
        let first = try await sidecar.end(of: try await sidecar.enqueue("hello").id)
        #expect(first.state == .failed && first.reason == .agentStart)
        #expect(first.message?.contains("AGENT_LOGIN cannot be read from \(home.path)/login: No such file") == true)
        try home.write("login", secret)
        let second = try await sidecar.end(of: try await sidecar.enqueue("hello").id)
        #expect(second.message?.contains("bad key ***") == true, "\(second.message ?? "")")

        // A rotated one is taken up by the next process, and the old one stays a secret.
        try home.write("login", "another-secret")
        sidecar.home.processes.filter { $0.command.contains("AGENT_LOGIN") }.forEach { $0.signal(SIGKILL) }
        try await sidecar.until {
            try await !sidecar.json(SessionStatus.self, "GET", "/v1/session").agent.warm
        }
        _ = try await sidecar.end(of: try await sidecar.enqueue("hello").id)
        let text = files(below: home.state).map(\.text).joined()
        #expect(!text.contains("another-secret"))
        sidecar.kill(SIGKILL)
        await home.remove()
    }
}
