import Curl
import Foundation
import HTTPServing
import HTTPTypes
import Hummingbird
import Journal
import NIOCore
import SessionModel

extension SupervisorAPI {
    /// A living session's transcript is passed through from its sidecar, byte for byte; a stopped one's is read from its files.
    func transcript(_ call: Call) async throws -> Response {
        let name = try await name(call)
        guard let session = try await store.read({ try $0.get(SessionResource.self, name) }) else {
            throw Self.missing("Session", name)
        }
        if let client = manager.client(of: name), let response = try await passThrough(call, client) { return response }
        return try stored(call, session)
    }

    /// - Returns: nil when the sidecar does not answer, so that the files have to do.
    private func passThrough(_ call: Call, _ client: SidecarClient) async throws -> Response? {
        var path = "/v1/transcript"
        if let query = call.request.uri.query { path += "?\(query)" }
        var headers: [(String, String)] = []
        for name in ["Accept", "Last-Event-ID"] {
            if let value = call.header(name) { headers.append((name, value)) }
        }
        guard let upstream = try? await client.stream(path, headers: headers) else { return nil }
        let type = upstream.header("Content-Type") ?? "application/json"
        guard upstream.status == 200 else {
            var bytes: [UInt8] = []
            for try await chunk in upstream.body where bytes.count < 64 << 10 { bytes += chunk }
            return .bytes(bytes, type: type, status: .init(code: upstream.status))
        }
        let follows = type == "text/event-stream" || call.query("follow") == "true"
        return call.stream(type: type, follows: follows) { writer in
            for try await chunk in upstream.body { try await writer.write(ByteBuffer(bytes: chunk)) }
        }
    }

    /// The same answers as a sidecar's, from the files of a session that has none. There is nothing to follow.
    private func stored(_ call: Call, _ session: SessionResource) throws -> Response {
        let directory = runtime.directory(of: session.metadata.name)
        guard directory.belongs(to: session), let journal = try TranscriptReader.identity(state: directory.state) else {
            throw Problem(.notFound, "Session \(session.spec.key) has no transcript yet: no sidecar has run for it.")
        }
        let after = try Self.position(call, in: journal)
        let turn = try call.query("turn", as: TurnID.self)
        let reader = TranscriptReader(state: directory.state, after: after)
        if call.accepts("text/event-stream") {
            return Self.stream(call, reader, type: "text/event-stream", turn: turn) { line in
                let id = line.sequence.map { "id: \(journal)-\($0)\n" } ?? ""
                return Array("\(id)event: \(line.type)\ndata: ".utf8) + line.bytes + Array("\n\n".utf8)
            }
        }
        if call.accepts("application/x-ndjson") {
            return Self.stream(call, reader, type: "application/x-ndjson", turn: turn) { $0.bytes + [UInt8(ascii: "\n")] }
        }
        let limit = try call.query("limit", as: Int.self) ?? 1000
        guard (1...10_000).contains(limit) else {
            throw Problem(.invalidRequest, "The query parameter limit must be 1 to 10000.")
        }
        return try Self.page(reader, journal: journal, after: after, turn: turn, limit: limit)
    }

    private static func page(
        _ reader: TranscriptReader, journal: String, after: UInt64, turn: TurnID?, limit: Int
    ) throws -> Response {
        var body = Array("{\"events\":[".utf8)
        var count = 0
        var last = after
        // About a megabyte a page, as a sidecar gives it.
        reading: while count < limit, body.count < 1 << 20 {
            let items = try reader.next()
            if items.isEmpty { break }
            for item in items {
                let line = try Line(item)
                if line.concerns(turn) {
                    if count > 0 { body.append(UInt8(ascii: ",")) }
                    body += line.bytes
                    count += 1
                }
                last = max(last, line.last)
                if count == limit || body.count >= 1 << 20 { break reading }
            }
        }
        body += Array("],\"next\":\"\(Cursor(journal: journal, sequence: last))\"}".utf8)
        return .bytes(body, type: "application/json")
    }

    private static func stream(
        _ call: Call, _ reader: TranscriptReader, type: String, turn: TurnID?,
        format: @escaping @Sendable (Line) -> [UInt8]
    ) -> Response {
        // Only the one task that writes the body ever uses it.
        nonisolated(unsafe) let reader = reader
        return call.stream(type: type, follows: false) { writer in
            while true {
                let items = try reader.next()
                if items.isEmpty { return }
                for line in try items.map(Line.init) where line.concerns(turn) { try await writer.write(format(line)) }
            }
        }
    }

    /// The sequence number that a request's cursor stands for.
    private static func position(_ call: Call, in journal: String) throws(Problem) -> UInt64 {
        guard let text = call.header("Last-Event-ID") ?? call.query("after"), !text.isEmpty else { return 0 }
        if let sequence = UInt64(text) { return sequence }
        guard let cursor = Cursor(text) else {
            throw Problem(.invalidRequest, "“\(text.prefix(bytes: 100))” is not a cursor, JOURNAL-SEQUENCE.")
        }
        guard cursor.journal == journal else {
            throw Problem(
                .cursorGone,
                "The cursor \(cursor) belongs to another journal; this session's is \(journal). Read again without a cursor.")
        }
        return cursor.sequence
    }

    /// One event, or a gap, as a transcript shows it.
    private struct Line {
        var bytes: [UInt8]
        var type: String
        /// Nil for a gap, which has no sequence number of its own.
        var sequence: UInt64?
        /// The last sequence number that it stands for.
        var last: UInt64
        private var turn: TurnID?

        init(_ item: TranscriptReader.Item) throws {
            switch item {
            case .event(let event):
                bytes = Array(event.bytes)
                type = event.type
                sequence = event.sequence
                last = event.sequence
                turn = event.turn
            case .gap(let gap):
                type = "journal.gap"
                bytes = Array("{\"data\":\(try JSON.string(gap)),\"type\":\"journal.gap\"}".utf8)
                last = gap.to
            }
        }

        /// A gap concerns every turn.
        func concerns(_ wanted: TurnID?) -> Bool { wanted == nil || sequence == nil || turn == wanted }
    }
}
