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

/// The idempotency keys of the last `dedupeWindow`, oldest first: which turn each made, and of which request.
struct IdempotencyKeys: Sendable, Hashable {
    private struct Entry: Sendable, Hashable {
        var request: UInt64
        var turn: UInt64
        var at: Int64
    }

    private var entries: [Digest128: Entry] = [:]
    private struct Slot: Sendable, Hashable {
        var key: Digest128
        var at: Int64
    }
    /// The keys in the order of their turns; those before `first` are gone. A key that came again after it had expired has two
    /// slots, of which the later one counts.
    private var order: [Slot] = []
    private var first = 0

    var count: Int { entries.count }

    enum Match: Hashable {
        case new
        case repeated(TurnID)
        case mismatch(TurnID)
    }

    func match(_ digest: KeyDigest) -> Match {
        guard let entry = entries[digest.key] else { return .new }
        let turn = TurnID(entry.turn)
        return entry.request == Self.half(digest.request) ? .repeated(turn) : .mismatch(turn)
    }

    mutating func insert(_ digest: KeyDigest, turn: TurnID, at time: Timestamp) {
        entries[digest.key] = Entry(request: Self.half(digest.request), turn: turn.ordinal, at: time.milliseconds)
        order.append(Slot(key: digest.key, at: time.milliseconds))
    }

    /// Half of a request's digest is enough to tell it from another one with the same key.
    private static func half(_ request: Digest128) -> UInt64 { UInt64(request.bits >> 64) }

    /// Forgets the key that made a turn. Rare, so that nothing is kept to find it by.
    mutating func forget(_ turn: TurnID) {
        guard let key = entries.first(where: { $0.value.turn == turn.ordinal })?.key else { return }
        entries[key] = nil
        order.removeAll { $0.key == key }
        first = min(first, order.count)
    }

    mutating func expire(before moment: Timestamp) {
        while first < order.count, order[first].at < moment.milliseconds {
            let slot = order[first]
            if entries[slot.key]?.at == slot.at { entries[slot.key] = nil }
            first += 1
        }
        if first > 1024, first > order.count / 2 {
            order.removeFirst(first)
            first = 0
        }
    }
}

/// In a checkpoint: one string an entry, `key request turn time`.
extension IdempotencyKeys: Codable {
    init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        while !container.isAtEnd {
            let parts = try container.decode(String.self).split(separator: " ")
            guard parts.count == 4, let key = Digest128(parts[0]), let request = UInt64(parts[1], radix: 16),
                let turn = UInt64(parts[2]), let at = Int64(parts[3])
            else { throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an idempotency key's entry") }
            entries[key] = Entry(request: request, turn: turn, at: at)
            order.append(Slot(key: key, at: at))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.unkeyedContainer()
        for slot in order[first...] {
            guard let entry = entries[slot.key], entry.at == slot.at else { continue }
            try container.encode("\(slot.key) \(String(entry.request, radix: 16)) \(entry.turn) \(entry.at)")
        }
    }
}
