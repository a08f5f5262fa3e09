import Foundation
import Glibc
import Logging
import Processes
import SessionModel

/// Runs each session as a `holdfast-sidecar serve` process of its own on this machine, in a directory under the data directory.
///
/// The processes are in sessions of their own and log to files, so that they outlive the supervisor; the next one finds them
/// again by the record in the session's directory. There is no isolation: agent, sidecar and supervisor are one user.
struct LocalRuntime: Runtime {
    let dataDirectory: String
    /// The `holdfast-sidecar` binary.
    let sidecar: String
    private let sockets: SocketDirectory
    private let environment: [String: String]
    private let boot: String
    /// The git gateway's URL.
    private let gateway: String?

    init(
        dataDirectory: String, sidecar: String, environment: [String: String], gateway: String? = nil
    ) throws(LocalError) {
        self.gateway = gateway
        self.dataDirectory = dataDirectory
        self.sidecar = sidecar
        self.environment = environment
        sockets = try SocketDirectory(dataDirectory: dataDirectory, environment: environment)
        boot =
            FileManager.default.contents(atPath: "/proc/sys/kernel/random/boot_id").map {
                String(decoding: $0, as: UTF8.self).filter { !$0.isWhitespace }
            } ?? ""
    }

    var runsPods: Bool { false }

    func directory(of session: String) -> SessionDirectory { SessionDirectory(path: "\(dataDirectory)/sessions/\(session)") }

    func start(_ session: SessionResource, epoch: UInt32) throws(LocalError) -> any Incarnation {
        let directory = directory(of: session.metadata.name)
        try directory.prepare(for: session, archive: archive, gateway: gateway)
        let run = try sockets.directory(of: session)
        var record = SessionDirectory.Record(epoch: epoch, socket: "\(run)/s.sock", boot: boot)
        // Should the supervisor die before it knows the pid, this says that there may be a process to look for.
        try directory.write(record)
        let log = try directory.openLog()
        defer { close(log) }
        let limits = (session.spec.lifetime ?? Lifetime()).resolved(for: session.spec.key.kind).limits
        var spawn = Spawn(
            [
                sidecar, "serve", "--state-dir", directory.state, "--socket", record.socket, "--runtime-dir", run,
                "--epoch", "\(epoch)", "--session", session.spec.key.description, "--agent", directory.agentFile,
                "--workspace", directory.workspaceFile, "--workspace-dir", directory.workspace,
                "--turn-timeout", limits.turnTimeout.description, "--input-timeout", limits.inputTimeout.description,
                "--agent-idle", limits.agentIdle.description, "--max-queued-turns", "\(limits.maxQueuedTurns)",
                "--dedupe-window", limits.dedupeWindow.description,
            ] + (limits.maxTurns.map { ["--max-turns", "\($0)"] } ?? [])
                + (limits.maxTokens.map { ["--max-tokens", "\($0)"] } ?? [])
                + (limits.resultHold.map { ["--result-hold", $0.description] } ?? [])
                + (limits.countBackground ? ["--count-background"] : []), environment: environment, directory: directory.path)
        spawn.grouping = .session
        spawn.descriptors = [nil, log, log]
        let pid: Int32
        do {
            pid = try spawn.start()
        } catch {
            throw LocalError("\(error)")
        }
        guard let entry = ProcessEntry(pid) else { throw LocalError("process \(pid) has no entry in /proc") }
        record.pid = pid
        record.startTime = entry.startTime
        do {
            try directory.write(record)
        } catch {
            // Without the record nobody could find it again, so it may not run.
            entry.signal(SIGKILL)
            _ = Child.wait(pid)
            throw error
        }
        return try SidecarProcess(entry, record, log: directory.log, isChild: true)
    }

    func endStrays(_ session: @Sendable (_ name: String) async throws -> SessionResource?) async throws {
        let sessions = "\(dataDirectory)/sessions/"
        for entry in ProcessEntry.all() where entry.isAlive {
            let arguments = Self.arguments(entry.pid)
            guard arguments.starts(with: [sidecar, "serve", "--state-dir"]), arguments.count > 3,
                arguments[3].hasPrefix(sessions),
                let name = arguments[3].dropFirst(sessions.count).split(separator: "/").first.map(String.init),
                let index = arguments.firstIndex(of: "--epoch"), index + 1 < arguments.count,
                let epoch = UInt32(arguments[index + 1])
            else { continue }
            let owner = try await session(name)
            if let owner, owner.status.owns(epoch: epoch), directory(of: name).belongs(to: owner) { continue }
            SidecarProcess.end(entry, grace: SessionMachine.stopGrace)
        }
    }

    func transcript(of session: SessionResource) -> TranscriptSource? {
        let directory = directory(of: session.metadata.name)
        return directory.belongs(to: session) ? .files(state: directory.state) : nil
    }

    func discard(_ session: SessionResource) throws -> (@Sendable () async throws -> Void)? {
        let directory = directory(of: session.metadata.name)
        guard directory.belongs(to: session) else { return nil }
        let aside = try directory.moveAside(to: archive, until: .now)
        return { try FileManager.default.removeItem(atPath: aside) }
    }

    func removeOldArchives(at now: Timestamp) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: archive)) ?? [] {
            let directory = SessionDirectory(path: "\(archive)/\(name)")
            if let until = directory.keptUntil, until <= now { try? FileManager.default.removeItem(atPath: directory.path) }
        }
    }

    private var archive: String { "\(dataDirectory)/archive" }

    func find(_ session: SessionResource, epoch: UInt32) throws(LocalError) -> FoundIncarnation {
        let directory = directory(of: session.metadata.name)
        guard directory.belongs(to: session), var record = directory.record, record.epoch == epoch else { return .neverStarted }
        guard record.boot == boot else { return .ended }
        if let pid = record.pid, let startTime = record.startTime {
            guard let entry = ProcessEntry(pid), entry.startTime == startTime, entry.isAlive else { return .ended }
            return .alive(try SidecarProcess(entry, record, log: directory.log, isChild: false))
        }
        // The supervisor was killed between starting it and writing down its pid.
        let arguments = [sidecar, "serve", "--state-dir", directory.state]
        guard let entry = ProcessEntry.all().first(where: { $0.isAlive && Self.arguments($0.pid).starts(with: arguments) }) else {
            return .neverStarted
        }
        record.pid = entry.pid
        record.startTime = entry.startTime
        try directory.write(record)
        return .alive(try SidecarProcess(entry, record, log: directory.log, isChild: false))
    }

    private static func arguments(_ pid: Int32) -> [String] {
        guard let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return [] }
        return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }
}
