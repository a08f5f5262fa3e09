import FoundationEssentials
import HTTPServing
import HTTPTypes
import Hummingbird
import Journal
import NIOCore
import SessionModel

/// `GET /v1/transcript`: a page, Server-Sent Events, or NDJSON; each event is the very line that is in the file.
extension SidecarAPI {
    func transcript(_ call: Call) async throws -> Response {
        let turn = try call.query("turn").map { text in
            guard let id = TurnID(text) else {
                throw Problem(.invalidRequest, "The query parameter turn: “\(text)” is not a turn's id.")
            }
            return id
        }
        let after = try position(call.header("Last-Event-ID") ?? call.query("after"))
        let follow = try call.query("follow", as: Bool.self)
        let attach = try call.query("attach", as: Bool.self) ?? false
        if call.accepts("text/event-stream") {
            return stream(call, .sse, after: after, turn: turn, follow: follow ?? true, attach: attach)
        }
        if call.accepts("application/x-ndjson") {
            return stream(call, .ndjson, after: after, turn: turn, follow: follow ?? false, attach: attach)
        }
        guard follow != true else {
            throw Problem(.invalidRequest, "To follow, ask for text/event-stream or application/x-ndjson in the Accept header.")
        }
        let limit = try call.query("limit", as: Int.self) ?? 1000
        guard (1...10_000).contains(limit) else {
            throw Problem(.invalidRequest, "The query parameter limit must be 1 to 10000.")
        }
        return try page(after: after, turn: turn, limit: limit)
    }

    /// The sequence number of a cursor.
    /// - Throws: `Problem` 400 for a text that is no cursor, 410 for one that this journal cannot serve.
    private func position(_ text: String?) throws(Problem) -> UInt64 {
        guard let text, !text.isEmpty else { return 0 }
        let journal = session.journal
        let durable = journal.durable
        if let sequence = UInt64(text) {
            guard sequence <= durable else {
                throw Problem(.cursorGone, "The sequence number \(sequence) is beyond the newest event, \(durable).")
            }
            return sequence
        }
        guard let cursor = Cursor(text) else {
            throw Problem(.invalidRequest, "“\(text.prefix(bytes: 100))” is not a cursor; they look like \(journal.cursor).")
        }
        guard cursor.journal == journal.id else {
            throw Problem(
                .cursorGone,
                "The cursor \(cursor) belongs to another journal; this session's is \(journal.id). Read again without a cursor.")
        }
        guard cursor.sequence <= durable else {
            throw Problem(.cursorGone, "The cursor \(cursor) is beyond the newest event, \(durable).")
        }
        return cursor.sequence
    }

    private func page(after: UInt64, turn: TurnID?, limit: Int) throws -> Response {
        let journal = session.journal
        let end = journal.durable
        let reader = TranscriptReader(state: journal.state, after: after)
        var body = Array("{\"events\":[".utf8)
        var count = 0
        var last = after
        // About a megabyte a page, so that one request never holds much memory.
        reading: while count < limit, body.count < 1 << 20 {
            let items = try reader.next(upTo: end)
            if items.isEmpty {
                last = end
                break
            }
            for item in items {
                let (line, sequence) = item.line
                if item.concerns(turn) {
                    if count > 0 { body.append(UInt8(ascii: ",")) }
                    body += line
                    count += 1
                }
                last = max(last, sequence)
                if count == limit || body.count >= 1 << 20 { break reading }
            }
        }
        body += Array("],\"next\":\"\(Cursor(journal: journal.id, sequence: last))\"}".utf8)
        return .bytes(body, type: "application/json")
    }

    // MARK: Following

    enum StreamFormat {
        case sse, ndjson
        var mediaType: String {
            switch self {
            case .sse: "text/event-stream"
            case .ndjson: "application/x-ndjson"
            }
        }
    }

    private enum Wake: Sendable {
        case events, heartbeat
        case delta(LiveDeltas.Delta)
    }

    private func stream(
        _ call: Call, _ format: StreamFormat, after: UInt64, turn: TurnID?, follow: Bool, attach: Bool
    ) -> Response {
        call.stream(type: format.mediaType, follows: follow) { writer in
            if attach { await session.attach() }
            do {
                try await write(to: &writer, format, after: after, turn: turn, follow: follow)
            } catch {
                if attach { await session.detach() }
                throw error
            }
            if attach { await session.detach() }
        }
    }

    private func write(
        to writer: inout StreamWriter, _ format: StreamFormat, after: UInt64, turn: TurnID?, follow: Bool
    ) async throws {
        let journal = session.journal
        let reader = TranscriptReader(state: journal.state, after: after)
        let deltas = follow ? session.deltas.subscribe() : nil
        let wakes = wakes(deltas: deltas, follow: follow)
        var shown = after
        metrics.followerCame()
        defer { metrics.followerLeft() }
        for await wake in wakes {
            if case .delta(let delta) = wake {
                // A delta comes after the events before it, and not at all when a later event has overtaken it.
                guard turn == nil || delta.turn == turn, shown <= delta.after else { continue }
                guard await journal.eventuallySynced(delta.after) else { break }
            }
            // Whatever it woke for: a slow follower may have missed the wake for an event.
            while true {
                let end = if case .delta(let delta) = wake { delta.after } else { journal.durable }
                // Small steps: many followers at once share the threads with everyone who asks for something.
                let items = try reader.next(upTo: end, limit: 64 << 10)
                guard let last = items.last else { break }
                shown = last.line.1
                var buffer = ByteBuffer()
                for item in items where item.concerns(turn) { write(item, format, to: &buffer) }
                if buffer.readableBytes > 0 { try await writer.write(buffer) }
            }
            switch wake {
            case .events: break
            case .delta(let delta):
                let text = try JSON.string(delta)
                try await writer.write(ByteBuffer(string: format == .sse ? "event: delta\ndata: \(text)\n\n" : text + "\n"))
            case .heartbeat:
                // Tells a dead connection from a quiet session.
                try await writer.write(ByteBuffer(string: format == .sse ? ": \n\n" : "\n"))
            }
        }
    }

    private func write(_ item: TranscriptReader.Item, _ format: StreamFormat, to buffer: inout ByteBuffer) {
        let (line, sequence) = item.line
        switch format {
        case .ndjson:
            buffer.writeBytes(line)
        case .sse:
            if case .event = item { buffer.writeString("id: \(Cursor(journal: session.journal.id, sequence: sequence))\n") }
            buffer.writeString("event: \(item.type)\ndata: ")
            buffer.writeBytes(line)
            buffer.writeString("\n")
        }
        buffer.writeString("\n")
    }

    /// What a follower wakes for. One pass over what is there, when it does not follow.
    private func wakes(deltas: AsyncStream<LiveDeltas.Delta>?, follow: Bool) -> AsyncStream<Wake> {
        let journal = session.journal
        return AsyncStream(bufferingPolicy: .bufferingNewest(128)) { continuation in
            continuation.yield(.events)
            guard follow else {
                continuation.finish()
                return
            }
            let tasks = [
                Task {
                    var seen = journal.durable
                    continuation.yield(.events)
                    while !Task.isCancelled {
                        await journal.changed(after: seen)
                        let durable = journal.durable
                        if durable == seen { break }  // The journal is closed.
                        seen = durable
                        continuation.yield(.events)
                    }
                    continuation.finish()
                },
                Task {
                    guard let deltas else { return }
                    for await delta in deltas { continuation.yield(.delta(delta)) }
                },
                Task {
                    while (try? await Task.sleep(for: .seconds(15))) != nil { continuation.yield(.heartbeat) }
                },
            ]
            continuation.onTermination = { _ in for task in tasks { task.cancel() } }
        }
    }
}

extension TranscriptReader.Item {
    /// The line as it is shown, and the last sequence number it stands for.
    fileprivate var line: (ArraySlice<UInt8>, UInt64) {
        switch self {
        case .event(let event): (event.bytes, event.sequence)
        case .gap(let gap):
            // A gap that no event tells of: it has no sequence number of its own.
            (((try? JSON.encode(["type": "journal.gap", "data": JSONValue(gap)])) ?? Data())[...].map { $0 }[...], gap.to)
        }
    }

    fileprivate var type: String {
        switch self {
        case .event(let event): event.type
        case .gap: "journal.gap"
        }
    }

    /// A gap concerns every turn.
    fileprivate func concerns(_ turn: TurnID?) -> Bool {
        guard let turn, case .event(let event) = self else { return true }
        return event.turn == turn
    }
}

extension JSONValue {
    fileprivate init(_ gap: JournalGap) {
        self = [
            "from": .integer(Int64(gap.from)), "to": .integer(Int64(gap.to)), "file": .string(gap.file),
            "reason": .string(gap.reason),
        ]
    }
}
