public import SessionModel

/// Why GitHub's API did not do what it was asked for.
public struct GitHubError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: Sendable, Hashable {
        /// The token is missing, wrong or expired.
        case unauthorized
        /// The token may not do this.
        case forbidden
        /// There is no such thing, or the token may not see it.
        case notFound
        /// What was sent is not accepted, now or ever: `message` says why.
        case rejected
        /// Too many requests; the next one is welcome at this time.
        case rateLimited(until: Timestamp)
        /// No answer, or a fault of the server's. It is not known whether a change was made.
        case unavailable
    }
    public var code: Code
    /// What was tried, and what GitHub says.
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }

    /// Whether the same request may succeed later although nobody mends anything.
    public var isPassing: Bool {
        switch code {
        case .rateLimited, .unavailable: true
        case .unauthorized, .forbidden, .notFound, .rejected: false
        }
    }
}
