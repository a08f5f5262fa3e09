import CLinux
import Dispatch
import Foundation
import Glibc
import NIOConcurrencyHelpers
import Processes
import SessionModel

/// A living `holdfast-sidecar serve`, started by this supervisor or found again after a restart.
final class SidecarProcess: Incarnation {
    let epoch: UInt32
    let pid: Int32?
    let client: SidecarClient?
    let news = IncarnationFeed()
    private let logFile: String
    private let entry: ProcessEntry
    private let isChild: Bool
    private let killTimer = NIOLockedValueBox<Task<Void, Never>?>(nil)

    /// - Parameter isChild: this supervisor started it, and so has to wait for it.
    init(_ entry: ProcessEntry, _ record: SessionDirectory.Record, log: String, isChild: Bool) throws(LocalError) {
        self.entry = entry
        self.isChild = isChild
        epoch = record.epoch
        pid = entry.pid
        client = SidecarClient(.unix(path: record.socket))
        logFile = log
        let descriptor = clinux_pidfd_open(entry.pid)
        guard descriptor >= 0 else {
            guard errno == ESRCH else { throw LocalError("cannot watch process \(entry.pid)", errno: errno) }
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

    func log() -> String { Files.tail(logFile) }

    func note(isBusy: Bool) {}

    func stop(grace: TimeSpan) {
        let timer = Self.end(entry, grace: grace)
        killTimer.withLockedValue { last in
            last?.cancel()
            last = timer
        }
    }

    /// - Returns: what kills it after `grace`.
    @discardableResult
    static func end(_ entry: ProcessEntry, grace: TimeSpan) -> Task<Void, Never> {
        entry.signal(SIGTERM)
        return Task {
            guard (try? await Task.sleep(for: grace.duration)) != nil else { return }
            entry.signal(SIGKILL)
        }
    }

    private func ended() {
        let how =
            switch isChild ? Child.wait(entry.pid) : nil {
            case .code(let code): "exit code \(code)"
            case .signal(let signal): "signal \(signal)"
            case nil: "its process has ended"
            }
        killTimer.withLockedValue { $0?.cancel() }
        news.tell(.ended(how))
    }
}
