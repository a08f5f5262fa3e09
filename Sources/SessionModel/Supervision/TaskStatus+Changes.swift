/// What a session's reconciler makes of a Task. A change is applied to the status as the store has it then, and a Task that has
/// ended changes no more.
public enum TaskChange: Sendable, Hashable {
    /// It is about to be sent to this journal.
    case handTo(journal: String)
    /// What the sidecar says of its turn, in this journal.
    case took(Turn, journal: String)
    /// The journal that it was sent to is gone.
    case lost(now: String)
    /// The sidecar has said that it did not take the turn, for now.
    case deferred(String)
    /// Why it waits.
    case waits(String)
    case end(TaskPhase, EndReason, String)
}

extension TaskStatus {
    public mutating func apply(_ change: TaskChange, at now: Timestamp) {
        guard !phase.isTerminal else { return }
        switch change {
        case .handTo(let journal):
            if sentTo == nil, cancelRequested != true { sentTo = journal }
        case .took(let turn, let journal):
            sentTo = journal
            take(turn)
        case .lost(let journal):
            guard let sentTo, sentTo != journal else { return }
            end(
                .interrupted, .journalLost,
                "it was handed to journal \(sentTo), which is gone (the session has journal \(journal) now), so it is not known what was done of it",
                at: now)
        case .deferred(let why):
            // Another answer may have come first: what has a turn stays with it.
            guard turn == nil else { return }
            sentTo = nil
            if cancelRequested == true {
                end(.cancelled, .cancelled, "cancelled before it was handed over", at: now)
            } else {
                message = why
            }
        case .waits(let why):
            message = why
        case .end(let phase, let reason, let message):
            end(phase, reason, message, at: now)
        }
    }

    /// Takes over what a sidecar says of the Task's turn.
    private mutating func take(_ turn: Turn) {
        self.turn = turn.id
        phase = TaskPhase(turn.state)
        cursor = turn.cursor ?? cursor
        startTime = turn.startedAt
        completionTime = turn.endedAt
        position = turn.position
        reason = turn.reason
        results = turn.results
        attempts = turn.attempts
        notices = turn.notices
        message = turn.message ?? turn.input.map { "the agent asks: \($0.question)" }
    }

    public mutating func end(_ phase: TaskPhase, _ reason: EndReason, _ message: String, at now: Timestamp) {
        self.phase = phase
        self.reason = reason
        self.message = message
        position = nil
        completionTime = now
    }

    /// What becomes of an open Task when its session has failed or ended.
    /// - Returns: true when nobody has seen it yet, and it is to go to a new session of the same key.
    mutating func settle(session phase: SessionPhase, why: String, at now: Timestamp) -> Bool {
        switch phase {
        case .failed:
            end(
                sentTo == nil ? .failed : .interrupted, .sessionFailed, "the session failed: \(why)".prefix(bytes: 4000), at: now)
        case .ended where sentTo != nil:
            // One that was cut off waits to be taken up again, and has run.
            let ran = attempts != nil
            end(ran ? .interrupted : .failed, .sessionEnded, "the session ended first (\(why))".prefix(bytes: 4000), at: now)
        case .ended:
            message = "waits for a new session: the earlier one has ended"
            return true
        case .pending, .starting, .ready, .draining, .suspended:
            break
        }
        return false
    }
}
