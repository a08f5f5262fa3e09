import Glibc
public import SessionModel

extension Timestamp {
    /// What this machine's clock says. Nothing is decided by it where the server's clock is meant.
    static var wallClock: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }
}

/// A time in a field of Kubernetes' type MicroTime, which wants six digits after the second.
public struct MicroTime: Sendable, Hashable, Codable {
    public var time: Timestamp

    public init(_ time: Timestamp) { self.time = time }

    public init(from decoder: any Decoder) throws { time = try Timestamp(from: decoder) }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(time.description.dropLast() + "000Z")
    }
}
