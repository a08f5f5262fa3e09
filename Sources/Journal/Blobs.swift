import Crypto
import FoundationEssentials
import SessionModel

/// Event data too large for a line: whole in `blobs/SHA-256`, shortened in the transcript.
struct Blobs: Sendable {
    /// Data longer than this goes to a blob, bytes.
    static let threshold = 256 << 10
    /// How data is shortened, until it is short enough: what stays of each long string, as a head and a tail of so many bytes,
    /// and how many elements of each array.
    private static let levels: [(kept: Int, elements: Int)] = [(8 << 10, .max), (1 << 10, 64), (64, 16)]

    let directory: String
    let files: any FileLayer

    private static func name(of data: Data) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: SHA256.hash(data: data).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// A blob's data; nil when it is missing or not what was stored.
    func load(_ name: String) -> Data? {
        guard let file = try? files.open(directory + "/" + name, .read) else { return nil }
        defer { file.close() }
        guard let bytes = try? file.contents() else { return nil }
        let data = Data(bytes)
        return Self.name(of: data) == name ? data : nil
    }

    /// Writes the data, durably, under its hash. The same data is written once.
    func store(_ data: Data) throws(FileError) -> String {
        let name = Self.name(of: data)
        if load(name) != nil {
            // Whoever stored it may have died before its name was on disk.
            try files.syncDirectory(directory)
            return name
        }
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

    /// The data's JSON with the middle of long strings and the ends of long arrays left out, so that it can still be read as
    /// what it is.
    static func shorten(_ data: Data) throws -> Data {
        let value = try JSON.decode(JSONValue.self, from: data)
        for level in levels {
            let short = try JSON.encode(shorten(value, level.kept, level.elements))
            if short.count <= threshold { return short }
        }
        // An object of very many members, which none of our own events is.
        return try JSON.encode(["shortened": abridge(String(decoding: data, as: UTF8.self), levels[0].kept)])
    }

    private static func shorten(_ value: JSONValue, _ kept: Int, _ elements: Int) -> JSONValue {
        switch value {
        case .string(let text): .string(abridge(text, kept))
        case .array(let all): .array(all.prefix(elements).map { shorten($0, kept, elements) })
        case .object(let members): .object(members.mapValues { shorten($0, kept, elements) })
        case .null, .bool, .integer, .number: value
        }
    }

    private static func abridge(_ text: String, _ kept: Int) -> String {
        let left = text.utf8.count - 2 * kept
        guard left > max(64, kept / 8) else { return text }
        return "\(text.prefix(bytes: kept))\n… \(left) bytes left out …\n\(text.suffix(bytes: kept))"
    }
}
