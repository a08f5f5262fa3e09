import Curl
import Foundation
import Glibc
import Processes
import SessionModel
import Support
import Testing

/// The inspector's commands, as the real binary.
private struct Inspector {
    let home: SidecarHome

    struct Result {
        var code: Int32
        var output: String
        var error: String
    }

    private func spawn(_ arguments: [String]) -> Spawn {
        Spawn(
            [Products.path("holdfast-sidecar")] + arguments,
            environment: ["HOLDFAST_SOCKET": home.socket, "HOLDFAST_STATE_DIR": home.state, "TERM": "xterm"])
    }

    func run(_ arguments: String..., input: String = "") async throws -> Result {
        let name = home.path + "/run\(UInt32.random(in: 0 ... .max))"
        try input.write(toFile: name + ".in", atomically: false, encoding: .utf8)
        var spawn = spawn(arguments)
        let files = [
            open(name + ".in", O_RDONLY | O_CLOEXEC), open(name + ".out", O_RDWR | O_CREAT | O_CLOEXEC, 0o600),
            open(name + ".err", O_RDWR | O_CREAT | O_CLOEXEC, 0o600),
        ]
        defer { for file in files { close(file) } }
        spawn.descriptors = files
        let pid = try spawn.start()
        let end = try await blocking { () -> ProcessEnd? in
            if let end = Child.wait(pid, atMost: .seconds(60)) { return end }
            kill(pid, SIGKILL)
            return Child.wait(pid)
        }
        guard case .code(let code) = end else { throw SidecarFailure("\(arguments) ended by \(String(describing: end))") }
        return Result(
            code: code, output: try String(contentsOfFile: name + ".out", encoding: .utf8),
            error: try String(contentsOfFile: name + ".err", encoding: .utf8))
    }

    /// Runs a command on a terminal until what it prints has this text, then interrupts it.
    func onTerminal(_ arguments: String..., until text: String) async throws -> String {
        // What posix_openpt, unlockpt and ptsname do; the Glibc module does not have them.
        let terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var locked: Int32 = 0
        var number: UInt32 = 0
        let setLock: UInt = 0x4004_5431
        let getNumber: UInt = 0x8004_5430
        guard terminal >= 0, ioctl(terminal, setLock, &locked) == 0, ioctl(terminal, getNumber, &number) == 0 else {
            throw SidecarFailure("no terminal: \(String(cString: strerror(errno)))")
        }
        let name = "/dev/pts/\(number)"
        defer { close(terminal) }
        let side = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)
        var spawn = spawn(arguments)
        spawn.descriptors = [side, side, side]
        let pid = try spawn.start()
        close(side)
        return try await blocking {
            var seen = ""
            var part = [UInt8](repeating: 0, count: 4096)
            var waiting = pollfd(fd: terminal, events: Int16(POLLIN), revents: 0)
            while !seen.contains(text), poll(&waiting, 1, 30_000) == 1 {
                let count = read(terminal, &part, part.count)
                if count <= 0 { break }
                seen += String(decoding: part.prefix(count), as: UTF8.self)
            }
            kill(pid, SIGINT)
            _ = Child.wait(pid)
            return seen
        }
    }
}

@Suite struct InspectorTests {
    @Test func aDayWithTheInspector() async throws {
        try await SidecarProcess.with(agent: .demo(permissions: .ask)) { sidecar in
            let inspector = Inspector(home: sidecar.home)
            try await sidecar.waitUntilReady()
            #expect(try await inspector.run("health").code == 0)
            #expect(try await inspector.run("health", "--ready").code == 0)
            #expect(try await inspector.run("turns").output.contains("No turns yet"))

            let first = try await inspector.run("enqueue", "say: good morning\nrun: seq 1 200", "--key", "k1")
            #expect(first.code == 0 && first.output.hasPrefix("t1 "), "\(first)")
            #expect(
                try await inspector.run("enqueue", "say: good morning\nrun: seq 1 200", "--key", "k1").output.hasPrefix("t1 "))
            #expect(try await inspector.run("enqueue", "other", "--key", "k1").code != 0)
            let fromInput = try await inspector.run("enqueue", "-", input: "ask: May I?\nsay: over ünïcödé")
            #expect(fromInput.output.hasPrefix("t2 "), "\(fromInput)")
            _ = try await sidecar.turn(TurnID(2), in: [.awaitingInput])
            let asking = try await inspector.run("status")
            #expect(asking.output.contains("May I?") && asking.output.contains("allow"), "\(asking.output)")
            #expect(try await inspector.run("answer", "t2", "maybe").code == 64)
            #expect(try await inspector.run("answer", "t2", "allow").code == 0)
            _ = try await sidecar.end(of: TurnID(2))

            try await sidecar.enqueue("run: sleep 60")
            _ = try await sidecar.turn(TurnID(3), in: [.running])
            #expect(try await inspector.run("cancel", "t3").code == 0)
            _ = try await sidecar.end(of: TurnID(3))
            #expect(try await inspector.run("cancel", "three").code == 64)
            #expect(try await inspector.run("cancel", "t99").code != 0)

            let turns = try await inspector.run("turns")
            #expect(turns.output.split(separator: "\n").count == 3)
            #expect(turns.output.contains("t3") && turns.output.contains("cancelled"))
            #expect(try JSON.decode(TurnList.self, from: try await inspector.run("turns", "--json").output).total == 3)
            let status = try await inspector.run("status", "--json")
            #expect(try JSON.decode(SessionStatus.self, from: status.output).turns.succeeded == 2)
            // Nothing of all that is on a terminal, so nothing is coloured.
            for result in [turns, try await inspector.run("status"), try await inspector.run("transcript")] {
                #expect(!result.output.contains("\u{1b}"))
            }
        }
    }

    @Test func theTranscriptInAllItsForms() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let inspector = Inspector(home: sidecar.home)
            try await sidecar.enqueue("say: first words\nrun: echo tool output")
            try await sidecar.enqueue("say: second words")
            _ = try await sidecar.end(of: TurnID(2))

            let text = try await inspector.run("transcript")
            #expect(text.code == 0 && text.output.contains("first words") && text.output.contains("second words"))
            let markdown = try await inspector.run("transcript", "--format", "markdown")
            #expect(markdown.output.contains("#") && markdown.output.contains("first words"))
            let lines = try await inspector.run("transcript", "--format", "jsonl").output.split(separator: "\n")
            let events = try lines.map { try JSON.decode(Event.self, from: String($0)) }
            #expect(events.map(\.sequence) == (1...UInt64(events.count)).map { $0 })

            let one = try await inspector.run("transcript", "--turn", "t1")
            #expect(one.output.contains("first words") && !one.output.contains("second words"))
            let late = try await inspector.run("transcript", "--after", "\(events.count - 1)", "--format", "jsonl")
            #expect(late.output.split(separator: "\n") == [lines.last!])
            let found = try await inspector.run("transcript", "--grep", "second w.rds", "--format", "jsonl").output
            #expect(!found.isEmpty && found.split(separator: "\n").allSatisfy { $0.contains("second words") })
            for wrong in [
                ["--grep", "("], ["--turn", "2"], ["--after", "x"], ["--format", "pdf"], ["--offline", "--follow"],
            ] {
                let result = try await inspector.run("transcript", wrong[0], wrong.count > 1 ? wrong[1] : "")
                #expect(result.code == 64, "\(wrong): \(result)")
            }
            let gone = try await inspector.run("transcript", "--after", "0123456789abcdef-1")
            #expect(gone.code != 0 && gone.error.contains("another journal") && gone.output.isEmpty, "\(gone)")

            // Offline shows the very same, with the sidecar alive and with it dead.
            #expect(try await inspector.run("transcript", "--offline").output == text.output)
            sidecar.kill(SIGKILL)
            try await sidecar.waitForExit()
            #expect(try await inspector.run("transcript", "--offline").output == text.output)
            #expect(
                try await inspector.run("transcript", "--offline", "--format", "jsonl").output.split(separator: "\n") == lines)
        }
    }

    @Test func withoutASidecarThereIsOneSentence() async throws {
        let home = try SidecarHome()
        let inspector = Inspector(home: home)
        for command in ["status", "turns", "transcript"] {
            let result = try await inspector.run(command)
            #expect(result.code == 69, "\(command)")
            #expect(result.output.isEmpty && result.error.split(separator: "\n").count == 1, "\(result)")
            #expect(result.error.contains("No sidecar answers at"))
        }
        #expect(try await inspector.run("health").code == 1)
        #expect(try await inspector.run("transcript", "--offline").code != 0)
        await home.remove()
    }

    @Test func followingOnATerminalIsColouredAndLive() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            let inspector = Inspector(home: sidecar.home)
            async let seen = inspector.onTerminal("transcript", "--follow", until: "THE-END")
            try await sidecar.until { try await sidecar.json(Activity.self, "GET", "/v1/activity").attached == 1 }
            try await sidecar.enqueue("run: echo THE-END")
            let text = try await seen
            #expect(text.contains("THE-END"))
            #expect(text.contains("\u{1b}["))
            try await sidecar.until { try await sidecar.json(Activity.self, "GET", "/v1/activity").attached == 0 }
        }
    }

    @Test func healthSaysWhyItIsNotReady() async throws {
        try await SidecarProcess.with { sidecar in
            try await sidecar.send("POST", "/v1/drain")
            let inspector = Inspector(home: sidecar.home)
            #expect(try await inspector.run("health").code == 0)
            let ready = try await inspector.run("health", "--ready")
            #expect(ready.code == 1 && ready.output.contains("draining"), "\(ready)")
        }
    }
}
