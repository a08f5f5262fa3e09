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
