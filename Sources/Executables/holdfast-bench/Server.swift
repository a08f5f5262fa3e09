import FoundationEssentials
import Glibc
import Processes

/// A server under measurement: a process of the real binary.
final class Server {
    let pid: Int32
    let endpoint: Endpoint
    /// From the start of the process to its first answer that says it is ready, in nanoseconds.
    private(set) var startup: UInt64 = 0

    /// Starts a program and waits until it is ready.
    init(_ arguments: [String], at endpoint: Endpoint, log: String, environment: [String: String] = [:]) throws {
        self.endpoint = endpoint
        let fd = try check(open(log, O_WRONLY | O_CREAT | O_APPEND, 0o600), log)
        defer { close(fd) }
        var spawn = Spawn(arguments, environment: environment.merging(["PATH": "/usr/local/bin:/usr/bin:/bin"]) { a, _ in a })
        spawn.descriptors = [nil, fd, fd]
        let start = monotonic()
        pid = try spawn.start()
        while true {
            if let answer = try endpoint.call("GET", "/readyz"), answer.status == 200 { break }
            guard Child.poll(pid) == nil else { throw Failure("\(arguments[0]) ended at once; see \(log)") }
            guard monotonic() - start < 20_000_000_000 else {
                stop()
                throw Failure("\(arguments[0]) is not ready after 20 s; see \(log)")
            }
            usleep(200)
        }
        startup = monotonic() - start
    }

    func stop() {
        kill(pid, SIGTERM)
        if Child.wait(pid, atMost: .seconds(20)) == nil {
            kill(pid, SIGKILL)
            _ = Child.wait(pid)
        }
    }

    /// A request that must succeed.
    func call(_ method: String, _ path: String, headers: String = "", body: String? = nil) throws -> String {
        guard let answer = try endpoint.call(method, path, headers: headers, body: body) else {
            throw Failure("\(method) \(path): the server went away")
        }
        let text = String(decoding: answer.body, as: UTF8.self)
        guard (200..<300).contains(answer.status) else { throw Failure("\(method) \(path): \(answer.status) \(text)") }
        return text
    }

    /// Resident memory in MB: all of it, and what is not of a file.
    func memory() throws -> (resident: Double, anonymous: Double) {
        let text = String(decoding: try Data(contentsOf: URL(filePath: "/proc/\(pid)/status")), as: UTF8.self)
        func field(_ name: String) -> Double {
            for line in text.split(separator: "\n") where line.hasPrefix(name) {
                let words = line.split { $0 == " " || $0 == "\t" }
                return (words.count > 1 ? Double(words[1]) ?? .nan : .nan) / 1024
            }
            return .nan
        }
        return (field("VmRSS:"), field("RssAnon:"))
    }
}
