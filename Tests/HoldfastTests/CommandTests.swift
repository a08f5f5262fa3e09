import Foundation
import NIOConcurrencyHelpers
import SessionModel
import Support
import Testing

@testable import Holdfast

/// Commands against a server on loopback.
@Suite(.timeLimit(.minutes(1)))
struct CommandTests {
    @Test func runSendsTheTaskWithAKey() async throws {
        let fake = try FakeServer { _, connection in try connection.respond(Fixture.task(), status: 201) }
        defer { fake.stop() }
        let outcome = await fake.run("run", "--scope", "pr:acme/widgets#12", "--agent", "demo", "--key", "k1", "Fix it")
        #expect(outcome.status == 0)
        #expect(outcome.output == "task-1 accepted in session pr:github.com/acme/widgets#12\n")
        #expect(fake.seen == ["POST /v1/tasks?agent=demo"])
        #expect(fake.last?.headers["idempotency-key"] == "k1")
        let spec = try JSON.decode(TaskSpec.self, from: String(decoding: fake.last?.body ?? [], as: UTF8.self))
        #expect(spec.prompt == "Fix it")
        #expect(spec.scope?.number == 12)
    }

    @Test func aLostAnswerIsAskedForAgainWithTheSameKey() async throws {
        let keys = NIOLockedValueBox<[String]>([])
        let fake = try FakeServer { request, connection in
            keys.withLockedValue { $0.append(request.headers["idempotency-key"] ?? "") }
            if keys.withLockedValue({ $0.count }) == 1 { return connection.close() }
            try connection.respond(Fixture.task(), status: 201)
        }
        defer { fake.stop() }
        let outcome = await fake.run("run", "Fix it")
        #expect(outcome.status == 0)
        let seen = keys.withLockedValue { $0 }
        #expect(seen.count == 2 && seen[0] == seen[1] && !seen[0].isEmpty)
    }

    @Test func promptsComeFromStandardInputToo() async throws {
        let fake = try FakeServer { _, connection in try connection.respond(Fixture.task(), status: 201) }
        defer { fake.stop() }
        let outcome = await holdfast(["run", "-"], environment: ["HOLDFAST_SERVER": fake.server.url], input: "From afar\n")
        #expect(outcome.status == 0)
        let spec = try JSON.decode(TaskSpec.self, from: String(decoding: fake.last?.body ?? [], as: UTF8.self))
        #expect(spec.prompt == "From afar\n")
    }

    @Test func refusalsAreOneSentenceAndExitWith6() async throws {
        let fake = try FakeServer { _, connection in
            try connection.refuse(Problem(.invalidRequest, "There is no agent “x”; this server knows demo."))
        }
        defer { fake.stop() }
        let outcome = await fake.run("run", "--agent", "x", "Fix it")
        #expect(outcome.status == 6)
        #expect(outcome.errors == "holdfast: There is no agent “x”; this server knows demo.\n")
        #expect(outcome.output.isEmpty)
    }

    @Test func aServerThatDoesNotAnswerExitsWith5() async {
        let outcome = await holdfast(["tasks"], environment: ["HOLDFAST_SERVER": "http://127.0.0.1:1"])
        #expect(outcome.status == 5)
        #expect(outcome.errors.contains("Connection refused"))
        #expect(outcome.errors.contains("holdfast-supervisor serve"))
        #expect(outcome.errors.split(separator: "\n").count == 1)
    }

    @Test func listsHaveThreeForms() async throws {
        let tasks = [
            Fixture.task(.succeeded) {
                $0.turn = TurnID(3)
                $0.message = "all\u{1B}[2J well"
            }
        ]
        let fake = try FakeServer { request, connection in
            if request.path == "/v1/tasks" { return try connection.respond(["items": tasks]) }
            try connection.respond(["items": [Fixture.session()]])
        }
        defer { fake.stop() }
        let table = await fake.run("tasks", "--session", "pr:acme/widgets#12")
        #expect(table.output.hasPrefix("NAME    PHASE      SESSION                        TURN  AGE"))
        #expect(table.output.contains("task-1  Succeeded  pr:github.com/acme/widgets#12  t3"))
        #expect(table.output.contains("all well") && !table.output.contains("\u{1B}"))
        #expect(fake.seen.last == "GET /v1/tasks?session=pr%3Agithub.com%2Facme%2Fwidgets%2312&limit=100")
        let json = await fake.run("tasks", "-o", "json")
        #expect(try JSON.decode(API.List<TaskResource>.self, from: json.output).items == tasks)
        let yaml = await fake.run("sessions", "--output", "yaml")
        #expect(yaml.output.contains("phase: Ready"))
        let sessions = await fake.run("sessions")
        #expect(sessions.output.contains("pr:github.com/acme/widgets#12  Ready"))
    }

    @Test func longListsComeInPages() async throws {
        // 1,100 sessions, and no Tasks to speak of.
        let fake = try FakeServer { request, connection in
            let query = URLComponents(string: "?\(request.query)")?.queryItems ?? []
            func value(_ name: String) -> Int { query.first { $0.name == name }?.value.flatMap(Int.init) ?? 0 }
            let (start, limit) = (value("continue"), value("limit"))
            let end = min(1100, start + limit)
            var list = API.List<SessionResource>(items: Array(repeating: Fixture.session(), count: end - start))
            if end < 1100 { list.continue = "\(end)" }
            try connection.respond(Answer(items: list.items, continue: list.continue))
        }
        defer { fake.stop() }
        let note = "only the newest 100 are listed, and there are more: --limit 0 lists all\n"
        for format in ["table", "json", "yaml"] {
            let outcome = await fake.run("sessions", "-o", format)
            #expect(outcome.status == 0 && outcome.errors == note, "\(outcome.errors)")
        }
        #expect(fake.seen.suffix(1) == ["GET /v1/sessions?limit=100"])
        let some = await fake.run("sessions", "-o", "json", "--limit", "700")
        #expect(try JSON.decode(API.List<SessionResource>.self, from: some.output).items.count == 700)
        #expect(fake.seen.suffix(2) == ["GET /v1/sessions?limit=500", "GET /v1/sessions?limit=200&continue=500"])
        let all = await fake.run("sessions", "-o", "json", "--limit", "0")
        #expect(try JSON.decode(API.List<SessionResource>.self, from: all.output).items.count == 1100)
        #expect(all.errors.isEmpty)
        #expect(fake.seen.suffix(1) == ["GET /v1/sessions?limit=500&continue=1000"])
        #expect(await fake.run("sessions", "--limit=-1").status == 2)
    }

    private struct Answer: Encodable {
        var items: [SessionResource]
        var `continue`: String?
    }

    @Test func steeringCallsWhatTheContractSays() async throws {
        let fake = try FakeServer { request, connection in
            request.path.hasPrefix("/v1/tasks")
                ? try connection.respond(Fixture.task(.running), status: 202)
                : try connection.respond(Fixture.session(), status: 202)
        }
        defer { fake.stop() }
        let key = "pr%3Agithub.com%2Facme%2Fwidgets%2312"
        for (arguments, request, body) in [
            (["cancel", "task-1"], "DELETE /v1/tasks/task-1", ""),
            (["answer", "task-1", "--option", "allow"], "POST /v1/tasks/task-1/input", #"{"option":"allow"}"#),
            (["answer", "task-1", "--refuse"], "POST /v1/tasks/task-1/input", "{}"),
            (["keep", "pr:acme/widgets#12", "--for", "2h"], "POST /v1/sessions/\(key)/keepalive", #"{"for":"2h"}"#),
            (["suspend", "pr:acme/widgets#12"], "POST /v1/sessions/\(key)/suspend", ""),
            (["resume", "pr12-wid"], "POST /v1/sessions/pr12-wid/resume", ""),
            (["end", "pr:acme/widgets#12"], "DELETE /v1/sessions/\(key)", ""),
        ] {
            let outcome = await holdfast(arguments, environment: ["HOLDFAST_SERVER": fake.server.url])
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(fake.seen.last == request)
            #expect(String(decoding: fake.last?.body ?? [], as: UTF8.self) == body)
        }
    }

    @Test func theTokenIsSentAndNeverShown() async throws {
        let path = "/tmp/hf-token-\(UInt32.random(in: 0 ... .max))"
        try "s3cret\n".write(toFile: path, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let fake = try FakeServer { _, connection in try connection.refuse(Problem(.unauthorized, "The token is wrong.")) }
        defer { fake.stop() }
        let outcome = await fake.run("sessions", "--token-file", path)
        #expect(fake.last?.headers["authorization"] == "Bearer s3cret")
        #expect(outcome.status == 6)
        #expect(!outcome.errors.contains("s3cret"))
    }
}
