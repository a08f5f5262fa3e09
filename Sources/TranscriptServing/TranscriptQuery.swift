public import HTTPServing
public import SessionModel

/// What `GET …/transcript` asks for: from where, of which turn, and in which form. The same for a sidecar, which has a living
/// journal, and for the supervisor, which reads the files of a session that sleeps.
public struct TranscriptQuery: Sendable {
    public enum Format: Sendable, Hashable {
        /// One JSON document of bounded size, with the cursor of the next.
        case page
        /// `text/event-stream`
        case events
        /// `application/x-ndjson`
        case lines
    }

    /// The journal that is read.
    public let journal: String
    /// The last event that can be served.
    public let newest: UInt64
    /// The last sequence number that the caller has seen.
    public let after: UInt64
    /// Only this turn's events.
    public let turn: TurnID?
    public let format: Format
    /// Whether the stream goes on with what is yet to come.
    public let follow: Bool
    /// How many events a page may have.
    public let limit: Int

    /// - Throws: `Problem` 400 for what cannot be meant, 410 for a cursor that this journal cannot serve.
    public init(_ call: Call, journal: String, newest: UInt64) throws(Problem) {
        self.journal = journal
        self.newest = newest
        if let text = call.query("turn") {
            guard let turn = TurnID(text) else {
                throw Problem(.invalidRequest, "The query parameter turn: “\(text.prefix(bytes: 64))” is not a turn's id.")
            }
            self.turn = turn
        } else {
            turn = nil
        }
        after = try Self.position(call.header("Last-Event-ID") ?? call.query("after"), journal: journal, newest: newest)
        format = call.accepts("text/event-stream") ? .events : call.accepts("application/x-ndjson") ? .lines : .page
        let follow = try call.query("follow", as: Bool.self)
        if format == .page, follow == true {
            throw Problem(.invalidRequest, "To follow, ask for text/event-stream or application/x-ndjson in the Accept header.")
        }
        self.follow = follow ?? (format == .events)
        limit = try call.query("limit", as: Int.self) ?? 1000
        guard (1...10_000).contains(limit) else {
            throw Problem(.invalidRequest, "The query parameter limit must be 1 to 10000.")
        }
    }

    public var mediaType: String {
        switch format {
        case .page: "application/json"
        case .events: "text/event-stream"
        case .lines: "application/x-ndjson"
        }
    }

    private static func position(_ text: String?, journal: String, newest: UInt64) throws(Problem) -> UInt64 {
        guard let text, !text.isEmpty else { return 0 }
        let cursor = Cursor(text)
        guard let sequence = UInt64(text) ?? cursor?.sequence else {
            throw Problem(
                .invalidRequest,
                "“\(text.prefix(bytes: 100))” is not a cursor; they look like \(Cursor(journal: journal, sequence: newest)).")
        }
        if let cursor, cursor.journal != journal {
            throw Problem(
                .cursorGone,
                "The cursor \(cursor) belongs to another journal; this session's is \(journal). Read again without a cursor.")
        }
        guard sequence <= newest else {
            throw Problem(.cursorGone, "The cursor \(text) is beyond the newest event, \(newest).")
        }
        return sequence
    }
}
