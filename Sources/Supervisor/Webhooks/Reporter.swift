import Foundation
import GitHub
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// Tells the forge of the sessions that its events have made: their comments, reactions, answers, and pull requests.
///
/// What is to be said is made from the store whenever something changes there, and ``Outbox`` decides when it is written. What was
/// written is stored; whoever dies in between looks on the forge before anything is made again.
final class Reporter: Sendable {
    /// A reaction or an answer that the forge does not take for so long is given up.
    private static let patience = TimeSpan.hours(24)
    private static let taskLimit = 200

    private let store: any ForgeStore
    private let forge: ForgeFacts
    private let secrets: @Sendable () -> [String]
    private let outbox: Outbox
    private let logger: Logger
    /// Names of sessions of which something has changed.
    private let changed = NIOLockedValueBox<Set<String>>([])
    private let wakes: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation

    /// - Parameter secrets: what must not be in anything that is told.
    init(
        store: any ForgeStore, forge: ForgeFacts, secrets: @escaping @Sendable () -> [String], outbox: Outbox = Outbox(),
        logger: Logger
    ) {
        self.store = store
        self.forge = forge
        self.secrets = secrets
        self.outbox = outbox
        self.logger = logger
        (wakes, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        store.feed.observe { [changed, waker] change in
            guard let name = change.kind == SessionSpec.kind ? change.name : change.session else { return }
            changed.withLockedValue { _ = $0.insert(name) }
            waker.yield()
        }
    }

    func wake() { waker.yield() }

    /// What one round works on.
    private struct Desk {
        var outbox: Outbox
        var messages: [String: OutgoingMessage] = [:]
        var lastMessage: Int64 = 0
        /// The uids of the sessions that the outbox has messages of.
        var known: [String: String] = [:]
    }

    /// Works until its task is cancelled.
    func run() async {
        let timer = NIOLockedValueBox<Task<Void, Never>?>(nil)
        defer { timer.withLockedValue { $0?.cancel() } }
        var desk = Desk(outbox: outbox)
        var isNew = true
        waker.yield()
        for await _ in wakes {
            var due: Timestamp?
            do {
                if isNew {
                    let open = try await store.access { try $0.openReports() }
                    changed.withLockedValue { $0.formUnion(open) }
                    isNew = false
                }
                due = try await work(&desk)
            } catch {
                if Task.isCancelled { return }
                logger.error("what the forge is to be told cannot be read; trying again", metadata: ["error": "\(error)"])
                due = .now + .seconds(5)
                isNew = true
            }
            let waker = waker
            timer.withLockedValue { timer in
                timer?.cancel()
                timer = due.map { due in
                    Task { if (try? await Task.sleep(for: max(due - .now, .milliseconds(10)).duration)) != nil { waker.yield() } }
                }
            }
        }
    }

    /// - Returns: when there is something to do next.
    private func work(_ desk: inout Desk) async throws -> Timestamp? {
        while !Task.isCancelled {
            let names = changed.withLockedValue { names in
                defer { names = [] }
                return names.sorted()
            }
            for name in names { try await consider(name, &desk) }
            let last = desk.lastMessage
            for message in try await store.access({ try $0.outgoing(after: last) }) {
                let id = "message:\(message.ordinal)"
                desk.lastMessage = message.ordinal
                desk.messages[id] = message
                desk.outbox.want(
                    id, message.reaction == nil ? .comment : .reaction, text: "once",
                    place: message.reaction == nil ? .unknown : .absent, at: .now)
            }
            switch desk.outbox.next(at: .now) {
            case .wait(let due): return due
            case .perform(let id, let action): try await perform(id, action, &desk)
            }
        }
        return nil
    }

    // MARK: What is to be said

    private struct Subject: Sendable {
        var report: ForgeReport
        var session: SessionResource
        var tasks: [TaskResource]
        var spawner: SpawnerSpec?
    }

    private func subject(_ name: String) async throws -> Subject? {
        try await store.access { store in
            guard let session = try store.session(named: name) else {
                try store.forgetReport(name)
                return nil
            }
            guard var report = try store.report(name) else { return nil }
            if report.uid != session.metadata.uid {
                // Another session of the same key: it has a comment of its own.
                (report.comment, report.written, report.pullRequest) = (nil, nil, nil)
                if !report.uid.isEmpty { report.pushed = false }
                report.uid = session.metadata.uid
                try store.keep(report)
            }
            guard !report.closed else { return nil }
            return Subject(
                report: report, session: session, tasks: try store.tasks(session: name, limit: Self.taskLimit),
                spawner: try store.spawner(named: report.spawner)?.spec)
        }
    }

    private func consider(_ name: String, _ desk: inout Desk) async throws {
        let (commentID, pullID) = ("session:\(name)", "pull:\(name)")
        guard let subject = try await subject(name) else {
            desk.outbox.forget(commentID)
            desk.outbox.forget(pullID)
            desk.known[name] = nil
            return
        }
        let rules = subject.spawner?.report
        let text = text(of: subject)
        // Another session under the name has another marker, and so another comment.
        if let known = desk.known.updateValue(subject.report.uid, forKey: name), known != subject.report.uid {
            desk.outbox.forget(commentID)
            desk.outbox.forget(pullID)
        }
        if rules?.comment != false {
            desk.outbox.want(
                commentID, text: text, place: subject.report.comment.map { .at($0) } ?? .unknown, written: subject.report.written,
                at: .now)
        } else {
            desk.outbox.forget(commentID)
        }
        if let task = subject.tasks.first(where: { $0.status.phase == .succeeded }), subject.report.pushed,
            subject.report.pullRequest == nil, case .issue = subject.session.spec.key.subject, rules?.pullRequest != .never
        {
            // Tried once after every turn, until there is one.
            desk.outbox.want(pullID, .pullRequest, text: task.metadata.uid, place: .unknown, at: .now)
        } else {
            desk.outbox.forget(pullID)
        }
        try await close(subject, text, desk)
    }

    private func text(of subject: Subject) -> String {
        report(of: subject).text(marker: SessionReport.marker(subject.session), redact: Redactor(secrets()))
    }

    private func report(of subject: Subject) -> SessionReport {
        SessionReport(
            subject.session, tasks: subject.tasks, pullRequest: subject.report.pullRequest.flatMap { Int(exactly: $0) },
            commands: subject.spawner?.when.githubWebhook?.commands ?? CommentCommands())
    }

    /// Of a session that has ended, and of which everything is told, nothing is to be done any more.
    private func close(_ subject: Subject, _ text: String, _ desk: Desk) async throws {
        let name = subject.report.name
        guard report(of: subject).isFinal, desk.outbox.isSettled("session:\(name)"), desk.outbox.isSettled("pull:\(name)") else {
            return
        }
        try await store.access { store in
            guard var report = try store.report(name), report.uid == subject.session.metadata.uid else { return }
            report.closed = true
            try store.keep(report)
        }
    }

    // MARK: Saying it

    private func perform(_ id: String, _ action: Outbox.Action, _ desk: inout Desk) async throws {
        let name = String(id.drop { $0 != ":" }.dropFirst())
        let result: Outbox.Result
        if let message = desk.messages[id] {
            result = await Self.result { try await self.tell(message, action) }
        } else {
            guard let subject = try await subject(name) else { return desk.outbox.forget(id) }
            result =
                await Self.result {
                    id.hasPrefix("pull:") ? try await self.pull(subject, action) : try await self.comment(subject, action)
                }
        }
        let news = desk.outbox.handle(id, action, result, at: .now)
        if case .failed(let error) = result {
            logger.warning("the forge was not told", metadata: ["what": "\(id)", "error": "\(error)"])
        }
        if let message = desk.messages[id] {
            var isOver = .now - message.made > Self.patience
            if case .none = news {} else { isOver = true }
            guard isOver else { return }
            try await store.access { try $0.remove(message) }
            desk.messages[id] = nil
            return desk.outbox.forget(id)
        }
        switch news {
        case .none: return
        case .stands(_, let place, let text):
            try await store.access { store in
                guard var report = try store.report(name) else { return }
                if id.hasPrefix("pull:") {
                    report.pullRequest = place
                } else {
                    (report.comment, report.written) = (place, text)
                }
                try store.keep(report)
                try Self.note(nil, report.spawner, in: store)
            }
        case .refused(_, let why):
            try await store.access { store in
                guard let report = try store.report(name) else { return }
                try Self.note(why, report.spawner, in: store)
            }
        }
        changed.withLockedValue { _ = $0.insert(name) }
    }

    private static func result(_ body: () async throws -> Outbox.Result) async -> Outbox.Result {
        do {
            return try await body()
        } catch let error as GitHubError {
            return .failed(error)
        } catch {
            return .failed(GitHubError(.unavailable, "\(error)"))
        }
    }

    private func comment(_ subject: Subject, _ action: Outbox.Action) async throws -> Outbox.Result {
        let (repository, number) = (subject.report.repository, subject.report.number)
        switch action {
        case .find:
            let marker = SessionReport.marker(subject.session)
            return .found(
                try await forge.github.comment(marked: marker, by: try await forge.own(), on: number, in: repository))
        case .create(let text): return .written(at: try await forge.github.createComment(text, on: number, in: repository))
        case .update(let id, let text):
            try await forge.github.updateComment(id, text, in: repository)
            return .written(at: id)
        }
    }

    private func pull(_ subject: Subject, _ action: Outbox.Action) async throws -> Outbox.Result {
        let (repository, marker) = (subject.report.repository, SessionReport.marker(subject.session))
        let branch = subject.session.spec.branch
        switch action {
        case .find:
            return .found(
                try await forge.github.pullRequest(
                    from: branch, marked: marker, by: try await forge.own(), in: repository))
        case .create:
            let answer = subject.tasks.first { $0.status.phase == .succeeded }?.status.results?.answer
            let (title, body) = SessionReport.pullRequest(
                issue: subject.report.number, answer: answer, marker: marker, redact: Redactor(secrets()))
            var base = subject.report.defaultBranch
            if base == nil { base = try await forge.github.defaultBranch(of: repository) }
            return .written(
                at: try await forge.github.openPullRequest(
                    title: title, body: body, head: branch, base: base ?? "main",
                    isDraft: subject.spawner?.report?.pullRequest == .draft, in: repository))
        case .update(let number, _): return .written(at: number)
        }
    }

    private func tell(_ message: OutgoingMessage, _ action: Outbox.Action) async throws -> Outbox.Result {
        if let target = message.target, let reaction = message.reaction {
            guard case .create = action else { return .found(nil) }
            return .written(at: try await forge.github.react(reaction, to: target, in: message.repository))
        }
        let marker = SessionReport.answerMarker(message.answers ?? 0)
        switch action {
        case .find:
            let known = try await forge.github.comment(
                marked: marker, by: try await forge.own(), on: message.number, in: message.repository)
            // It was answered: once is enough.
            return known.map { .written(at: $0) } ?? .found(nil)
        case .create, .update:
            let name = message.session
            let (session, tasks, report) = try await store.access { store in
                (
                    try store.session(named: name), try store.tasks(session: name, limit: Self.taskLimit),
                    try store.report(name)
                )
            }
            guard let session else { throw GitHubError(.rejected, "the session is gone") }
            let text = SessionReport(session, tasks: tasks, pullRequest: report?.pullRequest.flatMap { Int(exactly: $0) })
                .text(marker: marker, redact: Redactor(secrets()))
            return .written(at: try await forge.github.createComment(text, on: message.number, in: message.repository))
        }
    }

    /// What the forge does not let us tell is seen at the Spawner.
    private static func note(_ why: String?, _ name: String, in store: any ForgeTransaction) throws {
        guard var spawner = try store.spawner(named: name) else { return }
        let condition = Condition(
            type: "Reporting", status: why == nil ? .true : .false, reason: why == nil ? "Told" : "Refused",
            message: why.map { "The forge does not take what it is to be told: \($0)".prefix(bytes: 1000) } ?? "",
            lastTransitionTime: .now)
        // That all is well is said only of what was not.
        guard !spawner.status.states(condition),
            why != nil || spawner.status.conditions.contains(where: { $0.type == "Reporting" })
        else { return }
        spawner.status.state(condition)
        try store.update(spawner)
    }
}
