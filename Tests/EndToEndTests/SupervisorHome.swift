import Curl
import Foundation
import NIOConcurrencyHelpers
import Processes
import SessionModel
import Support

/// One data directory with the real `holdfast-supervisor serve` on it, which a test may kill and start again.
final class SupervisorHome: Sendable {
    let path: String
    private let running = NIOLockedValueBox<Server?>(nil)
    private let more = NIOLockedValueBox<[String]>([])
    /// Further arguments of `holdfast-supervisor serve`.
    var arguments: [String] {
        get { more.withLockedValue(\.self) }
        set { more.withLockedValue { $0 = newValue } }
    }
    /// Of the supervisor that serves, or served last.
    var url: String { running.withLockedValue { $0?.url ?? "" } }

    /// A supervisor that serves.
    struct Server: Sendable {
        var pid: Int32
        var url = ""
        var token = ""
    }

    /// What is known of a running supervisor: LocalSupervisor.ServerFile.
    private struct ServerFile: Decodable {
        var url: String
        var tokenFile: String
        var pid: Int32
    }

    struct List<Item: Decodable>: Decodable {
        var items: [Item]
        var `continue`: String?
    }

    /// Whatever happens, no process of this directory outlives this, and it is removed.
    /// - Parameter environment: what the supervisor, and so its agents, get besides.
    static func run(
        seed: UInt64 = 0, environment: [String: String] = [:], _ body: (SupervisorHome) async throws -> Void
    ) async throws {
        let home = try SupervisorHome(environment)
        do {
            try await body(home)
            await home.remove()
        } catch {
            let logs = home.logs
            await home.remove()
            throw SidecarFailure("seed \(seed): \(error)\n\(logs)")
        }
    }

    private let environment: [String: String]

    private init(_ environment: [String: String]) throws {
        self.environment = environment
        path = NSTemporaryDirectory() + "hf-sup-" + UUID().uuidString.prefix(8)
        for folder in ["home", "run", "data"] {
            try FileManager.default.createDirectory(atPath: "\(path)/\(folder)", withIntermediateDirectories: true)
        }
    }

    var data: String { path + "/data" }
    /// By this entry of their environment all processes of a test are found: it goes from the supervisor to all below it.
    private var marker: String { "END_TO_END_TEST=\(path)" }

    private var logs: String {
        let sessions = (try? FileManager.default.contentsOfDirectory(atPath: data + "/sessions")) ?? []
        return ([path + "/log"] + sessions.map { "\(data)/sessions/\($0)/sidecar.log" }).map { file in
            "--- \(file):\n\(((try? String(contentsOfFile: file, encoding: .utf8)) ?? "").suffix(3000))"
        }.joined(separator: "\n")
    }

    private func remove() async {
        kill()
        let marker = marker
        _ = try? await blocking { ProcessSweep.end(.init(marker: marker), grace: .zero, within: .seconds(10)) }
        try? FileManager.default.removeItem(atPath: path)
    }

    // MARK: The process

    /// Starts the supervisor and returns when it serves.
    @discardableResult
    func start() async throws -> Server {
        let pid = try launch()
        let deadline = ContinuousClock.now + .seconds(30)
        while true {
            if let bytes = FileManager.default.contents(atPath: data + "/server.json"),
                let file = try? JSON.decode(ServerFile.self, from: bytes), file.pid == pid
            {
                let token = try String(contentsOfFile: file.tokenFile, encoding: .utf8).trimmingCharacters(in: .newlines)
                let server = Server(pid: pid, url: file.url, token: token)
                running.withLockedValue { $0 = server }
                return server
            }
            if let end = Child.poll(pid) { throw SidecarFailure("the supervisor ended: \(end)") }
            guard ContinuousClock.now < deadline else { throw SidecarFailure("the supervisor does not serve") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Starts the supervisor; it may not serve yet.
    @discardableResult
    func launch() throws -> Int32 {
        let log = open(path + "/log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(log) }
        var spawn = Spawn(
            [
                Products.path("holdfast-supervisor"), "serve", "--data-dir", data, "--listen", "127.0.0.1:0", "--default-agent",
                "demo",
            ] + arguments,
            environment: [
                "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": path + "/home", "XDG_RUNTIME_DIR": path + "/run",
                "GIT_CONFIG_NOSYSTEM": "1", "END_TO_END_TEST": path,
                // As a user has it in their shell. No agent gets it.
                "GITHUB_TOKEN": "ghp_of-the-users-shell",
            ].merging(self.environment) { $1 }, directory: path)
        spawn.grouping = .group
        spawn.descriptors = [nil, log, log]
        let pid = try spawn.start()
        running.withLockedValue { $0 = Server(pid: pid) }
        return pid
    }

    /// kill -9; the sessions go on.
    func kill() {
        guard let server = running.withLockedValue({ $0.take() }) else { return }
        Foundation.kill(server.pid, SIGKILL)
        _ = Child.wait(server.pid)
    }

    /// Living sidecars of this data directory.
    var sidecars: [ProcessEntry] {
        ProcessEntry.living { $0.contains("serve --state-dir \(data)/") }
    }

    /// Everything below the data directory's sidecars, and these.
    var processes: [ProcessEntry] {
        let server = running.withLockedValue { $0?.pid }
        return ProcessEntry.all().filter { $0.isAlive && $0.pid != server && $0.carries(marker) }
    }

    // MARK: The command line

    /// Runs `holdfast` for this supervisor.
    /// - Returns: its exit code and what it printed.
    func holdfast(_ arguments: [String]) async throws -> (code: Int32, output: String) {
        let file = "\(path)/holdfast-\(UUID().uuidString)"
        let output = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(output) }
        var spawn = Spawn(
            [Products.path("holdfast")] + arguments,
            environment: ["PATH": "/usr/bin:/bin", "HOME": path + "/home", "HOLDFAST_DATA": data, "END_TO_END_TEST": path],
            directory: path)
        spawn.grouping = .group
        spawn.descriptors = [nil, output, output]
        let pid = try spawn.start()
        let end = try await blocking { Child.wait(pid) }
        guard case .code(let code)? = end else { throw SidecarFailure("holdfast \(arguments) ended: \(String(describing: end))") }
        return (code, try String(contentsOfFile: file, encoding: .utf8))
    }

    // MARK: Requests

    /// Nil when there was no answer: no supervisor serves, or it was killed in the middle.
    func send(_ method: String, _ path: String, body: (any Encodable)? = nil, headers: [(String, String)] = []) async throws
        -> CurlResponse?
    {
        guard let server = running.withLockedValue({ $0 }), !server.url.isEmpty else { return nil }
        let request = CurlRequest(
            method, server.url + path,
            headers: headers.map { (name: $0.0, value: $0.1) } + [
                ("Authorization", "Bearer \(server.token)"), ("Content-Type", "application/json"),
            ],
            body: try body.map { Array(try JSON.encode($0)) }, timeout: .seconds(60))
        do throws(CurlError) {
            return try await CurlClient.shared.execute(request)
        } catch {
            guard [.connect, .lost].contains(error.code) else { throw error }
            return nil
        }
    }

    /// Asks until there is an answer. - Throws: `Problem`, when that is the answer.
    func json<Value: Decodable>(
        _ type: Value.Type = Value.self, _ method: String, _ path: String, body: (any Encodable)? = nil,
        headers: [(String, String)] = []
    ) async throws -> Value {
        let deadline = ContinuousClock.now + .seconds(120)
        while true {
            if let answer = try await send(method, path, body: body, headers: headers) {
                guard answer.status < 300 else { throw try JSON.decode(Problem.self, from: Data(answer.body)) }
                return try JSON.decode(type, from: Data(answer.body))
            }
            guard ContinuousClock.now < deadline else { throw SidecarFailure("no supervisor answered in two minutes") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Sends the Task until it is acknowledged.
    func create(_ spec: TaskSpec, key: String) async throws -> TaskResource {
        try await json(TaskResource.self, "POST", "/v1/tasks", body: spec, headers: [("Idempotency-Key", key)])
    }

    /// Waits until the Task has ended.
    func end(of name: String, within limit: Duration = .seconds(90)) async throws -> TaskResource {
        try await wait(TaskResource.self, "/v1/tasks/\(name)", within: limit) { $0.status.phase.isTerminal }
    }

    func task(_ name: String, within limit: Duration = .seconds(60), _ isSo: (TaskResource) -> Bool) async throws -> TaskResource
    {
        try await wait(TaskResource.self, "/v1/tasks/\(name)", within: limit, isSo)
    }

    func session(_ name: String, within limit: Duration = .seconds(60), _ isSo: (SessionResource) -> Bool) async throws
        -> SessionResource
    {
        try await wait(SessionResource.self, "/v1/sessions/\(name)", within: limit, isSo)
    }

    /// Follows a resource by long-polls until it is so.
    private func wait<Spec, Status>(
        _ type: Resource<Spec, Status>.Type, _ path: String, within limit: Duration, _ isSo: (Resource<Spec, Status>) -> Bool
    ) async throws -> Resource<Spec, Status> {
        let deadline = ContinuousClock.now + limit
        var resource = try await json(type, "GET", path)
        while !isSo(resource) {
            guard ContinuousClock.now < deadline else { throw SidecarFailure("waited \(limit) in vain: \(resource.status)") }
            resource = try await json(type, "GET", "\(path)?after=\(resource.metadata.resourceVersion)&wait=1s")
        }
        return resource
    }

    /// Waits until there is no such resource any more.
    func gone(_ path: String, within limit: Duration = .seconds(60)) async throws {
        let deadline = ContinuousClock.now + limit
        while true {
            if let answer = try await send("GET", path), answer.status == 404 { return }
            guard ContinuousClock.now < deadline else { throw SidecarFailure("waited \(limit) in vain for the end of \(path)") }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    func sessions() async throws -> [SessionResource] {
        try await json(List<SessionResource>.self, "GET", "/v1/sessions").items
    }

    func tasks() async throws -> [TaskResource] { try await json(List<TaskResource>.self, "GET", "/v1/tasks?limit=1000").items }

    /// The session's transcript, as the supervisor shows it.
    func transcript(_ session: String) async throws -> [Event] {
        guard
            let answer = try await send(
                "GET", "/v1/sessions/\(session)/transcript", headers: [("Accept", "application/x-ndjson")])
        else { throw SidecarFailure("no supervisor answers") }
        guard answer.status == 200 else { throw try JSON.decode(Problem.self, from: Data(answer.body)) }
        return try answer.body.split(separator: UInt8(ascii: "\n")).map { try JSON.decode(Event.self, from: Data($0)) }
    }

    func state(of session: String) -> String { "\(data)/sessions/\(session)/state" }
}
