import Curl
import Foundation
import NIOConcurrencyHelpers
import SessionModel
import Support
import Testing

@testable import Holdfast

/// A supervisor's API as the CLI knows it, with what a test puts into it; and a console to run commands against it.
final class FakeServer: Sendable {
    let server: LoopbackServer
    private let requests = NIOLockedValueBox<[LoopbackServer.Request]>([])

    init(port: UInt16 = 0, _ handler: @escaping LoopbackServer.Handler) throws {
        let requests = requests
        server = try LoopbackServer(port: port) { request, connection in
            requests.withLockedValue { $0.append(request) }
            try handler(request, connection)
        }
    }

    /// `METHOD /path?query`, in the order of arrival.
    var seen: [String] {
        requests.withLockedValue { $0.map { "\($0.method) \($0.path)\($0.query.isEmpty ? "" : "?" + $0.query)" } }
    }
    var last: LoopbackServer.Request? { requests.withLockedValue { $0.last } }
    func stop() { server.stop() }

    /// Runs a command line against it.
    func run(
        _ arguments: String..., terminal: Bool = false, interrupt: @escaping @Sendable () async -> Void = { await never() }
    ) async -> Outcome {
        await holdfast(arguments, environment: ["HOLDFAST_SERVER": server.url], terminal: terminal, interrupt: interrupt)
    }
}

struct Outcome: Sendable {
    var status: Int32
    var output: String
    var errors: String
}

func holdfast(
    _ arguments: [String], environment: [String: String], terminal: Bool = false, input: String = "",
    interrupt: @escaping @Sendable () async -> Void = { await never() }
) async -> Outcome {
    let written = NIOLockedValueBox<[Console.Stream: String]>([:])
    let console = Console(isTerminal: terminal, hasColor: false, width: terminal ? 80 : 0) { stream, text in
        written.withLockedValue { $0[stream, default: ""] += text }
    }
    var context = Context(
        environment: environment, directory: "/home/me/work", console: console, readInput: { Array(input.utf8) },
        interrupt: interrupt)
    context.retryDelay = .milliseconds(5)
    let status = await Context.$current.withValue(context) { await Holdfast.run(arguments) }
    return written.withLockedValue { Outcome(status: status, output: $0[.output] ?? "", errors: $0[.error] ?? "") }
}

/// Waits until the task is cancelled.
func never() async { for await _ in AsyncStream<Void>.makeStream().stream {} }

enum Fixture {
    static let now = Timestamp("2026-11-23T18:14:05.000Z")!
    static let key = try! SessionKey(parsing: "pr:acme/widgets#12")
    static let journal = "0123456789abcdef"

    static func task(_ phase: TaskPhase = .pending, version: Int64 = 1, _ change: (inout TaskStatus) -> Void = { _ in })
        -> TaskResource
    {
        var status = TaskStatus(phase: phase)
        status.session = key
        change(&status)
        return TaskResource(
            kind: "Task", metadata: Metadata(name: "task-1", uid: "u1", resourceVersion: "\(version)", creationTimestamp: now),
            spec: TaskSpec(prompt: "Fix it"), status: status)
    }

    static func session(_ phase: SessionPhase = .ready, version: Int64 = 1) -> SessionResource {
        var status = SessionResourceStatus(phase: phase, since: now)
        status.epoch = 1
        status.journal = journal
        return SessionResource(
            kind: "Session", metadata: Metadata(name: key.name, uid: "u2", resourceVersion: "\(version)", creationTimestamp: now),
            spec: SessionSpec(
                key: key, scope: ScopeSpec(kind: .pullRequest), worker: AgentDescription(driver: .acp, command: ["demo"])),
            status: status)
    }

    static func line(_ sequence: UInt64, _ body: EventBody, turn: UInt64 = 1) throws -> String {
        let data = try JSON.string(AnyEncodable(body.data))
        return #"{"seq":\#(sequence),"epoch":1,"time":"\#(now)","turn":"t\#(turn)","type":"\#(body.type)","data":\#(data)}"#
            + "\n"
    }

    private struct AnyEncodable: Encodable {
        let value: any Encodable
        init(_ value: any Encodable) { self.value = value }
        func encode(to encoder: any Encoder) throws { try value.encode(to: encoder) }
    }
}

extension LoopbackServer.Connection {
    func respond(_ value: some Encodable, status: Int = 200) throws { try respond(status, JSON.string(value)) }
    func refuse(_ problem: Problem) throws {
        try respond(problem.status, JSON.string(problem), type: "application/problem+json")
    }
}
