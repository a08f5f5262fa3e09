import AgentHost
import SessionModel

/// What a program prints on its standard output, as the events and the end of one turn.
struct CommandReading: Sendable {
    private(set) var assembly = TurnAssembly()
    private var codex: CodexExecReading?
    private var kelos: KelosOutputs?
    /// Ends of lines, which belong to the message if more of it comes; nil before it begins.
    private var newlines: String?

    /// - Parameter before: what the conversation had used before, where the program counts over a whole conversation.
    init(_ invocation: Invocation, directory: String, before: CodexTokens?) {
        if invocation.format == .codex { codex = CodexExecReading(directory: directory, before: before) }
        if invocation.kelos != nil { kelos = KelosOutputs() }
    }

    /// The program's own name of the conversation, once it has told it.
    var conversation: String? { codex?.conversation }
    /// What the conversation has used so far.
    var total: CodexTokens? { codex?.total }

    /// Takes a line that is a JSON object.
    /// - Returns: nil when it is a line like any other.
    mutating func received(_ frame: JSONValue, at now: Timestamp) -> [TurnOutput]? {
        codex?.received(frame, in: &assembly, at: now)
    }

    /// Takes lines that are not of the format.
    /// - Returns: what follows, and the lines that are no part of the message.
    mutating func printed(_ bytes: [UInt8]) -> (outputs: [TurnOutput], rest: [UInt8]) {
        var lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(
            String.init)
        if lines.last == "" { lines.removeLast() }
        if kelos != nil { lines = lines.flatMap { kelos?.take($0) ?? [] } }
        return take(lines)
    }

    private mutating func take(_ lines: [String]) -> (outputs: [TurnOutput], rest: [UInt8]) {
        var outputs: [TurnOutput] = []
        var rest = ""
        for line in lines {
            // An image for Kelos prints its agent's own frames, whatever those are, and says at the end what they came to.
            if codex != nil || kelos != nil && line.hasPrefix("{") {
                rest += line + "\n"
            } else {
                if !line.isEmpty {
                    outputs += assembly.speak(.message, (newlines ?? "") + line)
                    newlines = ""
                }
                newlines? += "\n"
            }
        }
        return (outputs, Array(rest.utf8))
    }

    /// Closes what is still open.
    mutating func finish(at now: Timestamp) -> [EventBody] {
        var (last, rest) = take(kelos?.close() ?? [])
        if let response = kelos?.response, !response.isEmpty {
            last += assembly.endSpeech()
            if assembly.lastMessage != response { last += assembly.speak(.message, response) }
        }
        if !rest.isEmpty {
            last.append(.event(.agentOutput(AgentOutput(stream: .stdout, text: String(decoding: rest, as: UTF8.self)))))
        }
        if let usage = kelos?.usage, usage != Usage() {
            assembly.usage = Usage(
                inputTokens: usage.inputTokens ?? assembly.usage.inputTokens,
                outputTokens: usage.outputTokens ?? assembly.usage.outputTokens,
                cachedInputTokens: assembly.usage.cachedInputTokens, costUSD: usage.costUSD)
        }
        return last.compactMap { if case .event(let event) = $0 { event } else { nil } } + assembly.finish(at: now)
    }

    var results: TurnResults {
        var results = assembly.results
        if codex == nil { results.toolCalls = nil }  // The program did not tell.
        results.pr = kelos?.pr
        results.outputs = kelos.flatMap { $0.others.isEmpty ? nil : $0.others }
        return results
    }

    /// How the turn ended, when the program's process ended by itself.
    func ending(_ status: ExitStatus, lastWords: String) -> TurnStop {
        switch (status, codex?.ending) {
        case (.code(0), .completed),
            (.code(0), nil) where codex == nil || codex?.ending == .completed:
            TurnStop(.succeeded, .completed, nil, clean: true)
        case (.code, .failed(let message)): TurnStop(.failed, .agentError, message, clean: true)
        case (.code(0), _):
            TurnStop(.failed, .agentError, "the program ended and did not say that its turn is over\(lastWords)", clean: true)
        case (.code(let code), _):
            TurnStop(.failed, .agentError, "the program ended with exit code \(code)\(lastWords)", clean: true)
        case (.signal, _), (.lost, _): .endedEarly(.exited(status), lastWords: lastWords)
        }
    }
}

extension Invocation {
    /// What the program prints: as it is said, or as the agent of the image is known to do.
    var format: Output { output ?? (kelos == "codex" ? .codex : .text) }
}
