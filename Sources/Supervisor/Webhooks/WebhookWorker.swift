import Foundation
import GitHub
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// Turns stored deliveries into what they ask for, one after the other. What one asks for and that it is done are one transaction,
/// so that a kill at any moment makes nothing happen twice and nothing never.
final class WebhookWorker: Sendable {
    /// A delivery that the forge, or a full Spawner, keeps waiting for longer than this is given up, and says so.
    static let patience = TimeSpan.hours(24)
    private static let pause = TimeSpan.seconds(5)
    /// What waits for room is told of it, and looked at so often besides.
    private static let longPause = TimeSpan.minutes(5)
    /// What waits for a Task that cannot be brought to its session is looked at again after this.
    private static let settlingPause = TimeSpan.minutes(1)

    private let store: any ForgeStore
    private let agents: AgentPresets
    private let forge: ForgeFacts
    private let reporter: Reporter?
    private let logger: Logger
    private let wakes: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation
    private let news: NIOLockedValueBox<News>
    /// Why nothing can be made by Spawners, by what they say: a template is tried once.
    private let faults = NIOLockedValueBox<[SpawnerSpec: String?]>([:])

    private struct News {
        /// A session sleeps or has ended, or a Spawner was changed.
        var room = false
        var spawners = true
    }

    init(store: any ForgeStore, agents: AgentPresets, forge: ForgeFacts, reporter: Reporter? = nil, logger: Logger) {
        self.store = store
        self.agents = agents
        self.forge = forge
        self.reporter = reporter
        self.logger = logger
        (wakes, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        news = NIOLockedValueBox(News())
        store.feed.observe { [news, waker] change in
            switch change.kind {
            // Another replica may have taken it.
            case ForgeRecords.Component.delivery.rawValue: break
            case SpawnerSpec.kind: news.withLockedValue { $0 = News(room: true, spawners: true) }
            case SessionSpec.kind where change.rests: news.withLockedValue { $0.room = true }
            default: return
            }
            waker.yield()
        }
    }

    func wake() { waker.yield() }

    /// Works until its task is cancelled.
    func run() async {
        let timer = NIOLockedValueBox<Task<Void, Never>?>(nil)
        defer { timer.withLockedValue { $0?.cancel() } }
        // Whatever it waited for may be so by now.
        var release = true
        waker.yield()
        for await _ in wakes {
            let due: Timestamp?
            do {
                let news = news.withLockedValue { news in
                    defer { news = News(room: false, spawners: false) }
                    return news
                }
                if news.spawners { try await review() }
                if release || news.room {
                    let all = release
                    try await store.access { try $0.makeRoom(all: all) }
                    release = false
                }
                due = try await handleAll()
            } catch {
                if Task.isCancelled { return }
                logger.error("deliveries of webhooks cannot be read; trying again", metadata: ["error": "\(error)"])
                due = .now + Self.pause
            }
            let waker = waker
            timer.withLockedValue { timer in
                timer?.cancel()
                timer = due.map { due in
                    Task { if (try? await Task.sleep(for: max(due - .now, .milliseconds(50)).duration)) != nil { waker.yield() } }
                }
            }
        }
    }

    /// - Returns: when those that have to wait are to be looked at again.
    private func handleAll() async throws -> Timestamp? {
        while !Task.isCancelled {
            let now = Timestamp.now
            let deliveries = try await store.access { try $0.dueDeliveries(limit: 50, at: now) }
            if deliveries.isEmpty { return try await store.access { try $0.nextDelivery(after: now) } }
            // What waits makes all later news of the same issue or pull request wait, so that they stay in order.
            var blocked: Set<String> = []
            for delivery in deliveries where !Task.isCancelled { try await handle(delivery, &blocked) }
        }
        return nil
    }

    private func handle(_ delivery: WebhookDelivery, _ blocked: inout Set<String>) async throws {
        var event: GitHubEvent
        do {
            guard let read = try delivery.read() else {
                return try await ignore(delivery, "nothing is made of \(delivery.event)")
            }
            event = read
        } catch {
            return try await ignore(delivery, "\(error)")
        }
        let place = event.place
        guard !blocked.contains(place) else { return }
        if let id = event.repository.id {
            let (host, name) = (event.repository.host, event.repository.presentName)
            event.repository.knownAs = try await store.access { try $0.knownName(host: host, id: id, present: name) }
        } else {
            event.repository.knownAs = event.repository.presentName.lowercased()
        }
        do {
            let decisions = try await decide(event)
            if case .waits(let why, let spawner) = try await perform(decisions, event, delivery) {
                blocked.insert(place)
                let pause = spawner == nil ? Self.settlingPause : Self.longPause
                try await postpone(delivery, why, until: .now + pause, waitsFor: spawner)
            }
        } catch let error as GitHubError {
            blocked.insert(place)
            logger.warning("a delivery waits for the forge", metadata: ["delivery": "\(delivery.id)", "error": "\(error)"])
            var until = Timestamp.now + Self.pause
            if case .rateLimited(let end) = error.code { until = max(until, end) }
            try await postpone(delivery, "\(error)", until: until)
        }
    }

    /// Spawners that others have made or changed say whether they can be used.
    private func review() async throws {
        let spawners = try await store.access { try $0.spawners() }
        let specs = Set(spawners.map(\.spec))
        faults.withLockedValue { faults in faults = faults.filter { specs.contains($0.key) } }
        for spawner in spawners {
            let ready = SpawnerStatus.ready(fault: fault(of: spawner.spec), at: .now)
            guard spawner.status.states(ready) == false else { continue }
            try await store.access { store in
                guard var known = try store.spawner(named: spawner.metadata.name), known.spec == spawner.spec else { return }
                known.status.state(ready)
                try store.update(known)
            }
        }
    }

    private func fault(of spec: SpawnerSpec) -> String? {
        if let known = faults.withLockedValue({ $0[spec] }) { return known }
        let fault = spec.fault
        faults.withLockedValue { $0[spec] = .some(fault) }
        return fault
    }

    private func ignore(_ delivery: WebhookDelivery, _ why: String) async throws {
        try await store.access { try $0.handled(delivery, outcome: "ignored: \(why)", at: .now) }
    }

    private func postpone(
        _ delivery: WebhookDelivery, _ why: String, until: Timestamp, waitsFor spawner: String? = nil
    ) async throws {
        let givenUp = .now - delivery.received > Self.patience
        try await store.access { store in
            if givenUp {
                try store.handled(delivery, outcome: "given up: \(why)", at: .now)
            } else {
                try store.postpone(delivery, outcome: "waits: \(why)", until: until, waitsFor: spawner)
            }
        }
    }
}

// MARK: - Deciding

extension WebhookWorker {
    /// What one Spawner makes of an event.
    struct Decided: Sendable {
        var spawner: SpawnerResource
        var decision: WebhookRules.Decision
        /// Of a Task: made already, for it takes the forge's answers.
        var spec: TaskSpec?
        var key: String
    }

    private func decide(_ event: GitHubEvent) async throws -> [Decided] {
        var decided: [Decided] = []
        for spawner in try await store.access({ try $0.spawners() }) {
            let key = "\(spawner.metadata.name):\(event.meaning)"
            if let fault = fault(of: spawner.spec) {
                decided.append(Decided(spawner: spawner, decision: .ignore("it cannot be used: \(fault)"), key: key))
                continue
            }
            var event = event
            let rules = WebhookRules(name: spawner.metadata.name, spec: spawner.spec)
            var facts = WebhookRules.Facts()
            facts.own = rules.concerns(event) ? try await forge.own() : nil
            try await know(&facts, event, rules)
            var decision = rules.decide(event, facts)
            while case .needs(let need) = decision {
                do {
                    try await forge.learn(need, about: &event, into: &facts)
                    try await know(&facts, event, rules)
                    decision = rules.decide(event, facts)
                } catch let error as GitHubError where [.notFound, .forbidden, .rejected].contains(error.code) {
                    decision = .ignore("the forge does not say what has to be known: \(error)")
                }
            }
            var spec: TaskSpec?
            if case .task(let draft) = decision {
                do {
                    spec = try await task(draft, event, facts.comments ?? [], spawner.spec)
                } catch let error as TemplateError {
                    decision = .ignore("its template cannot be rendered: \(error)")
                }
            }
            decided.append(Decided(spawner: spawner, decision: decision, spec: spec, key: key))
        }
        return decided
    }

    /// What the store knows.
    private func know(_ facts: inout WebhookRules.Facts, _ event: GitHubEvent, _ rules: WebhookRules) async throws {
        let (place, number) = (event.repository.name, event.subject.number)
        if event.subject.isPullRequest {
            facts.openedFor = try await store.access { store in
                try store.report(place: place, pullRequest: number).flatMap { try store.session(named: $0.name)?.spec.key.number }
            }
        }
        let keys = rules.sessions(of: event, openedFor: facts.openedFor)
        let commit = event.after ?? event.subject.head?.sha ?? ""
        let hour = Timestamp(milliseconds: Timestamp.now.milliseconds - TimeSpan.hours(1).milliseconds)
        let prefix = "\(rules.name):"
        let (known, pushed, recent) = try await store.access { store -> ([SessionKey], Bool, Int) in
            let known = try keys.filter { key in
                try store.session(named: key.name).map { $0.status.phase != .ended && $0.spec.end != true } ?? false
            }
            let recent = try known.map { key in
                try store.tasks(session: key.name, limit: 2 * WebhookRules.mostPerHour).filter {
                    $0.metadata.creationTimestamp > hour && $0.spec.idempotencyKey?.hasPrefix(prefix) == true
                }.count
            }
            return (known, try store.isPushed(commit), recent.max() ?? 0)
        }
        facts.sessions = Set(known)
        facts.pushed = pushed ? [commit] : []
        facts.recent = recent
    }

    private func task(
        _ draft: WebhookRules.Draft, _ event: GitHubEvent, _ comments: [ReviewComment], _ spawner: SpawnerSpec
    ) async throws -> TaskSpec {
        let template = spawner.taskTemplate
        let prompt = try draft.prompt ?? PromptTemplate(template.prompt).prompt(for: event, comments: comments)
        var workspace = WorkspaceSpec(repository: event.repository.cloneURL, setupCommand: template.setupCommand)
        if draft.trusted, let credentials = template.credentials {
            workspace.credentials = credentials
            workspace.push = template.push
            // The pull request's own branch, if it is in this repository and the forge does not protect it.
            if event.subject.isPullRequest, let head = event.subject.head,
                head.repository?.lowercased() == event.repository.fullName.lowercased(),
                try await !forge.isProtected(head.ref, in: event.repository.fullName)
            {
                var push = workspace.push ?? PushRules()
                push.branches = (push.branches ?? []) + [head.ref]
                workspace.push = push
            }
        }
        var spec = TaskSpec(
            prompt: prompt.prefix(bytes: TaskSpec.maxPromptBytes), scope: draft.scope, worker: template.worker,
            workspace: workspace, turn: template.turn, lifetime: spawner.lifetime, idempotencyKey: draft.key)
        spec.ttlSecondsAfterFinished = template.ttlSecondsAfterFinished
        if spec.turn?.whenBusy == .supersede {
            if draft.supersedes {
                if spec.turn?.supersedeKey == nil { spec.turn?.supersedeKey = "push" }
            } else {
                spec.turn?.whenBusy = nil
                spec.turn?.supersedeKey = nil
            }
        }
        return spec
    }
}

// MARK: - Doing

extension WebhookWorker {
    enum Outcome: Sendable {
        case done
        /// `for` is the Spawner that has no room.
        case waits(String, for: String?)
    }

    /// Everything that a delivery asks for. It is done when all its Tasks are with their sessions, at once on one machine; dying before
    /// that has it looked at again, and what it has made is found by its keys.
    private func perform(
        _ decisions: [Decided], _ event: GitHubEvent, _ delivery: WebhookDelivery
    ) async throws -> Outcome {
        let identities = decisions.map { _ in (name: Identity.taskName(), uid: Identity.uid(), session: Identity.uid()) }
        var hasWaited = false
        while true {
            try Task.checkCancellation()
            switch try await attempt(decisions, identities, event, delivery) {
            case .settles(let tasks):
                // What keeps them is said by them; other deliveries have not to wait for it.
                if hasWaited { return .waits("\(tasks.joined(separator: ", ")) has no session yet", for: nil) }
                for task in tasks { try await store.settle(task) }
                hasWaited = true
            case .over(let outcome, let sentences):
                reporter?.wake()
                for sentence in sentences { logger.info("webhook: \(sentence)", metadata: ["delivery": "\(delivery.id)"]) }
                return outcome
            }
        }
    }

    private enum Step: Sendable {
        case over(Outcome, [String])
        /// Tasks that were made and are not with their sessions yet.
        case settles([String])
    }

    private func attempt(
        _ decisions: [Decided], _ identities: [(name: String, uid: String, session: String)], _ event: GitHubEvent,
        _ delivery: WebhookDelivery
    ) async throws -> Step {
        let fallback = agents.fallback
        return try await store.access { store in
            var sentences: [String] = []
            var unsettled: [String] = []
            for (decided, identity) in zip(decisions, identities) {
                let name = decided.spawner.metadata.name
                guard let spawner = try store.spawner(named: name),
                    spawner.metadata.uid == decided.spawner.metadata.uid
                else { continue }
                switch decided.decision {
                case .ignore(let why): sentences.append("\(name): ignored, \(why)")
                case .needs: sentences.append("\(name): ignored")
                case .scope(let scope, let closed):
                    guard try Self.isNews(decided.key, in: store) else {
                        sentences.append("\(name): known already")
                        continue
                    }
                    let session = try scope.key(task: "").name
                    _ = try SessionCommands.scope(session, closed: closed, in: store)
                    try Self.remember(decided.key, in: store)
                    sentences.append("\(name): the session is told that it is \(closed ? "closed" : "open")")
                case .command(let command, let scope):
                    guard try Self.isNews(decided.key, in: store) else {
                        sentences.append("\(name): known already")
                        continue
                    }
                    try Self.perform(command, try scope.key(task: "").name, in: store)
                    try Self.acknowledge(command, event, try scope.key(task: "").name, spawner, in: store)
                    try Self.remember(decided.key, in: store)
                    sentences.append("\(name): \(command.rawValue)")
                case .task(let draft):
                    guard var spec = decided.spec else { continue }
                    switch try Self.admit(&spec, draft, spawner, in: store) {
                    case .refused(let why):
                        sentences.append("\(name): ignored, \(why)")
                        continue
                    case .waits(let why): return .over(.waits("\(name): \(why)", for: name), [])
                    case .admitted: break
                    }
                    // The key stands for what happened, not for how its texts read today.
                    let request = TaskRouting.Request(
                        spec: spec, fallback: fallback, digest: Identity.digest(Data(draft.key.utf8)), name: identity.name,
                        uid: identity.uid, sessionUID: identity.session)
                    do {
                        switch try store.make(request, of: delivery, at: .now) {
                        case .created(let task) where task.status.session == nil && !task.status.phase.isTerminal:
                            unsettled.append(task.metadata.name)
                        case .created(let task):
                            try Self.count(task, spawner, in: store)
                            try Self.report(task, event, spawner, in: store)
                            sentences.append("\(name): made \(task.metadata.name)")
                        case .repeated(let task): sentences.append("\(name): known already, as \(task.metadata.name)")
                        }
                    } catch let problem as Problem {
                        // Its Task was deleted since, or it can never be made.
                        sentences.append("\(name): ignored, \(problem.detail)")
                    }
                }
            }
            guard unsettled.isEmpty else { return .settles(unsettled) }
            let outcome = sentences.isEmpty ? "ignored: there is no Spawner for it" : sentences.joined(separator: "; ")
            try store.handled(delivery, outcome: outcome, at: .now)
            // There may be more room than one.
            try store.makeRoom(all: false)
            return .over(.done, sentences)
        }
    }

    /// By its meaning it happens once, however often it is delivered. (A Task has a key of its own.)
    private static func isNews(_ key: String, in store: any ForgeTransaction) throws -> Bool {
        try store.key(key, at: .now) == nil
    }

    /// After what was asked for: in a cluster one write comes after the other, and what a failure leaves out is done when all of it
    /// is done again. Doing it again does no harm.
    private static func remember(_ key: String, in store: any ForgeTransaction) throws {
        try store.keep(
            key, digest: Identity.digest(Data(key.utf8)), task: "", until: .now + WebhookDelivery.kept, at: .now)
    }

    private enum Admission { case admitted, refused(String), waits(String) }

    /// Fits a Task to its session, if there is one already.
    private static func admit(
        _ spec: inout TaskSpec, _ draft: WebhookRules.Draft, _ spawner: SpawnerResource, in store: any ForgeTransaction
    ) throws -> Admission {
        if draft.scope.kind != .commit,
            let session = try store.session(named: try draft.scope.key(task: "").name), session.status.phase != .ended,
            session.spec.end != true
        {
            // Its agent and its access were chosen when it was made.
            spec.worker = nil
            spec.workspace = nil
            if !draft.trusted, session.spec.workspace?.credentials != nil {
                return .refused(
                    "a stranger's code would run with the repository's credentials: somebody who may write has to ask")
            }
            return .admitted
        }
        guard let most = spawner.spec.maxConcurrentSessions else { return .admitted }
        let awake = try (spawner.status.sessions ?? []).filter { name in
            try store.session(named: name).map { ![.suspended, .ended, .failed].contains($0.status.phase) } ?? false
        }.count
        return awake < most ? .admitted : .waits("\(awake) sessions are awake, and it may have \(most)")
    }

    private static func count(_ task: TaskResource, _ spawner: SpawnerResource, in store: any ForgeTransaction) throws {
        var spawner = spawner
        spawner.status.count(task.metadata.name)
        spawner.status.lastEventTime = .now
        if let session = task.status.session?.name {
            let known = try (spawner.status.sessions ?? []).filter { name in
                try name != session && store.session(named: name).map { $0.status.phase != .ended } ?? false
            }
            spawner.status.sessions = known + [session]
        }
        try store.update(spawner)
    }

    private static func perform(_ command: CommentCommand, _ session: String, in store: any ForgeTransaction) throws {
        switch command {
        case .continue, .status: break
        case .stop:
            for task in try store.openTasks(session: session) {
                _ = try SessionCommands.cancel(task: task.metadata.name, at: .now, in: store)
            }
        case .end: _ = try SessionCommands.end(session, at: .now, in: store)
        }
    }

    // MARK: What the forge is told of it

    /// The session is told of where it was asked for, and the event that made the Task gets a reaction.
    private static func report(
        _ task: TaskResource, _ event: GitHubEvent, _ spawner: SpawnerResource, in store: any ForgeTransaction
    ) throws {
        guard let key = task.status.session else { return }
        var report =
            try store.report(key.name)
            ?? ForgeReport(
                name: key.name, uid: "", spawner: spawner.metadata.name, place: event.repository.name, repository: "",
                number: key.number ?? event.subject.number)
        report.repository = event.repository.fullName
        report.defaultBranch = event.repository.defaultBranch ?? report.defaultBranch
        report.closed = false
        try store.keep(report)
        try react("eyes", event, key.name, spawner, in: store)
    }

    private static func acknowledge(
        _ command: CommentCommand, _ event: GitHubEvent, _ session: String, _ spawner: SpawnerResource,
        in store: any ForgeTransaction
    ) throws {
        guard command == .status else { return try react("+1", event, session, spawner, in: store) }
        guard let comment = event.comment else { return }
        try store.add(
            OutgoingMessage(
                session: session, repository: event.repository.fullName, number: event.subject.number, answers: comment.id,
                made: .now))
    }

    private static func react(
        _ reaction: String, _ event: GitHubEvent, _ session: String, _ spawner: SpawnerResource, in store: any ForgeTransaction
    ) throws {
        guard spawner.spec.report?.reactions != false else { return }
        let target: String
        switch event.kind {
        case .issueComment: target = "issues/comments/\(event.comment?.id ?? 0)"
        case .reviewComment: target = "pulls/comments/\(event.comment?.id ?? 0)"
        // The forge has no reactions to a review.
        case .review: return
        case .issues, .pullRequest: target = "issues/\(event.subject.number)"
        }
        try store.add(
            OutgoingMessage(
                session: session, repository: event.repository.fullName, number: event.subject.number, target: target,
                reaction: reaction, made: .now))
    }
}
