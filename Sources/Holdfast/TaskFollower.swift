import Rendering
import SessionModel

/// Follows one Task to its end: shows what it waits for, then what the agent does.
struct TaskFollower: Sendable {
    let api: API
    let context: Context
    let format: TranscriptFormat

    private enum Ending: Sendable {
        case task(TaskResource)
        case transcript
        case interrupt
        case graceOver
    }

    /// How the Task ended.
    /// - Throws: ``ExitStatus/detached`` when the user presses Ctrl-C; the work goes on.
    func follow(_ task: TaskResource) async throws -> ExitStatus {
        let view = try FollowView(context.console, format: format)
        await view.show(task)
        let (turns, found) = AsyncStream.makeStream(of: TaskResource.self)
        return try await withThrowingTaskGroup(of: Ending.self) { group in
            defer {
                group.cancelAll()
                context.console.clearStatus()
            }
            group.addTask {
                await context.interrupt()
                return .interrupt
            }
            group.addTask { .task(try await poll(task, view, found)) }
            group.addTask {
                do {
                    for await task in turns {
                        try await read(task, view)
                        break
                    }
                } catch let failure as Failure {
                    // How the Task ends is the Task's to tell: a transcript may have gone with its pod.
                    await view.misses(failure)
                }
                return .transcript
            }
            var end: TaskResource?
            var transcriptEnded = false
            while let ending = try await group.next() {
                switch ending {
                case .interrupt:
                    await view.finish()
                    throw Failure(.detached, await view.farewell)
                case .task(let task):
                    end = task
                    // What is left of the transcript is on its way.
                    group.addTask {
                        try await Task.sleep(for: .seconds(10))
                        return .graceOver
                    }
                case .transcript: transcriptEnded = true
                case .graceOver: transcriptEnded = true
                }
                if let end, transcriptEnded {
                    await view.conclude(end)
                    return end.status.phase.exitStatus
                }
            }
            throw CancellationError()
        }
    }

    /// Waits for changes of the Task until its last one.
    private func poll(
        _ task: TaskResource, _ view: FollowView, _ found: AsyncStream<TaskResource>.Continuation
    ) async throws -> TaskResource {
        defer { found.finish() }
        var task = task
        var isFound = false
        while true {
            if !isFound, task.status.session != nil, task.status.turn != nil {
                isFound = true
                found.yield(task)
            }
            if task.status.phase.isTerminal { return task }
            let (name, version) = (task.metadata.name, task.metadata.resourceVersion)
            task = try await api.persistently(away: { await view.away($0) }) {
                try await api.get(
                    "/v1/tasks/\(API.segment(name))", query: [("after", "\(version)"), ("wait", "30s")], timeout: .seconds(45))
            }
            await view.show(task)
        }
    }

    private func read(_ task: TaskResource, _ view: FollowView) async throws {
        guard let session = task.status.session, let turn = task.status.turn else { return }
        let feed = TranscriptFeed(api: api, session: session.description, turn: turn, after: nil, follows: true)
        try await feed.run(away: { await view.away($0) }) { line, raw in
            await view.show(line, raw: raw)
            if case .event(let event) = line, case .turnEnded = event.body, event.turn == turn { return false }
            return true
        }
    }
}

/// What a follower shows: the transcript, and below it what goes on.
private actor FollowView {
    private let console: Console
    private let transcript: TranscriptView
    private var task: TaskResource?
    private var tool: String?
    private var isStreaming = false
    private var hasShownEnd = false
    private var lastNote: String?

    init(_ console: Console, format: TranscriptFormat) throws(Failure) {
        self.console = console
        transcript = try TranscriptView(console, format: format)
    }

    func show(_ task: TaskResource) {
        self.task = task
        progress()
    }

    func show(_ line: TranscriptLine, raw: String) async {
        isStreaming = false
        switch line {
        case .event(let event):
            switch event.body {
            case .toolCall(let call): tool = call.title
            case .toolResult: tool = nil
            case .turnEnded: hasShownEnd = true
            default: break
            }
        case .delta: isStreaming = true
        case .gap: break
        }
        await transcript.show(line, raw: raw)
        progress()
    }

    func away(_ failure: Failure) {
        note("the server is away; waiting for it (\(failure.message))")
    }

    func misses(_ failure: Failure) { note("the transcript cannot be shown: \(failure.message)") }

    func finish() async {
        await transcript.finish()
        console.clearStatus()
    }

    /// What the transcript has not told: a Task may end without ever having run.
    func conclude(_ end: TaskResource) async {
        await finish()
        let status = end.status
        for notice in status.notices ?? [] { console.note("note: \(TerminalText.harmlessLine(notice))") }
        guard !hasShownEnd else { return }
        let reason = status.reason.map { " (\($0.rawValue))" } ?? ""
        let message = status.message.map { ": \(TerminalText.harmlessLine($0))" } ?? ""
        console.note("\(end.metadata.name) \(status.phase.rawValue.lowercased())\(reason)\(message)")
    }

    var farewell: String {
        let name = task?.metadata.name ?? "the Task"
        guard let session = task?.status.session else {
            return "detached; \(name) goes on. See it with: holdfast tasks \(name)"
        }
        let turn = task?.status.turn.map { " --turn \($0)" } ?? ""
        return "detached; \(name) goes on. Come back with: holdfast transcript \(shellWord(session.description))\(turn) --follow"
    }

    private func progress() {
        guard let task, !task.status.phase.isTerminal, !isStreaming else { return }
        let status = task.status
        let text: String
        switch status.phase {
        case .pending: text = "waiting: \(status.message ?? "the session is being prepared")"
        case .queued:
            text =
                switch status.position {
                case 1?, nil: "queued: next in \(status.session?.description ?? "its session")"
                case let position?: "queued: \(position - 1) before it in \(status.session?.description ?? "its session")"
                }
        case .awaitingInput:
            text = "waiting for an answer: holdfast answer \(task.metadata.name) --option ID (or --refuse)"
        default: text = tool.map { "working: \($0)" } ?? "working"
        }
        if console.isTerminal, status.phase != .awaitingInput {
            console.status(text)
        } else if status.phase != .running {
            note("\(task.metadata.name) \(text)")
        }
    }

    /// One line, unless it was the last one, too.
    private func note(_ text: String) {
        guard text != lastNote else { return }
        lastNote = text
        if console.isTerminal, text.hasPrefix("the server") {
            console.status(text)
        } else {
            console.note(TerminalText.harmlessLine(text))
        }
    }
}
