import Crypto
import Foundation
import Support
import Testing

@testable import SessionModel

@Suite struct IdempotencyKeysTests {
    /// Few keys, of which many share the bits by which they are found.
    private static func digest(_ number: Int, _ request: Int = 0) -> KeyDigest {
        KeyDigest(
            key: Digest128(bits: UInt128(number) << 64 | UInt128(number % 7)),
            request: Digest128(SHA256.hash(data: Data("\(request)".utf8))))
    }

    private struct Known {
        var turn: UInt64
        var request: Int
        var at: Int64
    }

    /// What a dictionary would answer, over many insertions, expiries, and copies made in between.
    @Test(arguments: 0..<20) func theyAnswerAsADictionaryWould(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var keys = IdempotencyKeys()
        var known: [Int: Known] = [:]
        var now: Int64 = 0
        let window: Int64 = seed % 2 == 0 ? 50 : 3000
        for turn in UInt64(1)...3000 {
            now += Int64.random(in: 0...2, using: &random)
            keys.expire(before: Timestamp(milliseconds: now - window))
            known = known.filter { $0.value.at >= now - window }
            let number = Int.random(in: 0..<4000, using: &random)
            let request = Int.random(in: 0...1, using: &random)
            let expected: IdempotencyKeys.Match =
                switch known[number] {
                case nil: .new
                case let entry? where entry.request == request: .repeated(TurnID(entry.turn))
                case let entry?: .mismatch(TurnID(entry.turn))
                }
            #expect(keys.match(Self.digest(number, request)) == expected, "seed \(seed), turn \(turn)")
            if case .new = expected {
                keys.insert(Self.digest(number, request), turn: TurnID(turn), at: Timestamp(milliseconds: now))
                known[number] = Known(turn: turn, request: request, at: now)
            } else if Int.random(in: 0..<20, using: &random) == 0, let entry = known.removeValue(forKey: number) {
                keys.forget(TurnID(entry.turn))
            }
            if turn % 500 == 0 {
                let copy = try JSON.decode(IdempotencyKeys.self, from: JSON.encode(keys))
                #expect(copy == keys && copy.hashValue == keys.hashValue)
                keys = copy
            }
        }
        #expect(Set(keys.live.map(\.turn)) == Set(known.values.map(\.turn)))
    }

    /// Checkpoints of earlier versions have one entry in each string.
    @Test func earlierCheckpointsAreRead() throws {
        let key = Digest128(SHA256.hash(data: Data("k".utf8)))
        let keys = try JSON.decode(IdempotencyKeys.self, from: #"["\#(key) ab 7 1000", "\#(Self.digest(3).key) cd 9 2000"]"#)
        #expect(keys.live.map(\.turn) == [7, 9])
        #expect(throws: DecodingError.self) { try JSON.decode(IdempotencyKeys.self, from: #"["\#(key) ab 0 1000"]"#) }
    }
}
