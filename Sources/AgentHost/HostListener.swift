import CLinux
import Glibc
import Logging
import Processes

/// The door that a host comes in by: a Unix socket and a one-time secret in a directory of their own.
struct HostListener {
    let socketPath: String
    let secretPath: String
    private let descriptor: Int32
    private let secret: String
    private let peerUser: UInt32
    private let logger: Logger

    /// Connections that have not said hello yet are held at most so many and so long.
    private static let mostPending = 16
    private static let patience: Duration = .seconds(5)

    /// - Parameters:
    ///   - directory: made if missing. Only this user may enter it, or also this process's group if the host has another user.
    ///   - peerUser: the user that the host has to have.
    init(directory: String, peerUser: UInt32, logger: Logger) throws(HostError) {
        self.peerUser = peerUser
        self.logger = logger
        socketPath = directory + "/host.sock"
        secretPath = directory + "/host.secret"
        let shared = peerUser != geteuid()

        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else { throw Self.failure("make the directory", directory) }
        var status = stat()
        guard lstat(directory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid() else {
            throw HostError(.refused, "\(directory) is not a directory of this user; the agent host's socket cannot be put there")
        }
        guard chmod(directory, shared ? 0o770 : 0o700) == 0 else { throw Self.failure("protect", directory) }
        unlink(socketPath)
        unlink(secretPath)

        var generator = SystemRandomNumberGenerator()
        secret = (0..<32).map { _ in
            let byte = UInt8.random(in: 0...255, using: &generator)
            return (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()

        descriptor = try UnixSocket.make()
        do throws(HostError) {
            let problem = try UnixSocket.bind(descriptor, to: socketPath)
            errno = problem
            // Nobody can connect before listen(2), so there is no moment at which the mode is too wide.
            guard problem == 0, chmod(socketPath, shared ? 0o660 : 0o600) == 0, listen(descriptor, 8) == 0 else {
                throw Self.failure("listen at", socketPath)
            }
            try Self.write(secret, to: secretPath, mode: shared ? 0o640 : 0o600)
        } catch {
            close(descriptor)
            throw error
        }
    }

    private static func failure(_ action: String, _ path: String) -> HostError {
        HostError(.refused, "Cannot \(action) \(path): \(words(errno))")
    }

    private static func write(_ secret: String, to path: String, mode: mode_t) throws(HostError) {
        let file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw failure("write", path) }
        defer { close(file) }
        let bytes = Array(secret.utf8)
        guard fchmod(file, mode) == 0, Glibc.write(file, bytes, bytes.count) == bytes.count else { throw failure("write", path) }
    }

    /// A host that has proved itself.
    struct Guest {
        var socket: Int32
        var decoder: HostFrameDecoder
        var pid: Int32
        var environment: [String: String]
    }

    private struct Pending {
        var socket: Int32
        var decoder = HostFrameDecoder()
        var until = ContinuousClock.now + HostListener.patience
        var user: uid_t = 0

        init(socket: Int32) {
            self.socket = socket
            decoder.accepted = { $0 == .hello }
        }
    }

    /// Waits for exactly one host; blocks. The socket and the secret are gone afterwards, whatever happens.
    /// - Parameters:
    ///   - child: the host's pid, if it was started here; the wait ends when it does.
    ///   - isCancelled: asked often; the wait ends when it says so.
    func accept(
        until deadline: ContinuousClock.Instant, child: Int32?, isCancelled: () -> Bool
    ) throws(HostError) -> Guest {
        var pending: [Pending] = []
        defer {
            for connection in pending { close(connection.socket) }
            cancel()
        }
        while true {
            if isCancelled() { throw HostError(.cancelled, "Waiting for the agent host was cancelled") }
            if let child, let end = Child.poll(child) {
                throw HostError(.lost, "The agent host (pid \(child)) ended before it connected (\(end)); its log says why")
            }
            let now = ContinuousClock.now
            guard now < deadline else {
                throw HostError(.timeout, "No agent host came to \(socketPath) in time; is it running, with the right secret?")
            }
            for index in pending.indices.reversed() where now >= pending[index].until {
                logger.warning("a connection to the agent host's socket said nothing and was closed")
                close(pending.remove(at: index).socket)
            }
            var requests = ([descriptor] + pending.map(\.socket)).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            guard poll(&requests, nfds_t(requests.count), 20) > 0 else { continue }
            for index in pending.indices.reversed() where requests[index + 1].revents != 0 {
                if let guest = greet(&pending[index]) {
                    pending.remove(at: index)
                    return guest
                }
                if pending[index].socket < 0 { pending.remove(at: index) }
            }
            if requests[0].revents != 0, case let socket = clinux_accept(descriptor), socket >= 0 {
                if pending.count < Self.mostPending { pending.append(Pending(socket: socket)) } else { close(socket) }
            }
        }
    }

    /// Lets nobody in any more.
    func cancel() {
        close(descriptor)
        unlink(socketPath)
        unlink(secretPath)
    }

    /// Looks at what a connection has said. One that is refused is closed, and its socket set to -1.
    private func greet(_ pending: inout Pending) -> Guest? {
        let refusal: String
        switch ReadResult.read(pending.socket, limit: 8192) {
        case .nothing: return nil
        case .end: refusal = "it closed the connection"
        case .bytes(let bytes):
            pending.decoder.append(bytes)
            do throws(HostFrameError) {
                guard case .hello(let hello)? = try pending.decoder.next() else { return nil }
                var user: uid_t = 0
                var pid: pid_t = 0
                if hello.version != HostFrame.version {
                    refusal = "it speaks version \(hello.version) and not \(HostFrame.version); use the same binary for both"
                } else if !Self.equal(hello.secret, secret) {
                    refusal = "its secret is wrong"
                } else if clinux_peer(pending.socket, &user, &pid) != 0 || user != peerUser {
                    refusal = "it is user \(user) and not \(peerUser)"
                } else {
                    pending.decoder.accepted = {
                        [.started, .startFailed, .output, .errors, .credit, .end, .exited, .allEnded, .processes, .terminating]
                            .contains($0)
                    }
                    return Guest(
                        socket: pending.socket, decoder: pending.decoder, pid: hello.pid, environment: hello.environment)
                }
            } catch {
                refusal = "\(error)"
            }
        }
        logger.warning("a connection to the agent host's socket was refused: \(refusal)")
        close(pending.socket)
        pending.socket = -1
        return nil
    }

    /// Takes the same time wherever the difference is.
    private static func equal(_ a: String, _ b: String) -> Bool {
        let (a, b) = (Array(a.utf8), Array(b.utf8))
        guard a.count == b.count else { return false }
        return zip(a, b).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
