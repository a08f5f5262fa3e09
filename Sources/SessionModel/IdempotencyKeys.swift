import Crypto
import FoundationEssentials

extension KeyDigest {
    /// The digest of an idempotency key and of the request it came with.
    public init(key: String, request: TurnRequest) {
        var hash = SHA256()
        // Each field with its length before it, so that no two requests hash alike.
        for field in [
            request.prompt, request.whenBusy?.rawValue, request.supersedeKey, request.timeout?.description, request.model,
            request.effort,
        ] {
            var length = UInt64(field.map { $0.utf8.count + 1 } ?? 0).littleEndian
            withUnsafeBytes(of: &length) { hash.update(bufferPointer: $0) }
            if let field { hash.update(data: Data(field.utf8)) }
        }
        // Younger fields: a request without them hashes as it did before there were any.
        if let onInterrupt = request.onInterrupt { hash.update(data: Data("onInterrupt=\(onInterrupt) ".utf8)) }
        if let raw = request.raw { hash.update(data: Data("raw=\(raw) ".utf8)) }
        self.init(key: Digest128(SHA256.hash(data: Data(key.utf8))), request: Digest128(hash.finalize()))
    }
}

/// The idempotency keys of the last `dedupeWindow`: which turn each made, and of which request.
///
/// A session may remember very many, so each takes 40 bytes, in blocks that are shared with the copies a checkpoint is made of, and
/// about 6 in a hash table of their places.
struct IdempotencyKeys: Sendable {
    struct Entry: Sendable, Hashable {
        /// The key's digest.
        var high: UInt64
        var low: UInt64
        /// Half of the request's digest is enough to tell it from another one with the same key.
        var request: UInt64
        /// 0 when the key was forgotten; turns begin with 1.
        var turn: UInt64
        var at: Int64

        var key: Digest128 { Digest128(bits: UInt128(high) << 64 | UInt128(low)) }

        init(key: Digest128, request: UInt64, turn: UInt64, at: Int64) {
            high = UInt64(truncatingIfNeeded: key.bits >> 64)
            low = UInt64(truncatingIfNeeded: key.bits)
            self.request = request
            self.turn = turn
            self.at = at
        }
    }

    private static let blockSize = 256
    /// In the order of their turns; all blocks but the last are full.
    private var blocks: [[Entry]] = []
    /// Those before this place have expired.
    private var first = 0
    private var end: Int { blocks.isEmpty ? 0 : (blocks.count - 1) * Self.blockSize + blocks[blocks.count - 1].count }
    /// Places of entries plus one, by the low bits of their keys or in the next free slot after those; 0 is free. A power of two, and
    /// never full.
    private var table: [UInt32] = []

    enum Match: Hashable {
        case new
        case repeated(TurnID)
        case mismatch(TurnID)
    }

    func match(_ digest: KeyDigest) -> Match {
        guard !table.isEmpty else { return .new }
        let wanted = Entry(key: digest.key, request: Self.half(digest.request), turn: 0, at: 0)
        var slot = slot(of: wanted)
        while table[slot] != 0 {
            let place = Int(table[slot]) - 1
            let entry = self[place]
            // A key that came again after it had expired is there twice.
            if place >= first, entry.turn != 0, entry.high == wanted.high, entry.low == wanted.low {
                return entry.request == wanted.request ? .repeated(TurnID(entry.turn)) : .mismatch(TurnID(entry.turn))
            }
            slot = (slot + 1) & (table.count - 1)
        }
        return .new
    }

    mutating func insert(_ digest: KeyDigest, turn: TurnID, at time: Timestamp) {
        append(Entry(key: digest.key, request: Self.half(digest.request), turn: turn.ordinal, at: time.milliseconds))
    }

    private static func half(_ request: Digest128) -> UInt64 { UInt64(request.bits >> 64) }

    /// Forgets the key that made a turn. Rare, so that nothing is kept to find it by.
    mutating func forget(_ turn: TurnID) {
        for place in first..<end where self[place].turn == turn.ordinal {
            blocks[place / Self.blockSize][place % Self.blockSize].turn = 0
        }
    }

    mutating func expire(before moment: Timestamp) {
        while first < end, self[first].at < moment.milliseconds { first += 1 }
        let gone = first / Self.blockSize
        guard gone > 0 else { return }
        blocks.removeFirst(gone)
        first -= gone * Self.blockSize
        rebuildTable()
    }

    /// Those that count, oldest first.
    var live: some Sequence<Entry> { (first..<end).lazy.map { self[$0] }.filter { $0.turn != 0 } }

    private subscript(place: Int) -> Entry { blocks[place / Self.blockSize][place % Self.blockSize] }

    private func slot(of entry: Entry) -> Int { Int(truncatingIfNeeded: entry.low) & (table.count - 1) }

    private mutating func append(_ entry: Entry) {
        if blocks.last.map({ $0.count == Self.blockSize }) ?? true {
            blocks.append([])
            blocks[blocks.count - 1].reserveCapacity(Self.blockSize)
        }
        blocks[blocks.count - 1].append(entry)
        if end * 4 > table.count * 3 { rebuildTable() } else { enter(end - 1) }
    }

    private mutating func rebuildTable() {
        var capacity = 64
        while capacity * 3 < end * 4 + 4 { capacity *= 2 }
        table = Array(repeating: 0, count: capacity)
        for place in first..<end { enter(place) }
    }

    private mutating func enter(_ place: Int) {
        var slot = slot(of: self[place])
        while table[slot] != 0 { slot = (slot + 1) & (table.count - 1) }
        table[slot] = UInt32(place + 1)
    }
}

/// Equal when they answer alike.
extension IdempotencyKeys: Hashable {
    static func == (left: IdempotencyKeys, right: IdempotencyKeys) -> Bool { left.live.elementsEqual(right.live) }

    func hash(into hasher: inout Hasher) { for entry in live { hasher.combine(entry) } }
}

/// In a checkpoint: strings of several entries each, `key request turn time`, separated by commas.
extension IdempotencyKeys: Codable {
    private static let entriesInString = 64

    init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        while !container.isAtEnd {
            for entry in try container.decode(String.self).split(separator: ",") {
                let parts = entry.split(separator: " ")
                guard parts.count == 4, let key = Digest128(parts[0]), let request = UInt64(parts[1], radix: 16),
                    let turn = UInt64(parts[2]), turn > 0, let at = Int64(parts[3])
                else {
                    throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an idempotency key's entry")
                }
                append(Entry(key: key, request: request, turn: turn, at: at))
            }
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.unkeyedContainer()
        var text = ""
        var count = 0
        for entry in live {
            text += "\(text.isEmpty ? "" : ",")\(entry.key) \(String(entry.request, radix: 16)) \(entry.turn) \(entry.at)"
            count += 1
            if count % Self.entriesInString == 0 {
                try container.encode(text)
                text = ""
            }
        }
        if !text.isEmpty { try container.encode(text) }
    }
}
