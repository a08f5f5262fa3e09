public import SessionModel

/// How a session stands, as its comment on the forge says it. Made of what is stored, and of nothing else: after a restart the same
/// state makes the same text, and so no second comment and no needless edit.
public struct SessionReport: Sendable, Hashable {
    public enum State: Sendable, Hashable {
        case queued, working, waitingForYou, done, failed, cancelled, interrupted
    }

    var state: State
    var session: SessionResource
    /// The Task that is told of; nil when there is none any more.
    var task: TaskResource?
    var turns: Int
    /// Further Tasks that wait.
    var waiting: Int
    var pullRequest: Int?
    var commands: CommentCommands

    /// The last message of the agent is told up to here, in bytes.
    static let summaryLimit = 3000

    /// - Parameters:
    ///   - tasks: of the session, the newest first.
    public init(
        _ session: SessionResource, tasks: [TaskResource], pullRequest: Int? = nil, commands: CommentCommands = CommentCommands()
    ) {
        self.session = session
        self.pullRequest = pullRequest
        self.commands = commands
        // Those of an earlier session of the same key are not this one's.
        let own = tasks.filter { $0.status.completionTime.map { $0 >= session.metadata.creationTimestamp } ?? true }
        let open = own.filter { !$0.status.phase.isTerminal }
        let busy = open.last { [.running, .awaitingInput].contains($0.status.phase) }
        task = busy ?? open.last ?? own.first
        turns = own.count
        waiting = open.count - (open.isEmpty ? 0 : 1)
        state =
            switch task?.status.phase {
            case .pending, .queued, nil: .queued
            case .running: .working
            case .awaitingInput: .waitingForYou
            case .succeeded: .done
            case .failed: .failed
            case .cancelled: .cancelled
            case .interrupted: .interrupted
            }
    }

    /// Nothing will change any more.
    public var isFinal: Bool { session.status.phase == .ended && task?.status.phase.isTerminal != false }

    /// By which the session's comment is known again.
    public static func marker(_ session: SessionResource) -> String { marker("session \(session.metadata.uid)") }

    static func marker(_ text: String) -> String { "\(WebhookRules.marker) \(text) -->" }

    /// - Parameter redact: takes secrets out of what is foreign.
    public func text(marker: String, redact: Redactor) -> String {
        func foreign(_ text: String?, _ limit: Int, quoted: Bool = false) -> String? {
            text.flatMap { $0.isEmpty ? nil : ForeignText.defused(redact($0), limit: limit, quoted: quoted) }
        }
        let status = task?.status
        var parts = ["\(marker)\n**Holdfast: \(heading)**\(facts.map { " · \($0)" }.joined())"]
        switch state {
        case .waitingForYou:
            parts += [foreign(status?.message, 1000)].compactMap(\.self)
            if let task { parts.append("Answer with `holdfast answer \(task.metadata.name)`.") }
        case .failed, .cancelled, .interrupted, .queued: parts += [foreign(status?.message, 1000)].compactMap(\.self)
        case .working, .done: break
        }
        for notice in status?.notices ?? [] { parts += [foreign(notice, 500).map { "Note: \($0)" }].compactMap(\.self) }
        if let line = workspace { parts.append(line) }
        if let answer = foreign(status?.results?.answer, Self.summaryLimit, quoted: true) { parts.append(answer) }
        parts.append(hints)
        return parts.joined(separator: "\n\n")
    }

    private var heading: String {
        if session.status.phase == .ended, task?.status.phase.isTerminal != false { return "ended, \(word)" }
        return session.status.phase == .failed ? "the session failed" : word
    }

    private var word: String {
        switch state {
        case .queued: "queued"
        case .working: "working"
        case .waitingForYou: "waiting for you"
        case .done: "done"
        case .failed: "failed"
        case .cancelled: "stopped"
        case .interrupted: "interrupted"
        }
    }

    private var facts: [String] {
        var facts: [String] = []
        if turns > 0 { facts.append("turn \(turns - waiting)") }
        if let start = task?.status.startTime {
            if let end = task?.status.completionTime {
                facts.append(Self.words(end - start))
            } else {
                // Not for how long: that would have to be written again and again.
                facts.append("since \(start.description.dropFirst(11).prefix(5)) UTC")
            }
        }
        if waiting > 0 { facts.append("\(waiting) more waiting") }
        return facts
    }

    private static func words(_ span: TimeSpan) -> String {
        let seconds = max(0, span.milliseconds / 1000)
        if seconds < 60 { return "\(seconds) s" }
        if seconds < 3600 { return "\(seconds / 60) min \(seconds % 60) s" }
        return "\(seconds / 3600) h \(seconds / 60 % 60) min"
    }

    private var workspace: String? {
        var words: [String] = []
        if let workspace = task?.status.results?.workspace {
            if let branch = workspace.branch { words.append("Branch \(Self.code(branch))") }
            if let commit = workspace.commit { words.append("at \(commit.prefix(40))") }
            if let commits = workspace.commits { words.append("with \(commits) new commit\(commits == 1 ? "" : "s")") }
            if let changes = workspace.diffstat { words.append("(\(ForeignText.defused(changes, limit: 200)))") }
            if let unsaved = workspace.unsaved {
                words.append("— not on the forge: \(ForeignText.defused(unsaved, limit: 200))")
            }
        }
        if let pullRequest { words.append(words.isEmpty ? "Pull request #\(pullRequest)" : "· pull request #\(pullRequest)") }
        return words.isEmpty ? nil : words.joined(separator: " ")
    }

    /// A name that somebody else has chosen, as it is.
    private static func code(_ name: String) -> String {
        "`\(name.filter { $0 != "`" && !$0.isNewline }.prefix(bytes: 200))`"
    }

    /// How to go on. In code, so that no program takes it for what it describes.
    private var hints: String {
        if session.status.phase == .ended { return "<sub>The session has ended. Its transcript is kept.</sub>" }
        var hints: [String] = []
        func add(_ command: CommentCommand, _ argument: String, _ what: String) {
            if let word = commands.word(command) { hints.append("`\(word)\(argument)` \(what)") }
        }
        add(.continue, " …", "goes on")
        if [.queued, .working, .waitingForYou].contains(state) { add(.stop, "", "interrupts") }
        add(.status, "", "tells more")
        add(.end, "", "ends the session")
        let name = "session \(session.metadata.name.prefix(12))"
        return
            "<sub>\(([hints.isEmpty ? nil : "Comment " + hints.joined(separator: ", ")] + [name]).compactMap(\.self).joined(separator: " · "))</sub>"
    }
}

extension SessionReport {
    /// What a pull request for the branch of an issue's session is called and says: the session's last message.
    public static func pullRequest(
        issue number: Int, answer: String?, marker: String, redact: Redactor
    ) -> (title: String, body: String) {
        let answer = redact(answer ?? "")
        let title = ForeignText.title(answer, limit: 100)
        return (
            title.isEmpty ? "Work on issue #\(number)" : title,
            // What the model wrote comes last: whatever it leaves open, nothing of ours is inside.
            "\(marker)\nCloses #\(number).\n\n\(ForeignText.defused(answer, limit: 10_000))"
        )
    }

    /// By which an answer to one comment is known again.
    public static func answerMarker(_ comment: Int64) -> String { marker("answer \(comment)") }
}
