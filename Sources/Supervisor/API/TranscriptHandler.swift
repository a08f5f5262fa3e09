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
        return call.stream(type: type) { writer in
            for try await chunk in upstream.body { try await writer.write(ByteBuffer(bytes: chunk)) }
        }
    }

    private func stored(_ call: Call, _ session: SessionResource) throws -> Response {
        let directory = runtime.directory(of: session.metadata.name)
        guard directory.belongs(to: session), let journal = try TranscriptReader.identity(state: directory.state) else {
            throw Problem(.notFound, "Session \(session.spec.key) has no transcript yet: no sidecar has run for it.")
        }
        let after = try Self.position(call, in: journal)
        let turn = try call.query("turn", as: TurnID.self)
        let limit = min(1000, max(1, try call.query("limit", as: Int.self) ?? 100))
        if call.accepts("text/event-stream") || call.accepts("application/x-ndjson") {
            let events = call.accepts("text/event-stream")
            return call.stream(type: events ? "text/event-stream" : "application/x-ndjson") { writer in
                let reader = TranscriptReader(state: directory.state, after: after)
                while true {
                    let items = try reader.next()
                    if items.isEmpty { return }
                    for line in try items.compactMap({ try Self.line($0, turn: turn) }) {
                        let bytes = events ? Array("id: \(journal)-\(line.sequence)\ndata: ".utf8) + line.bytes + [10, 10] : line.bytes + [10]
                        try await writer.write(bytes)
                    }
                }
            }
        }
        let reader = TranscriptReader(state: directory.state, after: after)
        var bytes = Array("{\"events\":[".utf8)
        var count = 0
        var last = after
        var more = false
        read: while true {
            let items = try reader.next()
            if items.isEmpty { break }
            for item in items {
                guard let line = try Self.line(item, turn: turn) else { continue }
                // One page has at most 8 MiB, whatever its events are.
                if count == limit || bytes.count > 8 << 20 {
                    more = true
                    break read
                }
                if count > 0 { bytes.append(UInt8(ascii: ",")) }
                bytes += line.bytes
                count += 1
                last = line.sequence
            }
        }
        bytes += Array("],\"more\":\(more),\"next\":\"\(journal)-\(last)\"}".utf8)
        return .bytes(bytes, type: "application/json")
    }

    /// The sequence number that a request's cursor stands for.
    private static func position(_ call: Call, in journal: String) throws(Problem) -> UInt64 {
        guard let text = call.header("Last-Event-ID") ?? call.query("after"), !text.isEmpty, text != "0" else { return 0 }
        guard let cursor = Cursor(text) else {
            throw Problem(.invalidRequest, "“\(text.prefix(bytes: 100))” is not a cursor, JOURNAL-SEQUENCE.")
        }
        guard cursor.journal == journal else {
            throw Problem(
                .cursorGone, "The cursor is of journal \(cursor.journal), and this session has journal \(journal); begin without a cursor.")
        }
        return cursor.sequence
    }

    private static func line(_ item: TranscriptReader.Item, turn: TurnID?) throws -> (sequence: UInt64, bytes: [UInt8])? {
        switch item {
        case .event(let line):
            return turn == nil || line.turn == turn ? (line.sequence, Array(line.bytes)) : nil
        case .gap(let gap):
            guard turn == nil else { return nil }
            let data = try JSON.string(gap)
            return (gap.to, Array("{\"seq\":\(gap.to),\"type\":\"journal.gap\",\"data\":\(data)}".utf8))
        }
    }
}
