import ArgumentParser
import Rendering
import SessionModel

struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Cancel a Task.", discussion: "A queued one never runs; a running one is stopped, and its session goes on.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var format: OutputOptions

    @Argument(help: "The Task's name.")
    var task: String

    func run() async throws {
        let api = API(server)
        let path = "/v1/tasks/\(API.segment(task))"
        let resource: TaskResource = try api.decode(try await api.send("DELETE", path), path)
        let console = Context.current.console
        guard format.output == .table else { return try console.print(resource, as: format.output) }
        let phase = resource.status.phase
        console.print(
            phase.isTerminal
                ? "\(task) has ended: it \(phase == .succeeded || phase == .failed ? "" : "was ")\(phase.rawValue.lowercased())\n"
                : "\(task) is asked to stop\n")
    }
}

struct Answer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Answer what a Task's agent asks.")

    @OptionGroup var server: ServerOptions

    @Argument(help: "The Task's name.")
    var task: String

    @Option(help: ArgumentHelp("The option to choose. Without it and without --refuse the question is shown.", valueName: "id"))
    var option: String?

    @Flag(help: "Refuse.")
    var refuse = false

    @Option(help: "What else to tell the agent.")
    var text: String?

    func validate() throws {
        if option != nil, refuse { throw ValidationError("--option and --refuse are two answers: give one.") }
    }

    func run() async throws {
        let context = Context.current
        let api = API(server)
        let path = "/v1/tasks/\(API.segment(task))"
        if option == nil, !refuse {
            let resource: TaskResource = try await api.get(path)
            return try await show(resource, api, context.console)
        }
        let answer = InputAnswer(option: option, text: text)
        try await api.send("POST", path + "/input", body: Array(try JSON.encode(answer)))
        context.console.print(refuse ? "refused\n" : "answered: \(option ?? "")\n")
    }

    private func show(_ task: TaskResource, _ api: API, _ console: Console) async throws {
        guard task.status.phase == .awaitingInput, let key = task.status.session else {
            throw Failure(.failed, "\(task.metadata.name) asks nothing: it is \(task.status.phase.rawValue)")
        }
        let session: SessionResource = try await api.get("/v1/sessions/\(API.segment(key.description))")
        guard let question = session.status.activity?.awaitingInput else {
            throw Failure(.failed, "\(task.metadata.name) asks nothing any more")
        }
        try console.print(question.options, as: .table) { options in
            var table = Table(["OPTION", "MEANS"])
            for option in options { table.add([option.id, option.name]) }
            return table
        }
        console.note(
            "\(TerminalText.harmlessLine(question.question)) Answer with: holdfast answer \(self.task) --option ID, or --refuse")
    }
}

struct Keep: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Keep an idle session awake for a while.")

    @OptionGroup var server: ServerOptions

    @Argument(help: "A session: its key, its name, or the beginning of its name.")
    var session: String

    @Option(name: .customLong("for"), help: "How long, such as 2h; at most 24h at a time.", transform: Reading.span)
    var span: TimeSpan

    func run() async throws {
        try await Session.post(session, "keepalive", server, body: Array(try JSON.encode(KeepAliveRequest(for: span))))
        Context.current.console.print("\(session) is kept awake for \(span)\n")
    }
}

struct Suspend: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Put a session to sleep when its Tasks have ended.", discussion: "The next Task or `holdfast resume` wakes it.")

    @OptionGroup var server: ServerOptions

    @Argument(help: "A session: its key, its name, or the beginning of its name.")
    var session: String

    func run() async throws {
        try await Session.post(session, "suspend", server)
        Context.current.console.print("\(session) is asked to sleep\n")
    }
}

struct Resume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Wake a session.")

    @OptionGroup var server: ServerOptions

    @Argument(help: "A session: its key, its name, or the beginning of its name.")
    var session: String

    func run() async throws {
        try await Session.post(session, "resume", server)
        Context.current.console.print("\(session) is asked to wake\n")
    }
}

struct Close: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say that a session's pull request or issue is closed.",
        discussion: "What follows is its lifetime's onScopeClosed: by default it ends when its Tasks have.")

    @OptionGroup var server: ServerOptions

    @Flag(help: "It is open again.")
    var reopen = false

    @Argument(help: "A session: its key, its name, or the beginning of its name.")
    var session: String

    func run() async throws {
        try await Session.post(session, "scope", server, body: Array(try JSON.encode(["closed": !reopen])))
        Context.current.console.print("the scope of \(session) is \(reopen ? "open again" : "closed")\n")
    }
}

struct End: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "End a session.",
        discussion: "The Tasks that it has run to their end or to the drain's deadline; its transcript stays.")

    @OptionGroup var server: ServerOptions

    @Argument(help: "A session: its key, its name, or the beginning of its name.")
    var session: String

    func run() async throws {
        let context = Context.current
        let id = try ScopeArgument.sessionID(session, directory: context.directory)
        try await API(server).send("DELETE", "/v1/sessions/\(API.segment(id))")
        context.console.print("\(session) is asked to end\n")
    }
}

private enum Session {
    static func post(_ session: String, _ action: String, _ server: ServerOptions, body: [UInt8] = []) async throws {
        let id = try ScopeArgument.sessionID(session, directory: Context.current.directory)
        try await API(server).send("POST", "/v1/sessions/\(API.segment(id))/\(action)", body: body.isEmpty ? nil : body)
    }
}
