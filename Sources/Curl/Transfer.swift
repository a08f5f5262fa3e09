import NIOConcurrencyHelpers

/// One request on its way: what the caller's task and the client's thread share of it.
final class Transfer: Sendable {
    let request: CurlRequest
    /// `GET http://host/path`, for error messages: without credentials and without the query.
    let summary: String
    private let engine: Engine
    private let state: NIOLockedValueBox<TransferState>
    private let upload: NIOLockedValueBox<UploadState>?
    private let producer = NIOLockedValueBox<Task<Void, Never>?>(nil)

    init(_ request: CurlRequest, mode: TransferState.Mode, engine: Engine) {
        self.request = request
        self.engine = engine
        summary = Summary.of(request)
        state = NIOLockedValueBox(TransferState(mode: mode, summary: summary))
        upload = request.upload.map { [summary] in NIOLockedValueBox(UploadState(length: $0.length, summary: summary)) }
    }

    // MARK: On the caller's side

    func begin() async -> Result<TransferState.Head, CurlError> {
        submit()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in tellHead { waiter.resume(returning: $0) } }
        } onCancel: {
            abort()
        }
    }

    /// - Parameter then: told once, on whatever thread.
    func begin(then: @escaping TransferState.Waiter<TransferState.Head>) {
        submit()
        tellHead(then)
    }

    private func submit() {
        if !engine.submit(.start(self)) { fail(shutDown) }
        if let upload = request.upload { produce(upload) }
    }

    private func tellHead(_ waiter: @escaping TransferState.Waiter<TransferState.Head>) {
        state.withLockedValue { $0.waitForHead(waiter) }?()
    }

    func takeBody() -> [UInt8] { state.withLockedValue { $0.takeBody() } }

    func nextChunk() async throws(CurlError) -> [UInt8]? {
        let result: Result<[UInt8]?, CurlError> = await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in
                let (resume, wake) = state.withLockedValue { $0.waitForChunk { waiter.resume(returning: $0) } }
                wake?()
                if resume { _ = engine.submit(.resume(self)) }
            }
        } onCancel: {
            abort()
        }
        return try result.get()
    }

    /// Ends the transfer at once. Does nothing when it has ended.
    func abort() { abort(CurlError(.cancelled, "\(summary): cancelled")) }

    private func abort(_ error: CurlError) {
        let (wasLive, wake) = state.withLockedValue { state in (!state.hasEnded, state.abort(error)) }
        wake?()
        endUpload(error)
        if wasLive { _ = engine.submit(.abort(self)) }
    }

    // MARK: What is sent

    private func produce(_ upload: CurlUpload) {
        let task = Task {
            do {
                try await upload.produce(CurlUploadWriter(transfer: self))
                if try completeUpload() { _ = engine.submit(.resume(self)) }
            } catch let error as CurlError {
                abort(error)
            } catch is CancellationError {
                abort()
            } catch {
                abort(CurlError(.upload, "\(summary): the body broke off: \(error)"))
            }
        }
        producer.withLockedValue { $0 = task }
        if hasEnded { task.cancel() }
    }

    private func completeUpload() throws(CurlError) -> Bool {
        try upload?.withLockedValue { $0.complete() }.get() ?? false
    }

    func write(_ bytes: [UInt8]) async throws(CurlError) {
        guard let upload else { return }
        let result: Result<Void, CurlError> = await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in
                let (resume, wake) = upload.withLockedValue { $0.write(bytes, waiter) }
                wake?()
                if resume { _ = engine.submit(.resume(self)) }
            }
        } onCancel: {
            abort()
        }
        try result.get()
    }

    /// Nobody sends any more: whoever still writes is told.
    private func endUpload(_ error: CurlError) {
        upload?.withLockedValue { $0.finish(error) }?()
        producer.withLockedValue { $0.take() }?.cancel()
    }

    // MARK: On the client's thread

    var hasEnded: Bool { state.withLockedValue { $0.hasEnded } }

    func receive(_ head: TransferState.Head) { state.withLockedValue { $0.receive(head) }?() }

    func receive(_ bytes: UnsafeRawBufferPointer) -> TransferState.Verdict {
        let (verdict, wake) = state.withLockedValue { $0.receive(bytes) }
        wake?()
        return verdict
    }

    /// The next bytes to send.
    func send(into space: UnsafeMutableRawBufferPointer) -> UploadState.Portion {
        guard let upload else { return .end }
        let (portion, wake) = upload.withLockedValue { $0.read(into: space) }
        wake?()
        return portion
    }

    func succeed() {
        state.withLockedValue { $0.finish(.success(())) }?()
        endUpload(CurlError(.lost, "\(summary): the server answered before it had the whole body"))
    }

    func fail(_ error: CurlError) {
        state.withLockedValue { $0.finish(.failure(error)) }?()
        endUpload(error)
    }

    var shutDown: CurlError { CurlError(.aborted, "\(summary): the HTTP client has been shut down") }
}
