import Foundation
import SessionModel
import Support
import Testing

/// What an agent remembers across incarnations, and what is said when it does not.
@Suite struct MemoryTests {
    @Test func aLostConversationIsReplacedAndSaid() async throws {
        let home = try SidecarHome()
        // Released at once, so that each turn loads the conversation.
        let sidecar = try await SidecarProcess.start(in: home, agent: .demo(), arguments: ["--agent-idle", "1ms"])
        func run(_ prompt: String) async throws -> Turn {
            try await sidecar.until { try await !sidecar.json(SessionStatus.self, "GET", "/v1/session").agent.warm }
            return try await sidecar.end(of: try await sidecar.enqueue(prompt).id)
        }
        #expect(try await run("say: The colour is green.").notices == nil)
        #expect(try await run("say: and blue").results?.answer?.contains("I remember 1 earlier prompt") == true)

        try FileManager.default.removeItem(atPath: home.state + "/agent")
        let lost = try await run("say: What was the colour?")
        #expect(lost.state == .succeeded)
        #expect(lost.notices?.count == 1)
        #expect(lost.notices?.first?.hasPrefix("The agent's memory of this session was lost (") == true, "\(lost.notices ?? [])")
        let reseeded = try await sidecar.events().filter { $0.body.type == "conversation.reseeded" }
        #expect(reseeded.map(\.turn) == [lost.id])

        // It was told of the turns of this incarnation, too; and goes on with the new conversation.
        let next = try await run("say: yes")
        #expect(next.notices == nil)
        #expect(next.results?.answer?.contains("“You worked on this before, but your") == true, "\(next.results?.answer ?? "")")
        let files = FileManager.default.enumerator(atPath: home.state + "/agent")?.allObjects as? [String] ?? []
        let memory = files.compactMap { FileManager.default.contents(atPath: home.state + "/agent/" + $0) }
            .map { String(decoding: $0, as: UTF8.self) }.joined()
        #expect(memory.contains("The colour is green.") && memory.contains("Turn t2, succeeded"))
        sidecar.kill(SIGKILL)
        await home.remove()
    }

    /// Has lost its first conversation, knows its second, and answers no prompt while a file `hold` is there.
    private static let forgetful = [
        "/bin/sh", "-c",
        #"""
        while read -r line; do
        id=${line#*'"id":'}; id=${id%%,*}
        case "$line" in
        *'"method":"initialize"'*)
            printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":1,"agentCapabilities":{"loadSession":true}}}\n' "$id";;
        *'"method":"session/new"'*)
            session=s1; [ ! -e one ] || session=s2; touch one
            printf '{"jsonrpc":"2.0","id":%s,"result":{"sessionId":"%s"}}\n' "$id" "$session";;
        *'"method":"session/load"'*'"s2"'*) session=s2; printf '{"jsonrpc":"2.0","id":%s,"result":null}\n' "$id";;
        *'"method":"session/load"'*)
            printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32002,"message":"Session not found"}}\n' "$id";;
        *'"method":"session/prompt"'*)
            [ ! -e hold ] || continue
            printf '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"%s","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"Yes."}}}}\n' "$session"
            printf '{"jsonrpc":"2.0","id":%s,"result":{"stopReason":"end_turn"}}\n' "$id";;
        esac
        done
        """#,
    ]

    /// Between the note of the new conversation and the first sign that the agent has read what it was told, a crash may come.
    @Test func whatWasLostIsToldAfterACrashToo() async throws {
        let home = try SidecarHome()
        let agent = AgentDescription(driver: .acp, command: Self.forgetful)
        var sidecar = try await SidecarProcess.start(in: home, agent: agent)
        _ = try await sidecar.end(of: try await sidecar.enqueue("The colour is green.").id)
        sidecar.kill(SIGTERM)
        try await sidecar.waitForExit()

        let hold = home.workspace + "/hold"
        #expect(FileManager.default.createFile(atPath: hold, contents: nil))
        sidecar = try await SidecarProcess.start(in: home, agent: agent)
        let cut = try await sidecar.enqueue("What was it?").id
        try await sidecar.until { try await sidecar.events().contains { $0.body.type == "conversation.reseeded" } }
        sidecar.kill(SIGKILL)
        try await sidecar.waitForExit()
        try FileManager.default.removeItem(atPath: hold)

        sidecar = try await SidecarProcess.start(in: home, agent: agent)
        #expect(try await sidecar.end(of: cut).state == .interrupted)
        for (prompt, isTold) in [("And now?", true), ("And then?", false), ("And after another start?", false)] {
            if prompt == "And after another start?" {
                sidecar.kill(SIGKILL)
                try await sidecar.waitForExit()
                sidecar = try await SidecarProcess.start(in: home, agent: agent)
            }
            let turn = try await sidecar.end(of: try await sidecar.enqueue(TurnRequest(prompt: prompt, raw: true)).id)
            #expect(turn.state == .succeeded)
            let sent = try await sidecar.events().compactMap { event in
                if case .agentFrame(let frame) = event.body, event.turn == turn.id, frame.direction == .sent {
                    frame.text
                } else {
                    nil
                }
            }.filter { $0.contains("session/prompt") }
            #expect(sent.count == 1 && sent[0].contains(#""sessionId":"s2""#))
            #expect(sent[0].contains("You worked on this before") == isTold, "\(sent)")
            #expect(sent[0].contains("The colour is green.") == isTold)
        }
        sidecar.kill(SIGKILL)
        await home.remove()
    }

    @Test func theStateDirectoryMayMove() async throws {
        let home = try SidecarHome()
        let other = try SidecarHome()
        var sidecar = try await SidecarProcess.start(in: home, agent: .demo())
        _ = try await sidecar.end(of: try await sidecar.enqueue("say: The colour is green.").id)
        sidecar.kill(SIGTERM)
        try await sidecar.waitForExit()
        try FileManager.default.moveItem(atPath: home.state, toPath: other.state)
        sidecar = try await SidecarProcess.start(in: other, agent: .demo())
        let turn = try await sidecar.end(of: try await sidecar.enqueue("say: and now").id)
        #expect(turn.id == TurnID(2))
        #expect(turn.results?.answer?.contains("I remember 1 earlier prompt: “say: The colour is green.”") == true)
        #expect(try await sidecar.events().contains { $0.body.type == "conversation.resumed" })
        sidecar.kill(SIGKILL)
        await home.remove()
        await other.remove()
    }
}
