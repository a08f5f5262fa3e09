import CLinux
import Glibc

/// How a process ended.
public enum ProcessEnd: Sendable, Hashable {
    case code(Int32)
    case signal(Int32)

    /// - Parameter status: what waitpid(2) reported.
    public init(status: Int32) {
        self = clinux_signaled(status) != 0 ? .signal(clinux_term_signal(status)) : .code(clinux_exit_code(status))
    }
}

/// The children that this process started through ``Spawn``.
///
/// They are remembered until they have been waited for, so that a process that is a subreaper can tell them from the orphans it
/// has adopted (``adopted()``), and never waits for a child that another part of the program is waiting for.
public enum Child {
    /// Waits until the child has ended. Nil if there is no such child (any more).
    public static func wait(_ pid: Int32) -> ProcessEnd? { reap(pid, 0) ?? nil }

    /// Waits at most so long; nil if it still runs (or there is no such child).
    public static func wait(_ pid: Int32, atMost limit: Duration) -> ProcessEnd? {
        let end = ContinuousClock.now + limit
        while true {
            if let result = reap(pid, WNOHANG) { return result }
            guard ContinuousClock.now < end else { return nil }
            usleep(5000)
        }
    }

    /// How the child ended, or nil if it still runs (or there is no such child).
    public static func poll(_ pid: Int32) -> ProcessEnd? { reap(pid, WNOHANG) ?? nil }

    /// What ``reapAny()`` found.
    public enum Reaped: Sendable, Hashable {
        case ended(Int32, ProcessEnd)
        /// There are children, and all of them run.
        case running
        /// There is no child at all; of a subreaper this means: no descendant either.
        case childless
    }

    /// Collects any one child that has ended, adopted or not. Only for a process in which nobody else waits for children.
    public static func reapAny() -> Reaped {
        var status: Int32 = 0
        while true {
            let pid = waitpid(-1, &status, WNOHANG)
            if pid < 0, errno == EINTR { continue }
            if pid <= 0 { return pid == 0 ? .running : .childless }
            lock.withLock { _ = started.remove(pid) }
            return .ended(pid, ProcessEnd(status: status))
        }
    }

    /// Children of this process that it has not started: orphans below it that fell to it because it is a subreaper.
    ///
    /// Whatever an agent host has started left this process's session, and no process can join a session; so a child in the same
    /// session was started here by other means (a library's), and is not an orphan.
    public static func adopted() -> [ProcessEntry] { adopted(in: { ProcessEntry.all() }) }

    static func adopted(in look: () -> [ProcessEntry]) -> [ProcessEntry] {
        let me = getpid()
        let session = getsid(0)
        return lock.withLock { look().filter { $0.parent == me && $0.session != session && !started.contains($0.pid) } }
    }

    /// Collects the exit statuses of adopted orphans that have ended.
    public static func reapAdopted() {
        for entry in adopted() where !entry.isAlive {
            var status: Int32 = 0
            waitpid(entry.pid, &status, WNOHANG)
        }
    }

    /// Runs `start`, which forks, so that nobody sees the child before it is known as this process's own.
    static func starting(_ start: () -> (pid: Int32?, error: Int32)) -> Int32 {
        lock.withLock {
            let (pid, error) = start()
            if let pid { started.insert(pid) }
            return error
        }
    }

    /// Nil: it still runs. `.some(nil)`: no such child.
    private static func reap(_ pid: Int32, _ flags: Int32) -> ProcessEnd?? {
        var status: Int32 = 0
        while true {
            let result = waitpid(pid, &status, flags)
            if result < 0, errno == EINTR { continue }
            if result == 0 { return nil }
            lock.withLock { _ = started.remove(pid) }
            return .some(result == pid ? ProcessEnd(status: status) : nil)
        }
    }

    private static let lock = Lock()
    nonisolated(unsafe) private static var started: Set<Int32> = []
}

/// A pthread mutex: this module has no dependencies, and TSan reports false races in Synchronization.Mutex.
private final class Lock: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    init() { pthread_mutex_init(mutex, nil) }
    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    func withLock<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }
}
