import ArgumentParser
import Rendering
import SessionModel

struct Tasks: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List Tasks, the newest first, or show one.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var format: OutputOptions

    @Option(help: ArgumentHelp("Only those of this session.", valueName: "session"))
    var session: String?

    @OptionGroup var part: ListOptions

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
        let list: API.List<TaskResource> = try await api.list("/v1/tasks", query: [("session", id)], limit: part.limit)
        if list.items.isEmpty, format.output == .table {
            return context.console.note("there are no Tasks yet: send one with holdfast run")
        }
        try context.console.print(list.items, as: format.output) { .tasks($0, at: .now) }
        part.note(list, on: context.console)
    }
}

struct Sessions: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List sessions, the newest first, or show one.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var format: OutputOptions

    @OptionGroup var part: ListOptions

    @Argument(help: "A session: its key, its name, or the beginning of its name.")
    var session: String?

    func run() async throws {
        let context = Context.current
        let api = API(server)
        guard let session else {
            let list: API.List<SessionResource> = try await api.list("/v1/sessions", limit: part.limit)
            if list.items.isEmpty, format.output == .table {
                return context.console.note("there are no sessions yet: holdfast run makes one")
            }
            try context.console.print(list.items, as: format.output) { .sessions($0, at: .now) }
            return part.note(list, on: context.console)
        }
        let id = try ScopeArgument.sessionID(session, directory: context.directory)
        let resource: SessionResource = try await api.get("/v1/sessions/\(API.segment(id))")
        if format.output != .table { return try context.console.print(resource, as: format.output) }
        // All of them: the one that runs is older than those that wait.
        let tasks: API.List<TaskResource> = try await api.list(
            "/v1/tasks", query: [("session", resource.metadata.name)], limit: 0)
        context.console.print(
            SessionView(
                session: resource, tasks: tasks.items.reversed(), now: .now, palette: context.console.palette,
                width: context.console.width
            ).text)
    }
}
