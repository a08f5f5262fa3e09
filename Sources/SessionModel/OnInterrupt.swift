/// What becomes of a turn that is cut off while the agent works on it: by the end of the sidecar, the agent host or the agent's
/// process, or by the deadline of a drain.
///
/// Written `Fail`, `Retry`, `Retry:3`, `Continue` or `Continue:3`; the number says how often at most, and is 1 for `Retry` and 5
/// for `Continue` when it is left out.
public enum OnInterrupt: Sendable, Hashable {
    /// It ends there, and is never sent again by itself.
    case fail
    /// The prompt is sent again, as it was, at most so many times.
    case retry(Int)
    /// The agent is told what was cut off, and goes on from there; at most so many times.
    case `continue`(Int)

    public static let maxTimes = 20

    /// How often the turn may be taken up again.
    public var times: Int {
        switch self {
        case .fail: 0
        case .retry(let times), .continue(let times): times
        }
    }
}

extension OnInterrupt: LosslessStringConvertible {
    public var description: String {
        switch self {
        case .fail: "Fail"
        case .retry(let times): "Retry:\(times)"
        case .continue(let times): "Continue:\(times)"
        }
    }

    public init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        var times: Int?
        if parts.count == 2 {
            guard let number = Int(parts[1]), (1...Self.maxTimes).contains(number), parts[1].first != "+" else { return nil }
            times = number
        }
        switch parts[0] {
        case "Fail" where times == nil: self = .fail
        case "Retry": self = .retry(times ?? 1)
        case "Continue": self = .continue(times ?? 5)
        default: return nil
        }
    }
}

extension OnInterrupt: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let value = OnInterrupt(text) else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription:
                    "“\(text.prefix(bytes: 40))” is not Fail, Retry, Retry:N, Continue or Continue:N with N of 1 to \(Self.maxTimes)"
            )
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
