import Journal
import SessionModel

/// What a session's files say that happened, read with no sidecar running, and what is wrong with it.
struct History {
    struct Trace {
        var prompt: String
        /// How often it may be taken up again.
        var times: Int
        var dispatched: [Place] = []
        var interrupted = 0
        var ended: [(place: Place, end: TurnEnded)] = []
    }
    struct Place {
        var sequence: UInt64
        var epoch: UInt32
    }

    private(set) var turns: [TurnID: Trace] = [:]
    private(set) var events: [Event] = []
    /// Broken promises, each as a sentence.
    private(set) var faults: [String] = []

    init(state: String) throws {
        let reader = TranscriptReader(state: state, after: 0)
        while true {
            let items = try reader.next()
            if items.isEmpty { break }
            for item in items {
                switch item {
                case .gap(let gap): faults.append("events \(gap.from) to \(gap.to) are missing: \(gap.reason)")
                case .event(let line): take(try line.event())
                }
            }
        }
        for (id, turn) in turns.sorted(by: { $0.key < $1.key }) {
            if turn.dispatched.count != 1 + turn.interrupted || turn.interrupted > turn.times {
                faults.append("\(id) was dispatched \(turn.dispatched.count) times")
            }
            if turn.ended.count != 1 { faults.append("\(id) ended \(turn.ended.count) times") }
            if let last = turn.dispatched.last, let end = turn.ended.first, last.epoch != end.place.epoch,
                end.end.state != .interrupted || end.end.reason != .sidecarLost
            {
                faults.append("\(id) was cut off in epoch \(last.epoch) and is \(end.end)")
            }
        }
    }

    private mutating func take(_ event: Event) {
        let last = events.last
        if event.sequence != (last?.sequence ?? 0) + 1 {
            faults.append("event \(event.sequence) comes after \(last?.sequence ?? 0)")
        }
        if event.epoch < last?.epoch ?? 0 { faults.append("event \(event.sequence) goes back to epoch \(event.epoch)") }
        events.append(event)
        guard let id = event.turn else { return }
        let place = Place(sequence: event.sequence, epoch: event.epoch)
        switch event.body {
        case .turnQueued(let queued):
            if turns[id] != nil { faults.append("\(id) was queued twice") }
            if let newest = turns.keys.max(), newest > id { faults.append("\(id) was queued after \(newest)") }
            turns[id] = Trace(prompt: queued.request.prompt, times: queued.request.onInterrupt?.times ?? 0)
        case .turnDispatched:
            for (other, trace) in turns where trace.dispatched.count > trace.ended.count + trace.interrupted {
                faults.append("\(id) was dispatched while \(other) ran")
            }
            if let newest = turns.filter({ !$0.value.dispatched.isEmpty }).keys.max(), newest > id {
                faults.append("\(id) was dispatched after \(newest)")
            }
            turns[id]?.dispatched.append(place)
        case .turnInterrupted: turns[id]?.interrupted += 1
        case .turnEnded(let end):
            turns[id]?.ended.append((place, end))
        default: break
        }
    }

    /// How many turns that were cut off were taken up again and then succeeded.
    var rescued: Int {
        turns.values.count { turn in turn.interrupted > 0 && turn.ended.contains { $0.end.state == .succeeded } }
    }

    /// How many turns ended so.
    func count(_ state: TurnState, _ reason: EndReason) -> Int {
        turns.values.count { $0.ended.contains { $0.end.state == state && $0.end.reason == reason } }
    }

    /// Turns that ended in another way than these.
    func endings(otherThan expected: [(TurnState, EndReason)]) -> [String] {
        turns.sorted { $0.key < $1.key }.flatMap { id, turn in
            turn.ended.filter { ended in !expected.contains { $0 == ended.end.state && $1 == ended.end.reason } }
                .map { "\(id): \($0.end.state) \($0.end.reason) \($0.end.message ?? "")" }
        }
    }

    /// What is wrong between the journal and what each client was told.
    func faults(against clients: [[Acknowledgement]]) -> [String] {
        var faults: [String] = []
        let byPrompt = Dictionary(grouping: turns, by: \.value.prompt).mapValues { $0.map(\.key) }
        for (prompt, ids) in byPrompt where ids.count > 1 { faults.append("\(prompt.prefix(20)) was queued as \(ids)") }
        for client in clients {
            for one in client where byPrompt[one.prompt] != [one.turn] {
                faults.append("\(one.key) was acknowledged as \(one.turn), but is \(byPrompt[one.prompt] ?? [])")
            }
            for (one, next) in zip(client, client.dropFirst()) where one.turn >= next.turn {
                faults.append("\(one.key) is \(one.turn), but the later \(next.key) is \(next.turn)")
            }
        }
        return faults
    }

    /// What is wrong between the journal and what agents really did.
    func faults(against evidence: Evidence) -> [String] {
        var faults = evidence.overlaps.map { "\($0) found a process of an earlier turn at work" }
        var turnOf: [String: TurnID] = [:]
        for (id, turn) in turns {
            let line = turn.prompt.prefix { $0 != "\n" }
            turnOf[String(line.dropFirst("turn ".count))] = id
        }
        let started = evidence.started
        for (key, times) in Dictionary(grouping: started, by: \.self).mapValues(\.count) {
            let dispatched = turnOf[key].flatMap { turns[$0]?.dispatched.count } ?? 1
            if times > dispatched {
                faults.append("\(key) was done \(times) times")
            }
            if turnOf[key] == nil { faults.append("\(key) was done, but nobody has queued it") }
        }
        let order = started.compactMap { turnOf[$0] }
        for (one, next) in zip(order, order.dropFirst()) where one > next { faults.append("\(next) was done after \(one)") }
        let done = Set(order)
        for (id, turn) in turns where turn.ended.contains(where: { $0.end.state == .succeeded }) && !done.contains(id) {
            faults.append("\(id) succeeded, but was not done")
        }
        return faults
    }
}
