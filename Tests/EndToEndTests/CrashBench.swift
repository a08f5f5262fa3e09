import Foundation
import NIOConcurrencyHelpers
import Processes
import SessionModel
import Support
import Testing

/// All tests with real processes run one after the other: each is about timing, and the machine may be small.
@Suite(.serialized) struct EndToEndTests {}

/// One session that is worked hard and crashed: its directory, its clients and what its agents leave behind.
struct CrashBench: Sendable {
    let home: SidecarHome
    let evidence: Evidence
    let clients: Clients
    let seed: UInt64
    private let last = NIOLockedValueBox<SidecarProcess?>(nil)

    /// Whatever happens, no process of the session outlives this, and its directory is removed.
    static func run(seed: UInt64, _ body: (CrashBench) async throws -> Void) async throws {
        let home = try SidecarHome()
        do {
            let evidence = try Evidence(in: home)
            let clients = Clients(socket: home.socket, evidence: evidence, seed: seed)
            try await body(CrashBench(home: home, evidence: evidence, clients: clients, seed: seed))
            await clean(home)
        } catch {
            let log = home.log.suffix(4000)
            await clean(home)
            throw SidecarFailure("seed \(seed): \(error)\n--- the sidecars' log:\n\(log)")
        }
    }

    private static func clean(_ home: SidecarHome) async {
        for sidecar in home.sidecars { sidecar.signal(SIGKILL) }
        await home.remove()
    }

    /// Starts the next incarnation; it may not listen yet.
    @discardableResult
    func start() throws -> SidecarProcess {
        // The queue is short, so that clients meet a full one too.
        let sidecar = try SidecarProcess(
            in: home, agent: .demo(), arguments: ["--max-queued-turns", "20", "--log-level", "warning"])
        last.withLockedValue { $0 = sidecar }
        return sidecar
    }

    /// The sidecar that was started last.
    var current: SidecarProcess { get throws { try #require(last.withLockedValue { $0 }) } }

    /// Waits until the sidecar has dispatched a turn.
    func waitUntilWorking(_ sidecar: SidecarProcess) async throws {
        try await sidecar.waitUntilLive()
        try await sidecar.until(within: .seconds(60)) {
            try await sidecar.json(Activity.self, "GET", "/v1/activity").running != nil
        }
    }

    /// Waits until no turn is queued and none runs.
    func waitUntilDone(_ sidecar: SidecarProcess) async throws {
        try await sidecar.until(within: .seconds(120)) {
            let status = try await sidecar.json(SessionStatus.self, "GET", "/v1/session")
            return status.turns.queued == 0 && status.turns.running == 0
        }
    }

    /// Lets the last sidecar that was started finish its queue, ends it in peace, and reads what has happened.
    func finish() async throws -> History {
        let sidecar = try current
        try await waitUntilDone(sidecar)
        sidecar.kill(SIGTERM)
        #expect(try await sidecar.waitForExit() == .code(0), "seed \(seed)")
        #expect(home.processes.isEmpty, "seed \(seed): processes outlive their session")
        return try History(state: home.state)
    }

    func expectNoFaults(_ history: History, _ acknowledged: [[Acknowledgement]]) {
        #expect(history.faults.isEmpty, "seed \(seed)")
        #expect(history.faults(against: acknowledged).isEmpty, "seed \(seed)")
        #expect(history.faults(against: evidence).isEmpty, "seed \(seed)")
        #expect(acknowledged.allSatisfy { !$0.isEmpty }, "seed \(seed): a client got nothing accepted")
    }
}
