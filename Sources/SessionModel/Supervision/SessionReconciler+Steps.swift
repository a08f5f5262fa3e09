/// What a reconciler is told, what it asks for, and what it is answered.
extension SessionReconciler {
    public enum Event: Sendable, Hashable {
        case restored
        /// The Session or one of its Tasks was written by someone else.
        case changed
        /// The supervisor ends and is to leave no session running.
        case shutdown
        /// The sidecar has become ready.
        case ready(Activity)
        case activity(Activity)
        case unreachable(epoch: UInt32)
        /// What keeps the epoch's process from working; nil when nothing does any more.
        case trouble(epoch: UInt32, Trouble?)
        /// Nobody can tell whether the epoch's process runs.
        case unknown(epoch: UInt32, why: String)
        case gone(epoch: UInt32, why: String)
        case timer

        /// Adds an event to those that wait, whose number stays small however long the store is away: another “look again” says
        /// nothing new, and what a sidecar does now says all of what it did a moment ago, and that it answers.
        public static func add(_ event: Event, to waiting: inout [Event]) {
            switch event {
            case .changed, .timer, .unreachable: if waiting.contains(event) { return }
            case .activity(let activity):
                waiting.removeAll { $0 == .unreachable(epoch: activity.epoch) }
                if case .activity(let last)? = waiting.last, activity.epoch == last.epoch { waiting.removeLast() }
            default: break
            }
            waiting.append(event)
        }
    }

    public enum Step: Sendable, Hashable {
        /// Read the session and its open Tasks. Answered by `loaded` or `failed`.
        case load
        /// Answered by `stored` or `deposed`; tried until the store takes it.
        case store(StatusWrite)
        /// Answered by `task`, `deposed` or `failed`.
        case change(TaskWrite)
        /// Read the ended Tasks whose turns may still be in this journal. Answered by `tasks` or `failed`.
        case findAbandoned(journal: String)
        /// Answered by `alive`, `postponed`, `impossible` or `failed`.
        case start(epoch: UInt32)
        /// Find out whether the epoch's process runs. Answered by `alive`, `ended`, `neverStarted` or `unknown`.
        case find(epoch: UInt32)
        /// SIGTERM, and SIGKILL after `grace`. Answered by `done`.
        case stop(epoch: UInt32, grace: TimeSpan)
        /// Answered as ``Call`` says, by `refused` or by `unreachable`.
        case call(epoch: UInt32, Call)
    }

    /// What is asked of a sidecar.
    public enum Call: Sendable, Hashable {
        /// Answered by `turn`.
        case enqueue(TurnRequest, key: String)
        /// Whether the journal has made a turn of this key. Answered by `known`.
        case knows(key: String)
        /// Answered by `turn`, or by `noTurn` when the journal has none of this name.
        case turn(TurnID)
        /// Answered by `done`.
        case cancel(TurnID)
        /// Answered by `done`.
        case drain(DrainRequest)
        /// Answered by `done`.
        case limits(TurnLimits)
        /// Answered by `status`.
        case status
    }

    public enum Answer: Sendable, Hashable {
        case loaded(SessionResource?, [TaskResource])
        case stored(SessionResource)
        case deposed
        case task(TaskResource?)
        case tasks([TaskResource])
        /// The process runs, under this id on one machine.
        case alive(pid: Int32?)
        case ended
        case neverStarted
        case unknown(String)
        case turn(Turn)
        case noTurn
        case known(Bool)
        case status(SessionStatus)
        case done
        case refused(Problem)
        /// It is not known whether the request took effect.
        case unreachable(String)
        /// It was not started: why, and how long it is not to be tried again.
        case postponed(String, TimeSpan)
        /// It cannot be started, however often it is tried.
        case impossible(String)
        /// It was not done.
        case failed(String)

        /// A sidecar has answered a call.
        var isFromSidecar: Bool {
            switch self {
            case .turn, .noTurn, .known, .status, .refused: true
            case .loaded, .stored, .deposed, .task, .tasks, .alive, .ended, .neverStarted, .unknown, .done, .unreachable,
                .postponed, .impossible, .failed:
                false
            }
        }
    }
}

/// What keeps a session's process from working: one word, and a sentence that says what to do.
public struct Trouble: Sendable, Hashable {
    public var reason: String
    public var message: String

    public init(reason: String, message: String) {
        self.reason = reason
        self.message = message
    }
}

extension Activity {
    /// Whether it says anything else than another, the cursor aside.
    public func differs(from other: Activity) -> Bool {
        var other = other
        other.version = version
        other.cursor = cursor
        return self != other
    }
}
