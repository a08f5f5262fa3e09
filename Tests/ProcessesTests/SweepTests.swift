import Foundation
import Glibc
import Processes
import Testing

@Suite(.timeLimit(.minutes(1))) struct SweepTests {
    private func shell(_ script: String, marker: String? = nil) throws -> Int32 {
        let parts = marker?.split(separator: "=").map(String.init) ?? []
        let variables = parts.isEmpty ? [:] : [parts[0]: parts[1]]
        var spawn = Spawn(["sh", "-c", script], environment: ["PATH": "/usr/bin:/bin"].merging(variables) { $1 })
        spawn.grouping = .session
        return try spawn.start()
    }

    private func eventually(_ isSo: () -> Bool) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < end {
            if isSo() { return true }
            try await Task.sleep(for: .milliseconds(5))
        }
        return false
    }

    @Test func oneEntry() throws {
        let me = try #require(ProcessEntry(getpid()))
        #expect(me.parent == getppid())
        #expect(me.group == getpgrp())
        #expect(me.session == getsid(0))
        #expect(me.isAlive && me.isSame)
        #expect(me.command.contains("xctest"))
        #expect(ProcessEntry.all().contains { $0.identity == me.identity })
        #expect(ProcessEntry(-1) == nil)
    }

    @Test func namesWithSpacesAndParentheses() async throws {
        let directory = "/tmp/hf-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try FileManager.default.copyItem(atPath: "/bin/sleep", toPath: directory + "/a) R 1 (b")
        let pid = try Spawn([directory + "/a) R 1 (b", "100"], environment: [:]).start()
        let entry = try #require(ProcessEntry(pid))
        #expect(entry.name == "a) R 1 (b")
        #expect(entry.parent == getpid())
        // The arguments appear a moment after the program has been started.
        let named = try await eventually { entry.command == directory + "/a) R 1 (b 100" }
        #expect(named)
        #expect(entry.signal(SIGKILL))
        #expect(Child.wait(pid) == .signal(SIGKILL))
    }

    @Test func aZombieIsNotAlive() async throws {
        let pid = try shell("exit 0")
        let isZombie = try await eventually { ProcessEntry(pid)?.state == "Z" }
        #expect(isZombie)
        #expect(ProcessEntry(pid)?.isAlive == false)
        #expect(Child.wait(pid) == .code(0))
        #expect(ProcessEntry(pid) == nil)
    }

    @Test func anotherProcessWithTheSamePidIsNotSignalled() throws {
        let pid = try shell("exec sleep 100")
        var entry = try #require(ProcessEntry(pid))
        let real = entry
        entry.startTime += 1
        #expect(!entry.isSame)
        #expect(!entry.signal(SIGKILL))
        #expect(ProcessEntry(pid)?.isAlive == true)
        #expect(real.signal(SIGKILL))
        #expect(Child.wait(pid) == .signal(SIGKILL))
        #expect(!real.signal(SIGKILL))
    }

    @Test func markerCarriersEndWithTheirDescendants() async throws {
        let marker = "HOLDFAST_SWEEP=\(UUID().uuidString)"
        let pid = try shell("trap '' TERM; setsid sleep 101 & env -i /bin/sleep 102 & wait", marker: marker)
        let other = try shell("exec sleep 103", marker: marker + "x")
        let targets = ProcessSweep.Targets(marker: marker)
        let grown = try await eventually { targets.find().count == 3 }
        #expect(grown)
        #expect(targets.find().first?.pid == pid)
        #expect(ProcessSweep.end(targets, grace: .milliseconds(50), within: .seconds(20)) == [])
        #expect(Child.wait(pid) == .signal(SIGKILL))
        #expect(targets.find() == [])
        #expect(Child.poll(other) == nil)
        kill(other, SIGKILL)
        #expect(Child.wait(other) != nil)
    }

    @Test(arguments: [Duration.seconds(20), .zero]) func aShellDoesNotGoOnToItsNextCommand(grace: Duration) async throws {
        let file = "/tmp/hf-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: file) }
        for _ in 0..<20 {
            let pid = try shell("sh -c 'sleep 105; touch \(file)' & wait; touch \(file)", marker: "HOLDFAST_SWEEP=\(file)")
            let targets = ProcessSweep.Targets(marker: "HOLDFAST_SWEEP=\(file)")
            let grown = try await eventually { targets.find().contains { $0.command == "sleep 105" } }
            #expect(grown)
            #expect(ProcessSweep.end(targets, grace: grace, within: .seconds(20)) == [])
            #expect(Child.wait(pid) == .signal(grace == .zero ? SIGKILL : SIGTERM))
            #expect(!FileManager.default.fileExists(atPath: file))
        }
    }

    @Test func descendantsEndButNotTheirRoot() async throws {
        let pid = try shell(
            "trap 'exit 3' USR1; while :; do sleep 0.01; done & while :; do sleep 100; done & wait; wait; sleep 0.1")
        let targets = ProcessSweep.Targets(descendantsOf: pid)
        let grown = try await eventually { targets.find().count >= 3 }
        #expect(grown)
        #expect(Set(ProcessEntry.descendants(of: pid).map(\.pid)).contains(pid) == false)
        #expect(ProcessSweep.end(targets, grace: .seconds(5), within: .seconds(20)) == [])
        kill(pid, SIGKILL)
        #expect(Child.wait(pid) != nil)
    }

    @Test func processesThatForkWhileTheyAreKilled() async throws {
        let marker = "HOLDFAST_SWEEP=\(UUID().uuidString)"
        let pid = try shell("trap '(sleep 104 &)' TERM; while :; do (sleep 0.5 &); sleep 0.02; done", marker: marker)
        let targets = ProcessSweep.Targets(marker: marker)
        let grown = try await eventually { targets.find().count >= 3 }
        #expect(grown)
        #expect(ProcessSweep.end(targets, grace: .milliseconds(100), within: .seconds(20)) == [])
        #expect(Child.wait(pid) == .signal(SIGKILL))
        #expect(targets.find() == [])
    }

    @Test func itNeverEndsItselfOrItsAncestors() throws {
        // Both "descends from init" and "carries this process's own environment" hold for this process.
        for variable in ProcessInfo.processInfo.environment.prefix(3) {
            let found = ProcessSweep.Targets(marker: "\(variable.key)=\(variable.value)").find().map(\.pid)
            #expect(!found.contains(getpid()))
            #expect(!found.contains(getppid()))
        }
        #expect(!ProcessSweep.Targets(descendantsOf: getppid()).find().map(\.pid).contains(getpid()))
    }

    @Test func theDeadlineHolds() async throws {
        let pid = try shell("(trap '' TERM; echo $$; while :; do sleep 0.01; done) & wait")
        let targets = ProcessSweep.Targets(descendantsOf: pid)
        let grown = try await eventually { targets.find().contains { $0.parent == pid } }
        #expect(grown)
        #expect(!ProcessSweep.end(targets, grace: .seconds(60), within: .milliseconds(50)).isEmpty)
        #expect(ProcessSweep.end(targets, grace: .zero, within: .seconds(20)).isEmpty)
        kill(pid, SIGKILL)
        #expect(Child.wait(pid) != nil)
    }
}
