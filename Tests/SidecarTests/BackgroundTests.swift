import Foundation
import Processes
import SessionModel
import Support
import Testing

/// What an agent leaves running after its turn, such as a server for development.
@Suite struct BackgroundTests {
    /// A turn that leaves a process behind.
    /// - Returns: that process, once the transcript names it.
    private func leaveOne(_ sidecar: SidecarProcess) async throws -> ProcessEntry {
        try await sidecar.enqueue("run: setsid sleep 321 >/dev/null 2>&1 &")
        #expect(try await sidecar.end(of: TurnID(1)).state == .succeeded)
        try await sidecar.until { try await named(sidecar).last?.contains("sleep 321") == true }
        return try #require(sidecar.home.processes.first { $0.command == "sleep 321" })
    }

    /// What the transcript says of processes left running, each time that it says something.
    private func named(_ sidecar: SidecarProcess) async throws -> [[String]] {
        try await sidecar.events().compactMap { event in
            if case .background(let background) = event.body { background.processes } else { nil }
        }
    }

    private func isBusy(_ sidecar: SidecarProcess) async throws -> Bool {
        try await sidecar.json(Activity.self, "GET", "/v1/activity").busy
    }

    @Test func itIsNamedAndDoesNotKeepTheSessionAwakeAndEndsWithIt() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let left = try await leaveOne(sidecar)
            #expect(try await !isBusy(sidecar))
            #expect(left.isSame, "an idle agent's processes are left alone")
            _ = try await sidecar.json(Activity.self, "POST", "/v1/drain", body: #"{"ifIdleFor":"0s"}"#)
            sidecar.kill(SIGTERM)
            #expect(try await sidecar.waitForExit() == .code(0))
            #expect(sidecar.home.processes.isEmpty, "\(sidecar.home.processes.map(\.command))")
        }
    }

    @Test func itKeepsTheSessionAwakeWhereItCounts() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: ["--count-background"]) { sidecar in
            let left = try await leaveOne(sidecar)
            #expect(try await isBusy(sidecar))
            #expect(try await problem(sidecar, "POST", "/v1/drain", body: #"{"ifIdleFor":"0s"}"#).problem.kind == .busy)
            // Its end is noticed, and then the session is idle.
            left.signal(SIGKILL)
            try await sidecar.until { try await !isBusy(sidecar) }
            #expect(try await named(sidecar).last == [])
            #expect(
                try await sidecar.json(Activity.self, "POST", "/v1/drain", body: #"{"ifIdleFor":"0s"}"#).draining)
        }
    }

    @Test func theSettingCanBeChangedWhileItRuns() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: ["--count-background"]) { sidecar in
            _ = try await leaveOne(sidecar)
            #expect(try await isBusy(sidecar))
            try await sidecar.send("PUT", "/v1/limits", body: try JSON.string(TurnLimits()))
            #expect(try await !isBusy(sidecar))
        }
    }
}
