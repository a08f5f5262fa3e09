public import SessionModel

/// Where the sidecar's processes run: the agent's, git's and the set-up command's. The sidecar itself starts none of them.
///
/// The real one is ``HostLink``, the sidecar's end of a connection to a `holdfast-sidecar host` process.
public protocol ProcessHost: Sendable {
    /// Starts a process in a session of its own.
    /// - Throws: ``HostError``: the program is missing, the directory is, or the host is lost.
    func start(_ spec: ProcessSpec) async throws(HostError) -> any HostedProcess

    /// Ends every process that the host started and every descendant of those, whatever session they moved to: SIGTERM, and
    /// SIGKILL after `grace`. Returns when the host has reported that none is alive.
    func endAll(grace: TimeSpan) async throws(HostError)

    /// The processes alive under the host at this moment, for the transcript.
    func processes() async throws(HostError) -> [HostedProcessInfo]
}

/// A process of a ``ProcessHost``.
///
/// Letting go of it does not end the process; what it prints from then on is thrown away, so that it does not block.
public protocol HostedProcess: Sendable {
    var pid: Int32 { get }

    /// What the process prints, in chunks of at most 64 KiB. Reading is what lets the process go on printing: while nobody reads,
    /// at most 256 KiB wait here and the process blocks. Each can be iterated once. It ends when every writer has closed it.
    var stdout: ProcessOutput { get }
    var stderr: ProcessOutput { get }

    /// Writes to the process's standard input. Returns when the host has taken it; waits while the process does not read.
    /// - Throws: ``HostError/Code/brokenPipe`` once the process has closed its end.
    func write(_ bytes: [UInt8]) async throws(HostError)
    func closeInput() async

    /// Sends a signal to the process's session's process group.
    func signal(_ number: Int32) async

    /// How it ended. Returns when the process itself has exited; its output may still be read. If the calling task is cancelled
    /// it returns ``ExitStatus/lost`` at once.
    func exit() async -> ExitStatus
}

/// The bytes of one output stream of a process.
public struct ProcessOutput: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    private let next: @Sendable () async -> [UInt8]?

    /// - Parameter next: the next chunk, or nil at the end.
    public init(_ next: @escaping @Sendable () async -> [UInt8]?) { self.next = next }

    public func makeAsyncIterator() -> Iterator { Iterator(chunk: next) }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let chunk: @Sendable () async -> [UInt8]?
        public mutating func next() async -> [UInt8]? { await chunk() }
    }
}

/// What to run.
public struct ProcessSpec: Sendable, Hashable, Codable {
    /// The program, looked for in the environment's PATH unless it has a slash, and its arguments.
    public var arguments: [String]
    /// The whole environment; the host adds only its own marker, by which survivors of a crash are found.
    public var environment: [String: String]
    /// An absolute path.
    public var directory: String
    /// Values that the host takes out of what it writes to its own log.
    public var secrets: [String]?

    public init(arguments: [String], environment: [String: String], directory: String) {
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
    }
}

public enum ExitStatus: Sendable, Hashable, Codable {
    case code(Int32)
    case signal(Int32)
    /// The host ended before it could say.
    case lost

    public var isSuccess: Bool { self == .code(0) }
}

extension ExitStatus: CustomStringConvertible {
    public var description: String {
        switch self {
        case .code(let code): "exit code \(code)"
        case .signal(let number): "signal \(number)"
        case .lost: "the agent host was lost"
        }
    }
}

public struct HostedProcessInfo: Sendable, Hashable, Codable {
    public var pid: Int32
    public var command: String
    public init(pid: Int32, command: String) {
        self.pid = pid
        self.command = command
    }
}

/// Why the agent host could not do something.
public struct HostError: Error, Sendable, Hashable {
    public enum Code: String, Sendable, Hashable, Codable {
        /// The program or the directory does not exist or may not be used.
        case cannotStart
        /// The process closed its standard input or has ended.
        case brokenPipe
        /// The connection to the host ended.
        case lost
        /// The host did not answer in time.
        case timeout
        /// The host did not prove itself, or spoke another version.
        case refused
        /// The calling task was cancelled.
        case cancelled
    }
    public var code: Code
    /// What was tried, what happened, and what to do.
    public var message: String
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

extension HostError: CustomStringConvertible {
    public var description: String { message }
}
