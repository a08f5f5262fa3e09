/// One line of a transcript: what happened, when, in which epoch and turn.
///
/// `sequence` starts at 1, never repeats and never goes back within a journal.
public struct Event: Sendable, Hashable {
    public var sequence: UInt64
    public var epoch: UInt32
    public var time: Timestamp
    public var turn: TurnID?
    public var body: EventBody

    public init(sequence: UInt64, epoch: UInt32, time: Timestamp, turn: TurnID?, body: EventBody) {
        self.sequence = sequence
        self.epoch = epoch
        self.time = time
        self.turn = turn
        self.body = body
    }
}

/// What happened. The vocabulary is the same for every agent; docs/architecture.md lists it.
public enum EventBody: Sendable, Hashable {
    // The session.
    case sessionOpened(SessionOpened)
    case sessionDraining(SessionDraining)
    case sessionDrained
    case keepAlive(KeepAlive)
    case journalGap(JournalGap)

    // Turns: the queue is a fold over these.
    case turnQueued(TurnQueued)
    case turnDispatched
    case turnPrompted(TurnPrompted)
    case turnInterrupted(Interruption)
    case inputRequested(InputRequest)
    case inputAnswered(InputAnswered)
    case cancelRequested(CancelRequested)
    case turnEnded(TurnEnded)

    // The agent and its conversation.
    case hostConnected(HostConnected)
    case hostLost(Reason)
    case agentStarted(AgentStarted)
    case agentExited(Reason)
    case agentReleased(Reason)
    case agentOutput(AgentOutput)
    case agentFrame(AgentFrame)
    case background(Background)
    case conversationStarted(Conversation)
    case conversationResumed(Conversation)
    case conversationReseeded(Conversation)
    case message(Message)
    case thought(Thought)
    case toolCall(ToolCall)
    case toolResult(ToolResult)
    case plan(Plan)
    case usage(Usage)
    case error(Reason)

    // The working directory.
    case workspaceStep(WorkspaceStep)
    case workspaceState(WorkspaceState)
    /// `git.fetch` or `git.push`
    case git(GitTransfer)

    /// A type that a later version writes.
    case unknown(type: String, data: JSONValue)
}

public struct SessionOpened: Sendable, Hashable, Codable {
    public var version: String
    public var session: SessionKey?
    public init(version: String, session: SessionKey?) {
        self.version = version
        self.session = session
    }
}

public struct SessionDraining: Sendable, Hashable, Codable {
    public var reason: String
    /// When a turn that still runs is interrupted.
    public var deadline: Timestamp
    public init(reason: String, deadline: Timestamp) {
        self.reason = reason
        self.deadline = deadline
    }
}

public struct KeepAlive: Sendable, Hashable, Codable {
    public var until: Timestamp
    public init(until: Timestamp) { self.until = until }
}

/// Events that are damaged on disk. Their bytes are kept in `file`.
public struct JournalGap: Sendable, Hashable, Codable {
    /// The first and last sequence number that cannot be served.
    public var from: UInt64
    public var to: UInt64
    public var file: String
    public var reason: String
    public init(from: UInt64, to: UInt64, file: String, reason: String) {
        self.from = from
        self.to = to
        self.file = file
        self.reason = reason
    }
}

public struct TurnQueued: Sendable, Hashable, Codable {
    public var request: TurnRequest
    /// Hash of the idempotency key and of the request it came with; absent when the client gave no key.
    public var key: KeyDigest?
    public init(request: TurnRequest, key: KeyDigest?) {
        self.request = request
        self.key = key
    }
}

/// What the agent is given when that is not just the turn's prompt.
public struct TurnPrompted: Sendable, Hashable, Codable {
    public var text: String
    public init(text: String) { self.text = text }
}

public struct InputAnswered: Sendable, Hashable, Codable {
    public enum By: String, Sendable, Hashable, Codable { case person, deadline, cancellation }
    public var request: String
    public var option: String?
    public var text: String?
    public var by: By
    public init(request: String, option: String?, text: String?, by: By) {
        self.request = request
        self.option = option
        self.text = text
        self.by = by
    }
}

public struct CancelRequested: Sendable, Hashable, Codable {
    public var reason: EndReason
    public init(reason: EndReason) { self.reason = reason }
}

public struct TurnEnded: Sendable, Hashable, Codable {
    public var state: TurnState
    public var reason: EndReason
    public var message: String?
    public var results: TurnResults?
    public init(state: TurnState, reason: EndReason, message: String? = nil, results: TurnResults? = nil) {
        self.state = state
        self.reason = reason
        self.message = message
        self.results = results
    }
}

/// Why something happened, in a sentence.
public struct Reason: Sendable, Hashable, Codable {
    public var reason: String
    public init(_ reason: String) { self.reason = reason }
}

public struct HostConnected: Sendable, Hashable, Codable {
    public var pid: Int32
    public init(pid: Int32) { self.pid = pid }
}

public struct AgentStarted: Sendable, Hashable, Codable {
    public var driver: String
    public var name: String?
    public var version: String?
    public var pid: Int32?
    public init(driver: String, name: String?, version: String?, pid: Int32?) {
        self.driver = driver
        self.name = name
        self.version = version
        self.pid = pid
    }
}

/// What the agent has left running after a turn: the commands, none when the last has ended.
public struct Background: Sendable, Hashable, Codable {
    public var processes: [String]
    public init(_ processes: [String]) { self.processes = processes }
}

/// What an agent's process printed outside its protocol.
public struct AgentOutput: Sendable, Hashable, Codable {
    public enum Stream: String, Sendable, Hashable, Codable { case stdout, stderr }
    public var stream: Stream
    public var text: String
    /// Bytes that were left out after this because there were too many.
    public var dropped: Int64?
    public init(stream: Stream, text: String, dropped: Int64? = nil) {
        self.stream = stream
        self.text = text
        self.dropped = dropped
    }
}

/// A frame of the agent's protocol as it was, for debugging: recorded only on request.
public struct AgentFrame: Sendable, Hashable, Codable {
    public enum Direction: String, Sendable, Hashable, Codable { case sent, received }
    /// As the sidecar sees it.
    public var direction: Direction
    /// Without its newline, cut to 64 KiB.
    public var text: String
    /// The frame's length, where it was cut.
    public var bytes: Int?
    /// Frames that were left out after this because there were too many.
    public var dropped: Int?
    public init(direction: Direction, text: String, bytes: Int? = nil, dropped: Int? = nil) {
        self.direction = direction
        self.text = text
        self.bytes = bytes
        self.dropped = dropped
    }
}

public struct Conversation: Sendable, Hashable, Codable {
    /// The provider's own id.
    public var id: String
    /// Why it was reseeded.
    public var reason: String?
    public init(id: String, reason: String? = nil) {
        self.id = id
        self.reason = reason
    }
}

public struct Message: Sendable, Hashable, Codable {
    public var text: String
    public init(text: String) { self.text = text }
}

public struct Thought: Sendable, Hashable, Codable {
    public var text: String
    public init(text: String) { self.text = text }
}

public struct ToolCall: Sendable, Hashable, Codable {
    public var id: String
    public var title: String
    /// read, edit, delete, move, search, execute, think, fetch or other.
    public var kind: String?
    /// The tool's arguments, as JSON text.
    public var input: String?
    public init(id: String, title: String, kind: String? = nil, input: String? = nil) {
        self.id = id
        self.title = title
        self.kind = kind
        self.input = input
    }
}

public struct ToolResult: Sendable, Hashable, Codable {
    public struct FileDiff: Sendable, Hashable, Codable {
        public var path: String
        public var oldText: String?
        public var newText: String
        public init(path: String, oldText: String?, newText: String) {
            self.path = path
            self.oldText = oldText
            self.newText = newText
        }
    }

    public var id: String
    public var title: String?
    /// `completed`, `failed`, or `unfinished` when the turn ended first.
    public var status: String
    public var output: String?
    public var diffs: [FileDiff]?
    public var milliseconds: Int64?
    public init(
        id: String, title: String? = nil, status: String, output: String? = nil, diffs: [FileDiff]? = nil,
        milliseconds: Int64? = nil
    ) {
        self.id = id
        self.title = title
        self.status = status
        self.output = output
        self.diffs = diffs
        self.milliseconds = milliseconds
    }
}

public struct Plan: Sendable, Hashable, Codable {
    public struct Entry: Sendable, Hashable, Codable {
        public var content: String
        public var status: String?
        public init(content: String, status: String?) {
            self.content = content
            self.status = status
        }
    }
    public var entries: [Entry]
    public init(entries: [Entry]) { self.entries = entries }
}

/// One thing the sidecar did to the working directory.
public struct WorkspaceStep: Sendable, Hashable, Codable {
    public enum Step: String, Sendable, Hashable, Codable, CaseIterable {
        case created, cloned, checkedOut, fetched, fastForwarded, reset, diverged, dirty, setup, failed
    }
    public var step: Step
    /// A sentence for people, with git's own words where git has something to say.
    public var message: String
    public init(_ step: Step, _ message: String) {
        self.step = step
        self.message = message
    }
}

/// What the journal keeps of an idempotency key: not the key itself, which may say more than a transcript's readers should see.
public struct KeyDigest: Sendable, Hashable, Codable {
    public var key: Digest128
    public var request: Digest128
    public init(key: Digest128, request: Digest128) {
        self.key = key
        self.request = request
    }
}
