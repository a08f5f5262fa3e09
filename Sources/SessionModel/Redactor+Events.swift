extension Redactor {
    /// The event without secrets. What a user sent is kept as it is: a turn's request is what the agent gets, and so is an answer.
    public func callAsFunction(_ body: EventBody) -> EventBody {
        if isEmpty { return body }
        return switch body {
        case .sessionOpened, .sessionDraining, .sessionDrained, .keepAlive, .journalGap, .turnQueued, .turnDispatched,
            .inputAnswered, .cancelRequested, .hostConnected, .agentStarted, .usage:
            body
        case .turnPrompted(let prompted): .turnPrompted(TurnPrompted(text: self(prompted.text)))
        case .turnInterrupted(var interruption):
            .turnInterrupted(
                {
                    interruption.message = interruption.message.map { self($0) }
                    return interruption
                }())
        case .inputRequested(let request): .inputRequested(self(request))
        case .turnEnded(let end): .turnEnded(self(end))
        case .hostLost(let reason): .hostLost(self(reason))
        case .agentExited(let reason): .agentExited(self(reason))
        case .agentReleased(let reason): .agentReleased(self(reason))
        case .agentOutput(let output):
            .agentOutput(AgentOutput(stream: output.stream, text: self(output.text), dropped: output.dropped))
        case .background(let background): .background(Background(background.processes.map { self($0) }))
        case .agentFrame(let frame):
            .agentFrame(
                AgentFrame(
                    direction: frame.direction, text: self(frame.text), bytes: frame.bytes, dropped: frame.dropped))
        case .conversationStarted(let conversation): .conversationStarted(self(conversation))
        case .conversationResumed(let conversation): .conversationResumed(self(conversation))
        case .conversationReseeded(let conversation): .conversationReseeded(self(conversation))
        case .message(let message): .message(Message(text: self(message.text)))
        case .thought(let thought): .thought(Thought(text: self(thought.text)))
        case .toolCall(let call):
            .toolCall(ToolCall(id: call.id, title: self(call.title), kind: call.kind, input: call.input.map { self($0) }))
        case .toolResult(let result): .toolResult(self(result))
        case .plan(let plan):
            .plan(Plan(entries: plan.entries.map { Plan.Entry(content: self($0.content), status: $0.status) }))
        case .error(let reason): .error(self(reason))
        case .workspaceStep(let step): .workspaceStep(WorkspaceStep(step.step, self(step.message)))
        case .workspaceState(let state): .workspaceState(self(state))
        case .git(let transfer): .git(self(transfer))
        case .unknown(let type, let data): .unknown(type: type, data: self(data))
        }
    }

    public func callAsFunction(_ transfer: GitTransfer) -> GitTransfer {
        var transfer = transfer
        transfer.message = transfer.message.map { self($0) }
        transfer.refs = transfer.refs?.map { update in
            var update = update
            update.ref = self(update.ref)
            update.refused = update.refused.map { self($0) }
            return update
        }
        return transfer
    }

    public func callAsFunction(_ reason: Reason) -> Reason { Reason(self(reason.reason)) }

    public func callAsFunction(_ end: TurnEnded) -> TurnEnded {
        var end = end
        end.message = end.message.map { self($0) }
        if var results = end.results {
            results.answer = results.answer.map { self($0) }
            results.workspace = results.workspace.map { self($0) }
            end.results = results
        }
        return end
    }

    public func callAsFunction(_ request: InputRequest) -> InputRequest {
        var request = request
        request.question = self(request.question)
        for index in request.options.indices { request.options[index].name = self(request.options[index].name) }
        return request
    }

    private func callAsFunction(_ conversation: Conversation) -> Conversation {
        // The id stays: with another one the agent could not find its conversation.
        Conversation(id: conversation.id, reason: conversation.reason.map { self($0) })
    }

    private func callAsFunction(_ result: ToolResult) -> ToolResult {
        var result = result
        result.title = result.title.map { self($0) }
        result.output = result.output.map { self($0) }
        result.diffs = result.diffs?.map {
            ToolResult.FileDiff(path: self($0.path), oldText: $0.oldText.map { self($0) }, newText: self($0.newText))
        }
        return result
    }

    private func callAsFunction(_ state: WorkspaceState) -> WorkspaceState {
        var state = state
        state.branch = state.branch.map { self($0) }
        state.dirtyFiles = state.dirtyFiles.map { self($0) }
        return state
    }

    private func callAsFunction(_ value: JSONValue) -> JSONValue {
        switch value {
        case .null, .bool, .integer, .number: value
        case .string(let text): .string(self(text))
        case .array(let elements): .array(elements.map { self($0) })
        case .object(let members): .object(members.mapValues { self($0) })
        }
    }
}
