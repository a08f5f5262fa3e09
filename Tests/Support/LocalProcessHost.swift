public import AgentHost
import Dispatch
import Glibc
import NIOConcurrencyHelpers
import Processes
public import SessionModel

/// A ``ProcessHost`` without a host process: it runs everything as children of the tests, each in a session of its own.
///
/// It ends the process group of each child, and does not find processes that moved to another one: the real host's tests do.
public final class LocalProcessHost: ProcessHost {
    private struct State {
        var children: [LocalProcess] = []
        var commands: [[String]] = []
        var killAt: (@Sendable ([String]) -> Bool)?
    }
    private let state = NIOLockedValueBox(State())

    public init() { signal(SIGPIPE, SIG_IGN) }

    /// Every command line that was started, for tests that count or kill.
    public var commands: [[String]] { state.withLockedValue { $0.commands } }

    /// SIGKILL for the next process whose arguments fit, as soon as it runs: a crash in the middle of a step.
    public func kill(when fits: @escaping @Sendable ([String]) -> Bool) { state.withLockedValue { $0.killAt = fits } }

    public func start(_ spec: ProcessSpec) async throws(HostError) -> any HostedProcess {
        let child = try LocalProcess(spec)
        let dies = state.withLockedValue { state in
            state.children.append(child)
            state.commands.append(spec.arguments)
            guard state.killAt?(spec.arguments) == true else { return false }
            state.killAt = nil
            return true
        }
        if dies { await child.signal(SIGKILL) }
        return child
    }

    public func endAll(grace: TimeSpan) async throws(HostError) {
        for child in state.withLockedValue({ $0.children }) {
            await child.signal(SIGTERM)
            let kill = Task {
                try await Task.sleep(for: grace.duration)
                await child.signal(SIGKILL)
            }
            _ = await child.exit()
            kill.cancel()
        }
        state.withLockedValue { $0.children = [] }
    }

    public func processes() async throws(HostError) -> [HostedProcessInfo] {
        state.withLockedValue { $0.children }.filter(\.isAlive).map { HostedProcessInfo(pid: $0.pid, command: $0.command) }
    }
}

private final class LocalProcess: HostedProcess {
    let pid: Int32
    let command: String
    let stdout: ProcessOutput
    let stderr: ProcessOutput
    private let input: NIOLockedValueBox<Int32?>
    private let writing = DispatchQueue(label: "process input")
    private let status = NIOLockedValueBox<ExitStatus?>(nil)
    private let ending: Task<ExitStatus, Never>

    init(_ spec: ProcessSpec) throws(HostError) {
        command = spec.arguments.joined(separator: " ")
        // Sockets rather than pipes: they are closed in other children from the first moment on.
        func pipe() -> (read: Int32, write: Int32) {
            var ends: [Int32] = [0, 0]
            let code = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends)
            precondition(code == 0, "socketpair: \(errno)")
            return (ends[0], ends[1])
        }
        let (input, output, errors) = (pipe(), pipe(), pipe())
        var spawn = Spawn(spec.arguments, environment: spec.environment, directory: spec.directory)
        spawn.grouping = .session
        spawn.descriptors = [input.read, output.write, errors.write]
        defer { for end in [input.read, output.write, errors.write] { close(end) } }
        do throws(SpawnError) {
            pid = try spawn.start()
        } catch {
            for end in [input.write, output.read, errors.read] { close(end) }
            throw HostError(.cannotStart, error.description)
        }
        self.input = NIOLockedValueBox(input.write)
        stdout = Self.chunks(of: output.read)
        stderr = Self.chunks(of: errors.read)
        ending = Task { [pid, status] in
            await onThread {
                let ended: ExitStatus =
                    switch Child.wait(pid) {
                    case .code(let code): .code(code)
                    case .signal(let number): .signal(number)
                    case nil: .lost
                    }
                status.withLockedValue { $0 = ended }
                return ended
            }
        }
    }

    var isAlive: Bool { status.withLockedValue { $0 == nil } }

    func write(_ bytes: [UInt8]) async throws(HostError) {
        let error: HostError? = await onQueue(writing) { [input] in
            guard let descriptor = input.withLockedValue({ $0 }) else { return HostError(.brokenPipe, "its input is closed") }
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return HostError(.brokenPipe, String(cString: strerror(errno))) }
                rest = rest.dropFirst(count)
            }
            return nil
        }
        if let error { throw error }
    }

    func closeInput() async {
        input.withLockedValue {
            if let descriptor = $0 { close(descriptor) }
            $0 = nil
        }
    }

    func signal(_ number: Int32) async { status.withLockedValue { if $0 == nil { kill(-pid, number) } } }

    func exit() async -> ExitStatus { await ending.value }

    /// Read only when asked: nothing is buffered here, so a process that prints too much waits.
    private static func chunks(of descriptor: Int32) -> ProcessOutput {
        ProcessOutput {
            await onThread {
                var buffer = [UInt8](repeating: 0, count: 65_536)
                var count = 0
                repeat { count = read(descriptor, &buffer, buffer.count) } while count < 0 && errno == EINTR
                if count > 0 { return Array(buffer[..<count]) }
                close(descriptor)
                return nil
            }
        }
    }
}

/// Runs what blocks for as long as a process likes on a thread of its own: Dispatch has a limited number of them, and a hundred
/// tests at once would use them all up.
private func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        detachThread { continuation.resume(returning: body()) }
    }
}

/// Runs what blocks outside of the threads that Swift's tasks share.
private func onQueue<Value: Sendable>(_ queue: DispatchQueue, _ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        queue.async { continuation.resume(returning: body()) }
    }
}
