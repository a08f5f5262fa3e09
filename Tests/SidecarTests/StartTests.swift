import Foundation
import Processes
import SessionModel
import Support
import Testing

@Suite struct StartTests {
    @Test func runsATurnAndEndsOnSIGTERM() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let turn = try await sidecar.enqueue("say: hello")
            #expect(try await sidecar.end(of: turn.id).results?.answer?.contains("hello") == true)
            sidecar.kill(SIGTERM)
            #expect(try await sidecar.waitForExit() == .code(0))
        }
    }
}
