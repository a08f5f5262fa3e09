import SessionModel

/// The last frame of a turn of Claude Code, judged.
struct ClaudeCodeResult: Sendable, Hashable {
    let frame: JSONValue

    init(_ frame: JSONValue) { self.frame = frame }

    var session: String? { frame["session_id"]?.string }

    /// What the agent says went wrong.
    var errors: [String] { (frame["errors"]?.array ?? []).compactMap(\.string) }

    /// Whether the agent says that this prompt was among what it worked on, be it in a turn that it had begun by itself.
    func names(_ prompt: String) -> Bool { frame["user_message_uuids"]?.array?.contains(.string(prompt)) == true }

    /// Whether the agent says that it does not have this conversation any more: in exactly these words. Everything else may be over
    /// in a minute, and a conversation is not given up for it.
    func isLoss(of conversation: String) -> Bool {
        errors.contains("No conversation found with session ID: \(conversation)")
    }

    /// `subtype` says `success` when the model's API failed, so all that the frame says is looked at.
    func stop(interrupted: Bool) -> TurnStop {
        let reason = frame["terminal_reason"]?.string
        let failed = frame["is_error"]?.bool == true || frame["subtype"]?.string != "success"
        if !failed, reason == nil || reason == "completed" {
            if frame["stop_reason"]?.string == "refusal" {
                return TurnStop(.failed, .refused, "the model refused to go on", clean: true)
            }
            return TurnStop(.succeeded, .completed, nil, clean: true)
        }
        if interrupted { return .cancelled(clean: true) }
        let isLimit =
            reason == "max_turns" || frame["subtype"]?.string.map { $0.hasPrefix("error_max_") } == true
            || frame["api_error"]?.string == "max_output_tokens"
        return TurnStop(.failed, isLimit ? .agentLimit : .agentError, message(reason), clean: true)
    }

    private func message(_ reason: String?) -> String {
        if let text = frame["result"]?.string, !text.isEmpty { return "the agent answered: \(text.prefix(bytes: 4096))" }
        let what = [frame["subtype"]?.string, reason].compactMap(\.self).joined(separator: ", ")
        let errors = errors.joined(separator: "; ").prefix(bytes: 4096)
        return "the agent stopped (\(what.isEmpty ? "it does not say why" : what))\(errors.isEmpty ? "" : ": \(errors)")"
    }

    // MARK: Figures

    /// What the conversation has cost so far, in US dollars, by the agent's own account.
    var totalCost: Double? { frame["total_cost_usd"]?.dollars }

    /// What this turn used.
    /// - Parameters:
    ///   - earlier: results of what the agent did by itself since the last turn.
    ///   - costBefore: ``totalCost`` before all of them, for versions that tell no differences; nil when it is not known.
    func usage(with earlier: [ClaudeCodeResult], costBefore: Double?) -> Usage {
        let models = (earlier + [self]).flatMap { $0.frame["model_usage_since_last_result"]?.object?.values.map { $0 } ?? [] }
        if !models.isEmpty {
            func sum(_ fields: String...) -> Int64? {
                let figures = models.flatMap { model in fields.compactMap { model[$0]?.tokens } }
                return figures.isEmpty ? nil : figures.boundedSum
            }
            let costs = models.compactMap { $0["costUSD"]?.dollars }
            let cost = costs.reduce(0, +)
            return Usage(
                inputTokens: sum("inputTokens", "cacheCreationInputTokens"), outputTokens: sum("outputTokens"),
                cachedInputTokens: sum("cacheReadInputTokens"), costUSD: costs.isEmpty || !cost.isFinite ? nil : cost)
        }
        let usage = frame["usage"]
        let input = [usage?["input_tokens"]?.tokens, usage?["cache_creation_input_tokens"]?.tokens].compactMap(\.self)
        var used = Usage(
            inputTokens: input.isEmpty ? nil : input.boundedSum,
            outputTokens: usage?["output_tokens"]?.tokens, cachedInputTokens: usage?["cache_read_input_tokens"]?.tokens)
        // A total that went back was counted from zero again: that is what a SIGKILL does to it.
        if let totalCost, let costBefore { used.costUSD = totalCost < costBefore ? totalCost : totalCost - costBefore }
        return used
    }
}
