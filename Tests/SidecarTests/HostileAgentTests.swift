import Curl
import Foundation
import Processes
import SessionModel
import Support
import Testing

/// Agents that misbehave: each turn has a clear outcome, memory stays bounded, nothing is left alive, and the next turn works.
@Suite(.serialized) struct HostileAgentTests {
    /// Runs a turn, then one that shows that the session goes on, and returns the first.
    private func run(
        _ prompt: String, on sidecar: SidecarProcess, within limit: Duration = .seconds(60)
    ) async throws -> Turn {
        let turn = try await sidecar.enqueue(prompt)
        let ended = try await sidecar.end(of: turn.id, within: limit)
        let next = try await sidecar.enqueue("say: still here")
        #expect(try await sidecar.end(of: next.id).state == .succeeded)
        return ended
    }

    @Test func muchNoiseAndOneEndlessLine() async throws {
        let isLong = ProcessInfo.processInfo.environment["HOLDFAST_LONG"] != nil
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let noise = try await run("noise: \(isLong ? 1 << 30 : 128 << 20)", on: sidecar, within: .seconds(300))
            #expect(noise.state == .succeeded)
            let line = try await run("longline: \(isLong ? 200 << 20 : 64 << 20)", on: sidecar, within: .seconds(300))
            #expect(line.state.isTerminal)
            #expect(line.state == .succeeded || line.message != nil)
            let host = try #require(sidecar.host)
            #expect(sidecar.memory.peak < 80 << 20, "sidecar: \(sidecar.memory)")
            #expect(Memory(pid: host.pid).peak < 60 << 20, "host: \(Memory(pid: host.pid))")
            // What is not the protocol is kept in part at the most.
            #expect(
                try await sidecar.send("GET", "/v1/transcript", headers: ["Accept": "application/x-ndjson"]).body.count < 4 << 20)
        }
    }

    @Test func invalidUTF8() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let turn = try await run("invalid-utf8:\nsay: after it", on: sidecar)
            #expect(turn.state.isTerminal)
            let bytes = try await sidecar.send("GET", "/v1/transcript", headers: ["Accept": "application/x-ndjson"]).body
            #expect(String(validating: bytes, as: UTF8.self) != nil)
        }
    }

    @Test func figuresThatNoTranscriptCanHold() async throws {
        let script = #"""
            while read -r line; do
            id=${line#*'"id":'}; id=${id%%,*}
            case "$line" in
            *'"method":"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":1}}\n' "$id";;
            *'"method":"session/new"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"sessionId":"s"}}\n' "$id";;
            *'"method":"session/prompt"'*)
                amount=1e308; [ -e asked ] || amount=-1e308; touch asked
                printf '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"usage_update","used":1,"size":2,"cost":{"amount":%s,"currency":"USD"}}}}\n' "$amount"
                printf '{"jsonrpc":"2.0","id":%s,"result":{"stopReason":"end_turn","usage":{"inputTokens":-9223372036854775808,"outputTokens":9223372036854775807}}}\n' "$id";;
            esac
            done
            """#
        let agent = AgentDescription(driver: .acp, command: ["/bin/sh", "-c", script])
        try await SidecarProcess.with(agent: agent) { sidecar in
            let turn = try await run("What does it cost?", on: sidecar)
            #expect(turn.state == .succeeded)
            #expect(turn.results?.usage == Usage(outputTokens: .max), "\(turn)")
            #expect(try await sidecar.turn(TurnID(2)).results?.usage == Usage(outputTokens: 0, costUSD: 1e308))
        }
    }

    @Test func aCrash() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let turn = try await run("crash: 3", on: sidecar)
            #expect(turn.state == .failed && turn.reason == .agentExited)
            #expect(turn.message?.contains("3") == true, "\(turn.message ?? "")")
        }
    }

    @Test func anExitAtStart() async throws {
        try await SidecarProcess.with(agent: .demo(["--exit-at-start", "4"])) { sidecar in
            for number in 1...2 {
                try await sidecar.enqueue("x")
                let turn = try await sidecar.end(of: TurnID(UInt64(number)))
                #expect(turn.state == .failed && turn.reason == .agentStart, "\(turn)")
                #expect(turn.message?.contains("4") == true, "\(turn.message ?? "")")
            }
        }
    }

    @Test func anAgentThatSaysNothingAtStart() async throws {
        let agent = AgentDescription.demo(["--hang-at-start"], startTimeout: .seconds(1))
        try await SidecarProcess.with(agent: agent, arguments: ["--cancel-grace", "300ms"]) { sidecar in
            for number in 1...2 {
                try await sidecar.enqueue("x")
                let turn = try await sidecar.end(of: TurnID(UInt64(number)))
                #expect(turn.state == .failed && turn.reason == .agentStart, "\(turn)")
            }
            try await sidecar.until { !sidecar.home.processes.contains { $0.name.hasPrefix("holdfast-demo") } }
        }
    }

    @Test func aHangThatIgnoresSIGTERM() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: ["--cancel-grace", "300ms"]) { sidecar in
            try await sidecar.enqueue("ignore-sigterm:\nhang:")
            _ = try await sidecar.turn(TurnID(1), in: [.running])
            try await sidecar.until { sidecar.home.processes.contains { $0.name.hasPrefix("holdfast-demo") } }
            try await sidecar.send("DELETE", "/v1/turns/t1")
            let turn = try await sidecar.end(of: TurnID(1))
            #expect(turn.state == .cancelled)
            try await sidecar.enqueue("say: next")
            #expect(try await sidecar.end(of: TurnID(2)).state == .succeeded)
        }
    }

    @Test func anOrphanInASessionOfItsOwnDiesWithTheCancelledTurn() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: ["--cancel-grace", "300ms"]) { sidecar in
            try await sidecar.enqueue("orphan: 4321\nhang:")
            func orphan() -> Bool { sidecar.home.processes.contains { $0.command.contains("4321") } }
            try await sidecar.until { orphan() }
            try await sidecar.send("DELETE", "/v1/turns/t1")
            #expect(try await sidecar.end(of: TurnID(1)).state == .cancelled)
            // The next one is dispatched only when nothing of the first is alive.
            try await sidecar.enqueue("run: pgrep -f 'sleep 4321' && echo ALIVE || echo none")
            #expect(try await sidecar.end(of: TurnID(2)).state == .succeeded)
            #expect(!orphan())
        }
    }
}
