import CCurl
import Glibc
import NIOConcurrencyHelpers

/// The client's thread, as other threads see it: commands go in through a locked queue and an eventfd.
final class Engine: Sendable {
    enum Command: Sendable {
        case start(Transfer)
        case abort(Transfer)
        /// The reader has room again, or there is more to send.
        case resume(Transfer)
        case shutdown(CheckedContinuation<Void, Never>?)
    }

    private struct Inbox {
        var commands: [Command] = []
        /// Once true, nobody takes commands any more.
        var isClosed = false
    }

    let maxConnections: Int
    let maxIdleConnections: Int
    let wakeDescriptor: Int32
    private let inbox = NIOLockedValueBox(Inbox())

    init(maxConnections: Int, maxIdleConnections: Int) {
        self.maxConnections = maxConnections
        self.maxIdleConnections = maxIdleConnections
        wakeDescriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        precondition(wakeDescriptor >= 0, "no eventfd for the HTTP client: \(String(cString: strerror(errno)))")
        startThread()
    }

    /// False when the client has been shut down.
    @discardableResult func submit(_ command: Command) -> Bool {
        inbox.withLockedValue { inbox in
            guard !inbox.isClosed else { return false }
            inbox.commands.append(command)
            // One wake for all that are taken together. Under the lock, so that the descriptor is still open.
            if inbox.commands.count == 1 { eventfd_write(wakeDescriptor, 1) }
            return true
        }
    }

    /// On the thread: all commands since the last time.
    func takeCommands() -> [Command] {
        inbox.withLockedValue { inbox in
            var count: eventfd_t = 0
            eventfd_read(wakeDescriptor, &count)
            defer { inbox.commands = [] }
            return inbox.commands
        }
    }

    /// On the thread, as its last act: refuses further commands and returns the ones that came too late.
    func closeInbox() -> [Command] {
        inbox.withLockedValue { inbox in
            inbox.isClosed = true
            close(wakeDescriptor)
            defer { inbox.commands = [] }
            return inbox.commands
        }
    }

    private func startThread() {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        // No signal is ever delivered to this thread or to those that libcurl starts for name look-ups. That includes the
        // SIGPIPE of a write by OpenSSL to a closed connection, which comes back as EPIPE instead.
        var all = sigset_t()
        var previous = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &previous)
        defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
        var thread = pthread_t()
        let code = pthread_create(&thread, &attributes, engineMain, Unmanaged.passRetained(self).toOpaque())
        precondition(code == 0, "no thread for the HTTP client: \(String(cString: strerror(code)))")
    }
}

private func engineMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    holdfast_name_thread("curl")
    let engine = Unmanaged<Engine>.fromOpaque(context!).takeRetainedValue()
    EngineLoop(engine).run()
    return nil
}
