import AgentHost
import Foundation
import Glibc
import SessionModel
import Testing

@Suite(.timeLimit(.minutes(2))) struct RunTests {
    @Test func argumentsEnvironmentDirectoryAndStreams() async throws {
        try await TestHost.with { host in
            let process = try await host.link.start(
                host.spec(
                    ["sh", "-c", "echo \"$1|$NAME|$(pwd)\"; echo oops >&2; cat; exit 7", "sh", "a b\n"],
                    environment: ["NAME": "välue"]))
            #expect(process.pid > 0)
            try await process.write(Array("input".utf8))
            await process.closeInput()
            async let output = text(process.stdout)
            async let errors = text(process.stderr)
            #expect(await output == "a b\n|välue|\(host.directory)\ninput")
            #expect(await errors == "oops\n")
            #expect(await process.exit() == .code(7))
        }
    }

    @Test func theEnvironmentIsWhatWasGivenAndTheMarker() async throws {
        try await TestHost.with { host in
            let (output, _, _) = try await host.output("exec env")
            let names = Set(output.split(separator: "\n").map { String($0.prefix { $0 != "=" }) })
            #expect(names.subtracting(["PWD", "_", "SHLVL", "OLDPWD"]) == ["PATH", "HOLDFAST_TEST"])
            #expect(output.contains(host.marker))
        }
    }

    @Test func onlyTheStandardStreamsAreOpen() async throws {
        try await TestHost.with { host in
            let (output, _, _) = try await host.output("ls /proc/self/fd | tr '\\n' ' '")
            #expect(output == "0 1 2 3 ")  // 3 is ls's own, for the directory.
        }
    }

    @Test func bytesThatAreNoUTF8PassThrough() async throws {
        try await TestHost.with { host in
            let bytes = (0..<100_000).map { _ in UInt8.random(in: 0...255) }
            let process = try await host.link.start(host.spec(["cat"]))
            async let sent: Void = {
                try await process.write(bytes)
                await process.closeInput()
            }()
            var received: [UInt8] = []
            for await chunk in process.stdout {
                #expect(chunk.count <= 65536)
                received += chunk
            }
            try await sent
            #expect(received == bytes)
            #expect(await process.exit() == .code(0))
        }
    }

    @Test func signals() async throws {
        try await TestHost.with { host in
            let process = try await host.shell("sleep 100 & echo ready; wait")
            var lines = process.stdout.makeAsyncIterator()
            #expect(await lines.next() != nil)
            await process.signal(SIGTERM)
            #expect(await process.exit() == .signal(SIGTERM))
            // The group's other member had it too: the output ends.
            #expect(await lines.next() == nil)
        }
    }

    @Test func signalDispositionsAreTheDefault() async throws {
        try await TestHost.with { host in
            let (output, _, _) = try await host.output("cat /proc/self/status")
            let fields = output.split(separator: "\n").filter { $0.hasPrefix("SigBlk") || $0.hasPrefix("SigIgn") }
            #expect(fields.count == 2)
            for field in fields {
                // glibc's posix_spawn has the two signals that it uses itself (32 and 33) ignored.
                #expect(UInt64(field.suffix(16), radix: 16).map { $0 & ~0x1_8000_0000 } == 0)
            }
        }
    }

    @Test func whatCannotBeStartedSaysWhy() async throws {
        try await TestHost.with { host in
            func message(_ spec: ProcessSpec) async -> String {
                do {
                    _ = try await host.link.start(spec)
                    return "started"
                } catch {
                    #expect(error.code == .cannotStart)
                    return error.message
                }
            }
            #expect(
                await message(host.spec(["no-such-agent"]))
                    == "Cannot start no-such-agent: there is no such program in PATH (/usr/bin:/bin)")
            #expect(await message(host.spec(["/no/agent"])).hasPrefix("Cannot start /no/agent: it, or the interpreter"))
            #expect(await message(host.spec(["/etc/passwd"])).contains("may not be executed"))
            var spec = host.spec(["true"])
            spec.directory = "/no/such/directory"
            #expect(
                await message(spec) == "Cannot start true: its working directory /no/such/directory: No such file or directory")
            spec.directory = "/etc/passwd"
            #expect(await message(spec).hasSuffix("is not a directory"))
            #expect(await message(host.spec([])) == "No program was given to start")
            #expect(await message(host.spec(["echo", "a\0b"])).contains("NUL"))
            #expect(await message(host.spec(["echo", String(repeating: "x", count: 200_000)])).contains("too long"))
            #expect(await message(host.spec(["echo", String(repeating: "x", count: 5 << 20)])).contains("more than"))
            // And it is fit for use afterwards.
            let (output, _, _) = try await host.output("echo fine")
            #expect(output == "fine\n")
        }
    }

    @Test func writingToAProcessThatDoesNotRead() async throws {
        try await TestHost.with { host in
            let process = try await host.shell("exec <&-; echo closed; exec sleep 100")
            var lines = process.stdout.makeAsyncIterator()
            #expect(await lines.next() == Array("closed\n".utf8))
            await #expect(throws: HostError.self) {
                for _ in 0..<100 { try await process.write([UInt8](repeating: 1, count: 65536)) }
            }
            let ended = try await host.shell("exit 3")
            #expect(await ended.exit() == .code(3))
            do throws(HostError) {
                try await ended.write([1])
                Issue.record("written")
            } catch {
                #expect(error.code == .brokenPipe)
            }
        }
    }

    @Test func cancelledWaitsEnd() async throws {
        try await TestHost.with { host in
            let process = try await host.link.start(host.spec(["sleep", "100"]))
            let reading = Task { await text(process.stdout) }
            let waiting = Task { await process.exit() }
            let writing = Task { () -> HostError? in
                do throws(HostError) {
                    while true { try await process.write([UInt8](repeating: 0, count: 65536)) }
                } catch { return error }
            }
            let losing = Task { await host.link.waitUntilLost() }
            for task in [reading.cancel, waiting.cancel, writing.cancel, losing.cancel] { task() }
            #expect(await reading.value == "")
            #expect(await waiting.value == .lost)
            #expect(await writing.value?.code == .cancelled)
            #expect(await losing.value == nil)
        }
    }

    @Test func fiveHundredShortProcessesLeakNothing() async throws {
        try await TestHost.with { host in
            let pid = host.link.hostProcess
            func descriptors() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count }
            _ = try await host.output("true")
            let before = try descriptors()
            let memory = residentKilobytes(pid)
            for number in 0..<500 {
                let process = try await host.link.start(host.spec(["echo", "\(number)"]))
                if number % 3 == 0 { continue }  // Let go of without having been read.
                let output = await text(process.stdout)
                #expect(output == "\(number)\n")
                #expect(await process.exit() == .code(0))
            }
            #expect(try await eventually { try descriptors() <= before })
            #expect(try await host.link.processes() == [])
            #expect(residentKilobytes(pid) < memory + 4096)
        }
    }

    @Test func processesAreListed() async throws {
        try await TestHost.with { host in
            let process = try await host.shell("setsid sleep 1234 & echo; wait")
            var lines = process.stdout.makeAsyncIterator()
            _ = await lines.next()
            #expect(try await eventually { try await host.link.processes().contains { $0.command == "sleep 1234" } })
            #expect(try await host.link.processes().contains { $0.pid == process.pid })
        }
    }
}

func residentKilobytes(_ pid: Int32) -> Int {
    let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
    return Int(line.filter(\.isNumber)) ?? 0
}
