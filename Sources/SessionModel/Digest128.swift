public import Crypto

/// The first 128 bits of a SHA-256, written as 32 hexadecimal digits.
public struct Digest128: Sendable, Hashable {
    var bits: UInt128

    public init(_ digest: SHA256.Digest) {
        bits = digest.prefix(16).reduce(0) { $0 << 8 | UInt128($1) }
    }

    init(bits: UInt128) { self.bits = bits }

    init?(_ hex: some StringProtocol) {
        guard hex.utf8.count == 32, let bits = UInt128(hex, radix: 16) else { return nil }
        self.bits = bits
    }

    /// The digits, in ASCII.
    var digits: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { digits, count in
            for index in 0..<32 {
                let nibble = UInt8(truncatingIfNeeded: bits >> UInt128(4 * (31 - index))) & 15
                digits[index] = nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
            }
            count = 32
        }
    }
}

extension Digest128: CustomStringConvertible {
    public var description: String { String(decoding: digits, as: UTF8.self) }
}

extension Digest128: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = Digest128(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected 32 hexadecimal digits")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
