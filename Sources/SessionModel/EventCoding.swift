extension EventBody {
    /// The event's type as a transcript line spells it.
    public var type: String {
        switch self {
        case .sessionOpened: "session.opened"
        case .sessionDraining: "session.draining"
        case .sessionDrained: "session.drained"
        case .keepAlive: "session.keepalive"
        case .journalGap: "journal.gap"
        case .turnQueued: "turn.queued"
        case .turnDispatched: "turn.dispatched"
        case .turnPrompted: "turn.prompted"
        case .turnInterrupted: "turn.interrupted"
        case .inputRequested: "turn.inputRequested"
        case .inputAnswered: "turn.inputAnswered"
        case .cancelRequested: "turn.cancelRequested"
        case .turnEnded: "turn.ended"
        case .hostConnected: "host.connected"
        case .hostLost: "host.lost"
        case .agentStarted: "agent.started"
        case .agentExited: "agent.exited"
        case .agentReleased: "agent.released"
        case .agentOutput: "agent.output"
        case .agentFrame: "agent.frame"
        case .background: "agent.background"
        case .conversationStarted: "conversation.started"
        case .conversationResumed: "conversation.resumed"
        case .conversationReseeded: "conversation.reseeded"
        case .message: "message"
        case .thought: "thought"
        case .toolCall: "tool.call"
        case .toolResult: "tool.result"
        case .plan: "plan"
        case .usage: "usage"
        case .error: "error"
        case .workspaceStep: "workspace.step"
        case .workspaceState: "workspace.state"
        case .git(let data): "git.\(data.operation.rawValue)"
        case .unknown(let type, _): type
        }
    }

    /// Whether the turn queue's fold needs events of this type. A reader may skip the data of all others.
    public static func concernsQueue(type: some StringProtocol) -> Bool {
        ["turn.", "session.", "conversation.", "workspace.state", "journal.gap"].contains { type.hasPrefix($0) }
    }

    /// Whether events of this type show that the agent works on its prompt: ``TurnQueue/agentWorked()``, whatever their data.
    public static func showsWork(type: some StringProtocol) -> Bool {
        ["message", "thought", "tool.call", "plan", "usage"].contains { type == $0 }
    }

    /// The event's data, to be encoded; decoded again by ``init(type:from:)``.
    public var data: any Encodable & Sendable {
        switch self {
        case .sessionDrained, .turnDispatched: Empty()
        case .sessionOpened(let data): data
        case .sessionDraining(let data): data
        case .keepAlive(let data): data
        case .journalGap(let data): data
        case .turnQueued(let data): data
        case .turnPrompted(let data): data
        case .turnInterrupted(let data): data
        case .inputRequested(let data): data
        case .inputAnswered(let data): data
        case .cancelRequested(let data): data
        case .turnEnded(let data): data
        case .hostConnected(let data): data
        case .hostLost(let data): data
        case .agentStarted(let data): data
        case .agentExited(let data): data
        case .agentReleased(let data): data
        case .agentOutput(let data): data
        case .agentFrame(let data): data
        case .background(let data): data
        case .conversationStarted(let data): data
        case .conversationResumed(let data): data
        case .conversationReseeded(let data): data
        case .message(let data): data
        case .thought(let data): data
        case .toolCall(let data): data
        case .toolResult(let data): data
        case .plan(let data): data
        case .usage(let data): data
        case .error(let data): data
        case .workspaceStep(let data): data
        case .workspaceState(let data): data
        case .git(let data): data
        case .unknown(_, let data): data
        }
    }

    /// The event's data as JSON text.
    public func encodedData() throws -> [UInt8] {
        if case .turnQueued(let queued) = self { return queued.json }
        return Array(try JSON.encode(data))
    }

    public init(type: String, from decoder: any Decoder) throws {
        switch type {
        case "session.opened": self = .sessionOpened(try .init(from: decoder))
        case "session.draining": self = .sessionDraining(try .init(from: decoder))
        case "session.drained": self = .sessionDrained
        case "session.keepalive": self = .keepAlive(try .init(from: decoder))
        case "journal.gap": self = .journalGap(try .init(from: decoder))
        case "turn.queued": self = .turnQueued(try .init(from: decoder))
        case "turn.dispatched": self = .turnDispatched
        case "turn.prompted": self = .turnPrompted(try .init(from: decoder))
        case "turn.interrupted": self = .turnInterrupted(try .init(from: decoder))
        case "turn.inputRequested": self = .inputRequested(try .init(from: decoder))
        case "turn.inputAnswered": self = .inputAnswered(try .init(from: decoder))
        case "turn.cancelRequested": self = .cancelRequested(try .init(from: decoder))
        case "turn.ended": self = .turnEnded(try .init(from: decoder))
        case "host.connected": self = .hostConnected(try .init(from: decoder))
        case "host.lost": self = .hostLost(try .init(from: decoder))
        case "agent.started": self = .agentStarted(try .init(from: decoder))
        case "agent.exited": self = .agentExited(try .init(from: decoder))
        case "agent.released": self = .agentReleased(try .init(from: decoder))
        case "agent.output": self = .agentOutput(try .init(from: decoder))
        case "agent.frame": self = .agentFrame(try .init(from: decoder))
        case "agent.background": self = .background(try .init(from: decoder))
        case "conversation.started": self = .conversationStarted(try .init(from: decoder))
        case "conversation.resumed": self = .conversationResumed(try .init(from: decoder))
        case "conversation.reseeded": self = .conversationReseeded(try .init(from: decoder))
        case "message": self = .message(try .init(from: decoder))
        case "thought": self = .thought(try .init(from: decoder))
        case "tool.call": self = .toolCall(try .init(from: decoder))
        case "tool.result": self = .toolResult(try .init(from: decoder))
        case "plan": self = .plan(try .init(from: decoder))
        case "usage": self = .usage(try .init(from: decoder))
        case "error": self = .error(try .init(from: decoder))
        case "workspace.step": self = .workspaceStep(try .init(from: decoder))
        case "workspace.state": self = .workspaceState(try .init(from: decoder))
        case "git.fetch", "git.push": self = .git(try .init(from: decoder))
        default: self = .unknown(type: type, data: try JSONValue(from: decoder))
        }
    }

    private struct Empty: Encodable, Sendable {}
}

extension Event: Decodable {
    enum CodingKeys: String, CodingKey { case sequence = "seq", epoch, time, turn, type, data }

    /// Reads a transcript line as JSON. The checksum is the journal's business.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        sequence = try container.decode(UInt64.self, forKey: .sequence)
        epoch = try container.decode(UInt32.self, forKey: .epoch)
        time = try container.decode(Timestamp.self, forKey: .time)
        turn = try container.decodeIfPresent(TurnID.self, forKey: .turn)
        body = try EventBody(
            type: try container.decode(String.self, forKey: .type), from: try container.superDecoder(forKey: .data))
    }
}
