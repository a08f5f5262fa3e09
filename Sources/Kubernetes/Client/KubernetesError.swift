public import Curl
import FoundationEssentials
import SessionModel

/// Why a request to the API server, or its preparation, failed.
public struct KubernetesError: Error, Sendable, Hashable {
    public enum Code: String, Sendable, Hashable, CaseIterable {
        /// A kubeconfig, a credential plugin or a file that they name is missing or wrong. Nothing was sent.
        case configuration
        /// No answer: no connection, no trust, a time-out, or a connection that broke off.
        case unreachable
        /// The answer is not one of an API server.
        case notKubernetes
        case cancelled
        case badRequest
        /// 401: the credentials are not accepted, not even after they were read again.
        case unauthorized
        /// 403: they are, but may not do this.
        case forbidden
        case notFound
        /// 409: there is one of this name already.
        case alreadyExists
        /// 409: it was changed meanwhile, or a precondition does not hold.
        case conflict
        /// 410: the resource version or the page's token is too old: list again.
        case expired
        /// 413
        case tooLarge
        /// 415
        case unsupportedMediaType
        /// 422: ``causes`` name the fields.
        case invalid
        /// 429
        case tooManyRequests
        /// 504, or a time-out that the server itself reports.
        case serverTimeout
        /// 500
        case internalError
        /// 503
        case unavailable
        /// Any other status.
        case other
    }

    /// One field that is wrong.
    public struct Cause: Sendable, Hashable, Codable {
        /// `FieldValueInvalid`, `FieldValueRequired` …
        public var reason: String?
        public var message: String?
        /// `spec.prompt`
        public var field: String?

        public init(reason: String? = nil, message: String? = nil, field: String? = nil) {
            self.reason = reason
            self.message = message
            self.field = field
        }
    }

    public var code: Code
    /// What was tried and what the server said about it.
    public var message: String
    /// The HTTP status; nil when there was no answer.
    public var status: Int?
    /// The server's own word: `AlreadyExists`, `Expired` …
    public var reason: String?
    public var causes: [Cause]
    /// How long the server asks to be left alone.
    public var retryAfter: Duration?
    /// What went wrong on the way, when the code is ``Code/unreachable``.
    public var transport: CurlError.Code?

    public init(
        _ code: Code, _ message: String, status: Int? = nil, reason: String? = nil, causes: [Cause] = [],
        retryAfter: Duration? = nil, transport: CurlError.Code? = nil
    ) {
        self.code = code
        self.message = message
        self.status = status
        self.reason = reason
        self.causes = causes
        self.retryAfter = retryAfter
        self.transport = transport
    }

    /// Whether the server will never take what was sent, however often it is sent.
    public var isRefusal: Bool {
        switch code {
        case .invalid, .badRequest, .tooLarge: true
        // The Pod Security of the namespace, and a quota on something that the object must name; other prohibitions may end.
        case .forbidden: message.contains("violates PodSecurity") || message.contains("failed quota")
        default: false
        }
    }

    /// Whether it is too much for a ResourceQuota of the namespace now. (The words are those of Kubernetes' admission plugin
    /// ResourceQuota: `exceeded quota: NAME, requested: …, used: …, limited: …`.)
    public var isOverQuota: Bool { code == .forbidden && message.contains("exceeded quota") }

    /// Whether the same request may well succeed later. What was sent may have been acted on.
    public var isTransient: Bool {
        switch code {
        case .unreachable: transport != .tls && transport != .invalidRequest
        case .tooManyRequests, .serverTimeout, .internalError, .unavailable: true
        default: false
        }
    }
}

extension KubernetesError: CustomStringConvertible {
    public var description: String { message }
}

// MARK: - From answers

/// The `Status` object: how the API server says that something failed, or that a deletion is done.
public struct StatusObject: Sendable, Hashable, Codable {
    public struct Details: Sendable, Hashable, Codable {
        public var name: String?
        public var group: String?
        public var kind: String?
        public var uid: String?
        public var causes: [KubernetesError.Cause]?
        public var retryAfterSeconds: Int?
    }
    public var kind: String
    /// `Success` or `Failure`
    public var status: String?
    public var message: String?
    public var reason: String?
    public var details: Details?
    public var code: Int?
}

extension KubernetesError {
    /// - Parameter what: the attempt, `GET /api/v1/pods`.
    init(_ what: String, _ status: StatusObject, httpStatus: Int, retryAfter: Duration? = nil) {
        let number = status.code ?? httpStatus
        self.init(
            Code(status: number, reason: status.reason), "\(what): \(status.message ?? status.reason ?? "HTTP \(number)")",
            status: number, reason: status.reason, causes: status.details?.causes ?? [],
            retryAfter: retryAfter ?? status.details?.retryAfterSeconds.map { .seconds($0) })
    }

    /// An answer whose status says that the request failed. Its body is a `Status`, or what a proxy on the way has to say.
    init(_ what: String, _ response: CurlResponse) {
        let retryAfter = response.header("Retry-After").flatMap { Int($0) }.map { Duration.seconds(max(0, $0)) }
        if let status = try? JSON.decode(StatusObject.self, from: Data(response.body)), status.kind == "Status" {
            self.init(what, status, httpStatus: response.status, retryAfter: retryAfter)
            return
        }
        let text = String(decoding: response.body.prefix(200), as: UTF8.self).split(whereSeparator: \.isNewline).first ?? ""
        self.init(
            Code(status: response.status, reason: nil), "\(what): HTTP \(response.status)\(text.isEmpty ? "" : ": \(text)")",
            status: response.status, retryAfter: retryAfter)
    }

    init(_ what: String, _ error: CurlError) {
        self.init(
            error.code == .cancelled ? .cancelled : error.code == .tooLarge ? .tooLarge : .unreachable, error.message,
            transport: error.code)
    }

    init(_ what: String, notKubernetes problem: String) {
        self.init(.notKubernetes, "\(what): the answer is not one of a Kubernetes API server: \(problem)")
    }
}

extension KubernetesError.Code {
    init(status: Int, reason: String?) {
        self =
            switch status {
            case 400: .badRequest
            case 401: .unauthorized
            case 403: .forbidden
            case 404: .notFound
            case 409: reason == "AlreadyExists" ? .alreadyExists : .conflict
            case 410: .expired
            case 413: .tooLarge
            case 415: .unsupportedMediaType
            case 422: .invalid
            case 429: .tooManyRequests
            case 500: reason == "ServerTimeout" ? .serverTimeout : .internalError
            case 503: .unavailable
            case 504: .serverTimeout
            default: .other
            }
    }
}
