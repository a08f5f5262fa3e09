import Glibc
import SessionModel

/// Carries out the script of one prompt.
struct Turn {
    let agent: Agent
    let session: String
    let directory: String

    private var bench: Workbench { Workbench(directory: directory) }

    init(agent: Agent, session: String, directory: String) {
        self.agent = agent
        self.session = session
        self.directory = directory
    }

    /// - Returns: the stop reason.
    func run(_ script: Script, earlier: [String]) async throws -> String {
        var answer = Answer(script: script, earlier: earlier)
        for step in script.steps where answer.stopped == nil {
            if Task.isCancelled { return "cancelled" }
            if step == .refuse { return "refusal" }
            switch try await perform(step) {
            case .done: break
            case .failed: answer.failed += 1
            case .stop(let reason): answer.stopped = reason
            }
            if Task.isCancelled { return "cancelled" }
            answer.done += 1
        }
        try await say(answer.text)
        return "end_turn"
    }

    private enum Outcome {
        case done, failed
        case stop(String)
    }

    private func perform(_ step: Script.Step) async throws -> Outcome {
        switch step {
        case .run(let command):
            return try await tool(command, kind: "execute", input: ["command": .string(command)]) {
                let shell = try Shell(command, in: directory)
                let result = await withTaskCancellationHandler {
                    await shell.result()
                } onCancel: {
                    shell.kill()
                }
                let output = result.code == 0 ? result.output : result.output + "(exit code \(result.code))\n"
                return ToolReport(failed: result.code != 0, output: output)
            }
        case .write(let path, let text):
            return try await change("Write \(path)", path) { () throws(ConversationError) in try bench.write(path, text) }
        case .append(let path, let text):
            return try await change("Append to \(path)", path) { () throws(ConversationError) in try bench.append(path, text) }
        case .edit(let path, let old, let new):
            return try await change("Edit \(path)", path) { () throws(ConversationError) in try bench.edit(path, old, new) }
        case .read(let path):
            return try await tool("Read \(path)", kind: "read", input: ["path": .string(path)]) {
                ToolReport(output: try bench.read(path))
            }
        case .think(let seconds, let text):
            try await speak("agent_thought_chunk", text, over: seconds)
            return .done
        case .say(let text, let seconds):
            try await speak("agent_message_chunk", text, over: seconds)
            return .done
        case .plan(let entries):
            let list = entries.map { entry -> JSONValue in
                ["content": .string(entry), "priority": "medium", "status": "pending"]
            }
            try await agent.update(["sessionUpdate": "plan", "entries": .array(list)], in: session)
            return .done
        case .ask(let question):
            return try await ask(question)
        case .fail(let message):
            throw Agent.Failure(code: -32603, message: message)
        case .refuse:
            return .done
        case .mistake(let line, let usage):
            try await say("I do not understand “\(line)”: write it as “\(usage)”.")
            return .failed
        case .crash, .noise, .longLine, .invalidUTF8, .standardError, .orphan, .ignoreTermination, .hang:
            try await misbehave(step)
            return .done
        }
    }

    // MARK: Speaking

    private func say(_ text: String) async throws { try await speak("agent_message_chunk", text, over: 0) }

    /// One message or thought, word by word when it is to take a while.
    private func speak(_ kind: String, _ text: String, over seconds: Double) async throws {
        let id = JSONValue.string("m\(await agent.newItem(in: session))")
        func chunk(_ text: String) -> JSONValue {
            ["sessionUpdate": .string(kind), "messageId": id, "content": ["type": "text", "text": .string(text)]]
        }
        if seconds <= 0 { return try await agent.update(chunk(text), in: session) }
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        var said = ""
        for (index, word) in words.enumerated() {
            let piece = index == 0 ? String(word) : " \(word)"
            await agent.send(chunk(piece), in: session)
            said += piece
            try? await Task.sleep(for: .seconds(seconds / Double(words.count)))
            if Task.isCancelled { break }
        }
        try await agent.remember(chunk(said), in: session)
    }

    // MARK: Tools

    private struct ToolReport {
        var failed = false
        var output = ""
        var diff: JSONValue?
    }

    private func change(
        _ title: String, _ path: String, _ work: () throws(ConversationError) -> FileChange
    ) async throws -> Outcome {
        try await tool(title, kind: "edit", input: ["path": .string(path)]) {
            ToolReport(diff: try work().diff)
        }
    }

    private func tool(_ title: String, kind: String, input: JSONValue, _ work: () async throws -> ToolReport) async throws
        -> Outcome
    {
        let id = JSONValue.string("call-\(await agent.newItem(in: session))")
        try await agent.update(
            [
                "sessionUpdate": "tool_call", "toolCallId": id, "title": .string(title), "kind": .string(kind),
                "status": "in_progress", "rawInput": input,
            ], in: session)
        var report: ToolReport
        do {
            report = try await work()
        } catch let error as ConversationError {
            report = ToolReport(failed: true, output: error.description)
        }
        var content: [JSONValue] = []
        if !report.output.isEmpty {
            content.append(["type": "content", "content": ["type": "text", "text": .string(report.output)]])
        }
        if let diff = report.diff { content.append(diff) }
        try await agent.update(
            [
                "sessionUpdate": "tool_call_update", "toolCallId": id, "status": report.failed ? "failed" : "completed",
                "content": .array(content),
            ], in: session)
        return report.failed ? .failed : .done
    }

    private func ask(_ question: String) async throws -> Outcome {
        let id = JSONValue.string("call-\(await agent.newItem(in: session))")
        let call: JSONValue = [
            "toolCallId": id, "title": .string(question), "kind": "other", "status": "pending",
            "rawInput": ["question": .string(question)],
        ]
        guard case .object(var update) = call else { return .failed }
        update["sessionUpdate"] = "tool_call"
        try await agent.update(.object(update), in: session)
        let result = await agent.request(
            "session/request_permission",
            [
                "sessionId": .string(session), "toolCall": call,
                "options": [
                    ["optionId": "allow", "name": "Allow", "kind": "allow_once"],
                    ["optionId": "reject", "name": "Reject", "kind": "reject_once"],
                ],
            ])
        let allowed = result?["outcome"]?["optionId"]?.string == "allow"
        try await agent.update(
            [
                "sessionUpdate": "tool_call_update", "toolCallId": id, "status": allowed ? "completed" : "failed",
                "content": [["type": "content", "content": ["type": "text", "text": allowed ? "allowed" : "not allowed"]]],
            ], in: session)
        return allowed ? .done : .stop("“\(question)” was not allowed")
    }

    // MARK: Misbehaviour

    private func misbehave(_ step: Script.Step) async throws {
        switch step {
        case .crash(let code):
            exit(code)
        case .noise(let bytes):
            let line = Array((String(repeating: "noise ", count: 170) + "...\n").utf8)
            let block = Array(repeatElement(line, count: 64).joined())
            var left = bytes
            while left > 0, !Task.isCancelled {
                await agent.print(left >= block.count ? block : Array(block[..<(left - 1)]) + [UInt8(ascii: "\n")])
                left -= block.count
                await Task.yield()
            }
        case .longLine(let bytes):
            let block = [UInt8](repeating: UInt8(ascii: "x"), count: 65_536)
            for start in stride(from: 0, to: bytes, by: block.count) {
                await agent.print(Array(block[..<min(block.count, bytes - start)]))
            }
            await agent.print([UInt8(ascii: "\n")])
        case .invalidUTF8:
            await agent.print([0xff, 0xfe, 0xc3, 0x28, UInt8(ascii: "\n")])
            let frame = """
                {"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"\(session)","update":\
                {"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"broken <
                """
            await agent.print(Array(frame.utf8) + [0xff] + Array("> text\"}}}}\n".utf8))
        case .standardError(let text):
            _ = writeAll(Array("\(text)\n".utf8), to: 2)
        case .orphan(let seconds):
            _ = try spawn(["sleep", "\(seconds)"], in: directory, group: .ownSession)
        case .ignoreTermination:
            signal(SIGTERM, SIG_IGN)
        case .hang:
            await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in }
        default:
            break
        }
    }
}
