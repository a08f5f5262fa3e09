/// How `holdfast` ends. Scripts may rely on these numbers; `holdfast --help` lists them.
enum ExitStatus: Int32, Sendable, CaseIterable {
    /// All is well; with `run --follow`, the Task succeeded.
    case success = 0
    /// The Task failed, or the command could not do its work on this machine.
    case failed = 1
    /// The command line is wrong.
    case usage = 2
    /// The Task was cancelled.
    case cancelled = 3
    /// The Task was interrupted: something ended under it.
    case interrupted = 4
    /// The server does not answer.
    case unreachable = 5
    /// The server answered, and refused.
    case refused = 6
    /// Ctrl-C while following: the work goes on.
    case detached = 130
}

/// Why a command ends early: one sentence for stderr, and the exit status.
struct Failure: Error, Sendable, Hashable {
    var status: ExitStatus
    var message: String

    init(_ status: ExitStatus, _ message: String) {
        self.status = status
        self.message = message
    }
}

extension Failure: CustomStringConvertible {
    var description: String { message }
}
