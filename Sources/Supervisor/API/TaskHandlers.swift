import Foundation
import HTTPServing
import HTTPTypes
import Hummingbird
import SessionModel

extension SupervisorAPI {
    func createTask(_ call: Call) async throws -> Response {
        var spec = try await call.json(TaskSpec.self, upTo: 2 << 20)
        if let header = call.header("Idempotency-Key") {
            guard spec.idempotencyKey == nil || spec.idempotencyKey == header else {
                throw Problem(
                    .invalidRequest, "The Idempotency-Key header and idempotencyKey in the body differ; send one of them.")
            }
            spec.idempotencyKey = header
        }
        // What the key stands for is what was asked, not what the presets make of it today.
        var asked = spec
        asked.idempotencyKey = nil
        var text = try JSON.encode(asked)
        if let name = call.query("agent") {
            guard spec.worker == nil else {
                throw Problem(.invalidRequest, "Both worker in the body and ?agent= name an agent; send one of them.")
            }
            spec.worker = try agents.named(name)
            text.append(contentsOf: "?agent=\(name)".utf8)
        }
        if !runtime.runsPods, let field = spec.worker?.podField {
            throw Problem(
                .invalidRequest,
                "worker.\(field) is for a supervisor in Kubernetes: on one machine the agent is a process of this user. Leave it out."
            )
        }
        if !runtime.runsPods, spec.workspace?.credentials?.secretRef != nil {
            throw Problem(
                .invalidRequest,
                "workspace.credentials.secretRef is for a supervisor in Kubernetes: on one machine tokenFile names the file with the token."
            )
        }
        let request = TaskRouting.Request(
            spec: spec, fallback: agents.fallback, digest: Identity.digest(text), name: Identity.taskName(), uid: Identity.uid(),
            sessionUID: Identity.uid())
        switch try await store.create(request) {
        case .created(let task): return try .json(task, status: .created)
        case .repeated(let task): return try .json(task)
        }
    }

    func listTasks(_ call: Call) async throws -> Response {
        let part = try ListPart(call, default: 100, most: 1000)
        let session = call.query("session")
        let list = try await store.read { store in
            let name = try session.map { try Self.resolve($0, in: store) }
            let list = name.map { "tasks of \($0)" } ?? "tasks"
            let page = try store.tasks(session: name, after: try part.rest(of: list), limit: part.limit)
            return ResourceList(page, of: list, version: try store.version)
        }
        return try .json(list)
    }

    func getTask(_ call: Call) async throws -> Response {
        let name = call.parameter("name")
        return try await poll(name, call) { try $0.task(named: name) }
    }

    func cancelTask(_ call: Call) async throws -> Response {
        let name = call.parameter("name")
        let task = try await store.write { try SessionCommands.cancel(task: name, at: .now, in: $0) }
        return try .json(task, status: .accepted)
    }

    func answerTask(_ call: Call) async throws -> Response {
        let name = call.parameter("name")
        let answer = try await call.json(InputAnswer.self)
        guard let task = try await store.read({ try $0.task(named: name) }) else { throw Self.missing("Task", name) }
        guard let turn = task.status.turn, let session = task.status.session, let client = await sidecar(session.name),
            !task.status.phase.isTerminal
        else { throw Problem(.conflict, "Task \(name) is \(task.status.phase.rawValue) and waits for no answer.") }
        do throws(SidecarClient.Failure) {
            try await client.answer(turn, answer)
        } catch {
            throw Self.problem(error)
        }
        return try .json(task, status: .accepted)
    }
}
