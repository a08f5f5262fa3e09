import CLinux
import Glibc

/// One process as /proc shows it (proc_pid_stat(5)).
public struct ProcessEntry: Sendable, Hashable {
    public var pid: Int32
    public var parent: Int32
    public var group: Int32
    public var session: Int32
    /// When it was started, in clock ticks since boot. With the pid it names a process for good, although pids are used again.
    public var startTime: UInt64
    /// The kernel's letter: R, S, D, T, Z, X …
    public var state: Character
    /// The first 15 bytes of the program's file name.
    public var name: String
    private var threads: Int

    /// False for a zombie. One whose first thread has ended but that has others is alive, although /proc calls it a zombie.
    public var isAlive: Bool { (state != "Z" && state != "X") || threads > 1 }

    /// Nil if there is no such process.
    public init?(_ pid: Int32) {
        guard let text = ProcFile.read("/proc/\(pid)/stat", limit: 4096) else { return nil }
        // The name is in parentheses and may itself contain spaces and parentheses.
        guard let open = text.firstIndex(of: UInt8(ascii: "(")), let close = text.lastIndex(of: UInt8(ascii: ")")), open < close
        else { return nil }
        let fields = text[(close + 1)...].split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
        guard fields.count > 19, let state = fields[0].first, let parent = Int32(fields[1]), let group = Int32(fields[2]),
            let session = Int32(fields[3]), let threads = Int(fields[17]), let startTime = UInt64(fields[19])
        else { return nil }
        self.pid = pid
        self.parent = parent
        self.group = group
        self.session = session
        self.startTime = startTime
        self.state = state
        self.threads = threads
        name = String(decoding: text[(open + 1)..<close], as: UTF8.self)
    }

    /// Every process that this one may see.
    public static func all() -> [ProcessEntry] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var entries: [ProcessEntry] = []
        while let item = readdir(folder) {
            // Only names that begin with a digit are processes.
            guard (48...57).contains(item.pointee.d_name.0) else { continue }
            let name = withUnsafePointer(to: &item.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let pid = Int32(name), let entry = ProcessEntry(pid) { entries.append(entry) }
        }
        return entries
    }

    /// Every living or dead descendant of a process, itself not included.
    public static func descendants(of pid: Int32, in entries: [ProcessEntry] = all()) -> [ProcessEntry] {
        closure(of: [pid], in: entries)
    }

    /// All descendants of some processes, these not included.
    static func closure(of roots: Set<Int32>, in entries: [ProcessEntry]) -> [ProcessEntry] {
        let children = Dictionary(grouping: entries, by: \.parent)
        var found: [ProcessEntry] = []
        var seen = roots
        var open = Array(roots)
        while let pid = open.popLast() {
            for child in children[pid] ?? [] where seen.insert(child.pid).inserted {
                found.append(child)
                open.append(child.pid)
            }
        }
        return found
    }

    /// The arguments it was started with, joined by spaces; its name in brackets where it has none.
    public var command: String {
        guard let text = ProcFile.read("/proc/\(pid)/cmdline", limit: 4096), !text.isEmpty else { return "[\(name)]" }
        let arguments = text.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        return arguments.joined(separator: " ")
    }

    /// It was started with the variable `NAME=VALUE`. Of a process that hides its environment (an agent host), the arguments are
    /// looked at instead.
    public func carries(_ marker: String) -> Bool {
        let wanted = Array(marker.utf8)
        let text =
            ProcFile.read("/proc/\(pid)/environ", limit: 4 << 20) ?? ProcFile.read("/proc/\(pid)/cmdline", limit: 4 << 20) ?? []
        return text.split(separator: 0).contains { $0.elementsEqual(wanted) }
    }

    /// Sends it a signal, unless it has ended, whatever its pid may name by then.
    /// - Returns: false if it has ended or may not be signalled.
    @discardableResult public func signal(_ number: Int32) -> Bool {
        let descriptor = clinux_pidfd_open(pid)
        // Without pidfds (an old kernel, a sandbox) a tiny window remains between the look and the kill.
        guard descriptor >= 0 else { return errno != ESRCH && isSame && kill(pid, number) == 0 }
        defer { close(descriptor) }
        return isSame && clinux_pidfd_signal(descriptor, number) == 0
    }

    /// The pid still names this process, dead or alive.
    public var isSame: Bool { ProcessEntry(pid)?.startTime == startTime }
}

enum ProcFile {
    /// The file's bytes up to a limit, or nil if it cannot be read.
    static func read(_ path: String, limit: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        while bytes.count < limit {
            let wanted = min(bytes.isEmpty ? 1024 : 65536, limit - bytes.count)
            let chunk = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
                count = max(0, Glibc.read(descriptor, buffer.baseAddress, wanted))
            }
            if chunk.isEmpty { break }
            bytes += chunk
        }
        return bytes
    }
}
