import SessionModel
import Testing

@testable import Sidecar

/// What an agent is told that has lost its conversation.
@Suite struct DigestTests {
    private func turn(
        _ ordinal: UInt64, _ prompt: String, answer: String? = nil, state: TurnState = .succeeded, message: String? = nil,
        workspace: WorkspaceState? = nil, ran: Bool = true
    ) -> Turn {
        let moment = Timestamp(milliseconds: 1_800_000_000_000)
        var turn = Turn(id: TurnID(ordinal), request: TurnRequest(prompt: prompt), createdAt: moment)
        turn.state = state
        turn.startedAt = ran ? moment : nil
        turn.message = message
        turn.results = TurnResults(answer: answer, workspace: workspace)
        return turn
    }

    @Test func theNewestTurnsAreToldInFullAndInTheirOrder() {
        let workspace = WorkspaceState(
            branch: "fix", commit: "0123456789abcdef", dirtyFiles: ["a.swift", "b.swift"], dirtyFileCount: 3,
            diffstat: "2 files changed")
        let text = Digest.text(of: [
            turn(1, "Fix the test", answer: "It is fixed.\nIt was the clock.", workspace: workspace),
            turn(2, "never ran", state: .cancelled, ran: false),
            turn(3, "Now the docs", state: .interrupted, message: "the host died"),
        ])
        #expect(
            text == """
                Turn t1, succeeded. You were asked:
                Fix the test
                You answered:
                It is fixed.
                It was the clock.
                After it: fix at 0123456789ab; 2 files changed; not committed: a.swift, b.swift and 1 more.

                Turn t3, interrupted (the host died). You were asked:
                Now the docs
                """)
        #expect(Digest.text(of: []) == "(No turn has run to its end.)")
    }

    @Test func olderTurnsAreSummarisedAndTheWholeIsBounded() {
        let long = String(repeating: "word ", count: 600)
        let turns = (1...60).map { turn($0, "prompt \($0) \(long)", answer: "answer \($0) \(long)") }
        let text = Digest.text(of: turns)
        #expect(text.utf8.count <= Digest.limit)
        #expect(text.utf8.count > Digest.limit * 3 / 4)
        #expect(text.contains("Turn t60, succeeded. You were asked:\nprompt 60 word"))
        #expect(text.contains("Turn t55, succeeded: “prompt 55 word"))
        #expect(text.hasPrefix("(Turns before these are left out.)\n\nTurn t"))
        #expect(!text.contains("prompt 1 "))
    }

    @Test(arguments: [0, 1, 100, 4_000, 8_000, 16_000, 40_000])
    func itIsBoundedWhateverTheTurnsAre(size: Int) {
        for count in [1, 2, 10, 64] as [UInt64] {
            let turns = (1...count).map {
                turn($0, String(repeating: "é", count: size), answer: String(repeating: "漢", count: size))
            }
            let text = Digest.text(of: turns)
            #expect(text.utf8.count <= Digest.limit)
            #expect(text.contains("Turn t\(count), succeeded. You were asked:"))
        }
    }
}
