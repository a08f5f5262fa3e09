import CLinux
import Glibc
import Processes
import SessionModel

/// The host's side of one process: its pipes, what waits to be written to it, and how much may be read from it.
struct HostedChild {
    let pid: Int32
    private(set) var input: Int32?
    private(set) var output: Int32?
    private(set) var errors: Int32?
    /// Bytes of each stream that the sidecar will still take.
    var outputCredit = HostFrame.window
    var errorsCredit = HostFrame.window
    var exited = false
    /// Nobody reads the output any more: it is thrown away, so that the process does not block.
    var abandoned = false

    /// What it prints to standard error, on its way to the host's log.
    private var log: Redactor.Stream
    private var waiting: [UInt8] = []
    private var written = 0
    private var closeWhenWritten = false
    /// Bytes that the process has read and for which the sidecar has not got its credit back yet.
    private var owed = 0

    /// Starts it in a session of its own.
    init(_ spec: ProcessSpec, marker: (name: String, value: String)) throws(SpawnError) {
        log = Redactor(spec.secrets ?? []).stream()
        var pipes: [(read: Int32, write: Int32)] = []
        var ends: [Int32] = [0, 0]
        while pipes.count < 3, clinux_pipe(&ends) == 0 { pipes.append((ends[0], ends[1])) }
        let problem = errno
        guard pipes.count == 3 else {
            for pipe in pipes { Self.close(pipe.read, pipe.write) }
            throw SpawnError(starting: spec.arguments.first ?? "", errno: problem)
        }
        var spawn = Spawn(spec.arguments, environment: spec.environment, directory: spec.directory)
        spawn.environment[marker.name] = marker.value
        spawn.grouping = .session
        spawn.descriptors = [pipes[0].read, pipes[1].write, pipes[2].write]
        defer { Self.close(pipes[0].read, pipes[1].write, pipes[2].write) }
        do throws(SpawnError) {
            pid = try spawn.start()
        } catch {
            Self.close(pipes[0].write, pipes[1].read, pipes[2].read)
            throw error
        }
        for descriptor in [pipes[0].write, pipes[1].read, pipes[2].read] {
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        }
        input = pipes[0].write
        output = pipes[1].read
        errors = pipes[2].read
    }

    var isFinished: Bool { exited && (abandoned || (output == nil && errors == nil)) }

    /// What of these errors goes to the log now; the rest when they have ended.
    mutating func logged(_ errors: [UInt8]?) -> [UInt8] { errors.map { log.feed($0) } ?? log.finish() }

    // MARK: Input

    var hasInputToWrite: Bool { written < waiting.count }

    /// - Returns: false if the sidecar sends more than it has credit for.
    mutating func take(_ bytes: [UInt8]) -> Bool {
        guard input != nil else { return true }
        guard waiting.count - written + owed + bytes.count <= HostFrame.window, !closeWhenWritten else { return false }
        waiting += bytes
        return true
    }

    /// No more input will come.
    mutating func endInput() {
        if hasInputToWrite { closeWhenWritten = true } else { closeInput() }
    }

    mutating func closeInput() {
        if let input { Self.close(input) }
        input = nil
        waiting = []
        written = 0
    }

    enum Written {
        /// So much credit to give back, perhaps 0.
        case credit(Int)
        /// The process reads no more.
        case broken
    }

    /// Gives the process as much as its pipe takes.
    mutating func writeInput() -> Written {
        guard let input else { return .credit(0) }
        while hasInputToWrite {
            let count = waiting.withUnsafeBytes { write(input, $0.baseAddress! + written, waiting.count - written) }
            if count > 0 {
                written += count
                owed += count
            } else if errno == EAGAIN {
                break
            } else if errno != EINTR {
                closeInput()
                return .broken
            }
        }
        if written >= HostFrame.chunk || !hasInputToWrite {
            waiting.removeFirst(written)
            written = 0
        }
        if closeWhenWritten, !hasInputToWrite { closeInput() }
        guard owed >= HostFrame.chunk else { return .credit(0) }
        defer { owed = 0 }
        return .credit(owed)
    }

    // MARK: Output

    /// The descriptor of an output stream that may be read now.
    func readable(_ stream: HostFrame.Stream) -> Int32? {
        switch stream {
        case .input: nil
        case .output: abandoned || outputCredit > 0 ? output : nil
        case .errors: abandoned || errorsCredit > 0 ? errors : nil
        }
    }

    /// Reads once, no more than there is credit for.
    mutating func read(_ stream: HostFrame.Stream) -> ReadResult {
        guard let descriptor = readable(stream) else { return .nothing }
        let credit = stream == .output ? outputCredit : errorsCredit
        let result = ReadResult.read(descriptor, limit: abandoned ? HostFrame.chunk : min(HostFrame.chunk, credit))
        switch result {
        case .bytes(let bytes):
            if stream == .output { outputCredit -= bytes.count } else { errorsCredit -= bytes.count }
        case .end:
            Self.close(descriptor)
            if stream == .output { output = nil } else { errors = nil }
        case .nothing: break
        }
        return result
    }

    /// Closes whatever is still open.
    mutating func closeAll() {
        closeInput()
        if let output { Self.close(output) }
        if let errors { Self.close(errors) }
        output = nil
        errors = nil
    }

    private static func close(_ descriptors: Int32...) {
        for descriptor in descriptors { Glibc.close(descriptor) }
    }
}
