public import HTTPServing
public import Hummingbird
import Journal
import SessionModel

extension Call {
    /// The same answers as a living sidecar's, from the files of a session that has none. There is nothing to follow.
    /// - Parameter state: the session's state directory.
    /// - Returns: nil when there is no journal.
    public func storedTranscript(state: String) async throws -> Response? {
        guard let end = try await offLoop({ try TranscriptReader.end(state: state) }) else { return nil }
        let query = try TranscriptQuery(self, journal: end.journal, newest: end.sequence)
        // Only the one task that writes the answer ever uses it.
        nonisolated(unsafe) let reader = TranscriptReader(state: state, after: query.after)
        if query.format == .page { return try await query.page { try await offLoop { try reader.next(upTo: end.sequence) } } }
        return stream(type: query.mediaType, follows: false) { writer in
            try await query.stream({ try await offLoop { try reader.next(upTo: end.sequence) } }, to: &writer)
        }
    }
}
