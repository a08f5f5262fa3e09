public import SessionModel

/// How figures are told to people.
public enum Wording {
    /// `12ms`, `3.2s`, `12s`, `3m 04s`, `1h 05m`, `2d 3h`.
    public static func duration(_ span: TimeSpan) -> String {
        let milliseconds = max(0, span.milliseconds)
        let seconds = milliseconds / 1000
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        switch seconds {
        case ..<1: return "\(milliseconds)ms"
        case ..<10: return "\(seconds).\(milliseconds % 1000 / 100)s"
        case ..<60: return "\(seconds)s"
        case ..<3600: return "\(seconds / 60)m \(two(seconds % 60))s"
        case ..<86_400: return "\(seconds / 3600)h \(two(seconds / 60 % 60))m"
        default: return "\(seconds / 86_400)d \(seconds / 3600 % 24)h"
        }
    }

    /// How long ago, in one unit: `12s`, `5m`, `3h`, `8d`.
    public static func age(of time: Timestamp, at now: Timestamp) -> String {
        let seconds = max(0, (now - time).milliseconds / 1000)
        switch seconds {
        case ..<60: return "\(seconds)s"
        case ..<3600: return "\(seconds / 60)m"
        case ..<86_400: return "\(seconds / 3600)h"
        default: return "\(seconds / 86_400)d"
        }
    }

    /// `950`, `1.2k`, `3.4M`.
    public static func count(_ number: Int64) -> String {
        func tenths(_ unit: Int64) -> String { "\(number / unit).\(number % unit * 10 / unit)" }
        switch number {
        case ..<1000: return "\(number)"
        case ..<1_000_000: return tenths(1000) + "k"
        default: return tenths(1_000_000) + "M"
        }
    }

    /// `1 file`, `2 files`.
    static func plural(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

    /// `1.2k tokens in, 300 out, $0.04`; nil when nothing was reported.
    public static func usage(_ usage: Usage) -> String? {
        var parts: [String] = []
        if let input = usage.inputTokens { parts.append("\(count(input)) tokens in") }
        if let output = usage.outputTokens { parts.append("\(count(output))\(parts.isEmpty ? " tokens" : "") out") }
        if let cost = usage.costUSD, cost.isFinite, cost >= 0, cost < 1e9 {
            let cents = Int64((cost * 100).rounded())
            parts.append(cents == 0 && cost > 0 ? "under $0.01" : "$\(cents / 100).\(cents % 100 < 10 ? "0" : "")\(cents % 100)")
        }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }

    /// `fix-12 at 3f2a1c9, 2 unpushed commits, 1 dirty file`
    public static func workspace(_ state: WorkspaceState) -> String {
        var parts = [state.branch ?? "detached HEAD"]
        parts[0] += state.commit.map { " at \($0.prefix(7))" } ?? ", no commit yet"
        if let unpushed = state.unpushed, unpushed > 0 { parts.append(plural(unpushed, "unpushed commit")) }
        if state.dirtyFileCount > 0 { parts.append(plural(state.dirtyFileCount, "dirty file")) }
        return TerminalText.harmlessLine(parts.joined(separator: ", "))
    }

    /// `pushed holdfast/issue-7 at 3f2a1c9`, `push refused: main (…)`, `fetched 1.2M bytes through the git gateway`
    static func transfer(_ transfer: GitTransfer) -> String {
        let refs = (transfer.refs ?? []).map { update in
            let name = update.ref.hasPrefix("refs/heads/") ? String(update.ref.dropFirst(11)) : update.ref
            if let why = update.refused { return "\(name) (\(why))" }
            return update.new.map { "\(name) at \($0.prefix(7))" } ?? "the removal of \(name)"
        }
        let text =
            switch (transfer.operation, transfer.outcome) {
            case (.fetch, .ok): "fetched \(count(transfer.receivedBytes)) bytes through the git gateway"
            case (.push, .ok): "pushed \(refs.joined(separator: ", "))"
            case (let operation, let outcome): ([operation.rawValue, "\(outcome.rawValue):"] + refs).joined(separator: " ")
            }
        return TerminalText.harmlessLine(text + (transfer.message.map { " \($0)" } ?? ""))
    }

    /// `18:14:05`, UTC.
    public static func clock(_ time: Timestamp) -> String { String(time.description.dropFirst(11).prefix(8)) }
    /// `2026-11-23`, UTC.
    static func day(_ time: Timestamp) -> String { String(time.description.prefix(10)) }
}
