import Glibc

/// Splits what a process prints into lines, and never holds more than ``limit`` bytes of one.
struct LineReader {
    enum Line: Sendable, Hashable {
        /// Without its newline.
        case whole([UInt8])
        /// A line that was longer than the limit and was thrown away.
        case tooLong(bytes: Int)
    }

    /// The longest line that is kept, in bytes.
    static let defaultLimit = 8 << 20

    let limit: Int
    private var held: [UInt8] = []
    /// How much of the present line is thrown away already; 0 while it still fits.
    private var discarded = 0

    init(limit: Int = LineReader.defaultLimit) { self.limit = limit }

    /// The lines that end in this chunk.
    mutating func append(_ chunk: [UInt8]) -> [Line] {
        var lines: [Line] = []
        chunk.withUnsafeBytes { bytes in
            var start = 0
            while start < bytes.count, let base = bytes.baseAddress {
                let newline = memchr(base + start, 10, bytes.count - start)
                let end = newline.map { UnsafeRawPointer($0) - base } ?? bytes.count
                extend(with: bytes[start..<end])
                if newline != nil { lines.append(take()) }
                start = end + 1
            }
        }
        return lines
    }

    /// What came after the last newline; nil when nothing did.
    mutating func finish() -> Line? { held.isEmpty && discarded == 0 ? nil : take() }

    private mutating func extend(with part: Slice<UnsafeRawBufferPointer>) {
        if discarded > 0 {
            discarded += part.count
        } else if held.count + part.count > limit {
            discarded = held.count + part.count
            held = []
        } else {
            held.append(contentsOf: part)
        }
    }

    private mutating func take() -> Line {
        defer {
            held = []
            discarded = 0
        }
        return discarded > 0 ? .tooLong(bytes: discarded) : .whole(held)
    }
}
