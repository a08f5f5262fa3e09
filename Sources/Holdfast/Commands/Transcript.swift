import ArgumentParser
import SessionModel

struct Transcript: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read what a session's agent did and said.",
        discussion: "It can be read at any time: while the agent works, while the session sleeps, and after its end.")

    @OptionGroup var server: ServerOptions

    @Argument(help: "A session: its key, its name, or the beginning of its name.")
    var session: String

    @Flag(name: [.short, .long], help: "Go on with what happens. Ctrl-C ends that.")
    var follow = false

    @Option(help: ArgumentHelp("Only this turn, such as t3.", valueName: "turn"), transform: Reading.turn)
    var turn: TurnID?

    @Option(help: ArgumentHelp("Begin after this place.", valueName: "cursor"))
    var after: String?

    @Option(help: ArgumentHelp("How it is written.", valueName: "text|markdown|jsonl"), transform: Reading.word)
    var format = TranscriptFormat.text

    @Option(help: ArgumentHelp("Only events that match this regular expression.", valueName: "re"))
    var grep: String?

    @Flag(help: "Show the frames of the agent's protocol, where they were recorded (`holdfast run --raw`).")
    var raw = false

    func run() async throws {
        let context = Context.current
        let id = try ScopeArgument.sessionID(session, directory: context.directory)
        let feed = TranscriptFeed(api: API(server), session: id, turn: turn, after: after, follows: follow)
        try await Watching.watch(feed, try TranscriptView(context.console, format: format, grep: grep, showsFrames: raw), context)
    }
}

struct Attach: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Watch a session from now on, as it happens.", discussion: "Ctrl-C ends the watching, not the work.")

    @OptionGroup var server: ServerOptions

    @Argument(help: "A session: its key, its name, or the beginning of its name.")
    var session: String

    func run() async throws {
        let context = Context.current
        let api = API(server)
        let id = try ScopeArgument.sessionID(session, directory: context.directory)
        let resource: SessionResource = try await api.get("/v1/sessions/\(API.segment(id))")
        let key = resource.spec.key.description
        var feed = TranscriptFeed(api: api, session: key, after: resource.status.activity?.cursor.description, follows: false)
        if feed.after == nil {
            // Nobody has said yet where the transcript ends: read it to there.
            let end = LastSequence()
            try await feed.run(away: { _ in }) { line, _ in
                if case .event(let event) = line { await end.note(event.sequence) }
                return true
            }
            if let journal = resource.status.journal {
                feed.after = "\(Cursor(journal: journal, sequence: await end.value))"
            }
        }
        feed.follows = true
        feed.attaches = true
        context.console.note("watching \(key), which is \(resource.status.phase.rawValue.lowercased()); Ctrl-C ends the watching")
        try await Watching.watch(feed, try TranscriptView(context.console, format: .text), context)
    }

    private actor LastSequence {
        private(set) var value: UInt64 = 0
        func note(_ sequence: UInt64) { value = max(value, sequence) }
    }
}

enum Watching {
    /// Shows the feed until it ends or the user presses Ctrl-C.
    static func watch(_ feed: TranscriptFeed, _ view: TranscriptView, _ context: Context) async throws {
        let wasInterrupted = try await withThrowingTaskGroup(of: Bool.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await feed.run(away: { context.console.status("the server is away; waiting for it (\($0.message))") }) {
                    await view.show($0, raw: $1)
                    return true
                }
                return false
            }
            if feed.follows {
                group.addTask {
                    await context.interrupt()
                    return true
                }
            }
            return try await group.next() ?? false
        }
        await view.finish()
        context.console.clearStatus()
        if wasInterrupted {
            throw Failure(
                .detached,
                "detached; the session goes on. Come back with: holdfast transcript \(shellWord(feed.session)) --follow")
        }
    }
}
