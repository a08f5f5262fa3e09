import Dispatch
import FoundationEssentials
import Glibc

/// One shell command, in a process group of its own so that stopping it stops all that it started.
final class Shell: Sendable {
    struct Result: Sendable {
        /// Standard output and standard error as they came, cut to ``outputLimit``.
        var output: String
        /// As a shell counts: 128 + the signal for a process that was ended by one.
        var code: Int32
    }

    static let outputLimit = 262_144

    private let pid: pid_t
    private let pipe: Int32
    /// Signals are only sent, and the process is only reaped, on this queue: a pid is never used after it is free.
    private let queue = DispatchQueue(label: "shell")
    private nonisolated(unsafe) var reaped = false

    init(_ command: String, in directory: String) throws(ConversationError) {
        var ends: [Int32] = [0, 0]
        guard Glibc.pipe(&ends) == 0 else { throw ConversationError("cannot make a pipe: \(systemMessage())") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[1]) }
        do {
            pid = try spawn(["/bin/sh", "-c", command], in: directory, output: ends[1], group: .own)
        } catch {
            close(ends[0])
            throw error
        }
        pipe = ends[0]
    }

    /// Waits for the shell to end. What it left running in the background may keep the pipe open: it is not waited for.
    func result() async -> Result {
        await withCheckedContinuation { continuation in
            DispatchQueue(label: "shell output").async { continuation.resume(returning: self.wait()) }
        }
    }

    /// Ends the whole process group at once. Does nothing when the shell has ended.
    func kill() {
        queue.sync { if !self.reaped { Glibc.kill(-self.pid, SIGKILL) } }
    }

    private func wait() -> Result {
        _ = fcntl(pipe, F_SETFL, O_NONBLOCK)
        defer { close(pipe) }
        var output: [UInt8] = []
        var left = 0
        var open = true
        var status: Int32?
        while true {
            // The end of the output mostly comes with the end of the process, so the short wait is rarely waited out.
            var poll = pollfd(fd: open ? pipe : -1, events: Int16(POLLIN), revents: 0)
            _ = Glibc.poll(&poll, 1, 10)
            status = status ?? reap()
            open = open && drain(into: &output, &left)
            if let status {
                var text = String(decoding: output, as: UTF8.self)
                if left > 0 { text += "\n… and \(left) bytes more" }
                return Result(output: text, code: status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f))
            }
        }
    }

    private func reap() -> Int32? {
        queue.sync {
            var status: Int32 = 0
            guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
            reaped = true
            return status
        }
    }

    /// Reads what is there; false at the end.
    private func drain(into output: inout [UInt8], _ left: inout Int) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(pipe, &buffer, buffer.count)
            if count < 0 { return errno == EAGAIN || errno == EINTR }
            if count == 0 { return false }
            let kept = min(count, Self.outputLimit - output.count)
            output += buffer[..<kept]
            left += count - kept
            if count < buffer.count { return true }
        }
    }
}

/// What a process does not share with its parent.
enum SpawnGroup: Int16 {
    /// Its process group.
    case own = 0x02  // POSIX_SPAWN_SETPGROUP
    /// Its session.
    case ownSession = 0x80  // POSIX_SPAWN_SETSID, which Swift does not import
}

/// Starts a process with an empty standard input. Its output goes to `output`, or nowhere.
/// - Returns: its pid; the caller reaps it.
func spawn(
    _ arguments: [String], in directory: String, output: Int32? = nil, group: SpawnGroup
) throws(ConversationError) -> pid_t {
    var actions = posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
        posix_spawn_file_actions_destroy(&actions)
        posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    for descriptor: Int32 in [1, 2] {
        if let output {
            posix_spawn_file_actions_adddup2(&actions, output, descriptor)
        } else {
            posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_WRONLY, 0)
        }
    }
    // A child inherits the signals that the calling thread blocks, and Swift's own threads block nearly all.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, group.rawValue | Int16(POSIX_SPAWN_SETSIGMASK))
    // posix_spawn's own way to change the directory is a GNU extension that Swift does not import.
    let argv = (["/bin/sh", "-c", #"cd "$0" && exec "$@""#, directory] + arguments).map { strdup($0) } + [nil]
    let environment = ProcessInfo.processInfo.environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for text in argv + environment { free(text) } }
    var pid: pid_t = 0
    let code = posix_spawn(&pid, "/bin/sh", &actions, &attributes, argv, environment)
    guard code == 0 else { throw ConversationError("cannot start a shell: \(String(cString: strerror(code)))") }
    return pid
}
