import Foundation
import Glibc
import Journal
import Support

/// A file system in memory that keeps only what it must: at a crash, any part of what was not synced may be lost, torn or have
/// reached the disk out of order, and any creation, renaming or removal in a directory that was not synced may be undone.
///
/// A power failure can be set for any single operation; all later ones fail, and ``crash(_:)`` then decides what is left.
final class UnreliableFiles: FileLayer, @unchecked Sendable {  // The lock guards everything.
    enum Operation: String, Sendable { case makeDirectory, create, rename, remove, syncDirectory, write, sync, truncate, reserve }

    private final class Inode {
        var durable: [UInt8] = []
        var cached: [UInt8] = []
        /// Since the last sync, in order.
        var pending: [Change] = []
        enum Change {
            case write(at: Int, [UInt8])
            case truncate(to: Int)
        }

        static func apply(_ change: Change, to bytes: inout [UInt8]) {
            switch change {
            case .write(let offset, let new):
                if bytes.count < offset + new.count {
                    bytes += [UInt8](repeating: 0, count: offset + new.count - bytes.count)
                }
                bytes.replaceSubrange(offset..<(offset + new.count), with: new)
            case .truncate(let size):
                if size < bytes.count {
                    bytes.removeLast(bytes.count - size)
                } else {
                    bytes += [UInt8](repeating: 0, count: size - bytes.count)
                }
            }
        }

        func change(_ change: Change) {
            Self.apply(change, to: &cached)
            pending.append(change)
        }
    }

    private enum NameChange {
        case link(String, Inode?)  // nil for a directory
        case rename(String, String, Inode)
        case unlink(String)

        /// The directories whose entries it changes; all of one rename's are the same here.
        var directory: String {
            switch self {
            case .link(let path, _), .rename(_, let path, _), .unlink(let path): (path as NSString).deletingLastPathComponent
            }
        }

        func apply(to names: inout [String: Inode?]) {
            switch self {
            case .link(let path, let inode): names[path] = .some(inode)
            case .rename(let from, let to, let inode):
                if names[from] as? Inode === inode { names[from] = nil }
                names[to] = .some(inode)
            case .unlink(let path): names[path] = nil
            }
        }
    }

    private let lock = NSLock()
    private var names: [String: Inode?] = ["/": nil]
    private var durableNames: [String: Inode?] = ["/": nil]
    private var pendingNames: [NameChange] = []
    private var generation = 0
    private var done = 0
    private var powerFailsAt: Int?
    private var dead = false
    private var fault: (@Sendable (Operation, String) -> Int32?)?

    // MARK: What a test sets and asks

    /// How many operations that change anything there were.
    var operations: Int { lock.withLock { done } }

    /// The power fails in the n-th operation from now.
    func failPower(in count: Int) { lock.withLock { powerFailsAt = done + count } }

    var hasPower: Bool { lock.withLock { !dead } }

    /// Errors to give instead of carrying an operation out; a write that fails writes its first half.
    func setFault(_ fault: (@Sendable (Operation, String) -> Int32?)?) { lock.withLock { self.fault = fault } }

    /// Decides what of all that was not synced has reached the disk, and brings the power back. Files open before are dead.
    func crash(_ random: inout SeededRandom) {
        lock.withLock {
            for change in pendingNames where random.oneIn(2) { change.apply(to: &durableNames) }
            // What is below a directory that is not there is not there.
            for path in durableNames.keys.sorted() where path != "/" {
                if durableNames[(path as NSString).deletingLastPathComponent] == nil { durableNames[path] = nil }
            }
            pendingNames = []
            names = durableNames
            var seen: Set<ObjectIdentifier> = []
            for case let inode? in names.sorted(by: { $0.key < $1.key }).map(\.value)
            where seen.insert(ObjectIdentifier(inode)).inserted {
                settle(inode, &random)
            }
            generation += 1
            dead = false
            powerFailsAt = nil
        }
    }

    private func settle(_ inode: Inode, _ random: inout SeededRandom) {
        switch Int.random(in: 0..<6, using: &random) {
        case 0: break  // All lost.
        case 1: inode.durable = inode.cached  // All there.
        case 2:  // The size got there first, and none of the data.
            let size = inode.cached.count
            if size > inode.durable.count { Inode.apply(.truncate(to: size), to: &inode.durable) }
        case 3:  // A prefix, to the byte.
            let count = Int.random(in: 0...inode.pending.count, using: &random)
            for change in inode.pending.prefix(count) { Inode.apply(change, to: &inode.durable) }
            if count < inode.pending.count, case .write(let offset, let bytes) = inode.pending[count] {
                let part = Int.random(in: 0...bytes.count, using: &random)
                Inode.apply(.write(at: offset, Array(bytes[..<part])), to: &inode.durable)
            }
        default:  // Any of the sectors, in any order.
            for change in inode.pending {
                guard case .write(let offset, let bytes) = change else {
                    if random.oneIn(2) { Inode.apply(change, to: &inode.durable) }
                    continue
                }
                var start = offset
                while start < offset + bytes.count {
                    let end = min((start / 512 + 1) * 512, offset + bytes.count)
                    if random.oneIn(2) {
                        Inode.apply(.write(at: start, Array(bytes[(start - offset)..<(end - offset)])), to: &inode.durable)
                    }
                    start = end
                }
            }
        }
        inode.cached = inode.durable
        inode.pending = []
    }

    /// What a file has at present, unsynced writes included.
    func contents(_ path: String) -> [UInt8]? { lock.withLock { (names[path] ?? nil)?.cached } }

    // MARK: FileLayer

    /// Runs an operation: whole, or, when the power fails in it, whole or not at all, and then it has failed anyway.
    private func perform<Value>(_ operation: Operation, _ path: String, _ body: () throws(FileError) -> Value) throws(FileError)
        -> Value
    {
        lock.lock()
        defer { lock.unlock() }
        if dead { throw FileError(operation.rawValue, path, errno: EIO) }
        done += 1
        if let powerFailsAt, done >= powerFailsAt {
            dead = true
            if done % 2 == 0, operation != .sync, operation != .syncDirectory { _ = try body() }
            throw FileError(operation.rawValue, path, errno: EIO)
        }
        if let errno = fault?(operation, path) { throw FileError(operation.rawValue, path, errno: errno) }
        return try body()
    }

    private func change(_ change: NameChange) {
        change.apply(to: &names)
        pendingNames.append(change)
    }

    func makeDirectory(_ path: String) throws(FileError) {
        try perform(.makeDirectory, path) { () throws(FileError) in
            if names[path] == nil { change(.link(path, nil)) }
        }
    }

    func list(_ directory: String) throws(FileError) -> [String] {
        lock.lock()
        defer { lock.unlock() }
        if dead { throw FileError("list", directory, errno: EIO) }
        guard names[directory] != nil else { throw FileError("list", directory, errno: ENOENT) }
        return names.keys.filter { $0 != "/" && ($0 as NSString).deletingLastPathComponent == directory }
            .map { ($0 as NSString).lastPathComponent }
    }

    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        if case .create = mode {
            return try perform(.create, path) { () throws(FileError) in
                if let inode = names[path] ?? nil {
                    inode.change(.truncate(to: 0))
                    return Handle(files: self, inode: inode, generation: generation, path: path)
                }
                let inode = Inode()
                change(.link(path, inode))
                return Handle(files: self, inode: inode, generation: generation, path: path)
            }
        }
        lock.lock()
        defer { lock.unlock() }
        if dead { throw FileError("open", path, errno: EIO) }
        guard let inode = names[path] ?? nil else { throw FileError("open", path, errno: ENOENT) }
        return Handle(files: self, inode: inode, generation: generation, path: path)
    }

    func rename(_ path: String, to target: String) throws(FileError) {
        try perform(.rename, path) { () throws(FileError) in
            guard let inode = names[path] ?? nil else { throw FileError("rename", path, errno: ENOENT) }
            change(.rename(path, target, inode))
        }
    }

    func remove(_ path: String) throws(FileError) {
        try perform(.remove, path) { () throws(FileError) in
            if names[path] != nil { change(.unlink(path)) }
        }
    }

    func syncDirectory(_ path: String) throws(FileError) {
        try perform(.syncDirectory, path) { () throws(FileError) in
            pendingNames = pendingNames.filter {
                guard $0.directory == path else { return true }
                $0.apply(to: &durableNames)
                return false
            }
        }
    }

    private struct Handle: File, @unchecked Sendable {  // The files' lock guards the inode.
        let files: UnreliableFiles
        let inode: Inode
        let generation: Int
        let path: String

        private func alive() throws(FileError) {
            if files.dead || files.generation != generation { throw FileError("use", path, errno: EIO) }
        }

        func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
            do {
                try files.perform(.write, path) { () throws(FileError) in
                    try alive()
                    inode.change(.write(at: offset, Array(bytes)))
                }
            } catch {
                files.lock.withLock {
                    if !files.dead, files.generation == generation, error.isFull {
                        inode.change(.write(at: offset, Array(bytes.prefix(bytes.count / 2))))
                    }
                }
                throw error
            }
        }

        func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileError) -> Int {
            files.lock.lock()
            defer { files.lock.unlock() }
            try alive()
            let count = max(0, min(buffer.count, inode.cached.count - offset))
            if count > 0 {
                inode.cached.withUnsafeBytes { buffer.copyMemory(from: .init(rebasing: $0[offset..<(offset + count)])) }
            }
            return count
        }

        func sync() throws(FileError) {
            try files.perform(.sync, path) { () throws(FileError) in
                try alive()
                inode.durable = inode.cached
                inode.pending = []
            }
        }

        func truncate(to size: Int) throws(FileError) {
            try files.perform(.truncate, path) { () throws(FileError) in
                try alive()
                if size != inode.cached.count { inode.change(.truncate(to: size)) }
            }
        }

        func size() throws(FileError) -> Int {
            files.lock.lock()
            defer { files.lock.unlock() }
            try alive()
            return inode.cached.count
        }

        func reserve(from offset: Int, count: Int) throws(FileError) -> Bool {
            try files.perform(.reserve, path) { () throws(FileError) in try alive() }
            return true
        }

        func close() {}
    }
}
