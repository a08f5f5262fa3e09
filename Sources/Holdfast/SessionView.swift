import Rendering
import SessionModel

/// One session in one look: what it is, what it is doing, why its Tasks wait, and how it came to be as it is.
struct SessionView {
    let session: SessionResource
    /// Those that have not ended, and the last that have; the newest last.
    let tasks: [TaskResource]
    let now: Timestamp
    let palette: Palette
    /// Columns; 0 cuts nothing.
    let width: Int

    var text: String {
        [title, facts, conditions, waiting, timeline].filter { !$0.isEmpty }.joined(separator: "\n")
    }

    private var status: SessionResourceStatus { session.status }

    private var title: String {
        let phase = palette(status.phase.rawValue, .bold) + palette(" for \(Wording.age(of: status.since, at: now))", .dim)
        let mark = status.phase.style.map { palette("●", $0) } ?? "●"
        let why = status.message.map { paragraph($0, .dim) } ?? ""
        return "\(mark) \(palette(session.spec.key.description, .bold))  \(phase)\n" + why
    }

    private var facts: String {
        var facts: [(String, String)] = [("name", session.metadata.name), ("epoch", "\(status.epoch)")]
        if let pid = status.pid { facts[1].1 += ", process \(pid)" }
        facts.append(("agent", session.spec.worker.arguments.joined(separator: " ")))
        if let repository = session.spec.workspace?.repository { facts.append(("repository", repository)) }
        if let workspace = status.workspace { facts.append(("workspace", Wording.workspace(workspace))) }
        if let activity = status.activity {
            if let running = activity.running { facts.append(("running", running.description)) }
            if let input = activity.awaitingInput { facts.append(("asks", input.question)) }
            if activity.queued > 0 { facts.append(("queued", "\(activity.queued)")) }
            if let idle = activity.idleSince { facts.append(("idle for", Wording.age(of: idle, at: now))) }
            if let until = activity.keepAliveUntil, until > now {
                facts.append(("kept awake", "for another \(Wording.duration(until - now))"))
            }
        }
        if let turns = status.turns {
            let ended = [
                ("succeeded", turns.succeeded), ("failed", turns.failed), ("cancelled", turns.cancelled),
                ("interrupted", turns.interrupted),
            ].filter { $0.1 > 0 }
            if !ended.isEmpty { facts.append(("turns", ended.map { "\($0.1) \($0.0)" }.joined(separator: ", "))) }
        }
        if let usage = status.usage.flatMap(Wording.usage) { facts.append(("usage", usage)) }
        facts.append(("lifetime", lifetime))
        let column = (facts.map(\.0.count).max() ?? 0) + 4
        return facts.map { name, value in
            "  " + palette(name, .dim) + String(repeating: " ", count: column - 2 - name.count) + cut(value, column) + "\n"
        }.joined()
    }

    /// What happens by itself, and when.
    private var lifetime: String {
        let lifetime = (session.spec.lifetime ?? Lifetime()).resolved
        var parts: [String] = []
        let ends = session.metadata.creationTimestamp + lifetime.ttl
        switch status.phase {
        case .pending, .starting, .ready, .draining:
            parts.append("\(lifetime.onIdle == .suspend ? "sleeps" : "ends") when idle for \(lifetime.idleTimeout)")
            parts.append("ends in \(Wording.duration(ends - now))")
        case .suspended, .failed:
            parts.append("ends in \(Wording.duration(min(ends, status.since + lifetime.suspendedTTL) - now)) if nothing wakes it")
        case .ended:
            parts.append("its transcript goes in \(Wording.duration(status.since + lifetime.archiveTTL - now))")
        }
        if let most = lifetime.limits.maxTokens { parts.append("at most \(Wording.count(most)) tokens") }
        if let most = lifetime.limits.maxTurns { parts.append("at most \(most) turns") }
        return parts.joined(separator: ", ")
    }

    private var conditions: String {
        status.conditions.filter { $0.type != "Ready" && $0.status == .true }.map { condition in
            palette("! \(condition.type)", .yellow) + "\n" + paragraph(condition.message, nil)
        }.joined()
    }

    private var waiting: String {
        let shown = tasks.filter { !$0.status.phase.isTerminal } + tasks.filter(\.status.phase.isTerminal).suffix(5)
        guard !shown.isEmpty else { return "" }
        var table = Table(["TASK", "PHASE", "TURN", "AGE", "WHY"])
        for task in tasks where shown.contains(where: { $0.metadata.uid == task.metadata.uid }) {
            let status = task.status
            table.add(
                [
                    task.metadata.name, status.phase.rawValue, status.turn?.description ?? "",
                    Wording.age(of: task.metadata.creationTimestamp, at: now), status.message ?? status.results?.answer ?? "",
                ], styles: [nil, status.phase.style])
        }
        return table.text(color: palette.isColored, width: width)
    }

    private var timeline: String {
        guard let history = status.history, !history.isEmpty else { return "" }
        var lines = ""
        for (index, change) in history.enumerated() {
            let next = index + 1 < history.count ? history[index + 1].at : now
            let isLast = index + 1 == history.count
            let mark = change.phase.style.map { palette(isLast ? "●" : "○", $0) } ?? (isLast ? "●" : "○")
            let phase = change.phase.rawValue
            let took = isLast && change.phase == .ended ? "" : Wording.duration(next - change.at)
            let left = "\(change.at.description.dropFirst(5).prefix(5)) \(Wording.clock(change.at))"
            lines += palette(left, .dim) + "  \(mark) " + phase + String(repeating: " ", count: max(1, 11 - phase.count))
            lines += palette(took, .dim) + String(repeating: " ", count: max(1, 9 - took.count))
            let why = (change.epoch > 0 && change.phase != .ended ? "epoch \(change.epoch)" : "")
            let text = [why, change.message.map(TerminalText.harmlessLine) ?? ""].filter { !$0.isEmpty }.joined(separator: ": ")
            lines += cut(text, 38) + "\n"
        }
        return lines
    }

    /// Whole: what to do is mostly said at the end.
    private func paragraph(_ text: String, _ style: Style?) -> String {
        var wrapper = Wrapper(indent: "  ", width: width)
        let text = wrapper.feed(TerminalText.harmlessLine(text)) + wrapper.finish()
        return text.split(separator: "\n").map { line in
            (style.map { palette(String(line), $0) } ?? String(line)) + "\n"
        }.joined()
    }

    private func cut(_ text: String, _ used: Int) -> String {
        let text = TerminalText.harmlessLine(text)
        return width > 0 ? Table.cut(text, to: max(20, width - used)) : text
    }
}
