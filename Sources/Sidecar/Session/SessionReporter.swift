import Agents
import Journal
import NIOConcurrencyHelpers
import SessionModel

/// Where the driver of a turn reports: the session's journal and its live followers.
///
/// The session takes secrets out of whole events. Live text and the agent's output come in parts, and a secret may begin in one
/// and end in another: they are looked through here.
final class SessionReporter: TurnReporter {
    private let session: Session
    private let turn: TurnID
    private let attempt: Int?
    private let parts: NIOLockedValueBox<Parts>

    /// How much may wait for the disk before the agent has to wait too, bytes.
    private static let backlog = 1 << 20

    private struct Parts {
        var live: KnownSecrets.Stream
        var output: [AgentOutput.Stream: KnownSecrets.Stream]
    }

    init(session: Session, turn: TurnID, attempt: Int?) {
        self.session = session
        self.turn = turn
        self.attempt = attempt
        let secrets = session.secrets
        parts = NIOLockedValueBox(
            Parts(live: secrets.stream(), output: [.stdout: secrets.stream(), .stderr: secrets.stream()]))
    }

    func record(_ body: EventBody) async {
        switch body {
        case .agentOutput(var output):
            output.text = parts.withLockedValue { $0.output[output.stream]?.feed(output.text) } ?? ""
            if !output.text.isEmpty || output.dropped != nil { await append(.agentOutput(output)) }
            return
        case .agentExited: await finishOutput()
        case .message: finishLive()
        default: break
        }
        await append(body)
    }

    /// The driver has reported the end of the turn: nothing more comes.
    func finish() async {
        finishLive()
        await finishOutput()
    }

    private func append(_ body: EventBody) async {
        guard await session.report(body, turn: turn, attempt: attempt) != nil else { return }
        await noteBeginning(body)
        if session.journal.backlog > Self.backlog { try? await session.journal.settled() }
    }

    func recordDurably(_ body: EventBody) async throws(Problem) {
        guard let sequence = await session.report(body, turn: turn, attempt: attempt) else {
            throw Problem(.storageFull, "The turn is over or the disk is full, so nothing more is recorded for it.")
        }
        do {
            try await session.journal.synced(sequence)
        } catch {
            throw Problem(.storageFull, error.message)
        }
        await noteBeginning(body)
    }

    private func noteBeginning(_ body: EventBody) async {
        switch body {
        case .conversationStarted, .conversationResumed, .conversationReseeded: await session.noteAgentProcesses()
        default: break
        }
    }

    func delta(_ text: String) async { publish(parts.withLockedValue { $0.live.feed(text) }) }

    private func publish(_ text: String) {
        if !text.isEmpty { session.deltas.publish(text, turn: turn, after: session.journal.appended) }
    }

    private func finishLive() { publish(parts.withLockedValue { $0.live.finish() }) }

    private func finishOutput() async {
        for stream in [AgentOutput.Stream.stdout, .stderr] {
            let rest = parts.withLockedValue { $0.output[stream]?.finish() } ?? ""
            if !rest.isEmpty { await append(.agentOutput(AgentOutput(stream: stream, text: rest))) }
        }
    }

    func ask(_ request: InputRequest) async { await session.ask(request, turn: turn, attempt: attempt) }
    var isStopping: Bool { get async { await session.isStopping(turn, attempt: attempt) } }
    func withdrawQuestion() async { await session.withdrawQuestion(of: turn, attempt: attempt) }
}
