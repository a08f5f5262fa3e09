import HTTPServing
import Hummingbird
import Journal
import NIOCore
import SessionModel
import TranscriptServing

/// `GET /v1/transcript`: a page, Server-Sent Events, or NDJSON.
extension SidecarAPI {
    func transcript(_ call: Call) async throws -> Response {
        let journal = session.journal
        let query = try TranscriptQuery(call, journal: journal.id, newest: journal.durable)
        let attach = try call.query("attach", as: Bool.self) ?? false
        if query.format == .page {
            let follower = TranscriptFollower(journal, after: query.after)
            return try await query.page { try await next(follower, upTo: query.newest) }
        }
        return call.stream(type: query.mediaType, follows: query.follow) { writer in
            if attach { await session.attach() }
            do {
                try await write(query, to: &writer)
            } catch {
                if attach { await session.detach() }
                throw error
            }
            if attach { await session.detach() }
        }
    }

    private func write(_ query: TranscriptQuery, to writer: inout StreamWriter) async throws {
        metrics.followerCame()
        defer { metrics.followerLeft() }
        let follower = TranscriptFollower(session.journal, after: query.after)
        guard query.follow else {
            return try await query.stream({ try await next(follower, upTo: query.newest) }, to: &writer)
        }
        for await wake in wakes() {
            if case .delta(let delta) = wake {
                // A delta comes after the events before it, and not at all when a later event has overtaken it.
                guard query.turn == nil || delta.turn == query.turn, follower.last <= delta.after else { continue }
                guard await session.journal.eventuallySynced(delta.after) else { break }
            }
            // Whatever it woke for: a slow follower may have missed the wake for an event.
            let end = if case .delta(let delta) = wake { delta.after } else { UInt64.max }
            try await query.stream({ try await next(follower, upTo: end) }, to: &writer)
            switch wake {
            case .events: break
            case .delta(let delta):
                let text = try JSON.string(delta)
                try await writer.write(
                    ByteBuffer(string: query.format == .events ? "event: delta\ndata: \(text)\n\n" : text + "\n"))
            case .heartbeat:
                // Tells a dead connection from a quiet session.
                try await writer.write(ByteBuffer(string: query.format == .events ? ": \n\n" : "\n"))
            }
        }
    }

    private func next(_ follower: TranscriptFollower, upTo end: UInt64) async throws -> [TranscriptReader.Item] {
        if let items = follower.recent(upTo: end) { return items }
        return try await offLoop { try follower.stored(upTo: end) }
    }

    private enum Wake: Sendable {
        case events, heartbeat
        case delta(LiveDeltas.Delta)
    }

    /// What a follower wakes for; ends with the journal. A slow one misses wakes, the oldest first.
    private func wakes() -> AsyncStream<Wake> {
        let journal = session.journal
        let deltas = session.deltas
        return AsyncStream(bufferingPolicy: .bufferingNewest(128)) { continuation in
            let watch = journal.watch { isOpen in
                continuation.yield(.events)
                if !isOpen { continuation.finish() }
            }
            let subscription = deltas.subscribe { continuation.yield(.delta($0)) }
            let heartbeat = Task {
                while (try? await Task.sleep(for: .seconds(15))) != nil { continuation.yield(.heartbeat) }
            }
            continuation.onTermination = { _ in
                journal.unwatch(watch)
                deltas.unsubscribe(subscription)
                heartbeat.cancel()
            }
            continuation.yield(.events)
        }
    }
}
