import SessionModel
import Testing

/// The recorder's own waits end with the test that waits: one that fails must not outlast its time limit.
@Suite struct RecorderTests {
    @Test func aWaitEndsWhenItsTestIsCancelled() async throws {
        let recorder = Recorder()
        let waits = [Task { try await recorder.seen { _ in false } }, Task { _ = try await recorder.question() }]
        for wait in waits {
            wait.cancel()
            await #expect(throws: CancellationError.self) { try await wait.value }
        }
    }

    @Test func aWaitEndsWithWhatItWaitsFor() async throws {
        let recorder = Recorder()
        async let seen: Void = recorder.seen { $0.type == "message" }
        async let question = recorder.question()
        await recorder.record(.thought(Thought(text: "no")))
        await recorder.record(.message(Message(text: "yes")))
        let request = InputRequest(id: "q", question: "?", options: [], deadline: Timestamp(milliseconds: 0))
        await recorder.ask(request)
        try await seen
        #expect(try await question == request)
    }
}
