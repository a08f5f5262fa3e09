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
        var pid: Int32
        /// What it prints, on either stream. It is read on until the process ends, whoever listens.
        var lines: AsyncStream<String>
    }

    func start(_ arguments: [String], grouping: Spawn.Grouping) throws(Failure) -> Running {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw Failure(.failed, "no pipe can be made: \(String(cString: strerror(errno)))")
        }
        defer { close(ends[1]) }
        var spawn = Spawn([program] + flags + arguments, environment: environment)
        spawn.grouping = grouping
        spawn.descriptors = [nil, ends[1], ends[1]]
        do {
            let pid = try spawn.start()
            return Running(pid: pid, lines: Self.lines(from: ends[0]))
        } catch {
            close(ends[0])
            throw Failure(.failed, "\(error): install kubectl, which reaches the cluster, or name a server with --server")
        }
    }

    /// Runs it to its end, and returns what it has printed.
    func run(_ arguments: [String]) async -> Result<String, Failure> {
        let process: Running
        do throws(Failure) { process = try start(arguments, grouping: .inherited) } catch { return .failure(error) }
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
