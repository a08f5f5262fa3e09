import SessionModel
import Testing

@testable import Agents

@Suite struct TurnLogTests {
    /// As of an agent that works by itself for long: nothing is left out without a word, and what it prints takes no other's place.
    @Test func whatHappensBetweenTurnsIsRecordedInTheNextUpToALimitAndTheRestIsCounted() async {
        let log = TurnLog()
        for number in 1...200 {
            await log.printed(Array("line \(number)\n".utf8), to: .stderr)
            if number <= TurnLog.heldLimit { await log.record(.message(Message(text: "\(number)"))) }
        }
        for number in 1...30 { await log.record(.message(Message(text: "more \(number)"))) }
        let recorder = Recorder()
        await log.begin(AgentPrompt(turn: TurnID(1), text: "p", directory: "/"), recorder)
        #expect(await recorder.messages == (1...TurnLog.heldLimit).map(String.init))
        #expect(await recorder.output.count == 200)
        let counted = EventBody.error(
            Reason("more happened since the turn before than is kept: the first 100 events are recorded, and 30 are not"))
        #expect(await recorder.events.last == counted)
        _ = await log.end(.cancelled(clean: true), recording: [], results: TurnResults())

        // It is said once.
        let next = Recorder()
        await log.record(.message(Message(text: "again")))
        await log.begin(AgentPrompt(turn: TurnID(2), text: "p", directory: "/"), next)
        #expect(await next.events == [.message(Message(text: "again"))])
    }
}
