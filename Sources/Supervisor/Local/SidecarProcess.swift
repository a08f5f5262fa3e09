import CLinux
import Dispatch
import Foundation
import Glibc
import NIOConcurrencyHelpers
import Processes
import SessionModel

/// A living `holdfast-sidecar serve`, started by this supervisor or found again after a restart.
final class SidecarProcess: Sendable {
    let epoch: UInt32
    let socket: String
    let pid: Int32
    private let entry: ProcessEntry
    private let isChild: Bool
    private let state = NIOLockedValueBox(State())

    private struct State {
        var end: String?
        var waiters: [CheckedContinuation<String, Never>] = []
        var killTimer: Task<Void, Never>?
    }

    /// - Parameter isChild: this supervisor started it, and so has to wait for it.
    init(_ entry: ProcessEntry, epoch: UInt32, socket: String, isChild: Bool) throws(LocalError) {
        self.epoch = epoch
        self.socket = socket
        self.entry = entry
        self.isChild = isChild
        pid = entry.pid
        let descriptor = clinux_pidfd_open(pid)
        guard descriptor >= 0 else {
            guard errno == ESRCH else { throw LocalError("cannot watch process \(pid)", errno: errno) }
            ended()
            return
        }
        // Between the look at /proc and now the pid may have been given to another process.
        guard entry.isSame else {
            close(descriptor)
            ended()
            return
        }
        let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: .global())
        // The handler keeps this object and the source until the process has ended, so that a child is always waited for.
        source.setEventHandler {
            self.ended()
            source.cancel()
        }
        source.setCancelHandler { close(descriptor) }
        source.activate()
    }

    /// How it ended, as a clause. Returns as soon as it has.
    func exit() async -> String {
        await withCheckedContinuation { continuation in
            let end = state.withLockedValue { state in
                if state.end == nil { state.waiters.append(continuation) }
                return state.end
            }
            if let end { continuation.resume(returning: end) }
        }
    }

    /// SIGTERM now, and SIGKILL after `grace` if it is still there.
    func stop(grace: TimeSpan) {
        entry.signal(SIGTERM)
        let timer = Task { [entry] in
            guard (try? await Task.sleep(for: grace.duration)) != nil else { return }
            entry.signal(SIGKILL)
        }
        state.withLockedValue { state in
            state.killTimer?.cancel()
            state.killTimer = timer
        }
    }

    private func ended() {
        let how =
            switch isChild ? Child.wait(pid) : nil {
            case .code(let code): "exit code \(code)"
            case .signal(let signal): "signal \(signal)"
            case nil: "its process has ended"
            }
        let waiters = state.withLockedValue { state in
            state.end = how
            state.killTimer?.cancel()
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: how) }
    }
}
