import CLinux
import FoundationEssentials
import Glibc
public import SessionModel

/// One line of a segment: an event as JSON, written and read without a general parser where only its head matters.
///
///     {"seq":7,"epoch":1,"time":"2026-11-23T18:14:05.123Z","turn":"t2","type":"message","synced":6,"data":{…},"crc":"1c291ca3"}
///
/// `synced` says which events were on disk when the line was written: a damaged line that a later one calls synced was
/// acknowledged once; one that none does was torn. `crc` is the CRC-32C of all bytes of the line before `,"crc"`. An event over
/// 256 KiB has `"blob":"SHA-256","bytes":N` before its shortened data: the whole data is in `blobs/`.
public struct EventLine: Sendable, Hashable {
    public var sequence: UInt64
    public var epoch: UInt32
    public var turn: TurnID?
    public var type: String
    public var synced: UInt64
    /// The name of the blob that has the data in full.
    public var blob: String?
    /// The line without its newline.
    public var bytes: ArraySlice<UInt8>
    private var data: Range<Int>

    static let crcLength = 18  // ,"crc":"00000000"}
    /// No event's line has fewer bytes.
    static let shortest = 96

    /// The whole event.
    /// - Throws: `DecodingError` for a line that another version wrote in a form this one does not read.
    public func event() throws -> Event {
        try JSON.decode(Event.self, from: Data(bytes))
    }

    /// The event with this data in place of the line's own, which was shortened.
    func event(data whole: Data) throws -> Event {
        try JSON.decode(Event.self, from: Data(bytes[..<data.lowerBound]) + whole + Data("}".utf8))
    }

    /// The data's JSON text.
    public var dataText: ArraySlice<UInt8> { bytes[data] }
}

// MARK: - Writing

extension EventLine {
    /// Appends an event's line and its newline.
    static func write(
        _ event: Event, encodedData: [UInt8], blob: (name: String, bytes: Int)?, synced: UInt64, to buffer: inout [UInt8]
    ) {
        let start = buffer.count
        buffer.append(text: "{\"seq\":\(event.sequence),\"epoch\":\(event.epoch),\"time\":\"\(event.time)\"")
        if let turn = event.turn { buffer.append(text: ",\"turn\":\"\(turn)\"") }
        buffer.append(text: ",\"type\":\"\(event.body.type)\",\"synced\":\(synced)")
        if let blob { buffer.append(text: ",\"blob\":\"\(blob.name)\",\"bytes\":\(blob.bytes)") }
        buffer.append(text: ",\"data\":")
        buffer.append(contentsOf: encodedData)
        seal(&buffer, from: start)
    }

    /// Appends the checksum of everything since `start`, and the newline.
    static func seal(_ buffer: inout [UInt8], from start: Int) {
        let crc = buffer.withUnsafeBytes { clinux_crc32c(0, $0.baseAddress! + start, $0.count - start) }
        let digits = String(crc, radix: 16)
        buffer.append(text: ",\"crc\":\"\(String(repeating: "0", count: 8 - digits.utf8.count))\(digits)\"}\n")
    }
}

extension [UInt8] {
    fileprivate mutating func append(text: String) { append(contentsOf: text.utf8) }

    /// Where the byte is next: `firstIndex(of:)`, ten times as fast.
    func index(of byte: UInt8, from start: Int) -> Int? {
        withUnsafeBytes { raw in
            guard start < raw.count, let base = raw.baseAddress,
                let found = memchr(base + start, Int32(byte), raw.count - start)
            else { return nil }
            return found - UnsafeMutableRawPointer(mutating: base)
        }
    }
}

// MARK: - Reading

extension EventLine {
    /// True for a line, without its newline, whose checksum is right.
    static func isIntact(_ line: UnsafeRawBufferPointer) -> Bool {
        let body = line.count - crcLength
        guard body > 0, line[body] == UInt8(ascii: ","), line[body + 1] == UInt8(ascii: "\""),
            line[line.count - 1] == UInt8(ascii: "}")
        else { return false }
        var crc: UInt32 = 0
        for byte in line[(body + 8)..<(body + 16)] {
            guard let digit = byte.hexDigit else { return false }
            crc = crc << 4 | digit
        }
        return clinux_crc32c(0, line.baseAddress, body) == crc
    }

    /// Reads the head of a line. Nil when it is not an intact event line.
    public init?(_ bytes: ArraySlice<UInt8>) {
        let parsed: EventLine? = bytes.withUnsafeBytes { line in
            guard Self.isIntact(line) else { return nil }
            var scanner = Scanner(line: line)
            guard scanner.skip("{\"seq\":"), let sequence = scanner.number(), scanner.skip(",\"epoch\":"),
                let epoch = scanner.number().flatMap({ UInt32(exactly: $0) }), scanner.skip(",\"time\":"), scanner.string() != nil
            else { return nil }
            var turn: TurnID?
            if scanner.skip(",\"turn\":") {
                guard let text = scanner.string(), let id = TurnID(text) else { return nil }
                turn = id
            }
            guard scanner.skip(",\"type\":"), let type = scanner.string(), scanner.skip(",\"synced\":"),
                let synced = scanner.number()
            else { return nil }
            var blob: String?
            if scanner.skip(",\"blob\":") {
                guard let name = scanner.string(), scanner.skip(",\"bytes\":"), scanner.number() != nil else { return nil }
                blob = name
            }
            guard scanner.skip(",\"data\":") else { return nil }
            let data = (bytes.startIndex + scanner.position)..<(bytes.endIndex - Self.crcLength)
            return EventLine(
                sequence: sequence, epoch: epoch, turn: turn, type: type, synced: synced, blob: blob, bytes: bytes, data: data)
        }
        guard let parsed else { return nil }
        self = parsed
    }

    /// The sequence number that a line begins with, its checksum unseen: to skip lines quickly.
    static func sequence(atHeadOf line: UnsafeRawBufferPointer) -> UInt64? {
        var scanner = Scanner(line: line)
        return scanner.skip("{\"seq\":") ? scanner.number() : nil
    }

    private struct Scanner {
        let line: UnsafeRawBufferPointer
        var position = 0

        init(line: UnsafeRawBufferPointer) { self.line = line }

        mutating func skip(_ text: StaticString) -> Bool {
            let count = text.utf8CodeUnitCount
            guard position + count <= line.count else { return false }
            for index in 0..<count where line[position + index] != text.utf8Start[index] { return false }
            position += count
            return true
        }

        mutating func number() -> UInt64? {
            var value: UInt64 = 0
            let start = position
            while position < line.count, line[position] >= UInt8(ascii: "0"), line[position] <= UInt8(ascii: "9") {
                let (product, over) = value.multipliedReportingOverflow(by: 10)
                let (sum, overflow) = product.addingReportingOverflow(UInt64(line[position] - UInt8(ascii: "0")))
                if over || overflow { return nil }
                value = sum
                position += 1
            }
            return position > start ? value : nil
        }

        /// A string without escapes, which is all that the head of a line has.
        mutating func string() -> String? {
            guard position < line.count, line[position] == UInt8(ascii: "\"") else { return nil }
            let start = position + 1
            var end = start
            while end < line.count, line[end] != UInt8(ascii: "\"") {
                if line[end] == UInt8(ascii: "\\") || end - start > 256 { return nil }
                end += 1
            }
            guard end < line.count else { return nil }
            position = end + 1
            return String(decoding: UnsafeRawBufferPointer(rebasing: line[start..<end]), as: UTF8.self)
        }
    }
}

extension UInt8 {
    fileprivate var hexDigit: UInt32? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(self - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(self - UInt8(ascii: "a") + 10)
        default: nil
        }
    }
}
