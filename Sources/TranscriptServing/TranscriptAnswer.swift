public import HTTPServing
public import Hummingbird
public import Journal
public import NIOCore
import SessionModel

/// Where an answer's items come from: the next ones in order, none at the end of what is there.
public typealias TranscriptSource = () async throws -> [TranscriptReader.Item]

/// How a transcript is written: each event is the very line that is in the file.
extension TranscriptQuery {
    /// At most about a megabyte, so that one request never holds much memory.
    private static let pageSize = 1 << 20

    /// The answer to a request for a page.
    public func page(_ next: TranscriptSource) async throws -> Response {
        var body = ByteBuffer(string: "{\"events\":[")
        var count = 0
        var last = after
        reading: while true {
            let items = try await next()
            if items.isEmpty {
                last = max(last, newest)
                break
            }
            for item in items {
                if concerns(item) {
                    if count > 0 { body.writeString(",") }
                    body.writeBytes(item.line)
                    count += 1
                }
                last = item.last
                if count == limit || body.readableBytes >= Self.pageSize { break reading }
            }
        }
        body.writeString("],\"next\":\"\(Cursor(journal: journal, sequence: last))\"}")
        return .bytes(body.readableBytesView, type: mediaType)
    }

    /// Streams what is there, to its end.
    public func stream(_ next: TranscriptSource, to writer: inout StreamWriter) async throws {
        while case let items = try await next(), !items.isEmpty {
            let buffer = text(of: items)
            if buffer.readableBytes > 0 { try await writer.write(buffer) }
        }
    }

    /// A part of a stream.
    public func text(of items: [TranscriptReader.Item]) -> ByteBuffer {
        var buffer = ByteBuffer()
        for item in items where concerns(item) {
            switch format {
            case .page, .lines:
                buffer.writeBytes(item.line)
            case .events:
                if case .event(let event) = item {
                    buffer.writeString("id: \(Cursor(journal: journal, sequence: event.sequence))\n")
                }
                buffer.writeString("event: \(item.type)\ndata: ")
                buffer.writeBytes(item.line)
                buffer.writeString("\n")
            }
            buffer.writeString("\n")
        }
        return buffer
    }

    /// A gap concerns every turn.
    private func concerns(_ item: TranscriptReader.Item) -> Bool {
        guard let turn, case .event(let event) = item else { return true }
        return event.turn == turn
    }
}

extension TranscriptReader.Item {
    fileprivate var line: ArraySlice<UInt8> {
        switch self {
        case .event(let event): event.bytes
        case .gap(let gap):
            // A gap that no event tells of: it has no sequence number of its own.
            Array("{\"data\":\((try? JSON.string(gap)) ?? "{}"),\"type\":\"journal.gap\"}".utf8)[...]
        }
    }

    fileprivate var type: String {
        switch self {
        case .event(let event): event.type
        case .gap: "journal.gap"
        }
    }
}
