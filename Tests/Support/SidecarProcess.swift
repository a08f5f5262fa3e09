import CLinux
public import Curl
import Foundation
import Glibc
import NIOConcurrencyHelpers
public import Processes
public import SessionModel

/// Where a sidecar under test lives: its state directory, its socket, its log and its agent's description. It outlives the
/// processes that are started in it, so that a test can kill one and start the next.
public final class SidecarHome: Sendable {
    /// A short path: Unix sockets have 107 bytes.
    public let path: String

    public init() throws {
        var template = Array((NSTemporaryDirectory() + "/hf-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw SidecarFailure("mkdtemp: \(String(cString: strerror(errno)))") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try FileManager.default.createDirectory(atPath: path + "/home", withIntermediateDirectories: false)
    }

    public var state: String { path + "/state" }
    public var socket: String { path + "/s" }
    public var logFile: String { path + "/log" }
    /// What every process in it has written to its standard output and error.
    public var log: String { (try? String(contentsOfFile: logFile, encoding: .utf8)) ?? "" }
    /// The working directory of the agent.
    public var workspace: String { state + "/workspace" }

    /// Writes a file and returns its path.
    @discardableResult
    public func write(_ name: String, _ text: String) throws -> String {
        try text.write(toFile: "\(path)/\(name)", atomically: true, encoding: .utf8)
        return "\(path)/\(name)"
    }

    /// Living processes of this session: the agent host, the agent and what it started; found by their marker.
    public var processes: [ProcessEntry] {
        let marker = "HOLDFAST_STATE=\(state)"
        return ProcessEntry.all().filter { $0.isAlive && $0.carries(marker) }
    }

    /// Ends every process of the session and removes the directory.
    public func remove() async {
        let state = state
        _ = try? await blocking {
            ProcessSweep.end(.init(marker: "HOLDFAST_STATE=\(state)"), grace: .zero, within: .seconds(10))
        }
        try? FileManager.default.removeItem(atPath: path)
    }
}

public struct SidecarFailure: Error, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// Runs something that blocks on a thread of its own.
public func blocking<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedContinuation { (done: CheckedContinuation<Result<Value, any Error>, Never>) in
        Thread.detachNewThread { done.resume(returning: Result { try work() }) }
    }.get()
}

/// The real `holdfast-sidecar serve`, started for a test.
///
/// ```swift
/// try await SidecarProcess.with(agent: .demo()) { sidecar in
///     let turn = try await sidecar.enqueue("say: hello")
///     #expect(try await sidecar.end(of: turn.id).state == .succeeded)
/// }
/// ```
public final class SidecarProcess: Sendable {
    public let home: SidecarHome
    public let pid: Int32
    private let ending: NIOLockedValueBox<Ending>

    private struct Ending {
        var end: ProcessEnd?
        var waiters: [CheckedContinuation<Void, Never>] = []

        mutating func takeWaiters() -> [CheckedContinuation<Void, Never>] {
            defer { waiters = [] }
            return waiters
        }
    }

    /// Starts it and returns at once: it may not listen yet, or never will.
    /// - Parameter agent: written to agent.json, if it is given; without it the session has no agent.
    public init(
        in home: SidecarHome, agent: AgentDescription? = nil, arguments: [String] = [], environment: [String: String] = [:]
    ) throws {
        self.home = home
        var command = [Products.path("holdfast-sidecar"), "serve", "--state-dir", home.state, "--socket", home.socket]
        if let agent { command += ["--agent", try home.write("agent.json", try JSON.string(agent))] }
        var spawn = Spawn(
            command + arguments,
            environment: ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home.path + "/home", "LANG": "C.UTF-8"]
                .merging(environment) { $1 },
            directory: home.path)
        spawn.grouping = .group
        let log = open(home.logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard log >= 0 else { throw SidecarFailure("\(home.logFile): \(String(cString: strerror(errno)))") }
        defer { close(log) }
        spawn.descriptors = [nil, log, log]
        let pid = try spawn.start()
        self.pid = pid
        ending = NIOLockedValueBox(Ending())
        Thread.detachNewThread { [ending] in
            let end = Child.wait(pid)
            let waiters = ending.withLockedValue { state in
                state.end = end ?? .code(-1)
                return state.takeWaiters()
            }
            for waiter in waiters { waiter.resume() }
        }
    }

    /// Starts it and returns when it answers.
    public static func start(
        in home: SidecarHome, agent: AgentDescription? = nil, arguments: [String] = [], environment: [String: String] = [:]
    ) async throws -> SidecarProcess {
        let sidecar = try SidecarProcess(in: home, agent: agent, arguments: arguments, environment: environment)
        try await sidecar.waitUntilLive()
        return sidecar
    }

    /// Starts one in a new directory, ends it after the test, however that ends, and removes the directory. When the test throws,
    /// the error carries the end of the log.
    public static func with<Result>(
        agent: AgentDescription? = nil, arguments: [String] = [], environment: [String: String] = [:],
        _ test: (SidecarProcess) async throws -> Result
    ) async throws -> Result {
        let home = try SidecarHome()
        do {
            let sidecar = try await start(in: home, agent: agent, arguments: arguments, environment: environment)
            defer { sidecar.kill(SIGKILL) }
            let result = try await test(sidecar)
            sidecar.kill(SIGKILL)
            await home.remove()
            return result
        } catch {
            let log = home.log.suffix(4000)
            await home.remove()
            throw SidecarFailure("\(error)\n--- the sidecar's log:\n\(log)")
        }
    }

    /// Waits until it answers on its socket.
    /// - Throws: with its log, when it ends or does not answer in time.
    public func waitUntilLive(within limit: Duration = .seconds(30)) async throws {
        let deadline = ContinuousClock.now + limit
        while true {
            if let answer = try? await send("GET", "/livez", timeout: .seconds(5)), answer.status == 200 { return }
            if let end { throw SidecarFailure("the sidecar ended (\(end)):\n\(home.log.suffix(4000))") }
            guard ContinuousClock.now < deadline else {
                throw SidecarFailure("the sidecar does not answer:\n\(home.log.suffix(4000))")
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Waits until it is ready for turns: its host is connected and clear.
    public func waitUntilReady(within limit: Duration = .seconds(30)) async throws {
        try await until(within: limit) { try await self.send("GET", "/readyz").status == 200 }
    }

    /// Asks again and again, with a short pause, until it is so.
    public func until(within limit: Duration = .seconds(30), _ condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + limit
        while try await !condition() {
            if let end { throw SidecarFailure("the sidecar ended (\(end)) in the middle of a wait") }
            guard ContinuousClock.now < deadline else { throw SidecarFailure("waited \(limit) in vain") }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    // MARK: Its end

    /// How it ended; nil while it runs.
    public var end: ProcessEnd? { ending.withLockedValue { $0.end } }

    /// Sends the process itself a signal, unless it has been waited for.
    public func kill(_ signal: Int32) {
        ending.withLockedValue { if $0.end == nil { _ = Glibc.kill(pid, signal) } }
    }

    /// - Throws: when it still runs after `limit`.
    @discardableResult
    public func waitForExit(within limit: Duration = .seconds(30)) async throws -> ProcessEnd {
        let deadline = ContinuousClock.now + limit
        let timeout = Task { [ending] in
            try await Task.sleep(for: limit)
            for waiter in ending.withLockedValue({ $0.takeWaiters() }) { waiter.resume() }
        }
        defer { timeout.cancel() }
        while true {
            if let end { return end }
            guard ContinuousClock.now < deadline else { throw SidecarFailure("the sidecar still runs after \(limit)") }
            await withCheckedContinuation { waiter in
                let isOver = ending.withLockedValue { state in
                    if state.end == nil { state.waiters.append(waiter) }
                    return state.end != nil
                }
                if isOver { waiter.resume() }
            }
        }
    }

    // MARK: Requests

    public func request(
        _ method: String, _ path: String, headers: [String: String] = [:], body: String? = nil, timeout: Duration? = .seconds(60)
    ) -> CurlRequest {
        var headers = headers
        if body != nil, headers["Content-Type"] == nil { headers["Content-Type"] = "application/json" }
        return CurlRequest(
            method, "http://sidecar" + path, headers: headers.map { (name: $0.key, value: $0.value) },
            body: body.map { Array($0.utf8) }, unixSocket: home.socket, timeout: timeout)
    }

    /// Any status is an answer.
    @discardableResult
    public func send(
        _ method: String, _ path: String, headers: [String: String] = [:], body: String? = nil, timeout: Duration? = .seconds(60)
    ) async throws -> CurlResponse {
        try await CurlClient.shared.execute(request(method, path, headers: headers, body: body, timeout: timeout))
    }

    /// - Throws: `Problem`, when that is the answer.
    public func json<Value: Decodable>(
        _ type: Value.Type = Value.self, _ method: String, _ path: String, headers: [String: String] = [:], body: String? = nil
    ) async throws -> Value {
        let answer = try await send(method, path, headers: headers, body: body)
        guard answer.status < 300 else { throw try JSON.decode(Problem.self, from: Data(answer.body)) }
        return try JSON.decode(type, from: Data(answer.body))
    }

    /// - Throws: `Problem`, when it is not accepted.
    @discardableResult
    public func enqueue(_ prompt: String, key: String? = nil) async throws -> Turn {
        try await enqueue(TurnRequest(prompt: prompt), key: key)
    }

    @discardableResult
    public func enqueue(_ request: TurnRequest, key: String? = nil) async throws -> Turn {
        try await json(
            Turn.self, "POST", "/v1/turns", headers: key.map { ["Idempotency-Key": $0] } ?? [:], body: try JSON.string(request))
    }

    public func turn(_ id: TurnID) async throws -> Turn { try await json(Turn.self, "GET", "/v1/turns/\(id)") }

    /// Waits by long-polls until the turn is in one of these states.
    public func turn(_ id: TurnID, in states: Set<TurnState>, within limit: Duration = .seconds(60)) async throws -> Turn {
        let deadline = ContinuousClock.now + limit
        while true {
            let turn = try await turn(id)
            if states.contains(turn.state) { return turn }
            guard !turn.state.isTerminal, ContinuousClock.now < deadline else {
                throw SidecarFailure("\(id) is \(turn.state) (\(turn.message ?? "")), not \(states)")
            }
            _ = try await json(Turn.self, "GET", "/v1/turns/\(id)?wait=500ms")
        }
    }

    /// Waits until the turn has ended.
    public func end(of id: TurnID, within limit: Duration = .seconds(60)) async throws -> Turn {
        try await turn(id, in: [.succeeded, .failed, .cancelled, .interrupted], within: limit)
    }

    /// The whole transcript.
    public func events(after cursor: Cursor? = nil) async throws -> [Event] {
        let query = cursor.map { "?after=\($0)" } ?? ""
        let answer = try await send("GET", "/v1/transcript" + query, headers: ["Accept": "application/x-ndjson"])
        guard answer.status == 200 else { throw try JSON.decode(Problem.self, from: Data(answer.body)) }
        return try answer.body.split(separator: UInt8(ascii: "\n")).map { try JSON.decode(Event.self, from: Data($0)) }
    }

    // MARK: What it uses

    /// Resident memory, and how much of it is its own and not the program's file; bytes.
    public var memory: Memory { Memory(pid: pid) }

    /// The memory of the agent host, which is the sidecar's child.
    public var host: ProcessEntry? {
        ProcessEntry.descendants(of: pid).first { $0.parent == pid && $0.command.contains(" host ") }
    }
}

/// Figures of /proc/PID/status, in bytes; zero for a process that has ended.
public struct Memory: Sendable, Hashable {
    public var resident: Int
    /// The highest that `resident` has ever been.
    public var peak: Int
    public var anonymous: Int

    public init(pid: Int32) {
        let text = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
        func figure(_ name: String) -> Int {
            guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(name + ":") }) else { return 0 }
            return (line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) << 10
        }
        resident = figure("VmRSS")
        peak = figure("VmHWM")
        anonymous = figure("RssAnon")
    }
}

extension AgentDescription {
    /// The demonstration agent that was built together with the tests.
    public static func demo(
        _ arguments: [String] = [], env: [String: String]? = nil, permissions: Permissions? = nil, startTimeout: TimeSpan? = nil
    ) -> AgentDescription {
        AgentDescription(
            driver: .acp, command: [Products.path("holdfast-demo-agent")] + arguments, env: env, permissions: permissions,
            startTimeout: startTimeout)
    }
}
