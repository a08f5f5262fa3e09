import Glibc

/// An exclusive lock on a file, held while this object and the process live. The kernel releases it at any death.
final class FileLock: Sendable {
    private let descriptor: Int32

    /// - Throws: ``LocalError`` that names the process which holds it.
    init(path: String) throws(LocalError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw LocalError("cannot open \(path)", errno: errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let error = errno
            defer { close(descriptor) }
            guard error == EWOULDBLOCK else { throw LocalError("cannot lock \(path)", errno: error) }
            var bytes = [UInt8](repeating: 0, count: 32)
            let count = max(0, pread(descriptor, &bytes, bytes.count, 0))
            let owner =
                String(decoding: bytes.prefix(count), as: UTF8.self).split(whereSeparator: \.isWhitespace).first ?? "unknown"
            throw LocalError(
                "another supervisor (process \(owner)) uses this data directory: it holds \(path). Stop it, or choose another --data-dir."
            )
        }
        let text = Array("\(getpid())\n".utf8)
        ftruncate(descriptor, 0)
        pwrite(descriptor, text, text.count, 0)
    }

    deinit { close(descriptor) }
}

/// What went wrong on this machine: what was tried, why it failed, and what to do.
struct LocalError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
    init(_ attempt: String, errno code: Int32) { description = "\(attempt): \(String(cString: strerror(code)))" }
}
