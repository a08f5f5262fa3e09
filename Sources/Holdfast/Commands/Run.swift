import ArgumentParser
import FoundationEssentials
import Rendering
import SessionModel

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give an agent a Task.",
        discussion: """
            Tasks of one pull request or issue reach the same agent, in the same conversation and the same directory. A second \
            Task while the first one runs waits for its turn.

            With --follow it ends as the Task ends: 0 succeeded, 1 failed, 3 cancelled, 4 interrupted. Ctrl-C ends the \
            following (130), not the work.
            """)

    @OptionGroup var task: TaskOptions
    @OptionGroup var server: ServerOptions
    @OptionGroup var format: OutputOptions

    @Option(help: ArgumentHelp("Makes repeating this command safe: the same key never makes a second Task.", valueName: "key"))
    var key: String?

    @Flag(help: "Show what happens until the Task ends.")
    var follow = false

    @Option(help: ArgumentHelp("Read the prompt from a file.", valueName: "file"))
    var file: String?

    @Argument(help: "What the agent is to do; - reads it from standard input.")
    var prompt: String?

    func run() async throws {
        let context = Context.current
        let draft = try TaskDraft(
            task, prompt: try promptText(context), directory: context.directory, read: { Self.read($0, context) })
        let api = API(server)
        let created = try await create(draft, api, context)
        if follow {
            let follower = TaskFollower(api: api, context: context, format: format.output == .table ? .text : .jsonl)
            let status = try await follower.follow(created)
            if status != .success { throw ExitCode(status.rawValue) }
            return
        }
        guard format.output == .table else { return try context.console.print(created, as: format.output) }
        let session = created.status.session.map { " in session \($0)" } ?? ""
        context.console.print("\(created.metadata.name) accepted\(session)\n")
        if context.console.isTerminal {
            context.console.note(
                created.status.session.map { "Watch it with: holdfast transcript \(shellWord($0.description)) --follow" }
                    ?? "See it with: holdfast tasks \(created.metadata.name)")
        }
    }

    /// Sends it with a key, always, so that a lost answer can be asked for again and never makes a second Task.
    private func create(_ draft: TaskDraft, _ api: API, _ context: Context) async throws -> TaskResource {
        let body: [UInt8] = Array(try JSON.encode(draft.spec))
        let headers = [(name: "Idempotency-Key", value: key ?? "cli-\(UUID().uuidString.lowercased())")]
        let answer = try await Retry.afterLostAnswers(context) { () throws(Failure) in
            try await api.send("POST", "/v1/tasks", query: [("agent", draft.agent)], headers: headers, body: body)
        }
        return try api.decode(answer, "POST /v1/tasks")
    }

    private func promptText(_ context: Context) throws(Failure) -> String {
        switch (prompt, file) {
        case ("-"?, nil): return String(decoding: context.readInput(), as: UTF8.self)
        case (let prompt?, nil): return prompt
        case (nil, let file?):
            guard let text = Self.read(file, context) else { throw Failure(.usage, "--file \(file): the file cannot be read") }
            return text
        case (nil, nil):
            throw Failure(.usage, "there is no prompt: give it as an argument, with --file, or with - on standard input")
        case (_?, _?): throw Failure(.usage, "the prompt is given twice, as an argument and with --file: give one")
        }
    }

    private static func read(_ path: String, _ context: Context) -> String? {
        let path = path.hasPrefix("/") ? path : "\(context.directory)/\(path)"
        return (try? Data(contentsOf: URL(filePath: path))).map { String(decoding: $0, as: UTF8.self) }
    }
}

enum Retry {
    /// Up to three attempts when the answer was lost on the way. Only for what is safe to repeat.
    static func afterLostAnswers<Value>(_ context: Context, _ attempt: () async throws(Failure) -> Value) async throws -> Value {
        var backoff = Backoff(context)
        for _ in 0..<2 {
            do {
                return try await attempt()
            } catch {
                guard error.status == .unreachable, let pause = backoff.next() else { throw error }
                try await Task.sleep(for: pause)
            }
        }
        return try await attempt()
    }
}
