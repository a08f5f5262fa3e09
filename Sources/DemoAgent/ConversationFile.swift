import Glibc

/// A conversation on disk, open for appending.
final class ConversationFile {
    let path: String
    private let descriptor: Int32

    private init(path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Makes a new one.
    static func create(_ path: String, directory: String) throws(ConversationError) -> ConversationFile {
        let folder = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        if mkdir(folder, 0o700) != 0, errno != EEXIST { throw ConversationError("cannot make \(folder): \(systemMessage())") }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ConversationError("cannot make \(path): \(systemMessage())") }
        let file = ConversationFile(path: path, descriptor: descriptor)
        try file.append(.opened(directory: directory))
        try file.sync()
        let parent = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw ConversationError("cannot open \(folder): \(systemMessage())") }
        defer { close(parent) }
        if fsync(parent) != 0 { throw ConversationError("cannot keep \(path): \(systemMessage())") }
        return file
    }

    /// Opens one that an earlier process wrote; nil when there is none.
    static func reopen(_ path: String) throws(ConversationError) -> (ConversationFile, [ConversationEntry])? {
        let descriptor = open(path, O_RDWR | O_APPEND | O_CLOEXEC)
        if descriptor < 0, errno == ENOENT { return nil }
        guard descriptor >= 0 else { throw ConversationError("cannot open \(path): \(systemMessage())") }
        let file = ConversationFile(path: path, descriptor: descriptor)
        let (entries, length) = try ConversationEntry.parse(try readAll(descriptor, path))
        if ftruncate(descriptor, off_t(length)) != 0 { throw ConversationError("cannot mend \(path): \(systemMessage())") }
        try file.sync()
        return (file, entries)
    }

    /// Written at once, so that it outlives this process; ``sync()`` makes it outlive the machine.
    func append(_ entry: ConversationEntry) throws(ConversationError) {
        guard writeAll(entry.line, to: descriptor) else {
            throw ConversationError("cannot write \(path): \(systemMessage())")
        }
    }

    func sync() throws(ConversationError) {
        if fdatasync(descriptor) != 0 { throw ConversationError("cannot keep \(path): \(systemMessage())") }
    }
}

/// What `errno` says.
func systemMessage() -> String { String(cString: strerror(errno)) }

/// Everything from the descriptor's position to its end.
func readAll(_ descriptor: Int32, _ path: String) throws(ConversationError) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count == 0 { return bytes }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw ConversationError("cannot read \(path): \(systemMessage())") }
        bytes += buffer[..<count]
    }
}

/// Blocks until all of it is written; false with `errno` when that cannot be.
func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    var done = 0
    while done < bytes.count {
        let count = bytes[done...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return false }
        done += count
    }
    return true
}
