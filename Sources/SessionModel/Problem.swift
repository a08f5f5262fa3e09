/// An error as every API of Holdfast answers it: RFC 9457 `application/problem+json`.
///
/// `type` is a stable identifier that a client may switch on, `detail` says what happened and what to do.
public struct Problem: Error, Sendable, Hashable, Codable {
    /// `https://holdfast.dev/problems/` and one of ``Kind``.
    public var type: String
    public var title: String
    /// The HTTP status code.
    public var status: Int
    public var detail: String
    /// Seconds after which the same request may succeed; also sent as `Retry-After`.
    public var retryAfter: Int?
    /// What keeps a session from being drained.
    public var activity: Activity?

    public enum Kind: String, Sendable, CaseIterable {
        case invalidRequest = "invalid-request"
        case unauthorized
        case forbidden
        case notFound = "not-found"
        case methodNotAllowed = "method-not-allowed"
        case conflict
        case idempotencyMismatch = "idempotency-mismatch"
        case tooLarge = "too-large"
        case queueFull = "queue-full"
        case busy
        case draining
        case notReady = "not-ready"
        case storageFull = "storage-full"
        case cursorGone = "cursor-gone"
        case workerMismatch = "worker-mismatch"
        case limitReached = "limit-reached"
        case `internal`

        public var status: Int {
            switch self {
            case .invalidRequest: 400
            case .unauthorized: 401
            case .forbidden: 403
            case .notFound: 404
            case .methodNotAllowed: 405
            case .conflict, .idempotencyMismatch, .busy, .workerMismatch, .limitReached: 409
            case .cursorGone: 410
            case .tooLarge: 413
            case .queueFull: 429
            case .internal: 500
            case .draining, .notReady: 503
            case .storageFull: 507
            }
        }

        var title: String {
            switch self {
            case .invalidRequest: "The request is not valid"
            case .unauthorized: "A bearer token is required"
            case .forbidden: "Not allowed"
            case .notFound: "There is no such thing here"
            case .methodNotAllowed: "The method is not supported here"
            case .conflict: "The request conflicts with the present state"
            case .idempotencyMismatch: "The idempotency key was used for another request"
            case .tooLarge: "The request is too large"
            case .queueFull: "The queue is full"
            case .busy: "The session is busy"
            case .draining: "The session is draining"
            case .notReady: "The session is not ready"
            case .storageFull: "The disk is full or read-only"
            case .cursorGone: "The cursor cannot be served"
            case .limitReached: "The session has used up what its lifetime allows"
            case .workerMismatch: "The session has another worker"
            case .internal: "An unexpected error"
            }
        }
    }

    public init(_ kind: Kind, _ detail: String, retryAfter: Int? = nil, activity: Activity? = nil) {
        type = "https://holdfast.dev/problems/\(kind.rawValue)"
        title = kind.title
        status = kind.status
        self.detail = detail
        self.retryAfter = retryAfter
        self.activity = activity
    }

    /// Nil for a type this version does not know.
    public var kind: Kind? {
        type.split(separator: "/").last.flatMap { Kind(rawValue: String($0)) }
    }
}

extension Problem: CustomStringConvertible {
    public var description: String { detail }
}
