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
        let fields = text[(close + 1)...].split(separator: UInt8(ascii: " "), maxSplits: 20)
        guard fields.count > 19, let state = fields[0].first else { return nil }
        self.pid = pid
        parent = Int32(truncatingIfNeeded: Self.number(fields[1]))
        group = Int32(truncatingIfNeeded: Self.number(fields[2]))
        session = Int32(truncatingIfNeeded: Self.number(fields[3]))
        threads = Int(truncatingIfNeeded: Self.number(fields[17]))
        startTime = Self.number(fields[19])
        self.state = Character(UnicodeScalar(state))
        name = String(decoding: text[(open + 1)..<close], as: UTF8.self)
    }

    /// The kernel writes plain decimal numbers, -1 in place of a few that do not apply.
    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64 {
        digits.reduce(0) { (48...57).contains($1) ? $0 &* 10 &+ UInt64($1 - 48) : $0 }
    }

    /// Every process that this one may see.
    public static func all() -> [ProcessEntry] {
        ProcFile.numbers(in: "/proc").compactMap { ProcessEntry($0) }
    }

    /// A quick look at the children of a process. Unlike a look at all processes it may miss some while others end.
    static func children(of pid: Int32) -> [ProcessEntry] {
        ProcFile.numbers(in: "/proc/\(pid)/task").flatMap { thread in
            let text = ProcFile.read("/proc/\(pid)/task/\(thread)/children", limit: 1 << 20) ?? []
            return text.split(separator: UInt8(ascii: " ")).compactMap { digits in
                let child = ProcessEntry(Int32(truncatingIfNeeded: number(digits)))
                return child?.parent == pid ? child : nil
            }
        }
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
        for _ in 0..<5 {
            let environment = ProcFile.read("/proc/\(pid)/environ", limit: 4 << 20)
            let text = environment ?? ProcFile.read("/proc/\(pid)/cmdline", limit: 4 << 20) ?? []
            // In the middle of exec(2) both are empty, for a moment; of the kernel's own threads (children of 2) always.
            guard text.isEmpty, parent > 0, parent != 2, isAlive else {
                return text.split(separator: 0).contains { $0.elementsEqual(wanted) }
            }
            usleep(200)
        }
        return false
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
    /// The names in a directory that are numbers.
    static func numbers(in path: String) -> [Int32] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var numbers: [Int32] = []
        while let item = readdir(folder) {
            guard (48...57).contains(item.pointee.d_name.0) else { continue }
            let number = withUnsafePointer(to: &item.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { Int32(atoi($0)) }
            }
            numbers.append(number)
        }
        return numbers
    }

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
