import Dispatch
import FoundationEssentials
import Glibc
import Processes

/// The program that knows how to reach a cluster, and as whom.
struct Kubectl: Sendable, Hashable {
    /// `--context staging` …
    var flags: [String]
    var environment: [String: String]

    /// The same in another namespace.
    func `in`(_ namespace: String) -> Kubectl {
        Kubectl(flags: flags + ["--namespace", namespace], environment: environment)
    }

    /// The namespace that its flags name, else the context's.
    func namespace() async -> String {
        if let index = flags.lastIndex(of: "--namespace") { return flags[index + 1] }
        let current = try? await run(["config", "view", "--minify", "--output", "jsonpath={..namespace}"]).get()
        return current.flatMap { $0.isEmpty ? nil : $0 } ?? "default"
    }

    private var program: String { environment["HOLDFAST_KUBECTL"] ?? "kubectl" }

    struct Running: Sendable {
        /// Of kubectl, or of what ends it with this process.
        var pid: Int32
        /// What it prints, on either stream. It is read on until the process ends, whoever listens.
        var lines: AsyncStream<String>
        /// What it was started beside: it is ended when nobody has this any more.
        var lifeline: Lifeline?
    }

    /// An open end of a pipe.
    final class Lifeline: Sendable {
        private let descriptor: Int32
        init(_ descriptor: Int32) { self.descriptor = descriptor }
        deinit { close(descriptor) }
    }

    /// Runs the command after it, and ends it when stdin ends or with SIGTERM. The watcher comes before the trap: a copy of the shell
    /// that is told to end before it has put the trap aside would not.
    private static let guardian = """
        exec 3<&0
        "$@" </dev/null 3<&- &
        child=$!
        { read -r _ <&3; kill "$child" 2>/dev/null; } &
        watcher=$!
        trap 'kill "$child" 2>/dev/null' TERM
        while :; do wait "$child"; status=$?; kill -0 "$child" 2>/dev/null || break; done
        kill "$watcher" 2>/dev/null
        exit "$status"
        """

    func start(_ arguments: [String]) throws(Failure) -> Running {
        try start([program] + flags + arguments, input: nil, grouping: .inherited)
    }

    /// Starts it for as long as this process lives, however that ends. Ctrl-C at the terminal is this process's to judge.
    func startBeside(_ arguments: [String]) throws(Failure) -> Running {
        let life = try Self.makePipe()
        defer { close(life.read) }
        // The system closes it when this process ends, and no child of it gets it.
        let lifeline = Lifeline(life.write)
        var running = try start(
            ["sh", "-c", Self.guardian, "sh", program] + flags + arguments, input: life.read, grouping: .group)
        running.lifeline = lifeline
        return running
    }

    private func start(_ command: [String], input: Int32?, grouping: Spawn.Grouping) throws(Failure) -> Running {
        let output = try Self.makePipe()
        defer { close(output.write) }
        var spawn = Spawn(command, environment: environment)
        spawn.grouping = grouping
        spawn.descriptors = [input, output.write, output.write]
        do {
            let pid = try spawn.start()
            return Running(pid: pid, lines: Self.lines(from: output.read))
        } catch {
            close(output.read)
            throw Failure(.failed, "\(error): install kubectl, which reaches the cluster, or name a server with --server")
        }
    }

    private static func makePipe() throws(Failure) -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw Failure(.failed, "no pipe can be made: \(String(cString: strerror(errno)))")
        }
        return (ends[0], ends[1])
    }

    /// Runs it to its end, and returns what it has printed.
    func run(_ arguments: [String]) async -> Result<String, Failure> {
        let process: Running
        do throws(Failure) { process = try start(arguments) } catch { return .failure(error) }
        var text: [String] = []
        for await line in process.lines { text.append(line) }
        let end = await withCheckedContinuation { done in
            DispatchQueue.global().async { done.resume(returning: Child.wait(process.pid)) }
        }
        let words = text.joined(separator: "\n")
        guard end == .code(0) else {
            return .failure(
                Failure(.failed, words.isEmpty ? "kubectl \(arguments.joined(separator: " ")) failed" : text.last ?? words))
        }
        return .success(words)
    }

    /// The descriptor is closed at its end.
    private static func lines(from descriptor: Int32) -> AsyncStream<String> {
        AsyncStream { lines in
            DispatchQueue(label: "kubectl").async {
                var buffer: [UInt8] = []
                var chunk = [UInt8](repeating: 0, count: 4096)
                while true {
                    let count = read(descriptor, &chunk, chunk.count)
                    if count < 0, errno == EINTR { continue }
                    guard count > 0 else { break }
                    buffer += chunk[..<count]
                    while let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                        lines.yield(String(decoding: buffer[..<end], as: UTF8.self))
                        buffer.removeFirst(end + 1)
                    }
                }
                if !buffer.isEmpty { lines.yield(String(decoding: buffer, as: UTF8.self)) }
                close(descriptor)
                lines.finish()
            }
        }
    }
}
