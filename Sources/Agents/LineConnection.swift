import AgentHost
import NIOConcurrencyHelpers
import SessionModel

/// Who is at our end of a connection: gets everything that the agent prints, one thing at a time and in order.
///
/// While a call has not returned nothing more is read, and in the end the agent blocks: this is the back-pressure.
protocol LinePeer: Sendable {
    /// A line that is a JSON object.
    /// - Returns: whether it is a message of the protocol; if not, it is printed like any other line.
    func received(_ frame: JSONValue) async -> Bool
    /// Bytes outside the protocol: all of standard error, and the lines of standard output that are no messages.
    func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream) async
    /// A line that was too long was thrown away.
    func discarded(lineOf bytes: Int) async
    /// Nothing more will come.
    func closed(_ closing: ConnectionClosing) async
}

/// Why a connection carries nothing any more.
enum ConnectionClosing: Sendable, Hashable {
    case exited(ExitStatus)
    /// The process may be alive but cannot be talked with.
    case broken(String)
}

/// A process that is talked with in lines, over its standard input and output.
actor LineConnection {
    /// How much may wait for the process to read it, in bytes.
    private static let outboxLimit = 64 << 20
    /// How long the exit of a process may take to be known when its streams have ended, on a machine that has much to do.
    private static let exitArrives = Duration.seconds(10)

    private let process: any HostedProcess
    private let frames: FrameTap
    private let runsToItsEnd: Bool
    private let lines: AsyncStream<[UInt8]>
    private let outbox: AsyncStream<[UInt8]>.Continuation
    private let queuedBytes = NIOLockedValueBox(0)
    private var peer: (any LinePeer)?
    private var closing: ConnectionClosing?
    private var waiters: [CheckedContinuation<Void, Never>] = []
    private var openStreams = 2
    /// Counts chunks that were read and those that were handled, to see whether output still comes.
    private var progress = 0
    private var handling = 0

    /// - Parameter runsToItsEnd: the process is no peer but a program that runs once: only its exit is its end, whatever it does to
    ///   its standard streams, and its empty lines are output, too.
    init(_ process: any HostedProcess, frames: FrameTap, runsToItsEnd: Bool = false) {
        self.process = process
        self.frames = frames
        self.runsToItsEnd = runsToItsEnd
        (lines, outbox) = AsyncStream.makeStream(of: [UInt8].self)
    }

    /// Begins to read and to write.
    func start(_ peer: any LinePeer) {
        self.peer = peer
        Task { await self.write() }
        Task { await self.readOutput() }
        Task { await self.readErrors() }
        Task { await self.awaitExit() }
    }

    // MARK: Sending

    /// Sends a line, which has its newline, and does not wait: lines leave in the order of the calls, as the process reads them.
    nonisolated func send(_ line: [UInt8]) {
        frames.note(.sent, line)
        guard case .enqueued = outbox.yield(line) else { return }
        let waiting = queuedBytes.withLockedValue { bytes in
            bytes += line.count
            return bytes
        }
        if waiting > Self.outboxLimit {
            Task { await close(.broken("it does not read its standard input; \(waiting) bytes wait for it")) }
        }
    }

    /// Ends the process's standard input after what is on its way there.
    nonisolated func endInput() { outbox.finish() }

    /// Sends a signal to the process's process group.
    func signal(_ number: Int32) async { await process.signal(number) }

    /// Gives the process up: what it still prints is thrown away.
    func abandon(_ reason: String) async { await close(.broken(reason)) }

    private func write() async {
        for await line in lines {
            do throws(HostError) {
                try await process.write(line)
                queuedBytes.withLockedValue { $0 -= line.count }
            } catch {
                if runsToItsEnd { return }
                // Mostly because the process has just ended: its exit status says more, so that gets time to arrive.
                try? await Task.sleep(for: Self.exitArrives)
                return await close(.broken("it cannot be written to: \(error.message)"))
            }
        }
        if closing == nil { await process.closeInput() }
    }

    /// Why it is closed; nil when it is not, not even after `limit`.
    func closing(within limit: TimeSpan) async -> ConnectionClosing? {
        guard closing == nil else { return closing }
        let timer = Task {
            try? await Task.sleep(for: limit.duration)
            releaseWaiters()
        }
        defer { timer.cancel() }
        await withCheckedContinuation { waiters.append($0) }
        return closing
    }

    private func releaseWaiters() {
        for waiter in waiters { waiter.resume() }
        waiters = []
    }

    // MARK: Receiving

    private func readOutput() async {
        var reader = LineReader()
        for await chunk in process.stdout {
            begin()
            await handle(reader.append(chunk))
            handling -= 1
        }
        if let line = reader.finish() { await handle([line]) }
        streamEnded()
        if runsToItsEnd { return }
        // An agent that closed its output can never answer again, even if it lives on. Mostly it has ended: as above.
        try? await Task.sleep(for: Self.exitArrives)
        await close(.broken("it closed its standard output"))
    }

    private func readErrors() async {
        for await chunk in process.stderr {
            begin()
            if closing == nil { await peer?.printed(chunk, to: .stderr) }
            handling -= 1
        }
        streamEnded()
    }

    private func begin() {
        progress += 1
        handling += 1
    }

    private func streamEnded() { openStreams -= 1 }

    private func awaitExit() async {
        let status = await process.exit()
        // What it printed last is still on its way. A descendant may hold the streams open for ever, so silence is enough too; and one
        // that is never silent has its time, and then only what is being handled is waited for.
        let deadline = ContinuousClock.now + Self.exitArrives
        var seen = -1
        while openStreams > 0, closing == nil, handling > 0 || seen != progress,
            seen == progress || ContinuousClock.now < deadline
        {
            seen = progress
            for _ in 0..<25 where openStreams > 0 { try? await Task.sleep(for: .milliseconds(10)) }
        }
        await close(.exited(status))
    }

    private func handle(_ lines: [LineReader.Line]) async {
        var noise: [UInt8] = []
        for line in lines {
            guard closing == nil else { return }
            switch line {
            case .tooLong(let bytes):
                await flush(&noise)
                await peer?.discarded(lineOf: bytes)
            case .whole(let bytes):
                if let frame = JSONLine.parse(bytes) {
                    await flush(&noise)
                    frames.note(.received, bytes)
                    if await peer?.received(frame) == true { continue }
                }
                if !bytes.isEmpty || runsToItsEnd { noise += bytes + [UInt8(ascii: "\n")] }
            }
        }
        await flush(&noise)
    }

    private func flush(_ noise: inout [UInt8]) async {
        guard !noise.isEmpty else { return }
        await peer?.printed(noise, to: .stdout)
        noise = []
    }

    private func close(_ closing: ConnectionClosing) async {
        guard self.closing == nil else { return }
        self.closing = closing
        outbox.finish()
        let peer = peer
        self.peer = nil
        await peer?.closed(closing)
        releaseWaiters()
    }
}
