import AgentHost
import SessionModel

/// Who is at our end of a connection: gets everything that the agent sends, one thing at a time and in order.
///
/// While a call has not returned nothing more is read, and in the end the agent blocks: this is the back-pressure.
protocol JSONRPCPeer: Sendable {
    func notified(_ method: String, _ params: JSONValue) async
    /// To be answered with ``JSONRPCConnection/respond(to:_:)``, not necessarily before this returns.
    func requested(_ id: JSONValue, _ method: String, _ params: JSONValue) async
    /// Bytes outside the protocol: all of standard error, and the lines of standard output that are no messages.
    func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream) async
    /// A line that was too long was thrown away.
    func discarded(lineOf bytes: Int) async
    /// Nothing more will come. Called before the requests that are still open fail.
    func closed(_ closing: JSONRPCClosing) async
}

/// Why a connection carries nothing any more.
enum JSONRPCClosing: Sendable, Hashable {
    case exited(ExitStatus)
    /// The process may be alive but cannot be talked with.
    case broken(String)
}

enum JSONRPCFailure: Error, Sendable, Hashable {
    case answered(JSONRPCError)
    case closed(JSONRPCClosing)
}

/// JSON-RPC 2.0 with a process, one message per line of its standard input and output.
actor JSONRPCConnection {
    /// How much may wait for the process to read it, in bytes.
    private static let outboxLimit = 64 << 20

    private struct Waiting {
        var method: String
        var continuation: CheckedContinuation<Result<JSONValue, JSONRPCFailure>, Never>
    }

    private let process: any HostedProcess
    private let peer: any JSONRPCPeer
    private let outbox: AsyncStream<[UInt8]>.Continuation
    private var queuedBytes = 0
    private var lastID: Int64 = 0
    private var waiting: [Int64: Waiting] = [:]
    /// Lines to be sent right after the next request of a method.
    private var following: [String: [UInt8]] = [:]
    private var closing: JSONRPCClosing?
    private var openStreams = 2
    /// Counts chunks that were read and those that were handled, to see whether output still comes.
    private var progress = 0
    private var handling = 0

    /// Begins to read at once.
    init(process: any HostedProcess, peer: any JSONRPCPeer) {
        self.process = process
        self.peer = peer
        let (lines, outbox) = AsyncStream.makeStream(of: [UInt8].self)
        self.outbox = outbox
        Task { await self.write(lines) }
        Task { await self.readOutput() }
        Task { await self.readErrors() }
        Task { await self.awaitExit() }
    }

    // MARK: Sending

    /// Sends a request and waits for its answer.
    func request(_ method: String, _ params: JSONValue) async throws(JSONRPCFailure) -> JSONValue {
        if let closing { throw .closed(closing) }
        lastID += 1
        let id = lastID
        let line = JSONRPCMessage.line(["jsonrpc": "2.0", "id": .integer(id), "method": .string(method), "params": params])
        return try await withCheckedContinuation { continuation in
            waiting[id] = Waiting(method: method, continuation: continuation)
            send(line)
            if let next = following.removeValue(forKey: method) { send(next) }
        }.get()
    }

    /// Sends a notification about a request: now if one of that method is open, otherwise right after the next one.
    func notify(_ method: String, _ params: JSONValue, about request: String) {
        let line = JSONRPCMessage.line(["jsonrpc": "2.0", "method": .string(method), "params": params])
        if waiting.values.contains(where: { $0.method == request }) { send(line) } else { following[request] = line }
    }

    func respond(to id: JSONValue, _ result: Result<JSONValue, JSONRPCError>) {
        switch result {
        case .success(let value): send(JSONRPCMessage.line(["jsonrpc": "2.0", "id": id, "result": value]))
        case .failure(let error): send(JSONRPCMessage.line(["jsonrpc": "2.0", "id": id, "error": error.json]))
        }
    }

    /// Gives the process up: everything that waits for it fails, and what it still prints is thrown away.
    func abandon(_ reason: String) async { await close(.broken(reason)) }

    private func send(_ line: [UInt8]) {
        guard closing == nil else { return }
        queuedBytes += line.count
        outbox.yield(line)
        if queuedBytes > Self.outboxLimit {
            Task { await close(.broken("it does not read its standard input; \(queuedBytes) bytes wait for it")) }
        }
    }

    private func write(_ lines: AsyncStream<[UInt8]>) async {
        for await line in lines {
            do throws(HostError) {
                try await process.write(line)
                queuedBytes -= line.count
            } catch {
                // Mostly because the process has just ended: its exit status says more, so that gets a moment to arrive.
                try? await Task.sleep(for: .seconds(2))
                return await close(.broken("it cannot be written to: \(error.message)"))
            }
        }
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
        await streamEnded()
        // An agent that closed its output can never answer again, even if it lives on.
        try? await Task.sleep(for: .seconds(2))
        await close(.broken("it closed its standard output"))
    }

    private func readErrors() async {
        for await chunk in process.stderr {
            begin()
            if closing == nil { await peer.printed(chunk, to: .stderr) }
            handling -= 1
        }
        await streamEnded()
    }

    private func begin() {
        progress += 1
        handling += 1
    }

    private func streamEnded() async { openStreams -= 1 }

    private func awaitExit() async {
        let status = await process.exit()
        // What it printed last is still on its way. A descendant may hold the streams open for ever, so silence is enough too.
        var seen = -1
        while openStreams > 0, closing == nil, handling > 0 || seen != progress {
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
                await peer.discarded(lineOf: bytes)
            case .whole(let bytes):
                if let message = JSONRPCMessage(line: bytes) {
                    await flush(&noise)
                    await handle(message)
                } else if !bytes.isEmpty {
                    noise += bytes
                    noise.append(UInt8(ascii: "\n"))
                }
            }
        }
        await flush(&noise)
    }

    private func flush(_ noise: inout [UInt8]) async {
        guard !noise.isEmpty else { return }
        await peer.printed(noise, to: .stdout)
        noise = []
    }

    private func handle(_ message: JSONRPCMessage) async {
        switch message {
        case .request(let id, let method, let params): await peer.requested(id, method, params)
        case .notification(let method, let params): await peer.notified(method, params)
        case .response(let id, let result):
            // An answer to nothing is an agent's mistake without consequences.
            guard let id = id.integer, let entry = waiting.removeValue(forKey: id) else { return }
            entry.continuation.resume(returning: result.mapError { .answered($0) })
        }
    }

    private func close(_ closing: JSONRPCClosing) async {
        guard self.closing == nil else { return }
        self.closing = closing
        outbox.finish()
        await peer.closed(closing)
        let open = waiting
        waiting = [:]
        for entry in open.values { entry.continuation.resume(returning: .failure(.closed(closing))) }
    }
}
