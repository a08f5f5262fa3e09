import NIOConcurrencyHelpers
import SessionModel

/// Runs the sidecars of sessions: processes on one machine, pods in a cluster.
protocol Runtime: Sendable {
    /// What a worker asks of its pod can be given to it.
    var runsPods: Bool { get }

    /// Starts an epoch. The caller has stored the epoch, and knows that the one before has ended: unless another supervisor acts
    /// too, one that is about to find out that it does not lead any more. So no two of one session may run, whoever starts them:
    /// what there is of an earlier epoch is told to end, and this one is ``StartPostponed``; beside a later epoch it fails.
    /// What would fail however often it is tried is ``StartRefused``.
    func start(_ session: SessionResource, epoch: UInt32) async throws -> any Incarnation

    /// Looks for an epoch's sidecar after a restart of the supervisor.
    func find(_ session: SessionResource, epoch: UInt32) async throws -> FoundIncarnation

    /// Where the transcript of a session without a living sidecar can be read; nil when it has none.
    func transcript(of session: SessionResource) async throws -> TranscriptSource?

    /// Takes what an ended session has left out of the way of another one of its name. Called in the write that deletes the
    /// session, so no other can be using it.
    /// - Returns: what removes it for good; nil when there is nothing to remove.
    func discard(_ session: SessionResource) throws -> (@Sendable () async throws -> Void)?

    /// Ends every sidecar that is no session's own (``SessionModel/SessionResourceStatus/owns(epoch:)``).
    /// - Parameter session: the one of this name, as the store has it now.
    func endStrays(_ session: @Sendable (_ name: String) async throws -> SessionResource?) async throws

    /// Removes what was kept of sessions whose names others have taken, when its time is up.
    func removeOldArchives(at now: Timestamp) async
}

/// Nothing is wrong with the session, but something else must be over first: an earlier epoch's end, or a shortage. Why, as a clause.
struct StartPostponed: Error {
    var why: String
    /// How long it is not worth trying again.
    var pause = TimeSpan.seconds(1)
}

/// An epoch cannot be started as the session asks, and never could be. Why and what to do, as a clause.
struct StartRefused: Error {
    var why: String
}

enum FoundIncarnation: Sendable {
    case alive(any Incarnation)
    /// It was started once, and has ended.
    case ended
    case neverStarted
    /// Nobody can tell: its node does not answer.
    case unknown(String)
}

enum TranscriptSource: Sendable {
    /// A state directory of this machine.
    case files(state: String)
    /// Something that serves nothing but it.
    case reader(SidecarClient)
}

/// One living epoch of a session: its process or its pod, started by this supervisor or found again after a restart.
protocol Incarnation: Sendable {
    var epoch: UInt32 { get }
    /// Of the sidecar, on one machine.
    var pid: Int32? { get }
    /// Its API; nil while it has no address.
    var client: SidecarClient? { get }
    /// What becomes of it. The last is ``IncarnationNews/ended(_:)``.
    var news: IncarnationFeed { get }
    /// The end of its log; empty when there is none.
    func log() async -> String
    /// Told whenever the sidecar begins or ceases to be at work.
    func note(isBusy: Bool) async
    /// SIGTERM now, and SIGKILL after `grace` if it is still there.
    func stop(grace: TimeSpan) async
}

/// Tells the news of an incarnation to one observer, in their order. Those that come before there is one wait for it.
final class IncarnationFeed: Sendable {
    private struct State {
        var observer: (@Sendable (IncarnationNews) -> Void)?
        var early: [IncarnationNews] = []
    }
    private let state = NIOLockedValueBox(State())

    /// - Parameter observer: called under a lock, so that the order is kept: it takes note, and does not call back.
    func observe(_ observer: @escaping @Sendable (IncarnationNews) -> Void) {
        state.withLockedValue { state in
            state.early.forEach(observer)
            state = State(observer: observer)
        }
    }

    func tell(_ news: IncarnationNews) {
        state.withLockedValue { state in
            if let observer = state.observer { observer(news) } else { state.early.append(news) }
        }
    }
}

enum IncarnationNews: Sendable, Hashable {
    /// ``Incarnation/client`` is there.
    case addressed
    /// What keeps it from working, and what to do; nil when nothing does any more.
    case trouble(Trouble?)
    /// Nobody can tell whether it runs.
    case unknown(String)
    /// How it ended, as a clause.
    case ended(String)
}
