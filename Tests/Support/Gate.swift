import Dispatch

/// A door between a test and a server's thread: closed until it is opened, then open for everyone.
public final class Gate: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    public init() {}
    public func open() { semaphore.signal() }
    /// Blocks the calling thread, for a minute at most.
    public func wait() {
        _ = semaphore.wait(timeout: .now() + 60)
        semaphore.signal()
    }
    /// Blocks the calling thread until it is open or the time is over.
    public func isOpen(within seconds: Int) -> Bool {
        guard semaphore.wait(timeout: .now() + .seconds(seconds)) == .success else { return false }
        semaphore.signal()
        return true
    }
}
