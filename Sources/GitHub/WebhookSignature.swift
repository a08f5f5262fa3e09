import Crypto
import FoundationEssentials

/// GitHub's signature of a delivery: HMAC-SHA256 over the body as it came, with the webhook's secret.
public enum WebhookSignature {
    /// - Parameter header: `X-Hub-Signature-256`, such as `sha256=…`.
    /// - Returns: whether it is right. Comparing takes no longer for one that is nearly right.
    public static func isValid(_ header: String?, body: some Sequence<UInt8>, secret: String) -> Bool {
        guard !secret.isEmpty, let header, header.hasPrefix("sha256="), let code = bytes(header.utf8.dropFirst(7)) else {
            return false
        }
        return HMAC<SHA256>.isValidAuthenticationCode(
            code, authenticating: Data(body), using: SymmetricKey(data: Data(secret.utf8)))
    }

    /// What GitHub sends for a body.
    public static func header(body: some Sequence<UInt8>, secret: String) -> String {
        let code = HMAC<SHA256>.authenticationCode(for: Data(body), using: SymmetricKey(data: Data(secret.utf8)))
        return "sha256=" + code.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    private static func bytes(_ digits: some Collection<UInt8>) -> [UInt8]? {
        guard digits.count == 64 else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for byte in digits {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return bytes
    }
}
