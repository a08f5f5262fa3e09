import SessionModel

/// Turns what an agent prints outside its protocol into events, and stops at a limit: from there on it only counts.
struct OutputLog {
    /// The longest text of one event, in bytes.
    static let pieceLimit = 16 << 10
    /// What an event costs beyond its text, so that a million short lines reach the limit too.
    private static let eventCost = 64

    private struct Stream {
        var stored = 0
        var dropped: Int64 = 0
        /// The beginning of a character whose end has not come yet.
        var incomplete: [UInt8] = []
    }

    /// Bytes per stream.
    let limit: Int
    private var stdout = Stream()
    private var stderr = Stream()

    init(limit: Int) { self.limit = limit }

    /// The events for some bytes.
    mutating func add(_ bytes: [UInt8], to name: AgentOutput.Stream) -> [AgentOutput] {
        switch name {
        case .stdout: Self.add(bytes, to: &stdout, limit, name)
        case .stderr: Self.add(bytes, to: &stderr, limit, name)
        }
    }

    /// Counts bytes that nobody kept.
    mutating func drop(_ count: Int, from name: AgentOutput.Stream) {
        switch name {
        case .stdout: stdout.dropped += Int64(count)
        case .stderr: stderr.dropped += Int64(count)
        }
    }

    /// What was left out, to be reported when the turn ends.
    var dropped: [AgentOutput] {
        [(AgentOutput.Stream.stdout, stdout.dropped), (.stderr, stderr.dropped)].filter { $0.1 > 0 }
            .map { AgentOutput(stream: $0.0, text: "", dropped: $0.1) }
    }

    private static func add(
        _ bytes: [UInt8], to stream: inout Stream, _ limit: Int, _ name: AgentOutput.Stream
    ) -> [AgentOutput] {
        var rest = (stream.incomplete + bytes)[...]
        stream.incomplete = []
        var pieces: [AgentOutput] = []
        while !rest.isEmpty {
            guard stream.stored < limit else {
                stream.dropped += Int64(rest.count)
                break
            }
            let room = min(pieceLimit, max(4, limit - stream.stored))
            let end = wholeCharacters(rest, upTo: room)
            if end == rest.startIndex {
                stream.incomplete = Array(rest)
                break
            }
            pieces.append(AgentOutput(stream: name, text: String(decoding: rest[..<end], as: UTF8.self)))
            stream.stored += end - rest.startIndex + eventCost
            rest = rest[end...]
        }
        return pieces
    }

    /// The end of the longest part of at most `count` bytes that does not cut a character in two. At the end of what there is,
    /// that may be its very beginning.
    private static func wholeCharacters(_ bytes: ArraySlice<UInt8>, upTo count: Int) -> Int {
        let end = bytes.startIndex + min(count, bytes.count)
        // A character has at most 4 bytes: look for a leading byte among the last 3 whose character ends later.
        for back in 1...3 where end - back >= bytes.startIndex {
            let byte = bytes[end - back]
            if byte & 0xC0 == 0x80 { continue }
            let length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
            return length > back && byte < 0xF8 ? end - back : end
        }
        return end
    }
}
