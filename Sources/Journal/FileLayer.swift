import CLinux
import FoundationEssentials
import Glibc

/// The few things a journal asks of a file system, so that a test can run it on one that loses whatever was not synced.
public protocol FileLayer: Sendable {
    /// Creates a directory; its parents exist. No error when it exists already.
    func makeDirectory(_ path: String) throws(FileError)
    /// Names in a directory, in no order.
    func list(_ directory: String) throws(FileError) -> [String]
    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File
    func rename(_ path: String, to: String) throws(FileError)
    func remove(_ path: String) throws(FileError)
    /// Makes creations, renames and removals in a directory durable.
    func syncDirectory(_ path: String) throws(FileError)
}

public enum OpenMode: Sendable {
    case read
    /// Exists already.
    case write
    /// Created, or emptied.
    case create
}

/// An open file. One thread uses it at a time.
public protocol File: Sendable {
    /// Writes all of the bytes.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError)
    /// Reads up to the buffer's length; 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileError) -> Int
    /// Returns when everything written is on disk (fdatasync).
    func sync() throws(FileError)
    func truncate(to size: Int) throws(FileError)
    func size() throws(FileError) -> Int
    /// Sets disk blocks aside beyond the end, without changing the size. False where the file system cannot.
    func reserve(from offset: Int, count: Int) throws(FileError) -> Bool
    func close()
}

extension File {
    func write(_ bytes: some ContiguousBytesCollection, at offset: Int) throws(FileError) {
        try bytes.withUnsafeBytes { raw in Result { () throws(FileError) in try write(raw, at: offset) } }.get()
    }

    /// All of it.
    func contents() throws(FileError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: try size())
        var done = 0
        while done < bytes.count {
            let count = try read(into: &bytes, from: done, at: done)
            if count == 0 { break }
            done += count
        }
        bytes.removeLast(bytes.count - done)
        return bytes
    }

    /// Fills the array from `start` on with what the file has at the offset.
    /// - Returns: how many bytes there were.
    func read(into array: inout [UInt8], from start: Int, at offset: Int) throws(FileError) -> Int {
        try array.withUnsafeMutableBytes { raw in
            Result { () throws(FileError) in
                try read(into: UnsafeMutableRawBufferPointer(rebasing: raw[start...]), at: offset)
            }
        }.get()
    }
}

/// Bytes that lie together in memory.
protocol ContiguousBytesCollection {
    func withUnsafeBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value
}

extension [UInt8]: ContiguousBytesCollection {}
extension ArraySlice<UInt8>: ContiguousBytesCollection {}
extension Data: ContiguousBytesCollection {}

/// A system call that failed.
public struct FileError: Error, Sendable, Hashable {
    public var operation: String
    public var path: String
    public var errno: Int32

    public init(_ operation: String, _ path: String, errno: Int32) {
        self.operation = operation
        self.path = path
        self.errno = errno
    }

    /// The disk is full, over quota or read-only: it can become writable again.
    public var isFull: Bool { [ENOSPC, EDQUOT, EROFS].contains(errno) }

    /// There is no such file or directory.
    var isMissing: Bool { errno == ENOENT }
}

extension FileError: CustomStringConvertible {
    public var description: String { "\(operation) \(path): \(String(cString: strerror(errno)))" }
}

/// The real file system.
public struct PosixFileLayer: FileLayer {
    public init() {}

    public func makeDirectory(_ path: String) throws(FileError) {
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw FileError("mkdir", path, errno: errno) }
    }

    public func list(_ directory: String) throws(FileError) -> [String] {
        guard let stream = opendir(directory) else { throw FileError("opendir", directory, errno: errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    public func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        let flags =
            switch mode {
            case .read: O_RDONLY
            case .write: O_RDWR
            case .create: O_RDWR | O_CREAT | O_TRUNC
            }
        let descriptor = Glibc.open(path, flags | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError("open", path, errno: errno) }
        // The agent's container reads the transcript under another uid, whatever our umask is.
        if case .create = mode { fchmod(descriptor, 0o644) }
        return PosixFile(descriptor: descriptor, path: path)
    }

    public func rename(_ path: String, to target: String) throws(FileError) {
        guard Glibc.rename(path, target) == 0 else { throw FileError("rename", path, errno: errno) }
    }

    public func remove(_ path: String) throws(FileError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw FileError("unlink", path, errno: errno) }
    }

    public func syncDirectory(_ path: String) throws(FileError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", path, errno: errno) }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileError("fsync", path, errno: errno) }
    }
}

private struct PosixFile: File {
    let descriptor: Int32
    let path: String

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError("write", path, errno: errno)
            }
            done += count
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileError) -> Int {
        while true {
            let count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
            if count >= 0 { return count }
            if errno != EINTR { throw FileError("read", path, errno: errno) }
        }
    }

    func sync() throws(FileError) {
        guard fdatasync(descriptor) == 0 else { throw FileError("fdatasync", path, errno: errno) }
    }

    func truncate(to size: Int) throws(FileError) {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw FileError("ftruncate", path, errno: errno) }
    }

    func size() throws(FileError) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileError("fstat", path, errno: errno) }
        return Int(status.st_size)
    }

    func reserve(from offset: Int, count: Int) throws(FileError) -> Bool {
        guard clinux_reserve(descriptor, off_t(offset), off_t(count)) != 0 else { return true }
        if [EOPNOTSUPP, ENOSYS, EINVAL].contains(errno) { return false }
        throw FileError("fallocate", path, errno: errno)
    }

    func close() { Glibc.close(descriptor) }
}
