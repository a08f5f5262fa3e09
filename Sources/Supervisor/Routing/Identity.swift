import Crypto
import Foundation

/// Names and uids for new resources.
enum Identity {
    /// 128 random bits in hexadecimal digits.
    static func uid() -> String {
        let bits = (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max))
        return pad(bits.0) + pad(bits.1)
    }

    /// A DNS label for a Task: short enough to type, and unique among a million Tasks with a probability of 1 − 10⁻⁶.
    static func taskName() -> String {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567")
        return "t-" + String((0..<12).map { _ in alphabet[Int.random(in: 0..<alphabet.count)] })
    }

    /// Whether a text is a name as Kubernetes takes it for what becomes a part of a host's name: 1 to 63 lower-case letters, digits or
    /// '-', which is neither first nor last.
    static func isName(_ text: String) -> Bool {
        guard (1...63).contains(text.utf8.count), text.first != "-", text.last != "-" else { return false }
        return text.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || byte == UInt8(ascii: "-")
        }
    }

    static func digest(_ data: Data) -> String {
        SHA256.hash(data: data).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    private static func pad(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}
