import Glibc

/// The lock on a session's state directory: held by one process at a time, and let go by the kernel when that process ends.
public final class StateLock: Sendable {
    private let descriptor: Int32

    /// - Throws: ``JournalError/Code/locked`` when another process holds it, with that process's id.
    public init(directory: String) throws(JournalError) {
        let path = directory + "/lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw JournalError(.unusable, "\(path) cannot be opened: \(String(cString: strerror(errno))).")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            var holder = [UInt8](repeating: 0, count: 32)
            let count = pread(descriptor, &holder, holder.count, 0)
            close(descriptor)
            let pid = String(decoding: holder.prefix(max(0, count)), as: UTF8.self).filter(\.isNumber)
            throw JournalError(
                .locked,
                "\(directory) is in use by another sidecar\(pid.isEmpty ? "" : " (process \(pid))"); two must never share a state directory."
            )
        }
        let text = "\(getpid())\n"
        ftruncate(descriptor, 0)
        pwrite(descriptor, text, text.utf8.count, 0)
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }
}
