public import AgentHost
import Foundation
import Glibc
public import SessionModel

/// A ``ProcessHost`` without a host process: it runs everything as children of the tests.
///
/// It ends the processes of each child's session's process group, and does not find those that moved to another one.
public final class LocalProcessHost: ProcessHost {
    private let children = Locked<[LocalProcess]>([])

    public init() { signal(SIGPIPE, SIG_IGN) }

    public func start(_ spec: ProcessSpec) async throws(HostError) -> any HostedProcess {
        let child = try LocalProcess(spec)
        children.withLock { $0.append(child) }
        return child
    }

    public func endAll(grace: TimeSpan) async throws(HostError) {
        for child in children.withLock({ $0 }) {
            await child.signal(SIGTERM)
            let kill = Task {
                try await Task.sleep(for: grace.duration)
                await child.signal(SIGKILL)
            }
            _ = await child.exit()
            kill.cancel()
        }
        children.withLock { $0 = [] }
    }

    public func processes() async throws(HostError) -> [HostedProcessInfo] {
        children.withLock { $0 }.filter(\.isAlive).map { HostedProcessInfo(pid: $0.pid, command: $0.command) }
    }
}

private final class LocalProcess: HostedProcess {
    let pid: Int32
    let command: String
    let stdout: ProcessOutput
    let stderr: ProcessOutput
    private let input: Locked<FileHandle?>
    private let writing = DispatchQueue(label: "process input")
    private let status = Locked<ExitStatus?>(nil)
    private let ending: Task<ExitStatus, Never>

    /// Pipes are made and inherited under one lock, so that no child keeps another one's end.
    private static let spawning = NSLock()

    init(_ spec: ProcessSpec) throws(HostError) {
        command = spec.arguments.joined(separator: " ")
        guard let program = Self.program(spec) else {
            throw HostError(.cannotStart, "there is no program \(spec.arguments.first ?? "") in PATH")
        }
        guard FileManager.default.fileExists(atPath: spec.directory) else {
            throw HostError(.cannotStart, "there is no directory \(spec.directory)")
        }
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        // A child inherits the signals that the calling thread blocks, and Swift's own threads block nearly all.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigaddset(&signals, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        let newSession: Int16 = 0x80  // POSIX_SPAWN_SETSID, which Swift does not import
        posix_spawnattr_setflags(&attributes, newSession | Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        let argv =
            (["/bin/sh", "-c", #"cd "$0" && exec "$@""#, spec.directory, program] + spec.arguments.dropFirst()).map { strdup($0) }
            + [nil]
        let environment = spec.environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in argv + environment { free(text) } }

        Self.spawning.lock()
        let pipes = [Pipe(), Pipe(), Pipe()]
        for (number, pipe) in pipes.enumerated() {
            for handle in [pipe.fileHandleForReading, pipe.fileHandleForWriting] {
                _ = fcntl(handle.fileDescriptor, F_SETFD, FD_CLOEXEC)
            }
            let theirs = number == 0 ? pipe.fileHandleForReading : pipe.fileHandleForWriting
            posix_spawn_file_actions_adddup2(&actions, theirs.fileDescriptor, Int32(number))
        }
        var started: pid_t = 0
        let code = posix_spawn(&started, "/bin/sh", &actions, &attributes, argv, environment)
        Self.spawning.unlock()
        guard code == 0 else { throw HostError(.cannotStart, "posix_spawn: \(String(cString: strerror(code)))") }
        try? pipes[0].fileHandleForReading.close()
        try? pipes[1].fileHandleForWriting.close()
        try? pipes[2].fileHandleForWriting.close()
        let pid = started
        self.pid = pid
        input = Locked(pipes[0].fileHandleForWriting)
        stdout = Self.output(pipes[1].fileHandleForReading)
        stderr = Self.output(pipes[2].fileHandleForReading)
        let status = status
        ending = Task {
            await withCheckedContinuation { continuation in
                DispatchQueue(label: "process exit").async {
                    // Seen without being reaped first, so that a signal never meets another process.
                    var information = siginfo_t()
                    while waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT) != 0, errno == EINTR {}
                    continuation.resume(
                        returning: status.withLock { status in
                            var code: Int32 = 0
                            waitpid(pid, &code, 0)
                            let ended: ExitStatus = code & 0x7f == 0 ? .code((code >> 8) & 0xff) : .signal(code & 0x7f)
                            status = ended
                            return ended
                        })
                }
            }
        }
    }

    var isAlive: Bool { status.withLock { $0 == nil } }

    func write(_ bytes: [UInt8]) async throws(HostError) {
        let result: Result<Void, HostError> = await withCheckedContinuation { continuation in
            writing.async {
                guard let handle = self.input.withLock({ $0 }) else {
                    return continuation.resume(returning: .failure(HostError(.brokenPipe, "its input is closed")))
                }
                do {
                    try handle.write(contentsOf: bytes)
                    continuation.resume(returning: .success(()))
                } catch {
                    continuation.resume(returning: .failure(HostError(.brokenPipe, "\(error)")))
                }
            }
        }
        try result.get()
    }

    func closeInput() async {
        input.withLock {
            try? $0?.close()
            $0 = nil
        }
    }

    func signal(_ number: Int32) async { status.withLock { if $0 == nil { kill(-pid, number) } } }

    func exit() async -> ExitStatus { await ending.value }

    private static func output(_ handle: FileHandle) -> ProcessOutput {
        let queue = DispatchQueue(label: "process output")
        return ProcessOutput {
            await withCheckedContinuation { continuation in
                queue.async {
                    var buffer = [UInt8](repeating: 0, count: 65_536)
                    var count = 0
                    repeat { count = read(handle.fileDescriptor, &buffer, buffer.count) } while count < 0 && errno == EINTR
                    continuation.resume(returning: count > 0 ? Array(buffer[..<count]) : nil)
                }
            }
        }
    }

    private static func program(_ spec: ProcessSpec) -> String? {
        guard let name = spec.arguments.first, !name.isEmpty else { return nil }
        let candidates =
            name.contains("/")
            ? [name] : (spec.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":").map { "\($0)/\(name)" }
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0) }
    }
}

/// A value under a lock.
private final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value
    init(_ value: Value) { self.value = value }
    func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
        lock.lock()
        defer { lock.unlock() }
        return body(&value)
    }
}
