import Glibc

/// What the disk can do by itself: records appended to a file, each made durable before the next.
enum Disk {
    static func syncedAppends(in directory: String, seconds: Double, recordSize: Int = 512) throws -> Run {
        let path = directory + "/bare"
        let fd = try check(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600), path)
        defer {
            close(fd)
            unlink(path)
        }
        let record = [UInt8](repeating: 65, count: recordSize)
        var latencies: [UInt64] = []
        let start = monotonic()
        let end = start + UInt64(seconds * 1e9)
        var now = start
        while now < end {
            guard write(fd, record, record.count) == record.count else { throw Failure("\(path) cannot be written") }
            _ = try check(fdatasync(fd), "fdatasync")
            let then = monotonic()
            latencies.append(then - now)
            now = then
        }
        return Run(latencies: latencies, seconds: Double(now - start) / 1e9)
    }
}
