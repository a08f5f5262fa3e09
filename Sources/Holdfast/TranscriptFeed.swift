import FoundationEssentials
import SessionModel

/// One line of a transcript as the server sends it.
enum TranscriptLine: Sendable {
    case event(Event)
    /// A part of a message that is being written: shown live, kept nowhere.
    case delta(String, TurnID?)

    private struct Delta: Decodable {
        var delta: String
        var turn: TurnID?
    }

    /// - Throws: the problem with which a server ends a stream, or a line that is none of these.
    static func parse(_ line: String) throws(Failure) -> TranscriptLine {
        if let event = try? JSON.decode(Event.self, from: line) { return .event(event) }
        if let delta = try? JSON.decode(Delta.self, from: line) { return .delta(delta.delta, delta.turn) }
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
    var follows: Bool

    /// Calls `handle` for each line with its raw text, until it returns false or the transcript ends.
    /// - Parameter away: is told why when the server is lost and will be tried again.
    func run(
        away: @Sendable (Failure) async -> Void, _ handle: @Sendable (TranscriptLine, String) async throws -> Bool
    ) async throws {
        let path = "/v1/sessions/\(API.segment(session))/transcript"
        let place = Place(after: after)
        try await api.persistently(away: { [follows] in if follows { await away($0) } }) {
            do {
                let cursor = try await place.cursor(api, session)
                let query = [
                    ("after", cursor), ("turn", turn?.description), ("follow", follows ? "true" : nil),
                ]
                for try await line in try await api.lines(path, query: query) where !line.isEmpty {
                    let parsed = try TranscriptLine.parse(line)
                    guard await place.accepts(parsed) else { continue }
                    if try await !handle(parsed, line) { return }
                }
            } catch let error as Failure where !follows && error.status == .unreachable {
                // Someone who does not follow wants an answer now.
                throw Failure(.failed, error.message)
            } catch let error as Failure {
                await place.wasInterrupted()
                throw error
            } catch let error where !(error is CancellationError) {
                await place.wasInterrupted()
                throw Failure(.unreachable, "\(error)")
            }
            if follows {
                await place.wasInterrupted()
                throw Failure(.unreachable, "the server ended the stream")
            }
        }
    }

    /// How far the reader has come.
    private actor Place {
        private let given: String?
        private var last: UInt64 = 0
        /// After an interruption some deltas are missing: the rest of that message waits for its event.
        private var skipsDeltas = false

        init(after: String?) { given = after }

        func accepts(_ line: TranscriptLine) -> Bool {
            switch line {
            case .event(let event):
                guard event.sequence > last else { return false }
                last = event.sequence
                skipsDeltas = false
                return true
            case .delta: return !skipsDeltas
            }
        }

        func wasInterrupted() { skipsDeltas = true }

        func cursor(_ api: API, _ session: String) async throws -> String? {
            guard last > 0 else { return given }
            if let journal = given.flatMap({ Cursor($0) })?.journal { return "\(Cursor(journal: journal, sequence: last))" }
            // Lines carry no journal: the session says which one it has. Without one, what comes twice is left out here.
            let resource: SessionResource = try await api.get("/v1/sessions/\(API.segment(session))")
            return resource.status.journal.map { "\(Cursor(journal: $0, sequence: last))" }
        }
    }
}
