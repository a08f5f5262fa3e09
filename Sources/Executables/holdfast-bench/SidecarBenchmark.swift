import FoundationEssentials
import Glibc
import Journal
import SessionModel

/// What a sidecar costs when nothing happens: its start, its memory and its size.
struct SidecarBenchmark {
    /// In MB: all of it, and what is not of a file.
    typealias Memory = (resident: Double, anonymous: Double)

    let settings: Settings

    func run(_ table: inout Table) async throws {
        let empty = try settings.fresh("empty")
        defer { settings.remove(empty) }
        let (starts, idle) = try measureStarts(state: empty, times: 10) { settings.remove(empty + "/state") }
        let ready = starts.percentile(0.5)
        if settings.wants("sidecar-start") {
            let size = Double(fileSize(settings.sidecar)) / 1e6
            table.add(
                "sidecar, static binary", "\(short(size)) MB", "30 MB", short(size / 30), aim: "< 30 MB", met: size < 30)
            // What any program costs to start, here and now.
            let floor = try Samples((0..<10).map { _ in try processStart() }).percentile(0.5)
            table.add(
                "sidecar, start to ready, p50 of 10", "\(short(ready)) ms", "`sidecar --version`, \(short(floor)) ms",
                short(ready / floor), aim: "< 20 ms", met: ready < 20)
            memory("idle", idle, nil, nil, &table)
        }
        if settings.wants("sidecar-turns") {
            let (few, many) = try afterTurns(100, 10_000)
            memory("after 100 turns", few, "idle", idle.anonymous, &table)
            memory("after 10,000 turns", many, "after 100", few.anonymous, &table)
        }
        if settings.wants("sidecar-large") {
            let large = try settings.fresh("large")
            defer { settings.remove(large) }
            let bytes = try await writeTranscript(large + "/state")
            let (opens, loaded) = try measureStarts(state: large, times: 5)
            let open = opens.percentile(0.5)
            table.add(
                "sidecar, opening a \(short(Double(bytes) / 1e9)) GB transcript, p50 of 5", "\(short(open)) ms",
                "an empty one, \(short(ready)) ms", short(open / ready), aim: "< 200 ms", met: open < 200)
            memory("with that transcript", loaded, "idle", idle.anonymous, &table)
        }
    }

    /// Anonymous memory is what a sidecar costs. What is resident beside it are pages of its own file, shared by all sidecars of a
    /// machine and given back when memory is short; how many the kernel maps at once is the kernel's affair.
    private func memory(
        _ when: String, _ memory: Memory, _ before: String?, _ anonymous: Double?,
        _ table: inout Table
    ) {
        table.add(
            "sidecar memory, \(when)", "\(short(memory.anonymous)) MB anonymous",
            "\(before.map { "\($0), " } ?? "")\(short(anonymous ?? 4)) MB", short(memory.anonymous / (anonymous ?? 4)),
            aim: "< 4 MB", met: memory.anonymous < 4)
        let file = Double(fileSize(settings.sidecar)) / 1e6
        table.add(
            "", "\(short(memory.resident)) MB resident", "its file as a whole, \(short(file)) MB",
            short((memory.resident - memory.anonymous) / file), aim: "< 20 MB", met: memory.resident < 20)
    }

    private func measureStarts(
        state: String, times: Int, before: () -> Void = {}
    ) throws -> (Samples, memory: Memory) {
        var starts: [UInt64] = []
        var memory = (resident: Double.nan, anonymous: Double.nan)
        for _ in 0..<times {
            before()
            let server = try settings.sidecar(state: state)
            starts.append(server.startup)
            usleep(300_000)
            memory = try server.memory()
            server.stop()
        }
        return (Samples(starts), memory)
    }

    private func processStart() throws -> UInt64 {
        let start = monotonic()
        try runToEnd([settings.sidecar, "--version"])
        return monotonic() - start
    }

    /// Memory after a few and after many turns that an agent has worked on to their end. Idle, a sidecar has not used most of what
    /// it consists of yet; from a few turns on, what grows is what it keeps of each.
    private func afterTurns(_ few: Int, _ many: Int) throws -> (few: Memory, many: Memory) {
        // In memory where there is such a disk: what is asked here is not how fast the disk is.
        let state = try settings.fresh("turns", in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil)
        defer { settings.remove(state) }
        let server = try settings.sidecar(state: state, ["--agent", try settings.peer(in: state, events: 2)])
        defer { server.stop() }
        var sent = 0
        var ended = 0
        let start = monotonic()
        func memory(after count: Int) throws -> Memory {
            while ended < count {
                // As a supervisor keeps it: there is always a turn to run, the queue is never full, and each has a key.
                while sent < min(count, ended + 50) {
                    _ = try server.call(
                        "POST", "/v1/turns", headers: "Idempotency-Key: bench-\(sent)\r\n",
                        body: #"{"prompt":"Read one file."}"#)
                    sent += 1
                }
                let counts = try JSON.decode(SessionStatus.self, from: server.call("GET", "/v1/session")).turns
                ended = counts.succeeded + counts.failed
                guard counts.failed == 0 else { throw Failure("\(counts.failed) turns failed") }
                usleep(5000)
                guard monotonic() - start < 180_000_000_000 else { throw Failure("only \(ended) turns ran in three minutes") }
            }
            // It gives back what turns took when none has come for a few seconds.
            sleep(5)
            return try server.memory()
        }
        return (try memory(after: few), try memory(after: many))
    }

    /// Writes a transcript with the sidecar's own journal: what agents print, in events of 16 KiB.
    private func writeTranscript(_ state: String) async throws -> Int {
        _ = try check(mkdir(state, 0o700), state)
        let text = String(repeating: "The quick brown fox jumps over the lazy dog. ", count: 365)
        let (journal, recovered, _) = try Journal.open(
            state: state, epoch: nil, now: Timestamp(milliseconds: Int64(wallClock() / 1_000_000)), onTrouble: { _ in })
        var queue = recovered
        let body = EventBody.message(Message(text: text))
        for _ in 0..<(settings.transcript / text.utf8.count) {
            let now = Timestamp(milliseconds: Int64(wallClock() / 1_000_000))
            let sequence = journal.append(body, turn: nil, at: now)
            queue.apply(body, turn: nil, at: now)
            journal.rotateIfNeeded(at: now) { queue.checkpoint }
            if journal.backlog > 4 << 20 { try await journal.synced(sequence) }
        }
        await journal.close()
        let names = try FileManager.default.contentsOfDirectory(atPath: state + "/transcript")
        return names.reduce(0) { $0 + fileSize(state + "/transcript/" + $1) }
    }
}
