public import AgentHost
import Dispatch
import Glibc
public import SessionModel

/// A ``ProcessHost`` for tests: processes of this machine, each in a session of its own, with none of the real host's guards.
public actor GitProcessHost: ProcessHost {
    private var started: [GitProcess] = []
    /// Every command line that was started, for tests that count or kill.
    public private(set) var commands: [[String]] = []
    private var killAt: (@Sendable ([String]) -> Bool)?

    public init() {}

    /// SIGKILL for the next process whose arguments fit, as soon as it runs: a crash in the middle of a step.
    public func kill(when fits: @escaping @Sendable ([String]) -> Bool) { killAt = fits }

    public func start(_ spec: ProcessSpec) async throws(HostError) -> any HostedProcess {
        commands.append(spec.arguments)
        let process = try GitProcess(spec)
        started.append(process)
        if let killAt, killAt(spec.arguments) {
            self.killAt = nil
            await process.signal(SIGKILL)
        }
        return process
    }

    public func endAll(grace: TimeSpan) async throws(HostError) {
        for process in started { await process.signal(SIGKILL) }
        for process in started { _ = await process.exit() }
        started = []
    }

    public func processes() async throws(HostError) -> [HostedProcessInfo] { [] }
}

private final class GitProcess: HostedProcess {
    let pid: Int32
    let stdout: ProcessOutput
    let stderr: ProcessOutput
    private let input: Int32
    private let ended: Task<ExitStatus, Never>

    init(_ spec: ProcessSpec) throws(HostError) {
        guard access(spec.directory, X_OK) == 0 else {
            throw HostError(.cannotStart, "\(spec.directory): \(String(cString: strerror(errno)))")
        }
        // Sockets rather than pipes: they are closed in other children from the first moment on.
        func pipe() -> (read: Int32, write: Int32) {
            var ends: [Int32] = [0, 0]
            let code = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends)
            precondition(code == 0, "socketpair: \(errno)")
            return (ends[0], ends[1])
        }
        let (input, output, errors) = (pipe(), pipe(), pipe())
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, input.read, 0)
        posix_spawn_file_actions_adddup2(&actions, output.write, 1)
        posix_spawn_file_actions_adddup2(&actions, errors.write, 2)
        let setSession: Int32 = 0x80  // POSIX_SPAWN_SETSID, which Swift's Glibc does not show
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        posix_spawnattr_setflags(&attributes, Int16(setSession | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigaddset(&signals, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &signals)

        let command = ["env", "-C", spec.directory] + spec.arguments
        var arguments = command.map { strdup($0) } + [nil]
        var environment = spec.environment.map { strdup("\($0)=\($1)") } + [nil]
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, command[0], &actions, &attributes, &arguments, &environment)
        (arguments + environment).forEach { free($0) }
        posix_spawn_file_actions_destroy(&actions)
        posix_spawnattr_destroy(&attributes)
        for end in [input.read, output.write, errors.write] { close(end) }
        guard code == 0 else {
            for end in [input.write, output.read, errors.read] { close(end) }
            throw HostError(.cannotStart, "\(spec.arguments[0]) in \(spec.directory): \(String(cString: strerror(code)))")
        }
        self.pid = pid
        self.input = input.write
        stdout = Self.chunks(of: output.read)
        stderr = Self.chunks(of: errors.read)
        ended = Task { [pid] in
            await onThread {
                var status: Int32 = 0
                while waitpid(pid, &status, 0) < 0, errno == EINTR {}
                return status & 0x7f == 0 ? .code(status >> 8 & 0xff) : .signal(status & 0x7f)
            }
        }
    }

    /// Read only when asked: nothing is buffered here, so a process that prints too much waits.
    private static func chunks(of descriptor: Int32) -> ProcessOutput {
        ProcessOutput {
            await onThread {
                var buffer = [UInt8](repeating: 0, count: 65536)
                let count = read(descriptor, &buffer, buffer.count)
                if count > 0 { return Array(buffer[..<count]) }
                close(descriptor)
                return nil
            }
        }
    }

    func write(_ bytes: [UInt8]) async throws(HostError) {
        throw HostError(.brokenPipe, "GitProcessHost gives no input")
    }
    func closeInput() async { close(input) }
    func signal(_ number: Int32) async { kill(-pid, number) }
    func exit() async -> ExitStatus { await ended.value }
}

/// Runs what blocks outside of the threads that Swift's tasks share.
private func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(returning: body()) }
    }
}
