import Foundation
import GitHub
import Kubernetes
import SessionModel

extension KubernetesTransaction: ForgeTransaction {
    // MARK: Deliveries

    func keep(_ delivery: WebhookDelivery, subject: String) throws -> Bool {
        let (name, now) = (ForgeRecords.name(ofDelivery: delivery.id), delivery.received)
        guard record(named: name) == nil else { return false }
        var stored = StoredDelivery(id: delivery.id, event: delivery.event, subject: subject, received: now)
        if delivery.parsed == nil { (stored.handled, stored.outcome) = (now, "ignored: it is not what an event of its kind is") }
        var record = ForgeRecords.new(.delivery, name, in: namespace)
        try ForgeView.set(stored, event: delivery.parsed, in: &record)
        put(record)
        let handled = forge.deliveries.filter { $0.value.handled != nil }.sorted { StoredDelivery.cameFirst($0.value, $1.value) }
        let surplus = handled.count - ForgeRecords.mostHandled
        for (index, old) in handled.prefix(16).enumerated()
        where index < surplus || old.value.received + ForgeRecords.handledKept < now {
            remove(recordNamed: old.key)
        }
        return true
    }

    private var open: [(key: String, value: StoredDelivery)] { forge.deliveries.filter { $0.value.handled == nil }.map(\.self) }

    func dueDeliveries(limit: Int, at now: Timestamp) throws -> [WebhookDelivery] {
        var due: [WebhookDelivery] = []
        var blocked: Set<String> = []
        for (name, delivery) in open.sorted(by: { StoredDelivery.cameFirst($0.value, $1.value) }) {
            if !delivery.subject.isEmpty, blocked.contains(delivery.subject) { continue }
            if let at = delivery.due, at > now {
                blocked.insert(delivery.subject)
                continue
            }
            guard let record = record(named: name) else { continue }
            due.append(
                WebhookDelivery(
                    id: delivery.id, event: delivery.event, payload: Data(), received: delivery.received,
                    parsed: try ForgeView.event(in: record)))
            if due.count == limit { break }
        }
        return due
    }

    func openDeliveries() -> Int { open.count }

    func nextDelivery(after now: Timestamp) -> Timestamp? { open.compactMap(\.value.due).filter { $0 > now }.min() }

    func handled(_ delivery: WebhookDelivery, outcome: String, at now: Timestamp) throws {
        try change(ForgeRecords.name(ofDelivery: delivery.id)) { stored, event in
            (stored.outcome, stored.handled, stored.due, stored.waitsFor) = (outcome, now, nil, nil)
            event = nil
        }
    }

    func postpone(_ delivery: WebhookDelivery, outcome: String, until due: Timestamp, waitsFor spawner: String?) throws {
        try change(ForgeRecords.name(ofDelivery: delivery.id)) { stored, _ in
            (stored.outcome, stored.due, stored.waitsFor) = (outcome, due, spawner)
        }
    }

    func makeRoom(all: Bool) throws {
        let waiting = open.filter { $0.value.due != nil && (all || $0.value.waitsFor != nil) }
            .sorted { StoredDelivery.cameFirst($0.value, $1.value) }
        var seen: Set<String?> = []
        for (name, delivery) in waiting where all || seen.insert(delivery.waitsFor).inserted {
            try change(name) { stored, _ in stored.due = nil }
        }
    }

    func deliveries(after rest: String?, limit: Int) throws -> ListPage<DeliveryReport> {
        ListPage(
            forge.deliveries.values, after: try rest.map(ClusterPlace.read), limit: limit,
            place: { ClusterPlace(created: $0.received, name: $0.id) },
            item: { DeliveryReport(id: $0.id, event: $0.event, received: $0.received, handled: $0.handled, outcome: $0.outcome) })
    }

    private func change(_ name: String, _ body: (inout StoredDelivery, inout GitHubEvent?) -> Void) throws {
        guard var record = record(named: name), var delivery = forge.deliveries[name] else { return }
        var event = try ForgeView.event(in: record)
        body(&delivery, &event)
        try ForgeView.set(delivery, event: event, in: &record)
        put(record)
    }

    // MARK: Pushes

    func keep(pushed commits: [String], of session: String, at now: Timestamp) throws {
        try changeReport(session) { stored in
            let known = stored.pushed.filter { $0.until > now && !commits.contains($0.commit) }
            let new = commits.map { StoredReport.Pushed(commit: $0, until: now + WebhookDelivery.kept) }
            stored.pushed = (known + new).suffix(ForgeRecords.mostPushed)
            stored.report?.pushed = true
        }
    }

    func isPushed(_ commit: String) -> Bool { forge.reports.values.contains { $0.pushed.contains { $0.commit == commit } } }

    // MARK: Spawners, and what they make

    func spawners() -> [SpawnerResource] {
        Set(view.spawners.objects.keys).union(changedSpawners).sorted().compactMap { spawner(named: $0) }
    }

    func make(
        _ request: TaskRouting.Request, of delivery: WebhookDelivery, at now: Timestamp
    ) throws -> TaskRouting.Answer {
        guard let key = request.spec.idempotencyKey else { throw Problem(.internal, "a Task of an event has a key") }
        let name = TaskObject.name(ofKey: key)
        func answer(_ known: TaskResource) -> TaskRouting.Answer {
            let maker = view.task(known.metadata.name)?.metadata.annotations?[TaskObject.deliveryAnnotation]
            return maker == delivery.id ? .created(known) : .repeated(known)
        }
        if let known = self.key(key, at: now) { return answer(try TaskRouting.repeated(known, of: request, in: self)) }
        if let made = task(named: name) { return answer(made) }
        if let mistake = request.spec.mistake { throw Problem(.invalidRequest, mistake + ".") }
        var metadata = ObjectMeta(name: name, finalizers: [Finalizer.task])
        metadata.annotations = [
            TaskObject.digestAnnotation: request.digest, TaskObject.deliveryAnnotation: delivery.id,
        ]
        let object = TaskObject(metadata: metadata, spec: request.spec, status: nil)
        insert(object)
        return .created(object.document)
    }

    func knownName(host: String, id: Int64, present name: String) throws -> String {
        let place = "\(host) \(id)"
        var names = forge.repositories
        if let known = names[place] { return known }
        // Another one that was called so before has the name, and keeps its sessions.
        let taken = Set(names.values)
        let known = [name.lowercased(), "\(name.lowercased()):\(id)"].first { !taken.contains($0) } ?? name
        names[place] = known
        var record =
            record(named: ForgeRecords.repositories)
            ?? ForgeRecords.new(.repositories, ForgeRecords.repositories, in: namespace)
        try ForgeView.set(names, in: &record)
        put(record)
        return known
    }

    // MARK: What the forge is told

    func report(_ name: String) -> ForgeReport? { forge.reports[ForgeRecords.name(ofReport: name)]?.report }

    /// Those, too, whose sessions have gone while nobody looked: their records go.
    func openReports() -> [String] {
        forge.reports.values.filter { $0.report?.closed == false || session(named: $0.session) == nil }.map(\.session).sorted()
    }

    func report(place: String, pullRequest: Int) -> ForgeReport? {
        forge.reports.values.compactMap(\.report).first { $0.place == place && $0.pullRequest == Int64(pullRequest) }
    }

    func keep(_ report: ForgeReport) throws { try changeReport(report.name) { $0.report = report } }

    func forgetReport(_ name: String) throws {
        guard forge.reports[ForgeRecords.name(ofReport: name)] != nil else { return }
        try changeReport(name) { ($0.report, $0.pushed) = (nil, []) }
    }

    func add(_ message: OutgoingMessage) throws {
        var message = message
        let last = forge.reports.values.flatMap(\.outgoing).map(\.ordinal).max() ?? 0
        message.ordinal = max(last + 1, message.made.milliseconds * 1000)
        try changeReport(message.session) { stored in
            // All that a delivery asks for is done again when some of it could not be written.
            guard !stored.outgoing.contains(where: message.isRepeat) else { return }
            stored.outgoing.append(message)
        }
    }

    func outgoing(after ordinal: Int64) -> [OutgoingMessage] {
        forge.reports.values.flatMap(\.outgoing).filter { $0.ordinal > ordinal }.sorted { $0.ordinal < $1.ordinal }
    }

    func remove(_ message: OutgoingMessage) throws {
        try changeReport(message.session) { $0.outgoing.removeAll { $0.ordinal == message.ordinal } }
    }

    /// What is empty goes.
    private func changeReport(_ session: String, _ body: (inout StoredReport) -> Void) throws {
        let name = ForgeRecords.name(ofReport: session)
        let known = forge.reports[name]
        var stored = known ?? StoredReport(session: session)
        body(&stored)
        guard stored != known else { return }
        if stored == StoredReport(session: session) { return remove(recordNamed: name) }
        var record = record(named: name) ?? ForgeRecords.new(.report, name, in: namespace)
        try ForgeView.set(stored, in: &record)
        put(record)
    }
}
