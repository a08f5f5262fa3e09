import CLinux
import Glibc
import Processes
public import SessionModel

/// The program `holdfast-sidecar host`: it runs processes for the sidecar, and ends them all when the sidecar is gone.
///
/// It is always a process of its own, in Kubernetes the first one of the agent's container. It has one thread and little memory,
/// and decides nothing: see ``HostFrame`` for what it is told and what it answers.
public enum HostProcess {
    /// Serves one sidecar until that is gone and every process has ended.
    /// - Parameters:
    ///   - socket: the sidecar's Unix socket.
    ///   - secretFile: holds the secret by which the sidecar knows its host. It is removed before anything else is done. If it does
    ///     not exist yet, it is waited for.
    ///   - marker: `NAME=VALUE`, set in the environment of everything that is started.
    ///   - terminationGrace: how long after SIGTERM the processes may go on, if the sidecar does not close the connection earlier.
    ///   - patience: how long to wait for the file and the socket to appear.
    /// - Returns: the exit code: 0 when the sidecar has released it; 1 when there was none to serve, or it was lost.
    public static func run(
        socket: String, secretFile: String, marker: String, terminationGrace: TimeSpan = .seconds(25),
        patience: TimeSpan = .seconds(60)
    ) -> Int32 {
        do throws(HostError) {
            let loop = try connect(socket, secretFile, marker, terminationGrace, ContinuousClock.now + patience.duration)
            return loop.run()
        } catch {
            report(error.message)
            return 1
        }
    }

    private static func connect(
        _ socketPath: String, _ secretFile: String, _ marker: String, _ terminationGrace: TimeSpan,
        _ deadline: ContinuousClock.Instant
    ) throws(HostError) -> HostLoop {
        // Before the secret is in memory: nobody reads that.
        guard clinux_forbid_dump() == 0, clinux_become_subreaper() == 0 else {
            throw HostError(.refused, "prctl: \(words(errno)); the agent host cannot protect itself or adopt orphans")
        }
        signal(SIGPIPE, SIG_IGN)
        let signals = clinux_signal_descriptor([SIGCHLD, SIGTERM, SIGINT, SIGHUP], 4)
        guard signals >= 0 else { throw HostError(.refused, "cannot handle signals: \(words(errno))") }
        let parts = marker.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { throw HostError(.refused, "the marker must be NAME=VALUE, but is “\(marker)”") }

        let secret = try takeSecret(secretFile, deadline)
        let socket = try open(socketPath, deadline)
        return HostLoop(
            socket: socket, signals: signals, marker: (parts[0], parts[1]), terminationGrace: terminationGrace.duration,
            hello: HostFrame.Hello(
                version: HostFrame.version, secret: secret, pid: getpid(), environment: environment(without: parts[0])))
    }

    /// This process's own environment, but for what is Holdfast's.
    private static func environment(without marker: String) -> [String: String] {
        ownEnvironment().filter { !$0.key.hasPrefix("HOLDFAST_") && $0.key != marker }
    }

    /// Reads the secret and removes its file.
    private static func takeSecret(_ path: String, _ deadline: ContinuousClock.Instant) throws(HostError) -> String {
        while true {
            let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
            let problem = errno
            if descriptor >= 0 {
                defer { close(descriptor) }
                guard unlink(path) == 0 else {
                    throw HostError(
                        .refused, "cannot remove the secret \(path): \(words(errno)); the agent would be able to read it")
                }
                guard case .bytes(let bytes) = ReadResult.read(descriptor, limit: 1024) else {
                    throw HostError(.refused, "the secret \(path) is empty")
                }
                return String(decoding: bytes, as: UTF8.self)
            }
            guard problem == ENOENT, ContinuousClock.now < deadline else {
                throw HostError(.refused, "cannot read the secret \(path): \(words(problem)); is the sidecar running?")
            }
            usleep(20_000)
        }
    }

    private static func open(_ path: String, _ deadline: ContinuousClock.Instant) throws(HostError) -> Int32 {
        while true {
            let descriptor = try UnixSocket.make()
            let problem = try UnixSocket.connect(descriptor, to: path)
            if problem == 0 { return descriptor }
            close(descriptor)
            guard problem == ENOENT || problem == ECONNREFUSED || problem == EAGAIN, ContinuousClock.now < deadline else {
                throw HostError(.refused, "cannot reach the sidecar at \(path): \(words(problem))")
            }
            usleep(20_000)
        }
    }

    /// Says something on the container's log.
    static func report(_ text: String) {
        let line = Array("holdfast-sidecar host: \(text)\n".utf8)
        HostLog.write(line)
    }
}

/// The host's standard error, its container's log. A log that is not read must not stop the host: what does not fit is dropped.
enum HostLog {
    static func write(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            var request = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
            // A pipe that is writable takes PIPE_BUF (4096) bytes without blocking.
            guard poll(&request, 1, 0) == 1, request.revents & Int16(POLLOUT) != 0 else { return }
            let count = rest.prefix(4096).withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
