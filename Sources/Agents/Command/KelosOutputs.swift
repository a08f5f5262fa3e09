import FoundationEssentials
import SessionModel

/// Takes the results out of what an image made for Kelos prints: the lines between two markers, `key: value` each.
///
/// The last whole block counts, as it does there.
struct KelosOutputs: Sendable {
    static let start = "---KELOS_OUTPUTS_START---"
    static let end = "---KELOS_OUTPUTS_END---"
    /// A longer block is no block: its lines are the program's output like any other.
    static let limit = 1 << 20

    private var open: [String]?
    private var openBytes = 0
    private(set) var values: [String: String] = [:]

    /// Takes a line, if it belongs to a block.
    /// - Returns: the lines that are the program's own output.
    mutating func take(_ line: String) -> [String] {
        let trimmed = Self.trimmed(line)
        switch trimmed {
        case Self.start:
            defer { open = [] }
            return close()
        case Self.end:
            guard let lines = open else { return [line] }
            _ = close()
            values = Self.values(of: lines)
            return []
        default:
            guard open != nil else { return [line] }
            open?.append(trimmed)
            openBytes += line.utf8.count
            return openBytes > Self.limit ? close() : []
        }
    }

    /// The lines of a block that has no end: it is none.
    mutating func close() -> [String] {
        defer {
            open = nil
            openBytes = 0
        }
        return open.map { [Self.start] + $0 } ?? []
    }

    /// The last value of a key wins; what is no `key: value` is left out.
    private static func values(of lines: [String]) -> [String: String] {
        var values: [String: String] = [:]
        for line in lines {
            let parts = line.split(separator: ": ", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, !parts[0].isEmpty { values[String(parts[0])] = String(parts[1]) }
        }
        return values
    }

    private static func trimmed(_ line: String) -> String {
        var text = line[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }

    // MARK: Meaning

    /// The agent's last message, when the image passes it on.
    var response: String? {
        values["response"].flatMap { Data(base64Encoded: $0) }.map { String(decoding: $0, as: UTF8.self) }
    }

    /// The pull request that the agent opened or worked on.
    var pr: String? { values["pr"] }

    var usage: Usage {
        func tokens(_ name: String) -> Int64? { values[name].flatMap { Int64($0) }.flatMap { JSONValue.integer($0).tokens } }
        return Usage(
            inputTokens: tokens("input-tokens"), outputTokens: tokens("output-tokens"),
            costUSD: values["cost-usd"].flatMap { Double($0) }.flatMap { JSONValue.number($0).dollars })
    }

    /// Everything else, as it was given.
    var others: [String: String] {
        var others = values
        let understood = usage
        others["response"] = nil
        if understood.inputTokens != nil { others["input-tokens"] = nil }
        if understood.outputTokens != nil { others["output-tokens"] = nil }
        if understood.costUSD != nil { others["cost-usd"] = nil }
        return others
    }
}
