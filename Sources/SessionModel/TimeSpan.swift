/// A length of time, as Kubernetes users write it: `30s`, `5m`, `1h30m`, `7d`; or in ISO 8601, `PT1H30M`, `P7D`.
///
/// ```swift
/// let idle = try TimeSpan(parsing: "1h30m")   // 5,400,000 milliseconds
/// ```
public struct TimeSpan: Sendable, Hashable, Comparable {
    public var milliseconds: Int64

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    public static func milliseconds(_ count: Int64) -> TimeSpan { TimeSpan(milliseconds: count) }
    /// More than there are milliseconds for is as long as can be: users write numbers of seconds.
    public static func seconds(_ count: Int64) -> TimeSpan {
        let (milliseconds, overflow) = count.multipliedReportingOverflow(by: 1000)
        return TimeSpan(milliseconds: overflow ? (count < 0 ? .min : .max) : milliseconds)
    }
    public static func minutes(_ count: Int64) -> TimeSpan { .seconds(count * 60) }
    public static func hours(_ count: Int64) -> TimeSpan { .minutes(count * 60) }
    public static func days(_ count: Int64) -> TimeSpan { .hours(count * 24) }
    public static let zero = TimeSpan(milliseconds: 0)

    public var duration: Duration { .milliseconds(milliseconds) }

    public static func < (a: TimeSpan, b: TimeSpan) -> Bool { a.milliseconds < b.milliseconds }

    /// - Throws: `InvalidTimeSpan`, whose description says what is accepted.
    public init(parsing text: String) throws(InvalidTimeSpan) {
        guard let value = text.hasPrefix("P") ? Self.iso8601(text.dropFirst()) : Self.units(Substring(text), of: Self.kubernetes)
        else { throw InvalidTimeSpan(text: text) }
        self = value
    }

    private static let kubernetes: [(String, Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000),
    ]

    private static func iso8601(_ text: Substring) -> TimeSpan? {
        let parts = text.split(separator: "T", maxSplits: 1, omittingEmptySubsequences: false)
        guard !text.isEmpty, parts.count == 1 || !parts[1].isEmpty else { return nil }
        let days = parts[0].isEmpty ? .zero : units(parts[0], of: [("D", 86_400_000), ("W", 604_800_000)])
        let time = parts.count == 1 ? .zero : units(parts[1], of: [("S", 1000), ("M", 60_000), ("H", 3_600_000)])
        guard let days, let time else { return nil }
        let (sum, overflow) = days.milliseconds.addingReportingOverflow(time.milliseconds)
        return overflow ? nil : TimeSpan(milliseconds: sum)
    }

    /// One or more `number unit` pairs, each unit at most once.
    private static func units(_ text: Substring, of table: [(String, Int64)]) -> TimeSpan? {
        var rest = text
        var seen: Set<String> = []
        var total: Int64 = 0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(digits.count)
            let unit = String(rest.prefix { $0.isASCII && $0.isLetter })
            rest = rest.dropFirst(unit.count)
            guard let number = Double(digits), let scale = table.first(where: { $0.0 == unit })?.1, seen.insert(unit).inserted
            else { return nil }
            let amount = (number * Double(scale)).rounded()
            guard amount < 9e15 else { return nil }
            total += Int64(amount)
        }
        return seen.isEmpty ? nil : TimeSpan(milliseconds: total)
    }
}

/// A text that is not a length of time.
public struct InvalidTimeSpan: Error, CustomStringConvertible {
    public let text: String
    public var description: String { "“\(text)” is not a duration: write it like 30s, 5m, 1h30m, 7d or PT1H30M" }
}

extension TimeSpan: CustomStringConvertible {
    /// The shortest Kubernetes form that is exact: `1h30m`, `250ms`, `0s`.
    public var description: String {
        guard milliseconds != 0 else { return "0s" }
        var rest = milliseconds.magnitude
        var text = milliseconds < 0 ? "-" : ""
        for (unit, scale) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] as [(String, UInt64)]
        where rest >= scale {
            text += "\(rest / scale)\(unit)"
            rest %= scale
        }
        return text
    }
}

extension TimeSpan: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        do {
            self = try TimeSpan(parsing: try container.decode(String.self))
        } catch let error as InvalidTimeSpan {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: error.description)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
