/// Takes credentials out of texts that reach the transcript: `https://user:secret@host/` becomes `https://***@host/`.
struct Redaction: Sendable {
    /// The user information of the workspace's own URL, which a tool may print without the rest of the URL.
    private let secrets: [String]

    init(url: String?) {
        guard let url, let userInfo = Self.userInfo(of: url[...]) else {
            secrets = []
            return
        }
        let parts = url[userInfo].split(separator: ":", maxSplits: 1)
        // A name alone is a name (`ssh://git@host`); with http it is a token.
        let secret = parts.count == 2 ? parts[1] : url.hasPrefix("http") ? parts.first : nil
        // Shorter ones would blacken half of every text.
        secrets = secret.map { $0.utf8.count >= 4 ? [String($0)] : [] } ?? []
    }

    func callAsFunction(_ text: String) -> String {
        var rest = text[...]
        var result = ""
        while let mark = rest.firstRange(of: "://") {
            result += rest[..<mark.upperBound]
            let authority = rest[mark.upperBound...].prefix { !$0.isWhitespace && !"/\\?#'\"<>".contains($0) }
            rest = rest[mark.upperBound...]
            guard let at = authority.lastIndex(of: "@") else { continue }
            result += "***"
            rest = rest[at...]
        }
        result += rest
        for secret in secrets { result.replace(secret, with: "***") }
        return result
    }

    private static func userInfo(of url: Substring) -> Range<Substring.Index>? {
        guard let mark = url.firstRange(of: "://") else { return nil }
        let authority = url[mark.upperBound...].prefix { !"/?#".contains($0) }
        return authority.lastIndex(of: "@").map { authority.startIndex..<$0 }
    }
}
