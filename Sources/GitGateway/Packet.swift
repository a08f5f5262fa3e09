/// One unit of git's wire format: four hexadecimal digits of length and the payload (gitprotocol-common).
enum Packet: Sendable, Hashable {
    case data([UInt8])
    /// `0000`: the end of a list.
    case flush
    /// `0001`
    case delimiter
    /// `0002`
    case responseEnd

    /// The most that git puts into one, without the length.
    static let maxPayload = 65516

    init(_ text: String) { self = .data(Array(text.utf8)) }

    var bytes: [UInt8] {
        switch self {
        case .data(let payload):
            let digits = String(payload.count + 4, radix: 16)
            return Array(String(repeating: "0", count: 4 - digits.utf8.count).utf8) + Array(digits.utf8) + payload
        case .flush: return Array("0000".utf8)
        case .delimiter: return Array("0001".utf8)
        case .responseEnd: return Array("0002".utf8)
        }
    }
}

/// Takes packets out of bytes that arrive in parts of any size.
struct PacketReader: Sendable {
    private var buffer: [UInt8] = []
    private var start = 0

    init() {}

    mutating func append(_ bytes: some Sequence<UInt8>) {
        if start > 1 << 16 {
            buffer.removeFirst(start)
            start = 0
        }
        buffer += bytes
    }

    /// The next packet; nil when more bytes are needed.
    mutating func next() throws(MalformedPacket) -> Packet? {
        let waiting = buffer[start...]
        guard waiting.count >= 4 else { return nil }
        var length = 0
        for byte in waiting.prefix(4) {
            guard let digit = Self.digit(byte) else { throw MalformedPacket("a packet's length is not hexadecimal") }
            length = length << 4 | digit
        }
        guard length >= 4 else {
            start += 4
            switch length {
            case 0: return .flush
            case 1: return .delimiter
            case 2: return .responseEnd
            default: throw MalformedPacket("there is no packet of length \(length)")
            }
        }
        guard length - 4 <= Packet.maxPayload else { throw MalformedPacket("a packet has \(length) bytes") }
        guard waiting.count >= length else { return nil }
        start += length
        return .data(Array(waiting.dropFirst(4).prefix(length - 4)))
    }

    /// `Character`-free, so that no sign, space or other script's digit is taken for one.
    private static func digit(_ byte: UInt8) -> Int? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }
}

/// What is not git's wire format, in a clause.
struct MalformedPacket: Error, Sendable, Hashable, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
