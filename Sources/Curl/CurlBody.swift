import NIOConcurrencyHelpers

/// The bytes of a response as they arrive, in chunks of no particular size. It can be iterated once.
///
/// While nobody reads, about 256 KiB are kept and the server is made to wait.
public struct CurlBody: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias Failure = CurlError

    let source: BodySource

    public func makeAsyncIterator() -> Iterator { Iterator(reader: source.claim()) }

    public struct Iterator: AsyncIteratorProtocol, Sendable {
        public typealias Failure = CurlError
        /// Nil for every iterator but the first.
        let reader: BodyReader?

        /// The next bytes, never none; nil at the end.
        public mutating func next() async throws(CurlError) -> [UInt8]? {
            guard let reader else {
                throw CurlError(.invalidRequest, "the body of a streamed response can be read only once")
            }
            return try await reader.source.transfer.nextChunk()
        }
    }
}

/// Holds the transfer, and the client with its thread, for as long as someone may still read.
final class BodySource: Sendable {
    let transfer: Transfer
    private let client: CurlClient
    private let isClaimed = NIOLockedValueBox(false)

    init(transfer: Transfer, client: CurlClient) {
        self.transfer = transfer
        self.client = client
    }

    func claim() -> BodyReader? {
        let first = isClaimed.withLockedValue { claimed in
            defer { claimed = true }
            return !claimed
        }
        return first ? BodyReader(source: self) : nil
    }

    deinit { transfer.abort() }
}

/// Belongs to the one iterator: when it goes, nobody will read any more.
final class BodyReader: Sendable {
    let source: BodySource
    init(source: BodySource) { self.source = source }
    deinit { source.transfer.abort() }
}
