import ArgumentParser
import Rendering
import SessionModel

struct Tasks: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List Tasks, the newest last.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var format: OutputOptions

    @Option(help: ArgumentHelp("Only those of this session.", valueName: "session"))
    var session: String?

    @Option(help: "How many of the newest.")
    var limit = 50

    @Argument(help: "Only this Task.")
    var task: String?

    func run() async throws {
        let context = Context.current
        let api = API(server)
        if let task {
            let resource: TaskResource = try await api.get("/v1/tasks/\(API.segment(task))")
            if format.output != .table { return try context.console.print(resource, as: format.output) }
            return context.console.print(
                Table.tasks([resource], at: .now).text(color: context.console.hasColor, width: context.console.width))
        }
        let id = try session.map { text throws(Failure) in try ScopeArgument.sessionID(text, directory: context.directory) }
        let list: API.List<TaskResource> = try await api.get("/v1/tasks", query: [("session", id), ("limit", "\(limit)")])
        if list.items.isEmpty, format.output == .table {
            return context.console.note("there are no Tasks yet: send one with holdfast run")
        }
        try context.console.print(list.items, as: format.output) { .tasks($0, at: .now) }
    }
}

struct Sessions: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List sessions, or show one.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var format: OutputOptions

    @Argument(help: "A session: its key, its name, or the beginning of its name.")
    var session: String?

    func run() async throws {
        let context = Context.current
        let api = API(server)
        guard let session else {
            let list: API.List<SessionResource> = try await api.get("/v1/sessions")
            if list.items.isEmpty, format.output == .table {
                return context.console.note("there are no sessions yet: holdfast run makes one")
            }
            return try context.console.print(list.items, as: format.output) { .sessions($0, at: .now) }
        }
        let id = try ScopeArgument.sessionID(session, directory: context.directory)
        let resource: SessionResource = try await api.get("/v1/sessions/\(API.segment(id))")
        if format.output != .table { return try context.console.print(resource, as: format.output) }
        context.console.print(Self.describe(resource, at: .now, context.console))
    }

    /// One fact a line.
    private static func describe(_ session: SessionResource, at now: Timestamp, _ console: Console) -> String {
        let status = session.status
        var facts: [(String, String)] = [
            ("session", session.spec.key.description), ("name", session.metadata.name),
            ("phase", "\(status.phase.rawValue) for \(Wording.age(of: status.since, at: now)), epoch \(status.epoch)"),
        ]
        if let message = status.message { facts.append(("why", message)) }
        facts.append(("agent", session.spec.worker.arguments.joined(separator: " ")))
        if let repository = session.spec.workspace?.repository { facts.append(("repository", repository)) }
        if let workspace = status.workspace { facts.append(("workspace", Wording.workspace(workspace))) }
        if let activity = status.activity {
            if let running = activity.running { facts.append(("running", running.description)) }
            if let input = activity.awaitingInput { facts.append(("asks", input.question)) }
            if activity.queued > 0 { facts.append(("queued", "\(activity.queued)")) }
            if let idle = activity.idleSince { facts.append(("idle for", Wording.age(of: idle, at: now))) }
            if let until = activity.keepAliveUntil { facts.append(("kept alive until", until.description)) }
        }
        if let turns = status.turns {
            let ended = [
                ("succeeded", turns.succeeded), ("failed", turns.failed), ("cancelled", turns.cancelled),
                ("interrupted", turns.interrupted),
            ].filter { $0.1 > 0 }
            if !ended.isEmpty { facts.append(("turns", ended.map { "\($0.1) \($0.0)" }.joined(separator: ", "))) }
        }
        if let usage = status.usage.flatMap(Wording.usage) { facts.append(("usage", usage)) }
        for condition in status.conditions where condition.status != .true {
            facts.append((condition.type, "\(condition.reason): \(condition.message)"))
        }
        let width = facts.map(\.0.count).max() ?? 0
        return facts.map { name, value in
            console.palette(name + String(repeating: " ", count: width - name.count), .dim) + "  "
                + TerminalText.harmlessLine(value) + "\n"
        }.joined()
    }
}
