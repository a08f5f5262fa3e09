import Curl
import Foundation
import Glibc
import Processes
import SessionModel
import Support
import Testing

/// A file system of a few megabytes, for as long as a test runs. Only root may mount one.
private final class SmallDisk: Sendable {
    let path: String

    static let isPossible: Bool = {
        guard getuid() == 0, let home = try? SidecarHome(), let disk = try? SmallDisk(home.path + "/home") else { return false }
        disk.unmount()
        try? FileManager.default.removeItem(atPath: home.path)
        return true
    }()

    init(_ path: String, megabytes: Int = 4) throws {
        self.path = path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(megabytes)m") == 0 else {
            throw SidecarFailure("mount: \(String(cString: strerror(errno)))")
        }
    }

    func unmount() { umount2(path, Int32(MNT_DETACH)) }

    func makeReadOnly(_ readOnly: Bool) throws {
        let flags = UInt(MS_REMOUNT) | (readOnly ? UInt(MS_RDONLY) : 0)
        guard mount("tmpfs", path, "tmpfs", flags, nil) == 0 else {
            throw SidecarFailure("remount: \(String(cString: strerror(errno)))")
        }
    }

    /// Writes until there is no space.
    func fill() throws {
        let descriptor = open(path + "/filler", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        defer { close(descriptor) }
        for size in [1 << 16, 1 << 12, 1] {
            let part = [UInt8](repeating: 0, count: size)
            while write(descriptor, part, size) == size {}
        }
    }

    func free() { unlink(path + "/filler") }
}

/// An ext4 file system in a file, which an error of the disk makes read-only under whoever writes there. (Linux refuses to do so on
/// request.)
private final class FragileDisk: Sendable {
    let path: String
    private let image: String

    static let isPossible: Bool = {
        guard getuid() == 0, let home = try? SidecarHome(), let disk = try? FragileDisk(home) else { return false }
        defer { try? FileManager.default.removeItem(atPath: home.path) }
        let isFragile = (try? disk.fail()) != nil
        disk.unmount()
        return isFragile
    }()

    init(_ home: SidecarHome) throws {
        path = home.state
        image = home.path + "/disk.img"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        _ = FileManager.default.createFile(atPath: image, contents: nil)
        truncate(image, 32 << 20)
        try Self.run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", image)
        try mount()
    }

    func mount() throws { try Self.run("mount", "-o", "loop,errors=remount-ro", image, path) }

    func unmount() { umount2(path, Int32(MNT_DETACH)) }

    func fail() throws {
        let device = try Self.run("losetup", "--noheadings", "--output", "NAME", "--associated", image)
        let name = device.split(separator: "/").last.map { $0.trimmingCharacters(in: .whitespacesAndNewlines) } ?? ""
        try Data("test".utf8).write(to: URL(filePath: "/sys/fs/ext4/\(name)/trigger_fs_error"))
    }

    /// As whoever mends a disk does it.
    func mend() throws {
        try Self.run("umount", path)
        // 1: errors were corrected.
        try Self.run("fsck.ext4", "-y", image, expecting: 0...1)
        try mount()
    }

    @discardableResult
    private static func run(_ arguments: String..., expecting codes: ClosedRange<Int32> = 0...0) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = arguments
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]
        let output = Pipe()
        (process.standardOutput, process.standardError) = (output, output)
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        guard codes.contains(process.terminationStatus) else { throw SidecarFailure("\(arguments): \(text)") }
        return text
    }
}

@Suite(.serialized, .enabled(if: FragileDisk.isPossible, "needs root, a loop device and ext4, for a disk that fails"))
struct FailingDiskTests {
    @Test func aDiskThatBecomesReadOnlyRefusesTurnsAndLosesNothing() async throws {
        let home = try SidecarHome()
        let disk = try FragileDisk(home)
        do {
            func start() async throws -> SidecarProcess {
                let sidecar = try await SidecarProcess.start(
                    in: home, agent: .demo(env: ["HOLDFAST_AGENT_STATE": home.path + "/agent"]),
                    arguments: ["--workspace-dir", home.path + "/work"])
                try await sidecar.waitUntilReady()
                return sidecar
            }
            let sidecar = try await start()
            defer { sidecar.kill(SIGKILL) }
            try await sidecar.enqueue("say: before")
            _ = try await sidecar.end(of: TurnID(1))
            let sequence = try await sidecar.events().last?.sequence

            try disk.fail()
            // It is told by its first write, and says so to everybody from then on.
            for _ in 0..<3 {
                let refused = await #expect(throws: Problem.self) { try await sidecar.enqueue("say: refused") }
                #expect(refused?.kind == .storageFull && refused?.status == 507, "\(String(describing: refused))")
                #expect(refused?.detail.contains("ead-only") == true, "\(String(describing: refused))")
            }
            #expect(try await problem(sidecar, "GET", "/readyz").problem.kind == .notReady)
            #expect(try await sidecar.send("GET", "/livez").status == 200)
            // What is there can be read.
            #expect(try await sidecar.turn(TurnID(1)).state == .succeeded)
            #expect(try await sidecar.events().last?.sequence == sequence)

            sidecar.kill(SIGKILL)
            try await sidecar.waitForExit()
            try disk.mend()
            let next = try await start()
            defer { next.kill(SIGKILL) }
            #expect(try await next.turn(TurnID(1)).state == .succeeded)
            let worked = try await next.events().compactMap { if case .turnDispatched = $0.body { $0.turn } else { nil } }
            #expect(worked == [TurnID(1)], "a refused turn has not run")
            let after = try await next.enqueue("say: after")
            #expect(try await next.end(of: after.id).state == .succeeded)
        } catch {
            Issue.record("\(error)\n\(home.log.suffix(4000))")
        }
        disk.unmount()
        await home.remove()
    }
}

@Suite(.serialized, .enabled(if: SmallDisk.isPossible, "needs root and mount(2), for a disk of a few megabytes"))
struct StorageTests {
    private func withDisk(_ test: (SidecarHome, SmallDisk, SidecarProcess) async throws -> Void) async throws {
        let home = try SidecarHome()
        let disk = try SmallDisk(home.state)
        do {
            // The agent's own state is elsewhere: it is the journal's disk that fills up.
            let sidecar = try await SidecarProcess.start(
                in: home, agent: .demo(env: ["HOLDFAST_AGENT_STATE": home.path + "/agent"]),
                arguments: ["--workspace-dir", home.path + "/work"])
            defer { sidecar.kill(SIGKILL) }
            try await sidecar.waitUntilReady()
            try await test(home, disk, sidecar)
        } catch {
            disk.unmount()
            await home.remove()
            throw SidecarFailure("\(error)\n\(home.log.suffix(4000))")
        }
        disk.unmount()
        await home.remove()
    }

    @Test func aFullDiskRefusesTurnsLosesNothingAndRecovers() async throws {
        try await withDisk { home, disk, sidecar in
            try await sidecar.enqueue("say: before")
            _ = try await sidecar.end(of: TurnID(1))
            try disk.fill()
            // The journal's reserve takes a few more.
            var accepted: [Turn] = []
            var refused: Problem?
            for number in 0..<200 where refused == nil {
                do {
                    accepted.append(try await sidecar.enqueue("say: \(number) " + String(repeating: "x", count: 20_000)))
                } catch let problem as Problem { refused = problem }
            }
            #expect(refused?.kind == .storageFull)
            #expect(refused?.status == 507)
            #expect(refused?.retryAfter != nil)
            #expect(try await problem(sidecar, "GET", "/readyz").problem.kind == .notReady)
            #expect(try await sidecar.send("GET", "/livez").status == 200)
            #expect(try await sidecar.turn(TurnID(1)).state == .succeeded)

            disk.free()
            try await sidecar.until { try await sidecar.send("GET", "/readyz").status == 200 }
            let after = try await sidecar.enqueue("say: after")
            #expect(try await sidecar.end(of: after.id).state == .succeeded)
            for turn in accepted { #expect(try await sidecar.end(of: turn.id).state.isTerminal) }
            let sequences = try await sidecar.events().map(\.sequence)
            #expect(sequences == (1...UInt64(sequences.count)).map { $0 })

            // And so says the disk.
            sidecar.kill(SIGKILL)
            try await sidecar.waitForExit()
            let next = try await SidecarProcess.start(in: home, arguments: ["--workspace-dir", home.path + "/work"])
            defer { next.kill(SIGKILL) }
            for turn in [TurnID(1)] + accepted.map(\.id) + [after.id] { #expect(try await next.turn(turn).state.isTerminal) }
        }
    }

    @Test func aRunningTurnEndsWithStorageFull() async throws {
        try await withDisk { home, disk, sidecar in
            // More than the reserve that is kept for the ends of turns.
            let output = String(repeating: "run: head -c 200000 /dev/zero | tr '\\0' x\n", count: 12)
            try await sidecar.enqueue("run: touch started; while [ ! -e go ]; do sleep 0.05; done\n" + output)
            try await sidecar.until { FileManager.default.fileExists(atPath: home.path + "/work/started") }
            try disk.fill()
            try Data().write(to: URL(filePath: home.path + "/work/go"))
            let turn = try await sidecar.end(of: TurnID(1))
            #expect(turn.state.isTerminal && turn.reason == .storageFull, "\(turn)")
            disk.free()
            try await sidecar.until { try await sidecar.send("GET", "/readyz").status == 200 }
            let next = try await sidecar.enqueue("say: after")
            #expect(try await sidecar.end(of: next.id).state == .succeeded)
        }
    }

    @Test func aReadOnlyDiskIsRefusedAtStart() async throws {
        try await withDisk { home, disk, sidecar in
            try await sidecar.enqueue("say: before")
            _ = try await sidecar.end(of: TurnID(1))
            sidecar.kill(SIGTERM)
            try await sidecar.waitForExit()
            try disk.makeReadOnly(true)
            let before = home.log.count
            let refused = try SidecarProcess(in: home)
            #expect(try await refused.waitForExit() == .code(74))
            #expect(home.log.dropFirst(before).contains("ead-only"), "\(home.log.dropFirst(before))")
            try disk.makeReadOnly(false)
            let next = try await SidecarProcess.start(in: home)
            defer { next.kill(SIGKILL) }
            #expect(try await next.turn(TurnID(1)).state == .succeeded)
        }
    }
}
