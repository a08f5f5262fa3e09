import AgentHost
import Foundation
import Glibc
import SessionModel
import Support
import Synchronization
import Testing

/// Back-pressure: what is not read is not held.
@Suite(.timeLimit(.minutes(5))) struct FlowTests {
    @Test func aHugeOutputCostsLittleMemory() async throws {
        try await TestHost.with { host in
            let pid = host.link.hostProcess
            let before = residentKilobytes(pid)
            let process = try await host.shell("head -c 300000000 /dev/zero; head -c 300000000 /dev/zero >&2 & wait")
            let unread = try await host.shell("exec head -c 300000000 /dev/zero")
            var most = 0
            var count = 0
            var chunks = 0
            for await chunk in process.stdout {
                count += chunk.count
                chunks += 1
                if chunks % 100 == 0 { most = max(most, residentKilobytes(pid)) }
                if count >= 300_000_000 { break }
            }
            #expect(count == 300_000_000)
            #expect(most < before + 8192)
            // Neither its errors nor the other process's output have been read, and both wait.
            let waiting = try await host.link.processes()
            #expect(waiting.contains { $0.pid == unread.pid })
            #expect(residentKilobytes(pid) < before + 8192)
        }
    }

    @Test func manySilentReadersCostLittleMemory() async throws {
        try await TestHost.with { host in
            let pid = host.link.hostProcess
            let before = residentKilobytes(pid)
            var processes: [any HostedProcess] = []
            for _ in 0..<40 { processes.append(try await host.shell("exec yes")) }
            let (output, _, _) = try await host.output("echo through")
            #expect(output == "through\n")
            for process in processes {
                var chunks = process.stdout.makeAsyncIterator()
                #expect(await chunks.next() != nil)
            }
            #expect(residentKilobytes(pid) < before + 16384)
        }
    }

    @Test func inputWaitsForItsReader() async throws {
        try await TestHost.with { host in
            let pid = host.link.hostProcess
            let before = residentKilobytes(pid)
            let process = try await host.shell("mkfifo gate; echo ready; cat gate; wc -c")
            var lines = process.stdout.makeAsyncIterator()
            #expect(await lines.next() == Array("ready\n".utf8))
            let written = Mutex(0)
            async let writing: Void = {
                for _ in 0..<160 {
                    try await process.write([UInt8](repeating: 7, count: 65536))
                    written.withLock { $0 += 1 }
                }
                await process.closeInput()
            }()
            let filled = try await eventually { written.withLock { $0 } >= 4 }
            #expect(filled)
            for _ in 0..<20 { _ = try await host.link.processes() }
            // The window (256 KiB) and the pipe (64 KiB) are full.
            #expect(written.withLock { $0 } <= 6)
            #expect(residentKilobytes(pid) < before + 4096)
            let gate = open(host.directory + "/gate", O_WRONLY | O_CLOEXEC)
            close(gate)
            try await writing
            #expect(
                String(decoding: await lines.next() ?? [], as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
                    == "10485760")
            #expect(await process.exit() == .code(0))
        }
    }

    @Test func concurrentWritesStayWhole() async throws {
        try await TestHost.with { host in
            let process = try await host.shell("sort | uniq -c | awk '{print $1, length($2)}'")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for letter in "abcdefgh" {
                    group.addTask {
                        try await process.write(Array((String(repeating: letter, count: 200_000) + "\n").utf8))
                    }
                }
                try await group.waitForAll()
            }
            await process.closeInput()
            #expect(await text(process.stdout) == String(repeating: "1 200000\n", count: 8))
        }
    }

    @Test func errorsAreCopiedToTheLog() async throws {
        let directory = try TestHost.makeDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let log = open(directory + "/log", O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        defer { close(log) }
        let link = try await HostLink.start(
            directory: directory + "/run", marker: TestHost.makeMarker(),
            executable: [Products.path("holdfast-sidecar"), "host"],
            log: log, deadline: .seconds(60), logger: TestHost.logger)
        let process = try await link.start(
            ProcessSpec(arguments: ["/bin/sh", "-c", "echo complaint >&2"], environment: [:], directory: "/"))
        #expect(await text(process.stderr) == "complaint\n")
        try await link.close()
        #expect(try String(contentsOfFile: directory + "/log", encoding: .utf8).contains("complaint\n"))
    }

    @Test func aLogThatNobodyReadsStopsNothing() async throws {
        let directory = try TestHost.makeDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var pipe: [Int32] = [0, 0]
        #expect(Glibc.pipe(&pipe) == 0)
        defer { for end in pipe { close(end) } }
        let link = try await HostLink.start(
            directory: directory + "/run", marker: TestHost.makeMarker(),
            executable: [Products.path("holdfast-sidecar"), "host"],
            log: pipe[1], deadline: .seconds(60), logger: TestHost.logger)
        let process = try await link.start(
            ProcessSpec(arguments: ["/bin/sh", "-c", "/usr/bin/head -c 5000000 /dev/zero >&2"], environment: [:], directory: "/"))
        var count = 0
        for await chunk in process.stderr { count += chunk.count }
        #expect(count == 5_000_000)
        try await link.close()
    }
}
