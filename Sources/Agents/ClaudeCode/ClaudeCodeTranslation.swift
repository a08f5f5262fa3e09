import SessionModel

/// What the frames of Claude Code's stream-json mean as transcript events. Pure; ``ClaudeCodeResult`` judges the last frame.
struct ClaudeCodeTranslation: Sendable {
    private(set) var assembly = TurnAssembly()
    private let prefix: String?
    /// What was streamed of a message that is not complete yet: what followers saw is recorded even if it never will be.
    private var partial = ""
    /// Calls that are shown as something else than a tool call.
    private var hidden: Set<String> = []

    /// - Parameter directory: the working directory; paths inside it are shown relative to it.
    init(directory: String? = nil) { prefix = directory.map { $0 + "/" } }

    mutating func frame(_ frame: JSONValue, at now: Timestamp) -> [TurnOutput] {
        switch frame["type"]?.string {
        case "stream_event": stream(frame)
        case "assistant": assistant(frame, at: now)
        case "user": results(frame, at: now)
        case "system": system(frame)
        default: []
        }
    }

    /// The agent waits for permission: what it wants to do must be readable now.
    mutating func permissionRequested(_ request: JSONValue, at now: Timestamp) -> [TurnOutput] {
        guard let id = request["tool_use_id"]?.string, let name = request["tool_name"]?.string else { return [] }
        return complete() + assembly.tool(call(id, name, request["input"] ?? [:]), at: now)
    }

    func title(of request: JSONValue) -> String? {
        guard let name = request["tool_name"]?.string else { return nil }
        return ClaudeCodeTool.title(name, request["input"] ?? [:], prefix: prefix)
    }

    /// Takes what the turn used.
    mutating func used(_ usage: Usage) { assembly.usage = usage }

    /// Closes what is still open when the turn is over.
    mutating func finish(at now: Timestamp) -> [EventBody] {
        let rest = complete().compactMap { if case .event(let event) = $0 { event } else { nil } }
        return rest + assembly.finish(at: now)
    }

    // MARK: Speech

    private mutating func stream(_ frame: JSONValue) -> [TurnOutput] {
        // Those of a subagent are parts of a conversation of its own.
        guard frame["parent_tool_use_id"]?.string == nil, let event = frame["event"],
            event["type"]?.string == "content_block_delta", event["delta"]?["type"]?.string == "text_delta",
            let text = event["delta"]?["text"]?.string, !text.isEmpty
        else { return [] }
        if partial.utf8.count < TurnAssembly.textLimit { partial += text }
        return [.delta(text)]
    }

    /// Records what was streamed of a message whose whole text never came.
    private mutating func complete() -> [TurnOutput] {
        defer { partial = "" }
        return partial.isEmpty ? [] : assembly.say(.message, partial)
    }

    /// One frame for each block of a message.
    private mutating func assistant(_ frame: JSONValue, at now: Timestamp) -> [TurnOutput] {
        let isSubagent = frame["parent_tool_use_id"]?.string != nil
        let isError = frame["is_api_error_message"]?.bool == true
        var outputs: [TurnOutput] = []
        for block in frame["message"]?["content"]?.array ?? [] {
            switch block["type"]?.string {
            case "text":
                guard let text = block["text"]?.string, !text.isEmpty else { continue }
                if isError {
                    outputs += complete() + [.event(.error(Reason(text)))]
                } else if isSubagent {
                    outputs += assembly.say(.thought, text)
                } else {
                    partial = ""
                    outputs += assembly.say(.message, text)
                }
            case "thinking":
                if let text = block["thinking"]?.string { outputs += assembly.say(.thought, text) }
            case "tool_use":
                guard let id = block["id"]?.string, let name = block["name"]?.string else { continue }
                let input = block["input"] ?? [:]
                if name == "TodoWrite", let todos = input["todos"]?.array {
                    hidden.insert(id)
                    let entries = todos.compactMap { todo in
                        todo["content"]?.string.map { Plan.Entry(content: $0, status: todo["status"]?.string) }
                    }
                    outputs += [.event(.plan(Plan(entries: entries)))]
                } else {
                    outputs += complete() + assembly.tool(call(id, name, input), at: now)
                }
            default:
                continue
            }
        }
        return outputs
    }

    // MARK: Tools

    private func call(_ id: String, _ name: String, _ input: JSONValue) -> ToolUpdate {
        ToolUpdate(
            id: id, title: ClaudeCodeTool.title(name, input, prefix: prefix), kind: ClaudeCodeTool.kind(name), input: input,
            status: .running)
    }

    private mutating func results(_ frame: JSONValue, at now: Timestamp) -> [TurnOutput] {
        let blocks = (frame["message"]?["content"]?.array ?? []).filter { $0["type"]?.string == "tool_result" }
        var outputs: [TurnOutput] = []
        for block in blocks {
            guard let id = block["tool_use_id"]?.string, !hidden.contains(id) else { continue }
            var update = ToolUpdate(id: id, status: block["is_error"]?.bool == true ? .failed : .completed)
            update.output = Self.text(of: block["content"])
            // One for the whole frame: with several results it would not say whose it is.
            if blocks.count == 1, update.status == .completed {
                update.diffs = ClaudeCodeTool.diffs(frame["tool_use_result"], prefix: prefix)
            }
            outputs += assembly.tool(update, at: now)
        }
        return outputs
    }

    private static func text(of content: JSONValue?) -> String? {
        if let text = content?.string { return text }
        let parts = (content?.array ?? []).compactMap { part in
            part["text"]?.string ?? part["type"]?.string.map { "[\($0)]" }
        }
        return parts.isEmpty ? nil : parts.joined(separator: "\n")
    }

    // MARK: The rest

    private func system(_ frame: JSONValue) -> [TurnOutput] {
        guard frame["subtype"]?.string == "api_retry" else { return [] }
        let status = frame["error_status"]?.integer.map { "status \($0), " } ?? ""
        let attempt = frame["attempt"]?.integer.map(String.init) ?? "?"
        let of = frame["max_retries"]?.integer.map(String.init) ?? "?"
        let delay = frame["retry_delay_ms"]?.number.map { " in \(Int64(min(max($0, 0), 1e9)))ms" } ?? ""
        return [
            .event(
                .error(
                    Reason(
                        "the model's API failed (\(status)\(frame["error"]?.string ?? "unknown")); attempt \(attempt) of \(of) follows\(delay)"
                    )))
        ]
    }
}
