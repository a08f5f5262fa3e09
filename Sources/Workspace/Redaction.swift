import SessionModel

/// Takes credentials out of texts that reach the transcript: `https://user:secret@host/` becomes `https://***@host/`.
struct Redaction: Sendable {
    /// The user information of the workspace's own URL, which a tool may print without the rest of the URL.
    private let secrets: [String]

    init(url: String?) {
        // Shorter ones would blacken half of every text.
        secrets = url.flatMap(Secrets.password).map { $0.utf8.count >= 4 ? [$0] : [] } ?? []
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
}
