import Foundation
import Glibc
import Logging
import Processes
import SessionModel
import Support
import Testing

@testable import AgentHost

/// A process tree that does what it can to stay: sessions of its own, double forks, no marker, SIGTERM ignored, and children made
/// while it is being killed. It prints one line per process that was set up.
private let stubborn = """
    trap '' TERM
    setsid sleep 1001 &
    (setsid sh -c 'trap "" TERM; (sleep 1002 &); sleep 1003' &)
    setsid env -i /bin/sh -c 'trap "" TERM; (/bin/sleep 1004 &); exec /bin/sleep 1005' &
    setsid sh -c 'trap "setsid sleep 1006 & setsid sleep 1007 &" TERM; while :; do sleep 0.02; done' &
    printf '#!/bin/sh\\nsleep 0.01\\nsetsid "$0" </dev/null >/dev/null 2>&1 &\\n' > chain
    chmod +x chain
    setsid env -i PATH=$PATH ./chain &
    sleep 1008 &
    echo ready
    wait
    """

/// One after the other: each of them keeps the machine busy.
@Suite(.serialized, .timeLimit(.minutes(2))) struct EndingTests {
    /// Starts the tree and returns the pids of everything that can be seen of it.
    private func plant(_ host: TestHost) async throws -> (any HostedProcess, [ProcessEntry]) {
        let process = try await host.shell(stubborn)
        var lines = process.stdout.makeAsyncIterator()
        #expect(await lines.next() != nil)
        let all = ["1001", "1002", "1003", "1004", "1005", "1008"]
        let planted = try await eventually {
            let commands = try await host.link.processes().map(\.command)
            return all.allSatisfy { number in commands.contains { $0.hasSuffix("sleep \(number)") } }
        }
        #expect(planted)
        return (process, ProcessEntry.descendants(of: host.link.hostProcess).filter(\.isAlive))
    }

    private func alive(_ entries: [ProcessEntry]) -> [ProcessEntry] {
        entries.filter { $0.isSame && ProcessEntry($0.pid)?.isAlive == true }
    }

    @Test func endAllLeavesNothing() async throws {
        try await TestHost.with { host in
            let (process, tree) = try await plant(host)
            #expect(tree.count >= 7)
            try await host.link.endAll(grace: .milliseconds(200))
            #expect(alive(tree) == [])
            #expect(ProcessEntry.descendants(of: host.link.hostProcess) == [])
            #expect(host.carriers.filter { $0.pid != host.link.hostProcess } == [])
            #expect(await process.exit() == .signal(SIGKILL))
            // The host is fit for the next turn.
            let (output, _, _) = try await host.output("echo next")
            #expect(output == "next\n")
        }
    }

    @Test func endAllLetsProcessesEndThemselves() async throws {
        try await TestHost.with { host in
            let process = try await host.shell("trap 'echo saved; exit 5' TERM; echo ready; while :; do sleep 0.01; done")
            var lines = process.stdout.makeAsyncIterator()
            #expect(await lines.next() == Array("ready\n".utf8))
            try await host.link.endAll(grace: .seconds(30))
            #expect(await lines.next() == Array("saved\n".utf8))
            #expect(await process.exit() == .code(5))
            try await host.link.endAll(grace: .seconds(30))  // Nothing to end: at once.
        }
    }

    @Test func aStoppedProcessIsEnded() async throws {
        try await TestHost.with { host in
            let process = try await host.shell("kill -STOP $$; echo never")
            try await host.link.endAll(grace: .milliseconds(300))
            #expect(await process.exit() != .lost)
        }
    }

    @Test func theLossOfTheSidecarEndsEverything() async throws {
        let host = try RawHost()
        defer { host.remove() }
        host.send(.start(1, host.spec(["sh", "-c", stubborn])))
        guard case .started(1, let pid)? = host.receive() else { throw Unexpected() }
        guard case .data(1, .output, _)? = host.receive() else { throw Unexpected() }
        let planted = try await eventually { ProcessEntry.descendants(of: host.pid).filter(\.isAlive).count >= 7 }
        #expect(planted)
        let tree = ProcessEntry.descendants(of: host.pid).filter(\.isAlive)
        #expect(tree.contains { $0.pid == pid })
        host.disconnect()
        // In a cluster its container is started again.
        #expect(Child.wait(host.pid, atMost: .seconds(30)) == .code(1))
        // At the very moment at which the host is gone nothing else may be there.
        #expect(alive(tree) == [])
        #expect(ProcessSweep.Targets(marker: host.marker).find() == [])
    }

    @Test(arguments: 0..<3) func aKilledHostIsNoticedAndSweptUpAfter(_: Int) async throws {
        let host = try await TestHost.start()
        let (process, tree) = try await plant(host)
        async let reading = text(process.stderr)
        async let exit = process.exit()
        async let reason = host.link.waitUntilLost()
        kill(host.link.hostProcess, SIGKILL)
        #expect(await reason?.contains("signal(9)") == true)
        #expect(await exit == .lost)
        #expect(await reading == "")
        do throws(HostError) {
            _ = try await host.link.start(host.spec(["true"]))
            Issue.record("started")
        } catch {
            #expect(error.code == .lost)
        }
        try await host.link.sweepSurvivors()
        #expect(alive(tree) == [])
        #expect(host.carriers == [])
        await #expect(throws: HostError.self) { try await host.link.endAll(grace: .zero) }
    }

    @Test func aHungHostIsKilled() async throws {
        let host = try await TestHost.start()
        let (_, tree) = try await plant(host)
        kill(host.link.hostProcess, SIGSTOP)
        try await host.link.close()
        #expect(alive(tree) == [])
        #expect(host.carriers == [])
    }

    @Test func onSIGTERMTheSidecarDecidesWithinTheGraceTime() async throws {
        try await TestHost.with { host in
            kill(host.link.hostProcess, SIGTERM)
            #expect(await host.link.waitUntilTerminating())
            let (output, _, _) = try await host.output("echo still here")
            #expect(output == "still here\n")
        }
    }

    @Test func onSIGTERMTheHostEndsWhenTheGraceTimeIsOver() async throws {
        try await TestHost.with(arguments: ["--termination-grace", "300ms"]) { host in
            let (process, tree) = try await plant(host)
            kill(host.link.hostProcess, SIGTERM)
            #expect(await host.link.waitUntilTerminating())
            #expect(await host.link.waitUntilLost() != nil)
            #expect(await process.exit() == .lost)
            try await host.link.sweepSurvivors()
            #expect(alive(tree) == [])
        }
    }
}

struct Unexpected: Error {}

/// A real host with a sidecar that consists of the test itself, so that it can do what ``HostLink`` never does.
final class RawHost {
    let directory: String
    let marker = TestHost.makeMarker()
    let pid: Int32
    private let socket: Int32
    private var decoder: HostFrameDecoder

    init(before: (HostListener) throws -> Void = { _ in }) throws {
        directory = try TestHost.makeDirectory()
        let listener = try HostListener(directory: directory + "/run", peerUser: geteuid(), logger: TestHost.logger)
        try before(listener)
        var spawn = Spawn(
            [
                Products.path("holdfast-sidecar"), "host", "--socket", listener.socketPath, "--secret-file", listener.secretPath,
                "--marker", marker,
            ], environment: [:])
        spawn.grouping = .session
        pid = try spawn.start()
        let guest = try listener.accept(until: .now + .seconds(60), child: pid) { false }
        socket = guest.socket
        decoder = guest.decoder
        send(.welcome)
    }

    func remove() { try? FileManager.default.removeItem(atPath: directory) }

    func spec(_ arguments: [String]) -> ProcessSpec {
        ProcessSpec(arguments: arguments, environment: ["PATH": "/usr/bin:/bin"], directory: directory)
    }

    func send(_ frame: HostFrame) {
        var bytes: [UInt8] = []
        try! frame.encode(to: &bytes)
        send(bytes)
    }

    func send(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            var request = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
            poll(&request, 1, 20_000)
            let count = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// Nil when the host has closed the connection.
    func receive() -> HostFrame? {
        while true {
            if let frame = try? decoder.next() { return frame }
            var request = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            guard poll(&request, 1, 60_000) == 1 else { return nil }
            guard case .bytes(let bytes) = ReadResult.read(socket, limit: 65536) else { return nil }
            decoder.append(bytes)
        }
    }

    func disconnect() { close(socket) }
}
