/// One fetch or push that went through the git gateway, as the transcript has it.
public struct GitTransfer: Sendable, Hashable, Codable {
    public enum Operation: String, Sendable, Hashable, Codable, CaseIterable { case fetch, push }

    public enum Outcome: String, Sendable, Hashable, Codable, CaseIterable {
        case ok
        /// By the gateway: not a byte of it reached the forge.
        case refused
        /// By the forge, or on the way.
        case failed
    }

    public var operation: Operation
    public var outcome: Outcome
    /// Of a push.
    public var refs: [GitRefUpdate]?
    /// Why it failed.
    public var message: String?
    /// From the session to the forge, and from the forge to the session.
    public var sentBytes: Int64
    public var receivedBytes: Int64
    public var milliseconds: Int64

    public init(
        operation: Operation, outcome: Outcome, refs: [GitRefUpdate]? = nil, message: String? = nil, sentBytes: Int64 = 0,
        receivedBytes: Int64 = 0, milliseconds: Int64 = 0
    ) {
        self.operation = operation
        self.outcome = outcome
        self.refs = refs
        self.message = message
        self.sentBytes = sentBytes
        self.receivedBytes = receivedBytes
        self.milliseconds = milliseconds
    }
}

/// What became of one ref of a push.
public struct GitRefUpdate: Sendable, Hashable, Codable {
    public enum Result: Sendable, Hashable {
        case ok
        case refused(String)
    }

    public var ref: String
    /// Object names; nil where there is no object.
    public var old: String?
    public var new: String?
    /// Why it was refused; nil when it was not.
    public var refused: String?

    public init(ref: String, old: String?, new: String?, result: Result) {
        self.ref = ref
        self.old = old
        self.new = new
        if case .refused(let why) = result { refused = why }
    }
}
