import Curl
import Foundation
import Glibc
import Logging
import NIOConcurrencyHelpers
import SessionModel
import Testing

@testable import Supervisor

@Suite(.timeLimit(.minutes(2))) struct APITests {
    @Test func aTaskFromCreationToItsEnd() async throws {
        let server = try await Server()
        let spec = TaskSpec(prompt: "one", scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7))
        let created = try await server.send("POST", "/v1/tasks", spec, headers: [("Idempotency-Key", "k1")])
        #expect(created.status == 201)
        let task = try JSON.decode(TaskResource.self, from: Data(created.body))
        let again = try await server.send("POST", "/v1/tasks", spec, headers: [("Idempotency-Key", "k1")])
        #expect(again.status == 200)
        #expect(try JSON.decode(TaskResource.self, from: Data(again.body)).metadata.uid == task.metadata.uid)
        var other = spec
        other.prompt = "two"
        let mismatch = try await server.send("POST", "/v1/tasks", other, headers: [("Idempotency-Key", "k1")])
        #expect(mismatch.status == 409)

        var seen = task
        while !seen.status.phase.isTerminal {
            let path = "/v1/tasks/\(task.metadata.name)?after=\(seen.metadata.resourceVersion)&wait=30s"
            seen = try JSON.decode(TaskResource.self, from: Data(try await server.send("GET", path).body))
        }
        #expect(seen.status.phase == .succeeded)
        let list = try await server.send("GET", "/v1/tasks?session=issue:acme%2Fwidgets%237")
        #expect(list.status == 200)
        #expect(String(decoding: list.body, as: UTF8.self).contains(task.metadata.name))

        let name = try #require(task.status.session).name
        for id in [name, String(name.prefix(8)), "issue%3Aacme%2Fwidgets%237"] {
            #expect(try await server.send("GET", "/v1/sessions/\(id)").status == 200)
        }
        let transcript = try await server.send("GET", "/v1/sessions/\(name)/transcript")
        #expect(transcript.status == 200)
        #expect(String(decoding: transcript.body, as: UTF8.self).contains("journal"))
        #expect(try await server.send("POST", "/v1/sessions/\(name)/suspend").status == 202)
        #expect(try await server.send("DELETE", "/v1/sessions/\(name)").status == 202)
        let metrics = String(decoding: try await server.send("GET", "/metrics").body, as: UTF8.self)
        for line in [
            "holdfast_tasks{phase=\"Succeeded\"} 1", "holdfast_tasks_waiting{session=\"Suspended\"} 0",
            "holdfast_session_transitions_total{phase=\"Ready\",cause=\"\"} 1", "holdfast_drains_refused_total 0",
            "holdfast_deadline_lateness_seconds_bucket{le=\"+Inf\"} ",
        ] {
            #expect(metrics.contains("\n\(line)"), "\(line) is not in:\n\(metrics)")
        }
        try await server.end()
    }

    @Test func mistakesAreNamed() async throws {
        let server = try await Server()
        var inPod = AgentDescription(driver: .acp, command: ["x"])
        inPod.image = "x"
        let mistakes: [(TaskSpec, String)] = [
            (TaskSpec(prompt: ""), "prompt is empty"),
            (TaskSpec(prompt: "x", scope: ScopeSpec(kind: .pullRequest, number: 1)), "scope.repository is missing"),
            (TaskSpec(prompt: "x", scope: ScopeSpec(kind: .issue, repository: "a/b")), "scope.number is missing"),
            (TaskSpec(prompt: "x", workspace: WorkspaceSpec(repository: "-x")), "workspace.repository"),
            (TaskSpec(prompt: "x", worker: AgentDescription(driver: .acp, command: [])), "agent.command is empty"),
            (TaskSpec(prompt: "x", worker: inPod), "worker.image is for a supervisor in Kubernetes"),
        ]
        for (spec, words) in mistakes {
            let answer = try await server.send("POST", "/v1/tasks", spec)
            #expect(answer.status == 400)
            #expect(String(decoding: answer.body, as: UTF8.self).contains(words))
        }
        let agent = try await server.send("POST", "/v1/tasks?agent=nobody", TaskSpec(prompt: "x"))
        #expect(agent.status == 400)
        #expect(String(decoding: agent.body, as: UTF8.self).contains("no agent named"))
        #expect(try await server.send("GET", "/v1/tasks/none").status == 404)
        #expect(try await server.send("GET", "/v1/sessions/none").status == 404)
        try await server.end()
    }

    @Test func longListsComeInPages() async throws {
        struct List: Decodable {
            var items: [TaskResource]
            var `continue`: String?
        }
        let server = try await Server()
        let spec = TaskSpec(prompt: "one", scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7))
        for _ in 0..<5 { #expect(try await server.send("POST", "/v1/tasks", spec).status == 201) }
        let session = "session=issue:acme%2Fwidgets%237"
        var (names, next): (Set<String>, String?) = ([], "")
        var pages = 0
        while let token = next {
            let answer = try await server.send("GET", "/v1/tasks?\(session)&limit=2&continue=\(token)")
            let page = try JSON.decode(List.self, from: Data(answer.body))
            for task in page.items { #expect(names.insert(task.metadata.name).inserted) }
            (next, pages) = (page.continue, pages + 1)
        }
        #expect(names.count == 5 && pages == 3)

        let page = try JSON.decode(
            List.self, from: Data(try await server.send("GET", "/v1/tasks?\(session)&limit=2").body))
        let token = try #require(page.continue)
        for (query, words) in [
            ("tasks?continue=nonsense", "leave it out to begin with the newest"),
            // Of the list of one session.
            ("tasks?continue=\(token)", "with the same parameters"), ("sessions?continue=\(token)", "with the same parameters"),
            ("tasks?limit=0", "limit must be from 1 to 1000"), ("tasks?limit=1001", "limit must be from 1 to 1000"),
            ("tasks?limit=many", "limit cannot be “many”"), ("sessions?limit=-1", "limit must be from 1 to 10000"),
        ] {
            let answer = try await server.send("GET", "/v1/\(query)")
            #expect(answer.status == 400, "\(query)")
            #expect(String(decoding: answer.body, as: UTF8.self).contains(words), "\(query)")
        }
        try await server.end()
    }

    @Test func onlyTheTokenAndLoopbackNamesAreLetIn() async throws {
        let server = try await Server()
        #expect(try await server.send("GET", "/v1/tasks", token: "wrong").status == 401)
        #expect(try await server.send("GET", "/livez", token: nil).status == 200)
        #expect(try await server.send("GET", "/v1/tasks", headers: [("Host", "evil.example")]).status == 403)
        let file = try #require(server.file.withLockedValue { $0 })
        var status = stat()
        #expect(stat(file.tokenFile, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        try await server.end()
        #expect(!FileManager.default.fileExists(atPath: server.data + "/server.json"))
    }
}

/// A whole supervisor in this process, on a port of its own, with fake sidecars.
private final class Server {
    let directory: TemporaryDirectory
    let data: String
    let file = NIOLockedValueBox<LocalSupervisor.ServerFile?>(nil)
    private let sidecars: FakeSidecars
    private let signals: AsyncStream<Int32>.Continuation
    private let running: Task<Void, any Error>

    init() async throws {
        directory = try TemporaryDirectory()
        data = directory.path + "/data"
        sidecars = try FakeSidecars(directory: directory.path)
        var configuration = LocalSupervisor.Configuration(dataDirectory: data, sidecar: sidecars.program)
        configuration.demoAgent = "/bin/true"
        configuration.defaultAgent = "demo"
        configuration.stopSessionsOnExit = true
        configuration.environment = ["PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": directory.path]
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self)
        signals = continuation
        let (serving, told) = AsyncStream.makeStream(of: LocalSupervisor.ServerFile.self)
        let supervisor = LocalSupervisor(configuration, logger: logger)
        running = Task {
            defer { told.finish() }
            try await supervisor.run(until: stream) { told.yield($0) }
        }
        var iterator = serving.makeAsyncIterator()
        let first = await iterator.next()
        file.withLockedValue { $0 = first }
        if first == nil { try await running.value }
    }

    func send(
        _ method: String, _ path: String, _ body: TaskSpec? = nil, headers: [(String, String)] = [], token: String? = ""
    ) async throws -> CurlResponse {
        let file = try #require(file.withLockedValue { $0 })
        var headers = headers
        if let token {
            let own = try String(contentsOfFile: file.tokenFile, encoding: .utf8).filter { !$0.isWhitespace }
            headers.append(("Authorization", "Bearer \(token.isEmpty ? own : token)"))
        }
        let bytes = try body.map { Array(try JSON.encode($0)) }
        return try await CurlClient.shared.execute(
            CurlRequest(method, file.url + path, headers: headers, body: bytes, timeout: .seconds(60)))
    }

    /// Ends it as a signal does, sessions included.
    func end() async throws {
        signals.yield(SIGTERM)
        try await running.value
    }
}
