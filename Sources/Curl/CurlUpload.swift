/// A request's body that is made while it is sent.
///
/// ```swift
/// request.upload = CurlUpload { writer in
///     for try await chunk in file.chunks { try await writer.write(chunk) }
/// }
/// ```
/// Nothing is sent twice: such a request gets a connection of its own. When the closure throws, the request fails and the server
/// sees a body that is cut off.
public struct CurlUpload: Sendable {
    /// How many bytes it will have. Nil, when nobody knows yet, sends them in chunks (`Transfer-Encoding: chunked`).
    public var length: Int64?
    let produce: @Sendable (CurlUploadWriter) async throws -> Void

    /// - Parameter produce: writes the body. Its task is cancelled when the request ends first.
    public init(length: Int64? = nil, _ produce: @escaping @Sendable (CurlUploadWriter) async throws -> Void) {
        self.length = length
        self.produce = produce
    }
}

/// Takes the parts of a ``CurlUpload``. One task writes, one part after the other.
public struct CurlUploadWriter: Sendable {
    let transfer: Transfer

    /// Returns when there is room for more: while the server takes nothing, about 256 KiB are kept.
    /// - Throws: when the request has ended, for whatever reason.
    public func write(_ bytes: [UInt8]) async throws(CurlError) { try await transfer.write(bytes) }
}
