import Foundation
import Glibc
import SessionModel

/// Small files and directories that only this user may see.
enum Files {
    static func makeDirectory(_ path: String) throws(LocalError) {
        var made = ""
        for part in path.split(separator: "/") {
            made += "/\(part)"
            guard mkdir(made, 0o700) != 0, errno != EEXIST, errno != EROFS || access(made, F_OK) != 0 else { continue }
            throw LocalError("cannot make the directory \(made)", errno: errno)
        }
    }

    /// Replaces a file as a whole: a reader sees the old or the new one, after a crash too.
    static func write(_ bytes: some Collection<UInt8>, to path: String, durably: Bool = false) throws(LocalError) {
        let temporary = "\(path).\(getpid()).new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw LocalError("cannot write \(temporary)", errno: errno) }
        defer { close(descriptor) }
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else { throw LocalError("cannot write \(temporary)", errno: errno) }
            rest = rest.dropFirst(max(0, count))
        }
        if durably, fsync(descriptor) != 0 { throw LocalError("cannot sync \(temporary)", errno: errno) }
        guard rename(temporary, path) == 0 else { throw LocalError("cannot rename \(temporary)", errno: errno) }
    }

    static func write(json value: some Encodable, to path: String) throws(LocalError) {
        do {
            try write(try JSON.encode(value), to: path)
        } catch let error as LocalError {
            throw error
        } catch {
            throw LocalError("cannot write \(path): \(error)")
        }
    }

    /// Nil when there is no such file.
    static func read<Value: Decodable>(json type: Value.Type, from path: String) -> Value? {
        guard let bytes = FileManager.default.contents(atPath: path) else { return nil }
        return try? JSON.decode(type, from: bytes)
    }

    /// The last lines of a log, at most `limit` bytes.
    static func tail(_ path: String, limit: Int = 1500) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        let size = lseek(descriptor, 0, SEEK_END)
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = max(0, pread(descriptor, &bytes, limit, max(0, size - off_t(limit))))
        let text = String(decoding: bytes.prefix(count), as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: true)
        return (Int(size) > limit ? lines.dropFirst() : lines[...]).suffix(8).joined(separator: "\n")
    }
}
