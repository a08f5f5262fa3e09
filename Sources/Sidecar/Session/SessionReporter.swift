import Agents
import Journal
import SessionModel

/// Where the driver of a turn reports: the session's journal and its live followers.
struct SessionReporter: TurnReporter {
    let session: Session
    let turn: TurnID

    /// How much may wait for the disk before the agent has to wait too, bytes.
    private static let backlog = 1 << 20

    func record(_ body: EventBody) async {
        guard await session.report(body, turn: turn) != nil else { return }
        if session.journal.backlog > Self.backlog { try? await session.journal.settled() }
    }

    func recordDurably(_ body: EventBody) async throws(Problem) {
        guard let sequence = await session.report(body, turn: turn) else {
            throw Problem(.storageFull, "The turn is over or the disk is full, so nothing more is recorded for it.")
        }
        do {
            try await session.journal.synced(sequence)
        } catch {
            throw Problem(.storageFull, error.message)
        }
    }

    func delta(_ text: String) async { session.deltas.publish(text, turn: turn, after: session.journal.appended) }
    func ask(_ request: InputRequest) async { await session.ask(request, turn: turn) }
    func withdrawQuestion() async { await session.withdrawQuestion(of: turn) }
}
