import SessionModel

/// The beginning and the end of what a command prints, at most 32 KiB of each.
struct BoundedOutput: Sendable {
    static let limit = 32 * 1024

    private(set) var head: [UInt8] = []
    private var tail: [UInt8] = []
    private(set) var total = 0

    mutating func append(_ bytes: [UInt8]) {
        total += bytes.count
        let room = Self.limit - head.count
        head += bytes.prefix(room)
        tail += bytes.dropFirst(room)
        // Cut rarely, so that a flood of small chunks costs one move per 32 KiB.
        if tail.count > 2 * Self.limit { tail.removeFirst(tail.count - Self.limit) }
    }

    /// What was kept; what was left out is said in its place. Bytes that are not UTF-8 become U+FFFD.
    var text: String {
        let end = tail.suffix(Self.limit)
        let missing = total - head.count - end.count
        guard missing > 0 else { return String(decoding: head + end, as: UTF8.self) }
        return String(decoding: head, as: UTF8.self) + "\n[… \(missing) bytes left out …]\n"
            + String(decoding: end, as: UTF8.self)
    }

    /// The last lines, at most `bytes` of them, without carriage-return progress and blank lines.
    func lastLines(bytes limit: Int = 4096) -> String {
        let lines = text.split(whereSeparator: { $0 == "\n" || $0 == "\r\n" }).compactMap { line in
            // git redraws its progress with carriage returns: only the last state is worth reading.
            line.split(separator: "\r").last.map(String.init)
        }
        var kept: [String] = []
        var size = 0
        for line in lines.reversed() {
            guard line.contains(where: { !$0.isWhitespace }) else { continue }
            size += line.utf8.count + 1
            if size > limit {
                if kept.isEmpty { kept.append(line.suffix(bytes: limit)) }
                break
            }
            kept.append(line)
        }
        return kept.reversed().joined(separator: "\n")
    }
}
