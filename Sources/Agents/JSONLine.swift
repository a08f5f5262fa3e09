import FoundationEssentials
import SessionModel

/// One JSON object on a line, as every agent's protocol has it.
enum JSONLine {
    /// Nil for a line that is no JSON object. Bytes that are not UTF-8 are repaired.
    static func parse(_ line: [UInt8]) -> JSONValue? {
        // Noise is mostly not JSON at all: it should cost no more than a look.
        guard line.first(where: { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }) == UInt8(ascii: "{") else { return nil }
        return try? JSON.decode(JSONValue.self, from: String(decoding: line, as: UTF8.self))
    }

    /// A line to send, with its newline.
    static func encode(_ frame: JSONValue) -> [UInt8] {
        // A JSONValue has no number that JSON cannot write: they all come from JSON or from integers.
        guard let data = try? JSON.encode(frame) else { preconditionFailure("a JSON value that is not JSON: \(frame)") }
        return Array(data) + [UInt8(ascii: "\n")]
    }
}
