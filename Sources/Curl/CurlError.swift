/// Why a request got no answer, or why its answer broke off.
///
/// An answer with an error status, such as 404, is not a ``CurlError``: it is a response.
public struct CurlError: Error, Sendable, Hashable {
    public enum Code: String, Sendable, Hashable, CaseIterable {
        /// The request itself cannot be sent: a bad URL, method, header or certificate.
        case invalidRequest
        /// No connection: the name does not resolve, nobody listens, no route, the proxy refuses. Nothing was sent.
        case connect
        /// The connection is not trusted, or the TLS handshake failed. Nothing was sent.
        case tls
        /// ``CurlRequest/timeout``, ``CurlRequest/connectTimeout`` or ``CurlRequest/idleTimeout`` ran out.
        case timeout
        /// The connection ended before the response was complete. The server may have acted on the request.
        case lost
        /// What the server sent is not HTTP.
        case `protocol`
        /// The body is longer than the caller's limit.
        case tooLarge
        /// The request's streamed body broke off, or has another length than was announced.
        case upload
        /// The Swift task was cancelled.
        case cancelled
        /// The client was shut down.
        case aborted
        /// Memory, descriptors or threads ran out.
        case resources
    }

    public var code: Code
    /// libcurl's own number (`CURLE_…`), when the error is from libcurl.
    public var curlCode: Int32?
    /// What was tried, without credentials, and what happened.
    public var message: String

    public init(_ code: Code, _ message: String, curlCode: Int32? = nil) {
        self.code = code
        self.message = message
        self.curlCode = curlCode
    }
}

extension CurlError: CustomStringConvertible {
    public var description: String { message }
}
