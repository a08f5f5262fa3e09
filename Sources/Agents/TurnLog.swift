import FoundationEssentials
import SessionModel

/// The turn that a driver runs, and where its events go: to its reporter, or, between turns, to the beginning of the next.
///
/// Each driver owns one, and uses it on its own actor.
final class TurnLog {
    struct Running {
        var id: TurnID
        var reporter: any TurnReporter
        var inputTimeout: TimeSpan
        /// Someone wants it stopped.
        var interrupted = false
        fileprivate var output = OutputLog(limit: 1 << 20)
        fileprivate var reportedLongLine = false
    }

    private(set) var turn: Running?
    /// Every connection of the driver is to be made with it.
    let frames = FrameTap()
    /// What the process printed last, when it ended during this turn; begins with a semicolon.
    private(set) var lastWords = ""

    private var held: [EventBody] = []
    /// How many of them are no output, which has a limit of its own; and how many more there were.
    private var heldEvents = 0
    private var leftOut = 0
    static let heldLimit = 100
    private var heldOutput = OutputLog(limit: 64 << 10)
    /// The end of what the process printed to standard error.
    private var lastErrors: [UInt8] = []
    private static let lastErrorsLimit = 2048

    var isInterrupted: Bool { turn?.interrupted == true }

    /// The moment, for the events' figures.
    var now: Timestamp { Timestamp(milliseconds: Int64((Date().timeIntervalSince1970 * 1000).rounded())) }

    // MARK: A turn

    /// Begins a turn, with what happened since the last one.
    nonisolated(nonsending) func begin(_ prompt: AgentPrompt, _ reporter: any TurnReporter) async {
        precondition(turn == nil, "two turns at once")
        turn = Running(id: prompt.turn, reporter: reporter, inputTimeout: prompt.inputTimeout)
        if await reporter.isStopping { turn?.interrupted = true }
        lastWords = ""
        frames.begin(prompt.raw)
        var before = held + heldOutput.dropped.map { .agentOutput($0) }
        if leftOut > 0 {
            before.append(
                .error(
                    Reason(
                        "more happened since the turn before than is kept: the first \(heldEvents) events are recorded, and \(leftOut) are not"
                    )))
        }
        held = []
        (heldEvents, leftOut) = (0, 0)
        heldOutput = OutputLog(limit: heldOutput.limit)
        for event in before { await reporter.record(event) }
    }

    /// - Returns: false when there is no turn, or it is interrupted already.
    func interrupt() -> Bool {
        guard turn != nil, !isInterrupted else { return false }
        turn?.interrupted = true
        return true
    }

    /// Ends the turn: from here on nothing belongs to it any more.
    /// - Parameter events: what is still to be recorded in it.
    nonisolated(nonsending) func end(_ stop: TurnStop, recording events: [EventBody], results: TurnResults) async -> TurnOutcome {
        guard let ended = turn else { preconditionFailure("a turn that ended twice") }
        turn = nil
        let frames = frames.end().map { EventBody.agentFrame($0) }
        for event in frames + events + ended.output.dropped.map({ .agentOutput($0) }) { await ended.reporter.record(event) }
        return TurnOutcome(
            TurnEnded(state: stop.state, reason: stop.reason, message: stop.message, results: results), clean: stop.clean)
    }

    // MARK: Events

    /// Records something: in the turn that runs, or at the beginning of the next.
    nonisolated(nonsending) func record(_ body: EventBody) async {
        if let turn {
            await recordFrames()
            await turn.reporter.record(body)
        } else if heldEvents < Self.heldLimit {
            held.append(body)
            heldEvents += 1
        } else {
            leftOut += 1
        }
    }

    /// Records what the agent did in the turn that runs.
    nonisolated(nonsending) func report(_ outputs: [TurnOutput]) async {
        guard let reporter = turn?.reporter else { return }
        await recordFrames()
        for output in outputs {
            switch output {
            case .event(let event): await reporter.record(event)
            case .delta(let text): await reporter.delta(text)
            }
        }
    }

    private nonisolated(nonsending) func recordFrames() async {
        for frame in frames.take() { await turn?.reporter.record(.agentFrame(frame)) }
    }

    /// Records what must be on disk before the prompt may leave.
    nonisolated(nonsending) func keep(_ event: EventBody) async throws(TurnStop) {
        guard let turn else { return }
        await recordFrames()
        do throws(Problem) {
            try await turn.reporter.recordDurably(event)
        } catch {
            throw TurnStop(
                .failed, error.kind == .storageFull ? .storageFull : .agentStart,
                "the conversation could not be recorded, so the prompt was not sent: \(error.detail)", clean: true)
        }
    }

    // MARK: What the process prints

    nonisolated(nonsending) func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream) async {
        if stream == .stderr { lastErrors = Array((lastErrors + bytes).suffix(Self.lastErrorsLimit)) }
        if let reporter = turn?.reporter {
            for piece in turn?.output.add(bytes, to: stream) ?? [] { await reporter.record(.agentOutput(piece)) }
        } else {
            held += heldOutput.add(bytes, to: stream).map { .agentOutput($0) }
        }
    }

    nonisolated(nonsending) func discarded(lineOf bytes: Int) async {
        guard let turn else { return heldOutput.drop(bytes, from: .stdout) }
        self.turn?.output.drop(bytes, from: .stdout)
        guard !turn.reportedLongLine else { return }
        self.turn?.reportedLongLine = true
        await turn.reporter.record(
            .error(
                Reason(
                    "the agent printed a line of \(bytes) bytes; lines of more than \(LineReader.defaultLimit) bytes are thrown away"
                )))
    }

    /// The process has ended, or was given up.
    /// - Parameter events: what it did before, as far as it is not recorded.
    nonisolated(nonsending) func closed(_ closing: ConnectionClosing, after events: [EventBody] = []) async {
        var lines = String(decoding: lastErrors, as: UTF8.self).split(whereSeparator: \.isNewline)
        // Of a secret that was cut in two, the second half would not be known for one.
        if lastErrors.count == Self.lastErrorsLimit, lines.count > 1 { lines.removeFirst() }
        lines = lines.suffix(5)
        lastWords = turn == nil || lines.isEmpty ? "" : "; it printed last: \(lines.joined(separator: "\n"))"
        lastErrors = []
        for event in events { await record(event) }
        switch closing {
        case .exited(let status): await record(.agentExited(Reason("\(status)")))
        case .broken(let reason): await record(.agentExited(Reason("given up: \(reason)")))
        }
    }

    /// The sidecar ended the processes and says so itself.
    func processesEnded() {
        lastErrors = []
        held.removeAll { if case .agentExited = $0 { true } else { false } }
    }
}
