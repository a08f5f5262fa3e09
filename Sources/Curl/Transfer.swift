import NIOConcurrencyHelpers

/// One request on its way: what the caller's task and the client's thread share of it.
final class Transfer: Sendable {
    let request: CurlRequest
    /// `GET http://host/path`, for error messages: without credentials and without the query.
    let summary: String
    private let engine: Engine
    private let state: NIOLockedValueBox<TransferState>

    init(_ request: CurlRequest, mode: TransferState.Mode, engine: Engine) {
        self.request = request
        self.engine = engine
        summary = Summary.of(request)
        state = NIOLockedValueBox(TransferState(mode: mode, summary: summary))
    }

    // MARK: On the caller's side

    func begin() async -> Result<TransferState.Head, CurlError> {
        if !engine.submit(.start(self)) { fail(shutDown) }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in state.withLockedValue { $0.waitForHead(waiter) }?() }
        } onCancel: {
            abort()
        }
    }

    func takeBody() -> [UInt8] { state.withLockedValue { $0.takeBody() } }

    func nextChunk() async throws(CurlError) -> [UInt8]? {
        let result: Result<[UInt8]?, CurlError> = await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in
                let (resume, wake) = state.withLockedValue { $0.waitForChunk(waiter) }
                wake?()
                if resume { _ = engine.submit(.resume(self)) }
            }
        } onCancel: {
            abort()
        }
        return try result.get()
    }

    /// Ends the transfer at once. Does nothing when it has ended.
    func abort() {
        let (wasLive, wake) = state.withLockedValue { state in
            (!state.hasEnded, state.abort(CurlError(.cancelled, "\(summary): cancelled")))
        }
        wake?()
        if wasLive { _ = engine.submit(.abort(self)) }
    }

    // MARK: On the client's thread

    var hasEnded: Bool { state.withLockedValue { $0.hasEnded } }

    func receive(_ head: TransferState.Head) { state.withLockedValue { $0.receive(head) }?() }

    func receive(_ bytes: UnsafeRawBufferPointer) -> TransferState.Verdict {
        let (verdict, wake) = state.withLockedValue { $0.receive(bytes) }
        wake?()
        return verdict
    }

    func succeed() { state.withLockedValue { $0.finish(.success(())) }?() }
    func fail(_ error: CurlError) { state.withLockedValue { $0.finish(.failure(error)) }?() }

    var shutDown: CurlError { CurlError(.aborted, "\(summary): the HTTP client has been shut down") }
}
