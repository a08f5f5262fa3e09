import FoundationEssentials
import Glibc
import SessionModel

/// One ACP connection over standard input and output: answers requests, and runs the turn of each conversation.
actor Agent {
    private let home: String
    private var conversations: [String: Conversation] = [:]
    private var turns: [String: Task<Void, Never>] = [:]
    private var questions: [Int64: CheckedContinuation<JSONValue?, Never>] = [:]
    private var lastRequest: Int64 = 0

    init(home: String) { self.home = home }

    /// A conversation that is open in this process.
    struct Conversation {
        let file: ConversationFile
        let directory: String
        var prompts: [String]
        /// Counts tool calls and messages, so that their ids are unique within the conversation.
        var items: Int
    }

    /// A JSON-RPC error.
    struct Failure: Error {
        var code: Int64
        var message: String
    }

    func received(_ line: [UInt8]) {
        guard !line.isEmpty else { return }
        guard let frame = try? JSON.decode(JSONValue.self, from: Data(line)), frame.object != nil else {
            return respond(to: .null, Failure(code: -32700, message: "the line is not a JSON object"))
        }
        guard let method = frame["method"]?.string else {
            if let id = frame["id"]?.integer { questions.removeValue(forKey: id)?.resume(returning: frame["result"]) }
            return
        }
        let params = frame["params"] ?? [:]
        guard let id = frame["id"] else {
            if method == "session/cancel", let session = params["sessionId"]?.string { turns[session]?.cancel() }
            return
        }
        do {
            if let result = try answer(method, params, id: id) { respond(to: id, result) }
        } catch let failure as Failure {
            respond(to: id, failure)
        } catch {
            respond(to: id, Failure(code: -32603, message: "\(error)"))
        }
    }

    /// Ends what is being worked on: the client is gone.
    func endWork() {
        for turn in turns.values { turn.cancel() }
    }

    // MARK: Requests

    /// The result of a request; nil when it will be answered later.
    private func answer(_ method: String, _ params: JSONValue, id: JSONValue) throws -> JSONValue? {
        switch method {
        case "initialize":
            return [
                "protocolVersion": 1,
                "agentCapabilities": [
                    "loadSession": true,
                    "promptCapabilities": ["image": false, "audio": false, "embeddedContext": false],
                ],
                "agentInfo": [
                    "name": "holdfast-demo-agent", "title": "Holdfast demonstration agent (no language model)", "version": "1",
                ],
                "authMethods": [],
            ]
        case "authenticate":
            return [:]
        case "session/new":
            let session = "demo-" + String(UInt64.random(in: .min ... .max), radix: 16)
            let directory = try self.directory(params)
            let file = try ConversationFile.create(path(session), directory: directory)
            conversations[session] = Conversation(file: file, directory: directory, prompts: [], items: 0)
            return ["sessionId": .string(session)]
        case "session/load":
            try load(try session(params), directory: try directory(params))
            return .null
        case "session/prompt":
            let session = try session(params)
            guard conversations[session] != nil else {
                throw Failure(code: -32602, message: "session \(session) is not open: load it first")
            }
            guard turns[session] == nil else {
                throw Failure(code: -32600, message: "session \(session) is working on a prompt already")
            }
            let text = (params["prompt"]?.array ?? []).compactMap { $0["text"]?.string }.joined(separator: "\n")
            turns[session] = Task {
                await prompt(session, text, id: id)
            }
            return nil
        default:
            throw Failure(code: -32601, message: "there is no method \(method)")
        }
    }

    private func session(_ params: JSONValue) throws(Failure) -> String {
        guard let session = params["sessionId"]?.string else { throw Failure(code: -32602, message: "sessionId is missing") }
        return session
    }

    private func directory(_ params: JSONValue) throws(Failure) -> String {
        guard let directory = params["cwd"]?.string, directory.hasPrefix("/") else {
            throw Failure(code: -32602, message: "cwd must be an absolute path")
        }
        return directory
    }

    private func path(_ session: String) -> String { "\(home)/\(session).jsonl" }

    private func load(_ session: String, directory: String) throws {
        let known = session.utf8.allSatisfy {
            ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x7a || $0 >= 0x30 && $0 <= 0x39 || $0 == 0x2d
        }
        guard known, let (file, entries) = try ConversationFile.reopen(path(session)) else {
            throw Failure(code: -32002, message: "there is no session \(session) in \(home)")
        }
        var prompts: [String] = []
        for entry in entries {
            if case .prompt(let text) = entry { prompts.append(text) }
            if let update = entry.replay { send(update, in: session) }
        }
        conversations[session] = Conversation(file: file, directory: directory, prompts: prompts, items: entries.count)
    }

    // MARK: A turn

    private func prompt(_ session: String, _ text: String, id: JSONValue) async {
        defer { turns[session] = nil }
        guard var conversation = conversations[session] else { return }
        let earlier = conversation.prompts
        do {
            try conversation.file.append(.prompt(text))
            try conversation.file.sync()
            conversation.prompts.append(text)
            conversations[session] = conversation
            let turn = Turn(agent: self, session: session, directory: conversation.directory)
            let stop = try await turn.run(Script(text), earlier: earlier)
            try conversation.file.sync()
            respond(to: id, ["stopReason": .string(stop)])
        } catch let failure as Failure {
            respond(to: id, failure)
        } catch {
            respond(to: id, Failure(code: -32603, message: "\(error)"))
        }
    }

    /// An id for a tool call or a message.
    func newItem(in session: String) -> Int {
        guard var conversation = conversations[session] else { return 0 }
        conversation.items += 1
        conversations[session] = conversation
        return conversation.items
    }

    /// Shows an update to the client and remembers it.
    func update(_ update: JSONValue, in session: String) throws(ConversationError) {
        try remember(update, in: session)
        send(update, in: session)
    }

    func remember(_ update: JSONValue, in session: String) throws(ConversationError) {
        try conversations[session]?.file.append(.update(update))
    }

    func send(_ update: JSONValue, in session: String) {
        write(["jsonrpc": "2.0", "method": "session/update", "params": ["sessionId": .string(session), "update": update]])
    }

    /// Asks the client and waits for its result; nil when the turn is cancelled or the client has none.
    func request(_ method: String, _ params: JSONValue) async -> JSONValue? {
        lastRequest += 1
        let id = lastRequest
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard !Task.isCancelled else { return continuation.resume(returning: nil) }
                questions[id] = continuation
                write(["jsonrpc": "2.0", "id": .integer(id), "method": .string(method), "params": params])
            }
        } onCancel: {
            Task { await self.abandon(id) }
        }
    }

    private func abandon(_ id: Int64) { questions.removeValue(forKey: id)?.resume(returning: nil) }

    // MARK: Output

    private func respond(to id: JSONValue, _ result: JSONValue) { write(["jsonrpc": "2.0", "id": id, "result": result]) }

    private func respond(to id: JSONValue, _ failure: Failure) {
        write([
            "jsonrpc": "2.0", "id": id,
            "error": ["code": .integer(failure.code), "message": .string(failure.message)],
        ])
    }

    private func write(_ frame: JSONValue) {
        guard let data = try? JSON.encode(frame) else { preconditionFailure("a JSON value that is not JSON: \(frame)") }
        print(Array(data) + [UInt8(ascii: "\n")])
    }

    /// Prints bytes between the protocol's lines.
    func print(_ bytes: [UInt8]) {
        // Without a client there is nobody to work for.
        if !writeAll(bytes, to: 1) { exit(0) }
    }
}
