import Testing

@testable import Curl

/// What the caller's side and the connection's make of one transfer.
struct TransferStateTests {
    private static let gaveUp = CurlError(.cancelled, "gave up")

    private func received(_ mode: TransferState.Mode, _ bytes: [UInt8]) -> TransferState {
        var state = TransferState(mode: mode, summary: "GET http://host/")
        _ = state.receive(TransferState.Head(status: 200, headers: []))
        _ = bytes.withUnsafeBytes { state.receive($0) }
        return state
    }

    /// A server may answer before it has read all that is sent. Whoever still sends is cancelled then, and must not take the answer
    /// with it.
    @Test func whoGivesUpSendingAfterTheEndTakesNothingAway() {
        var collected = received(.collect(maxBody: 100), [1, 2, 3])
        _ = collected.finish(.success(()))
        _ = collected.abort(Self.gaveUp)
        #expect(collected.takeBody() == [1, 2, 3])

        var streamed = received(.stream, [1, 2, 3])
        _ = streamed.finish(.success(()))
        _ = streamed.abort(Self.gaveUp)
        var chunks: [[UInt8]?] = []
        for _ in 0..<2 {
            if case .chunk(_, .success(let chunk))? = streamed.waitForChunk({ _ in }).1 { chunks.append(chunk) }
        }
        #expect(chunks == [[1, 2, 3], nil])
    }

    @Test func whatWasGivenUpBeforeTheEndFails() {
        var state = received(.stream, [1, 2, 3])
        _ = state.abort(Self.gaveUp)
        guard case .chunk(_, .failure(let error))? = state.waitForChunk({ _ in }).1 else {
            Issue.record("it did not fail")
            return
        }
        #expect(error.code == .cancelled)
    }
}
