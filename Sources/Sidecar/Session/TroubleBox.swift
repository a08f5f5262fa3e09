import Journal
import NIOConcurrencyHelpers

/// Carries what the journal's thread says to the session, in order; also what it says before the session exists.
final class TroubleBox: Sendable {
    private let stream: AsyncStream<Journal.Trouble>
    private let continuation: AsyncStream<Journal.Trouble>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }

    func pass(_ trouble: Journal.Trouble) { continuation.yield(trouble) }

    func connect(_ handler: @escaping @Sendable (Journal.Trouble) async -> Void) {
        Task { for await trouble in stream { await handler(trouble) } }
    }
}
