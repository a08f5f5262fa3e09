/// Where a reader of a transcript stands: the journal and the last sequence number it has seen.
///
/// Every way to read a transcript (page, stream, file, `kubectl exec`) takes and gives the same text form, `JOURNAL-SEQUENCE`,
/// as in `4f9a2c1d80b34e6a-128`. Sequence 0 is the position before the first event.
public struct Cursor: Sendable, Hashable {
    /// The journal's id: 16 hexadecimal digits, chosen when the journal is made.
    public var journal: String
    public var sequence: UInt64

    public init(journal: String, sequence: UInt64) {
        self.journal = journal
        self.sequence = sequence
    }
}

extension Cursor: CustomStringConvertible, LosslessStringConvertible {
    public var description: String { "\(journal)-\(sequence)" }

    public init?(_ text: String) {
        guard let dash = text.lastIndex(of: "-"), let sequence = UInt64(text[text.index(after: dash)...]) else { return nil }
        let journal = String(text[..<dash])
        self.init(journal: journal, sequence: sequence)
        guard Cursor.isJournalID(journal), description == text else { return nil }
    }

    public static func isJournalID(_ text: String) -> Bool {
        text.utf8.count == 16
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }
}

extension Cursor: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = Cursor(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected a cursor, JOURNAL-SEQUENCE")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
