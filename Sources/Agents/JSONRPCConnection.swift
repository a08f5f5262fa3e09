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
    func closed(_ closing: ConnectionClosing) async
}

enum JSONRPCFailure: Error, Sendable, Hashable {
    case answered(JSONRPCError)
    case closed(ConnectionClosing)
}

/// JSON-RPC 2.0 with a process, one message per line of its standard input and output.
actor JSONRPCConnection {
    private struct Waiting {
        var method: String
        var continuation: CheckedContinuation<Result<JSONValue, JSONRPCFailure>, Never>
    }

    private let lines: LineConnection
    private let peer: any JSONRPCPeer
    private var lastID: Int64 = 0
    private var waiting: [Int64: Waiting] = [:]
    /// Lines to be sent right after the next request of a method.
    private var following: [String: [UInt8]] = [:]
    private var closing: ConnectionClosing?

    init(process: any HostedProcess, peer: any JSONRPCPeer, frames: FrameTap) {
        lines = LineConnection(process, frames: frames)
        self.peer = peer
    }

    /// Begins to read and to write.
    func start() async { await lines.start(self) }

    /// Sends a request and waits for its answer.
    func request(_ method: String, _ params: JSONValue) async throws(JSONRPCFailure) -> JSONValue {
        if let closing { throw .closed(closing) }
        lastID += 1
        let id = lastID
        let line = JSONLine.encode(["jsonrpc": "2.0", "id": .integer(id), "method": .string(method), "params": params])
        let next = following.removeValue(forKey: method)
        return try await withCheckedContinuation { continuation in
            waiting[id] = Waiting(method: method, continuation: continuation)
            lines.send(line)
            if let next { lines.send(next) }
        }.get()
    }

    func notify(_ method: String) { lines.send(JSONLine.encode(["jsonrpc": "2.0", "method": .string(method)])) }

    /// Sends a notification about a request: now if one of that method is open, otherwise right after the next one.
    func notify(_ method: String, _ params: JSONValue, about request: String) {
        let line = JSONLine.encode(["jsonrpc": "2.0", "method": .string(method), "params": params])
        if waiting.values.contains(where: { $0.method == request }) { lines.send(line) } else { following[request] = line }
    }

    func respond(to id: JSONValue, _ result: Result<JSONValue, JSONRPCError>) {
        switch result {
        case .success(let value): lines.send(JSONLine.encode(["jsonrpc": "2.0", "id": id, "result": value]))
        case .failure(let error): lines.send(JSONLine.encode(["jsonrpc": "2.0", "id": id, "error": error.json]))
        }
    }

    /// Gives the process up: everything that waits for it fails, and what it still prints is thrown away.
    func abandon(_ reason: String) async { await lines.abandon(reason) }
}

extension JSONRPCConnection: LinePeer {
    func received(_ frame: JSONValue) async -> Bool {
        switch JSONRPCMessage(frame) {
        case .request(let id, let method, let params): await peer.requested(id, method, params)
        case .notification(let method, let params): await peer.notified(method, params)
        case .response(let id, let result):
            // An answer to nothing is an agent's mistake without consequences.
            guard let id = id.integer, let entry = waiting.removeValue(forKey: id) else { return true }
            entry.continuation.resume(returning: result.mapError { .answered($0) })
        case nil: return false
        }
        return true
    }

    func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream) async { await peer.printed(bytes, to: stream) }
    func discarded(lineOf bytes: Int) async { await peer.discarded(lineOf: bytes) }

    func closed(_ closing: ConnectionClosing) async {
        self.closing = closing
        await peer.closed(closing)
        let open = waiting
        waiting = [:]
        for entry in open.values { entry.continuation.resume(returning: .failure(.closed(closing))) }
    }
}
