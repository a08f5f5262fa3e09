import Crypto
import FoundationEssentials
import SessionModel

/// Event data too large for a line: whole in `blobs/SHA-256`, shortened in the transcript.
struct Blobs: Sendable {
    /// Data longer than this goes to a blob, bytes.
    static let threshold = 256 << 10
    /// What stays of each long string: its head and its tail, bytes.
    private static let kept = 8 << 10

    let directory: String
    let files: any FileLayer

    /// Writes the data, durably, under its hash. The same data is written once.
    func store(_ data: Data) throws(FileError) -> String {
        let digits = Array("0123456789abcdef".utf8)
        let name = String(
            decoding: SHA256.hash(data: data).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
        guard try !files.list(directory).contains(name) else { return name }
        let path = directory + "/" + name
        let file = try files.open(path + ".tmp", .create)
        defer { file.close() }
        do {
            try file.write(data, at: 0)
        } catch {
            try? files.remove(path + ".tmp")
            throw error
        }
        try file.sync()
        try files.rename(path + ".tmp", to: path)
        try files.syncDirectory(directory)
        return name
    }

    /// The data's JSON with the middle of every long string left out, so that it can still be read as what it is.
    static func shorten(_ data: Data) throws -> Data {
        let short = try JSON.encode(shorten(JSON.decode(JSONValue.self, from: data)))
        if short.count <= threshold { return short }
        // Very many short strings: nothing to shorten one by one.
        let text = String(decoding: data, as: UTF8.self)
        return try JSON.encode(["shortened": abridge(text)])
    }

    private static func shorten(_ value: JSONValue) -> JSONValue {
        switch value {
        case .string(let text): .string(abridge(text))
        case .array(let elements): .array(elements.map(shorten))
        case .object(let members): .object(members.mapValues(shorten))
        case .null, .bool, .integer, .number: value
        }
    }

    private static func abridge(_ text: String) -> String {
        let left = text.utf8.count - 2 * kept
        guard left > 1024 else { return text }
        return "\(text.prefix(bytes: kept))\n… \(left) bytes left out …\n\(text.suffix(bytes: kept))"
    }
}
