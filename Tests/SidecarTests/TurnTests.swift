import Curl
import Foundation
import SessionModel
import Support
import Testing

/// Asks for something that has to be refused, and returns the problem.
func problem(
    _ sidecar: SidecarProcess, _ method: String, _ path: String, headers: [String: String] = [:], body: String? = nil
) async throws -> (problem: Problem, retryAfter: String?) {
    let answer = try await sidecar.send(method, path, headers: headers, body: body)
    #expect(answer.header("Content-Type") == "application/problem+json", "\(method) \(path) answered \(answer.status)")
    let problem = try JSON.decode(Problem.self, from: Data(answer.body))
    #expect(problem.status == answer.status)
    #expect(!problem.detail.isEmpty)
    return (problem, answer.header("Retry-After"))
}

@Suite struct TurnTests {
    @Test func aTurnIsAcceptedOnceDurableAndRuns() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let answer = try await sidecar.send("POST", "/v1/turns", body: #"{"prompt":"write: a.txt | hello"}"#)
            #expect(answer.status == 202)
            #expect(answer.header("Location") == "/v1/turns/t1")
            let turn = try await sidecar.end(of: TurnID(1))
            #expect(turn.state == .succeeded)
            #expect(turn.reason == .completed)
            #expect(turn.results?.toolCalls == 1)
            #expect(try String(contentsOfFile: sidecar.home.workspace + "/a.txt", encoding: .utf8) == "hello")
            #expect(try await sidecar.json(SessionStatus.self, "GET", "/v1/session").turns.succeeded == 1)
        }
    }

    @Test func oneKeyMakesOneTurn() async throws {
        try await SidecarProcess.with { sidecar in
            let answers = try await withThrowingTaskGroup(of: (Int, Turn).self) { group in
                for _ in 0..<100 {
                    group.addTask {
                        let answer = try await sidecar.send(
                            "POST", "/v1/turns", headers: ["Idempotency-Key": "event-7"], body: #"{"prompt":"once"}"#)
                        return (answer.status, try JSON.decode(Turn.self, from: Data(answer.body)))
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.count { $0.0 == 202 } == 1)
            #expect(answers.count { $0.0 == 200 } == 99)
            #expect(Set(answers.map(\.1.id)) == [TurnID(1)])
            let list = try await sidecar.json(TurnList.self, "GET", "/v1/turns")
            #expect(list.total == 1)
            let other = try await problem(
                sidecar, "POST", "/v1/turns", headers: ["Idempotency-Key": "event-7"], body: #"{"prompt":"another"}"#)
            #expect(other.problem.kind == .idempotencyMismatch)
        }
    }

    @Test func turnsRunInTheirOrderAndOneAtATime() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            // Each would see the mark of another that runs at the same time.
            let work = "run: mkdir lock && echo begin >> log && sleep 0.05 && rmdir lock || echo OVERLAP >> log"
            var turns: [Turn] = []
            for number in 1...8 { turns.append(try await sidecar.enqueue("\(work)\nrun: echo \(number) >> log")) }
            #expect(turns.map(\.id) == (1...8).map { TurnID($0) })
            #expect(try await sidecar.end(of: TurnID(8)).state == .succeeded)
            let log = try String(contentsOfFile: sidecar.home.workspace + "/log", encoding: .utf8).split(separator: "\n")
            #expect(log == (1...8).flatMap { ["begin", "\($0)"] })
            let order = try await sidecar.events().compactMap { event -> String? in
                switch event.body {
                case .turnDispatched: "begin \(event.turn!)"
                case .turnEnded: "end \(event.turn!)"
                default: nil
                }
            }
            #expect(order == (1...8).flatMap { ["begin t\($0)", "end t\($0)"] })
        }
    }

    @Test func aQueuedTurnThatIsCancelledNeverRunsAndARunningOneStops() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            try await sidecar.enqueue("run: sleep 60")
            _ = try await sidecar.turn(TurnID(1), in: [.running])
            try await sidecar.enqueue("write: never | x")
            let cancelled = try await sidecar.json(Turn.self, "DELETE", "/v1/turns/t2")
            #expect(cancelled.state == .cancelled)
            #expect(try await sidecar.send("DELETE", "/v1/turns/t1").status == 202)
            let first = try await sidecar.end(of: TurnID(1))
            #expect(first.state == .cancelled)
            #expect(first.reason == .cancelled)
            // Again: an ended turn stays as it is.
            #expect(try await sidecar.json(Turn.self, "DELETE", "/v1/turns/t1").state == .cancelled)
            let third = try await sidecar.enqueue("say: on it goes")
            #expect(try await sidecar.end(of: third.id).state == .succeeded)
            #expect(!FileManager.default.fileExists(atPath: sidecar.home.workspace + "/never"))
        }
    }

    /// Whatever shows a turn; the agent and the transcript have the whole.
    @Test func aLongPromptIsCutWhereverATurnIsShown() async throws {
        try await SidecarProcess.with(agent: .demo(permissions: .ask)) { sidecar in
            let long = String(repeating: "x", count: 100_000)
            try await sidecar.enqueue("ask: May I?\nhang:\nsay: " + long)
            try await sidecar.enqueue("say: " + long)
            _ = try await sidecar.turn(TurnID(1), in: [.awaitingInput])
            var shown = try await sidecar.json(TurnList.self, "GET", "/v1/turns").turns
            #expect(shown.count == 2)
            shown.append(try await sidecar.json(Turn.self, "POST", "/v1/turns/t1/input", body: #"{"option":"allow"}"#))
            shown.append(try await sidecar.json(Turn.self, "DELETE", "/v1/turns/t1"))
            #expect(shown.allSatisfy { $0.promptBytes > 100_000 && $0.prompt.utf8.count <= 64 << 10 })
        }
    }

    @Test func aQuestionIsAnsweredByAPerson() async throws {
        try await SidecarProcess.with(agent: .demo(permissions: .ask)) { sidecar in
            try await sidecar.enqueue("ask: May I?\nwrite: allowed | yes")
            let asking = try await sidecar.turn(TurnID(1), in: [.awaitingInput])
            let input = try #require(asking.input)
            #expect(input.question.contains("May I?"))
            #expect(Set(input.options.map(\.id)) == ["allow", "reject"])
            let activity = try await sidecar.json(Activity.self, "GET", "/v1/activity")
            #expect(activity.busy && activity.awaitingInput?.id == input.id)

            let path = "/v1/turns/t1/input"
            #expect(try await problem(sidecar, "POST", path, body: #"{"option":"perhaps"}"#).problem.kind == .invalidRequest)
            #expect(
                try await problem(sidecar, "POST", path, body: #"{"request":"other","option":"allow"}"#).problem.kind == .conflict
            )
            #expect(try await sidecar.send("POST", path, body: #"{"option":"allow"}"#).status == 202)
            #expect(try await sidecar.end(of: TurnID(1)).state == .succeeded)
            #expect(FileManager.default.fileExists(atPath: sidecar.home.workspace + "/allowed"))
            #expect(try await problem(sidecar, "POST", path, body: #"{"option":"allow"}"#).problem.status != 202)

            try await sidecar.enqueue("ask: And this?\nwrite: refused | no")
            _ = try await sidecar.turn(TurnID(2), in: [.awaitingInput])
            #expect(try await sidecar.send("POST", "/v1/turns/t2/input", body: "{}").status == 202)
            _ = try await sidecar.end(of: TurnID(2))
            #expect(!FileManager.default.fileExists(atPath: sidecar.home.workspace + "/refused"))
        }
    }

    @Test func aQuestionThatNobodyAnswersIsRefusedInTime() async throws {
        try await SidecarProcess.with(agent: .demo(permissions: .ask), arguments: ["--input-timeout", "300ms"]) { sidecar in
            try await sidecar.enqueue("ask: Anyone?\nwrite: f | x")
            let turn = try await sidecar.end(of: TurnID(1))
            #expect(turn.state.isTerminal)
            let answer = try await sidecar.events().compactMap {
                if case .inputAnswered(let answer) = $0.body { answer } else { nil }
            }
            #expect(answer.map(\.by) == [.deadline])
        }
    }

    @Test func refusals() async throws {
        try await SidecarProcess.with(arguments: ["--max-queued-turns", "2"]) { sidecar in
            for body in [
                "", "{", "[]", "null", #"{"prompt":""}"#, #"{"prompt":3}"#, #"{}"#, #"{"prompt":"x","whenBusy":"Maybe"}"#,
                #"{"prompt":"x","timeout":"soon"}"#, #"{"prompt":"x","timeout":"-1s"}"#,
                #"{"prompt":"x","whenBusy":"Supersede"}"#,
                String(repeating: "[", count: 100_000),
            ] {
                #expect(
                    try await problem(sidecar, "POST", "/v1/turns", body: body).problem.kind == .invalidRequest,
                    "\(body.prefix(80))")
            }
            let prompt = String(repeating: "x", count: (1 << 20) + 1)
            #expect(try await problem(sidecar, "POST", "/v1/turns", body: #"{"prompt":"\#(prompt)"}"#).problem.kind == .tooLarge)
            #expect(
                try await problem(
                    sidecar, "POST", "/v1/turns", headers: ["Idempotency-Key": String(repeating: "k", count: 257)],
                    body: #"{"prompt":"x"}"#
                ).problem.kind == .invalidRequest)
            for (method, path) in [
                ("GET", "/v1/turns/t9"), ("DELETE", "/v1/turns/t9"), ("GET", "/v1/turns/nine"), ("GET", "/v1/turns/t0"),
                ("GET", "/"), ("GET", "/v2/turns"), ("GET", "/v1/turns/t1/output"), ("GET", "/v1/turns/%zz"),
            ] {
                #expect(try await problem(sidecar, method, path).problem.kind == .notFound, "\(method) \(path)")
            }
            #expect(try await problem(sidecar, "POST", "/v1/turns/t9/input", body: "{}").problem.kind == .notFound)
            let method = try await sidecar.send("PUT", "/v1/turns", body: "{}")
            #expect(method.status == 405)
            #expect(method.header("Allow") == "POST, GET, HEAD")
            #expect(try await problem(sidecar, "PATCH", "/v1/turns").problem.kind == .methodNotAllowed)
            #expect(try await sidecar.send("BREW", "/v1/turns").status == 400)
            #expect(try await problem(sidecar, "GET", "/v1/turns/t1?wait=soon").problem.kind == .invalidRequest)

            // Nothing of all that was taken; now the queue is filled.
            #expect(try await sidecar.json(TurnList.self, "GET", "/v1/turns").total == 0)
            #expect(try await sidecar.enqueue("one").position == 1)
            #expect(try await sidecar.enqueue("two").position == 2)
            let full = try await problem(sidecar, "POST", "/v1/turns", body: #"{"prompt":"three"}"#)
            #expect(full.problem.kind == .queueFull)
            #expect(full.retryAfter == "30")
            let busy = try await problem(sidecar, "POST", "/v1/turns", body: #"{"prompt":"three","whenBusy":"Reject"}"#)
            #expect(busy.problem.kind == .busy)
            #expect(busy.problem.activity?.queued == 2)
            #expect(try await sidecar.send("POST", "/v1/drain").status == 202)
            let draining = try await problem(sidecar, "POST", "/v1/turns", body: #"{"prompt":"three"}"#)
            #expect(draining.problem.kind == .draining)
            #expect(draining.retryAfter != nil)
        }
    }

    @Test func aNewerTurnSupersedesOlderOnesOfItsKey() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            try await sidecar.enqueue(TurnRequest(prompt: "run: sleep 60", whenBusy: .supersede, supersedeKey: "head"))
            _ = try await sidecar.turn(TurnID(1), in: [.running])
            try await sidecar.enqueue(TurnRequest(prompt: "write: two | x", whenBusy: .supersede, supersedeKey: "other"))
            try await sidecar.enqueue(TurnRequest(prompt: "write: three | x", whenBusy: .supersede, supersedeKey: "head"))
            let first = try await sidecar.end(of: TurnID(1))
            #expect(first.state == .cancelled && first.reason == .superseded)
            #expect(try await sidecar.end(of: TurnID(2)).state == .succeeded)
            #expect(try await sidecar.end(of: TurnID(3)).state == .succeeded)
        }
    }

    @Test func aTurnThatTakesTooLongFails() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            try await sidecar.enqueue(TurnRequest(prompt: "run: sleep 60", timeout: .milliseconds(300)))
            let turn = try await sidecar.end(of: TurnID(1))
            #expect(turn.state == .failed && turn.reason == .timeout)
            try await sidecar.enqueue("say: next")
            #expect(try await sidecar.end(of: TurnID(2)).state == .succeeded)
        }
    }

    @Test func aWaitEndsWhenTheTurnChanges() async throws {
        try await SidecarProcess.with { sidecar in
            try await sidecar.enqueue("x")
            async let waited = sidecar.json(Turn.self, "GET", "/v1/turns/t1?wait=50s")
            try await sidecar.send("DELETE", "/v1/turns/t1")
            #expect(try await waited.state == .cancelled)
            // Of one that does not change it ends by itself, and of an ended one at once.
            try await sidecar.enqueue("y")
            #expect(try await sidecar.json(Turn.self, "GET", "/v1/turns/t2?wait=50ms").state == .queued)
            #expect(try await sidecar.json(Turn.self, "GET", "/v1/turns/t1?wait=50s").state == .cancelled)
        }
    }

    @Test func oldTurnsStayReadable() async throws {
        try await SidecarProcess.with { sidecar in
            for number in 1...70 {
                try await sidecar.enqueue("number \(number)")
                try await sidecar.send("DELETE", "/v1/turns/t\(number)")
            }
            let list = try await sidecar.json(TurnList.self, "GET", "/v1/turns")
            #expect(list.total == 70)
            #expect(list.turns.map(\.id) == (7...70).map { TurnID($0) })
            let first = try await sidecar.turn(TurnID(1))
            #expect(first.prompt == "number 1")
            #expect(first.state == .cancelled)
        }
    }
}
