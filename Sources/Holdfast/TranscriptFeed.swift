import FoundationEssentials
import SessionModel

/// One line of a transcript as the server sends it.
enum TranscriptLine: Sendable {
    case event(Event)
    /// Events that are damaged on the server's disk.
    case gap(JournalGap)
    /// A part of a message that is being written: shown live, kept nowhere.
    case delta(String, TurnID?)

    private struct Delta: Decodable {
        var delta: String
        var turn: TurnID?
    }

    /// A gap has no epoch and no time: nobody knows them.
    private struct Gap: Decodable {
        var data: JournalGap
    }

    /// - Throws: the problem with which a server ends a stream, or a line that is none of these.
    static func parse(_ line: String) throws(Failure) -> TranscriptLine {
        if let event = try? JSON.decode(Event.self, from: line) { return .event(event) }
        if let delta = try? JSON.decode(Delta.self, from: line) { return .delta(delta.delta, delta.turn) }
        if let gap = try? JSON.decode(Gap.self, from: line) { return .gap(gap.data) }
        if let problem = try? JSON.decode(Problem.self, from: line), problem.type.hasPrefix("https://holdfast.dev/problems/") {
            throw Failure([.notReady, .draining].contains(problem.kind) ? .unreachable : .refused, problem.detail)
        }
        throw Failure(.refused, "the server sent a transcript line that cannot be understood: \(line.prefix(200))")
    }
}

/// A session's transcript from one place on, once: when the server goes away and comes back, it goes on where it was.
struct TranscriptFeed: Sendable {
    var api: API
    /// As the API names it.
    var session: String
    var turn: TurnID?
    var after: String?
    /// Goes on until the session has ended.
    var follows: Bool
    /// Counts as someone who watches, so that the session does not go to sleep.
    var attaches = false

    private var path: String { "/v1/sessions/\(API.segment(session))" }

    /// Calls `handle` for each line with its raw text, until it returns false or the transcript ends.
    /// - Parameter away: is told why when the server is lost and will be tried again.
    func run(
        away: @Sendable (Failure) async -> Void, _ handle: @Sendable (TranscriptLine, String) async throws -> Bool
    ) async throws {
        var place = Place(given: after)
        var backoff = api.backoff
        var rest: Rest?
        while true {
            do {
                let query = [
                    ("after", try await cursor(place)), ("turn", turn?.description), ("follow", follows ? "true" : nil),
                    ("attach", attaches ? "true" : nil),
                ]
                for try await line in try await api.lines(path + "/transcript", query: query) where !line.isEmpty {
                    backoff = api.backoff
                    let parsed = try TranscriptLine.parse(line)
                    guard place.accepts(parsed) else { continue }
                    if try await !handle(parsed, line) { return }
                }
                place.wasInterrupted()
                guard follows, try await waitForMore(&rest) else { return }
            } catch {
                try Task.checkCancellation()
                let failure = error as? Failure ?? Failure(.unreachable, "\(error)")
                guard follows, failure.status == .unreachable, let pause = backoff.next() else { throw failure }
                place.wasInterrupted()
                await away(failure)
                try await Task.sleep(for: pause)
            }
        }
    }

    /// A time in which no sidecar of the session runs, so that nothing is written.
    private struct Rest: Hashable {
        var epoch: UInt32
        var since: Timestamp
    }

    /// The server has nothing more for now: the session sleeps, restarts, or has ended, and then this is false.
    /// - Parameter rest: the one in which the transcript has been read. Once is enough, and in a cluster it takes a pod.
    private func waitForMore(_ rest: inout Rest?) async throws -> Bool {
        var seen: SessionResource = try await api.get(path)
        while true {
            switch seen.status.phase {
            case .ended, .failed: return false
            case .ready, .draining:
                try await Task.sleep(for: api.backoff.first)
                return true
            case .pending, .suspended, .starting: break
            }
            if seen.status.phase == .suspended {
                let present = Rest(epoch: seen.status.epoch, since: seen.status.since)
                if rest != present {
                    rest = present
                    return true
                }
            }
            seen = try await api.get(
                path, query: [("after", "\(seen.metadata.resourceVersion)"), ("wait", "30s")], timeout: .seconds(45))
        }
    }

    private func cursor(_ place: Place) async throws -> String? {
        guard place.last > 0 else { return place.given }
        if let journal = place.given.flatMap({ Cursor($0) })?.journal {
            return "\(Cursor(journal: journal, sequence: place.last))"
        }
        // Lines carry no journal: the session says which one it has. Without one, what comes twice is left out here.
        let resource: SessionResource = try await api.get(path)
        return resource.status.journal.map { "\(Cursor(journal: $0, sequence: place.last))" }
    }

    /// How far the reader has come.
    private struct Place {
        let given: String?
        private(set) var last: UInt64 = 0
        /// After an interruption some deltas are missing: the rest of that message waits for its event.
        private var skipsDeltas = false

        init(given: String?) { self.given = given }

        mutating func accepts(_ line: TranscriptLine) -> Bool {
            let sequence: UInt64
            switch line {
            case .event(let event): sequence = event.sequence
            case .gap(let gap): sequence = gap.to
            case .delta: return !skipsDeltas
            }
            guard sequence > last else { return false }
            last = sequence
            skipsDeltas = false
            return true
        }

        mutating func wasInterrupted() { skipsDeltas = true }
    }
}
