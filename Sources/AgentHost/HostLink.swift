import CLinux
import Glibc
public import Logging
import NIOConcurrencyHelpers
import Processes
public import SessionModel

/// The sidecar's end of the connection to its agent host.
///
/// ```swift
/// let link = try await HostLink.start(directory: "/run/h1", marker: "HOLDFAST_SESSION=1", executable: [path, "host"], logger: logger)
/// let git = try await link.start(ProcessSpec(arguments: ["git", "status"], environment: variables, directory: tree))
/// for await chunk in git.stdout { … }
/// let status = await git.exit()
/// try await link.close()
/// ```
///
/// Once the host is lost everything that waits for it ends with ``HostError/Code/lost``, and no process may be started again
/// before ``sweepSurvivors(within:)`` has returned.
public final class HostLink: ProcessHost {
    private struct State {
        var nextID: UInt32 = 1
        var processes: [UInt32: RemoteProcess] = [:]
        var requests: [UInt32: Promise<Answer>] = [:]
        var lost: HostError?
    }
    private enum Answer: Sendable {
        case ended
        case processes([HostedProcessInfo])
        case lost(HostError)
    }
    private let state = NIOLockedValueBox(State())
    private let connection: HostConnection
    private let loss = Promise<String>()
    private let termination = Promise<Bool>()
    /// The host process, if it was started here, has ended and has been waited for.
    private let hostEnded = Promise<Bool>()
    private let wasStartedHere: Bool
    private let marker: String
    private let logger: Logger
    /// The host's process id, as it names itself (in another container: in that one's numbering).
    public let hostProcess: Int32
    /// The host's own environment: in Kubernetes that of the agent's container.
    public let environment: [String: String]

    private static let answerLimit: Duration = .seconds(30)

    private init(_ guest: HostListener.Guest, wake: Int32, wasStartedHere: Bool, marker: String, logger: Logger) {
        connection = HostConnection(socket: guest.socket, wake: wake)
        hostProcess = guest.pid
        environment = guest.environment
        self.wasStartedHere = wasStartedHere
        self.marker = marker
        self.logger = logger
    }

    // MARK: Opening

    /// Starts a host process of this user and waits until it has proved itself. This process becomes a subreaper: what a host
    /// leaves behind that is killed falls to it, and ``sweepSurvivors(within:)`` finds it.
    /// - Parameters:
    ///   - directory: for the socket and the secret; made with mode 0700. Its path is at most 90 bytes long.
    ///   - marker: `NAME=VALUE`, unique to the session, put into the environment of everything that runs under the host.
    ///   - executable: the program and its first arguments; `--socket`, `--secret-file` and `--marker` follow.
    ///   - environment: the host's own. It is not passed on to what the host starts.
    ///   - log: the descriptor that becomes the host's standard output and error.
    public static func start(
        directory: String, marker: String, executable: [String], environment: [String: String] = [:], log: Int32 = 2,
        deadline: TimeSpan = .seconds(10), logger: Logger
    ) async throws(HostError) -> HostLink {
        let variable = marker.split(separator: "=", maxSplits: 1).map(String.init)
        guard variable.count == 2 else { throw HostError(.refused, "The marker must be NAME=VALUE, but is “\(marker)”") }
        guard clinux_become_subreaper() == 0 else { throw HostError(.refused, "Cannot become a subreaper: \(words(errno))") }
        let listener = try HostListener(directory: directory, peerUser: geteuid(), logger: logger)
        var spawn = Spawn(
            executable + ["--socket", listener.socketPath, "--secret-file", listener.secretPath, "--marker", marker],
            environment: environment.merging([variable[0]: variable[1]]) { _, new in new }, directory: "/")
        // Its own session: Ctrl-C at the sidecar's terminal must not reach it, and an orphan can be told by its session.
        spawn.grouping = .session
        spawn.descriptors = [nil, log, log]
        let pid: Int32
        do throws(SpawnError) {
            pid = try spawn.start()
        } catch {
            listener.cancel()
            throw HostError(.cannotStart, error.description)
        }
        return try await open(listener, child: pid, marker: marker, deadline: deadline, logger: logger)
    }

    /// Waits for a host that somebody else starts: in Kubernetes the agent's container does, with `--socket DIRECTORY/host.sock`
    /// and `--secret-file DIRECTORY/host.secret`.
    /// - Parameter peerUser: the user that the host runs as. If it is not this process's, socket and secret are opened to the group
    ///   of the directory, and the directory must belong to this user and that group.
    public static func listen(
        directory: String, marker: String, peerUser: UInt32, deadline: TimeSpan, logger: Logger
    ) async throws(HostError) -> HostLink {
        let listener = try HostListener(directory: directory, peerUser: peerUser, logger: logger)
        return try await open(listener, child: nil, marker: marker, deadline: deadline, logger: logger)
    }

    /// One thread per link: it waits for the host, then receives from it, then waits for its end.
    private static func open(
        _ listener: HostListener, child: Int32?, marker: String, deadline: TimeSpan, logger: Logger
    ) async throws(HostError) -> HostLink {
        let wake = clinux_wake_descriptor()
        guard wake >= 0 else {
            listener.cancel()
            throw HostError(.refused, "eventfd: \(words(errno))")
        }
        let cancelled = NIOLockedValueBox(false)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<HostLink, HostError>, Never>) in
                detachThread {
                    do throws(HostError) {
                        let guest = try listener.accept(until: .now + deadline.duration, child: child) {
                            cancelled.withLockedValue { $0 }
                        }
                        let link = HostLink(guest, wake: wake, wasStartedHere: child != nil, marker: marker, logger: logger)
                        link.send(.welcome)
                        continuation.resume(returning: .success(link))
                        link.run(guest.decoder, child: child)
                    } catch {
                        if let child {
                            kill(child, SIGKILL)
                            _ = Child.wait(child)
                        }
                        Glibc.close(wake)
                        continuation.resume(returning: .failure(error))
                    }
                }
            }
        } onCancel: {
            cancelled.withLockedValue { $0 = true }
        }
        return try result.get()
    }

    // MARK: ProcessHost

    public func start(_ spec: ProcessSpec) async throws(HostError) -> any HostedProcess {
        let process = try state.withLockedValue { state -> Result<RemoteProcess, HostError> in
            if let lost = state.lost { return .failure(lost) }
            let process = RemoteProcess(id: state.nextID) { [weak self] in self?.send($0) }
            state.processes[state.nextID] = process
            state.nextID += 1
            return .success(process)
        }.get()
        do throws(HostFrameError) {
            try connection.send(.start(process.id, spec))
        } catch {
            state.withLockedValue { $0.processes[process.id] = nil }
            throw HostError(.cannotStart, "Cannot start \(spec.arguments.first ?? ""): \(error)")
        }
        if let result = await process.started.wait(atMost: Self.answerLimit) {
            return ProcessHandle(pid: try result.get(), process: process, link: self)
        }
        // The host handles frames in order: if it does start the process later, it then ends it at once.
        send(.signal(process.id, SIGKILL))
        forget(process)
        throw noAnswer("to start \(spec.arguments.first ?? "")", within: Self.answerLimit)
    }

    public func endAll(grace: TimeSpan) async throws(HostError) {
        let milliseconds = UInt32(clamping: grace.milliseconds)
        let limit = Duration.milliseconds(Int(milliseconds)) + Self.answerLimit
        switch try await ask("to end all processes", within: limit, { .endAll($0, grace: milliseconds) }) {
        case .ended: return
        case .lost(let error): throw error
        case .processes: throw HostError(.refused, "The agent host answered another question")
        }
    }

    public func processes() async throws(HostError) -> [HostedProcessInfo] {
        switch try await ask("for its processes", within: Self.answerLimit, { .list($0) }) {
        case .processes(let list): return list
        case .lost(let error): throw error
        case .ended: throw HostError(.refused, "The agent host answered another question")
        }
    }

    private func ask(
        _ what: String, within limit: Duration, _ frame: (UInt32) -> HostFrame
    ) async throws(HostError) -> Answer {
        let promise = Promise<Answer>()
        let id = try state.withLockedValue { state -> Result<UInt32, HostError> in
            if let lost = state.lost { return .failure(lost) }
            defer { state.nextID += 1 }
            state.requests[state.nextID] = promise
            return .success(state.nextID)
        }.get()
        send(frame(id))
        if let answer = await promise.wait(atMost: limit) { return answer }
        state.withLockedValue { $0.requests[id] = nil }
        throw noAnswer(what, within: limit)
    }

    private func noAnswer(_ what: String, within limit: Duration) -> HostError {
        if Task.isCancelled { return HostError(.cancelled, "Asking the agent host \(what) was cancelled") }
        return HostError(.timeout, "The agent host was asked \(what) and did not answer within \(limit)")
    }

    // MARK: The end

    /// Why the host is lost; nil while it is not.
    public var lost: String? { state.withLockedValue { $0.lost?.message } }

    /// Returns why the host is lost, as soon as it is; nil if this task is cancelled first.
    public func waitUntilLost() async -> String? { await loss.wait() }

    /// Returns true as soon as the host's container is being stopped (SIGTERM): its processes go on until ``close(_:)`` or until
    /// the host's grace time is over. False if the host is lost first, or this task is cancelled.
    public func waitUntilTerminating() async -> Bool { await termination.wait() ?? false }

    /// Releases the host: it has done its work, ends every process, and then itself with success. Returns when none is alive.
    public func release() async throws(HostError) {
        send(.release)
        // It closes the connection: what is closed here could end before the frame is read.
        _ = await loss.wait(atMost: .seconds(5))
        try await close()
    }

    /// Gives the host up: it ends every process, and itself. Returns when none is alive.
    public func close(_ reason: String = "the sidecar released its agent host") async throws(HostError) {
        connection.close(reason)
        try await sweepSurvivors()
    }

    /// Makes sure that no process of this host is alive: the host itself, what it left behind, and whatever carries the marker.
    /// Ends the connection first if it is still there.
    ///
    /// After a ``listen(directory:marker:peerUser:deadline:logger:)`` only processes that carry the marker and that this process may
    /// see are found; in another container the kernel ends everything with the host.
    /// - Throws: ``HostError/Code/timeout`` with the processes that could not be ended.
    public func sweepSurvivors(within limit: TimeSpan = .seconds(30)) async throws(HostError) {
        connection.close("the sidecar gave its agent host up")
        let deadline = ContinuousClock.now + limit.duration
        // An orderly host ends its processes by itself, which takes its grace time at most.
        if wasStartedHere, await hostEnded.wait(atMost: min(limit.duration, HostLoop.lossGrace + .seconds(3))) == nil {
            logger.error("the agent host \(hostProcess) does not end; killing it")
        }
        let targets = ProcessSweep.Targets(marker: marker, adopted: wasStartedHere)
        let left = await withCheckedContinuation { continuation in
            detachThread {
                let time = max(.zero, deadline - .now)
                continuation.resume(returning: ProcessSweep.end(targets, grace: .seconds(1), within: time))
            }
        }
        guard left.isEmpty else {
            let names = left.prefix(10).map { "\($0.pid) \($0.command.prefix(100))" }.joined(separator: "; ")
            throw HostError(.timeout, "\(left.count) processes of the agent could not be ended within \(limit): \(names)")
        }
    }

    // MARK: Frames

    /// Sends a frame that cannot be too large.
    func send(_ frame: HostFrame) {
        do throws(HostFrameError) { try connection.send(frame) } catch { connection.close("\(error)") }
    }

    /// Nobody holds the process any more.
    func forget(_ process: RemoteProcess) {
        let known = state.withLockedValue { $0.processes.removeValue(forKey: process.id) != nil }
        if known { send(.abandon(process.id)) }
    }

    private func run(_ decoder: HostFrameDecoder, child: Int32?) {
        var reason = connection.run(decoder: decoder) { frame throws(HostFrameError) in try handle(frame) }
        if let child, let end = Child.wait(child, atMost: .milliseconds(20)) {
            reason += " (it ended with \(end))"
            hostEnded.fulfil(true)
        }
        logger.info("the agent host \(hostProcess) is gone: \(reason)")
        lose(reason)
        if let child, hostEnded.value == nil {
            _ = Child.wait(child)
            hostEnded.fulfil(true)
        }
    }

    private func lose(_ reason: String) {
        let error = HostError(.lost, "The agent host is lost: \(reason)")
        let (processes, requests) = state.withLockedValue { state in
            state.lost = error
            defer {
                state.processes = [:]
                state.requests = [:]
            }
            return (Array(state.processes.values), Array(state.requests.values))
        }
        for process in processes { process.lose(error) }
        for request in requests { request.fulfil(.lost(error)) }
        termination.fulfil(false)
        loss.fulfil(reason)
    }

    private func handle(_ frame: HostFrame) throws(HostFrameError) {
        switch frame {
        case .terminating: termination.fulfil(true)
        case .allEnded(let id): answer(id, .ended)
        case .processes(let id, let list): answer(id, .processes(list))
        case .started(let id, let pid): process(id)?.started.fulfil(.success(pid))
        case .startFailed(let id, let message):
            process(id)?.started.fulfil(.failure(HostError(.cannotStart, message)))
            state.withLockedValue { $0.processes[id] = nil }
        case .data(let id, .output, let bytes): try check(process(id)?.output.receive(bytes))
        case .data(let id, .errors, let bytes): try check(process(id)?.errors.receive(bytes))
        case .credit(let id, .input, let count): try check(process(id)?.input.give(Int(count)))
        case .end(let id, .input):
            process(id)?.input.fail(HostError(.brokenPipe, "Cannot write to the process: it has closed its standard input"))
        case .end(let id, .output): finish(id) { $0.output.finish() }
        case .end(let id, .errors): finish(id) { $0.errors.finish() }
        case .exited(let id, let status): finish(id) { $0.exited(status) }
        default: throw HostFrameError("unexpected \(frame)")
        }
    }

    /// Nil for one that nobody holds any more: what the host still says of it is ignored.
    private func process(_ id: UInt32) -> RemoteProcess? { state.withLockedValue { $0.processes[id] } }

    private func finish(_ id: UInt32, _ part: (RemoteProcess) -> Void) {
        guard let process = process(id) else { return }
        part(process)
        if process.isFinished { state.withLockedValue { $0.processes[id] = nil } }
    }

    private func answer(_ id: UInt32, _ answer: Answer) {
        state.withLockedValue { $0.requests.removeValue(forKey: id) }?.fulfil(answer)
    }

    private func check(_ withinCredit: Bool?) throws(HostFrameError) {
        guard withinCredit != false else { throw HostFrameError("it ignored the credit") }
    }
}
