import Curl
import Foundation
import Processes
import SessionModel
import Support
import Testing

@Suite struct ShutdownTests {
    @Test func idleItEndsAtOnceAndLeavesNoProcess() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            try await sidecar.enqueue("say: warm")
            _ = try await sidecar.end(of: TurnID(1))
            let begin = ContinuousClock.now
            sidecar.kill(SIGTERM)
            #expect(try await sidecar.waitForExit() == .code(0))
            #expect(ContinuousClock.now - begin < .seconds(10))
            #expect(sidecar.home.processes.isEmpty)
            #expect(!FileManager.default.fileExists(atPath: sidecar.home.socket))
        }
    }

    @Test func aTurnThatEndsWithinTheGraceSucceeds() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: ["--grace", "30s"]) { sidecar in
            try await sidecar.enqueue("run: touch started; while [ ! -e go ]; do sleep 0.05; done")
            let workspace = sidecar.home.workspace
            try await sidecar.until { FileManager.default.fileExists(atPath: workspace + "/started") }
            sidecar.kill(SIGTERM)
            try await sidecar.until { try await sidecar.json(Activity.self, "GET", "/v1/activity").draining }
            #expect(try await problem(sidecar, "POST", "/v1/turns", body: #"{"prompt":"late"}"#).problem.kind == .draining)
            try Data().write(to: URL(filePath: workspace + "/go"))
            #expect(try await sidecar.waitForExit() == .code(0))
            let next = try await SidecarProcess.start(in: sidecar.home)
            defer { next.kill(SIGKILL) }
            #expect(try await next.turn(TurnID(1)).state == .succeeded)
            #expect(try await next.json(TurnList.self, "GET", "/v1/turns").total == 1)
        }
    }

    @Test func aLongerOneIsInterruptedAndQueuedOnesRunInTheNextEpoch() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: ["--grace", "300ms", "--cancel-grace", "1s"]) { sidecar in
            try await sidecar.enqueue("run: echo 1 >> runs; sleep 600")
            let workspace = sidecar.home.workspace
            try await sidecar.until { FileManager.default.fileExists(atPath: workspace + "/runs") }
            for number in 2...4 { try await sidecar.enqueue("run: echo \(number) >> runs") }
            sidecar.kill(SIGTERM)
            #expect(try await sidecar.waitForExit() == .code(0))
            #expect(sidecar.home.processes.isEmpty)

            let next = try await SidecarProcess.start(in: sidecar.home, agent: .demo())
            defer { next.kill(SIGKILL) }
            let first = try await next.turn(TurnID(1))
            #expect(first.state == .interrupted && first.reason == .drained)
            #expect(try await next.end(of: TurnID(4)).state == .succeeded)
            let runs = try String(contentsOfFile: workspace + "/runs", encoding: .utf8)
            #expect(runs == "1\n2\n3\n4\n")
            let dispatched = try await next.events().filter { $0.body == .turnDispatched }
            #expect(dispatched.compactMap(\.turn) == (1...4).map { TurnID($0) })
            #expect(dispatched.map(\.epoch) == [1, 2, 2, 2])
        }
    }
}
