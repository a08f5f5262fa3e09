import SessionModel

/// How GitHub asks for patience: the limit of an hour, and the secondary limits of a burst.
enum RateLimit {
    /// A secondary limit that does not say how long it lasts.
    static let pause = TimeSpan.minutes(1)
    /// Clocks differ, and GitHub's waits are never longer than an hour.
    static let longest = TimeSpan.minutes(65)

    /// Nil when the answer is not about too many requests.
    static func end(
        status: Int, header: (String) -> String?, message: String, at now: Timestamp
    ) -> Timestamp? {
        guard status == 403 || status == 429 else { return nil }
        let end: Timestamp
        if let seconds = header("Retry-After").flatMap({ Int64($0) }), seconds >= 0 {
            end = now + .seconds(min(seconds, 7200))
        } else if header("X-RateLimit-Remaining") == "0", let reset = header("X-RateLimit-Reset").flatMap({ Int64($0) }) {
            end = Timestamp(milliseconds: min(max(reset, 0), 100_000_000_000) * 1000)
        } else if status == 429 || message.lowercased().contains("secondary rate limit") {
            end = now + pause
        } else {
            return nil
        }
        return min(max(end, now + .seconds(1)), now + longest)
    }
}
