import FoundationEssentials
import Rendering
import SessionModel
import Yams

/// Lists and objects in the form the user wants.
extension Console {
    func print<Item: Codable>(_ items: [Item], as format: OutputFormat, table: ([Item]) -> Table) throws(Failure) {
        if format == .table {
            print(table(items).text(color: hasColor, width: width))
        } else {
            try print(["items": items], as: format)
        }
    }

    /// JSON or YAML.
    func print(_ value: some Codable, as format: OutputFormat) throws(Failure) {
        let text: String
        do {
            switch format {
            case .yaml:
                text = try YAMLEncoder().encode(value)
            case .json, .table:
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
                text = String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
            }
        } catch {
            throw Failure(.failed, "the answer cannot be printed as \(format.rawValue): \(error)")
        }
        // The values are the agents' and users' own: a terminal gets them without what could control it.
        print(isTerminal ? TerminalText.harmless(text) : text)
    }
}

extension Table {
    static func tasks(_ tasks: [TaskResource], at now: Timestamp) -> Table {
        var table = Table(["NAME", "PHASE", "SESSION", "TURN", "AGE", "TOOK", "MESSAGE"])
        for task in tasks {
            let status = task.status
            let took = status.startTime.map { Wording.duration((status.completionTime ?? now) - $0) } ?? ""
            table.add(
                [
                    task.metadata.name, status.phase.rawValue, status.session?.description ?? "", status.turn?.description ?? "",
                    Wording.age(of: task.metadata.creationTimestamp, at: now), took,
                    status.message ?? status.notices?.first ?? status.results?.answer ?? "",
                ], styles: [nil, status.phase.style])
        }
        return table
    }

    static func sessions(_ sessions: [SessionResource], at now: Timestamp) -> Table {
        var table = Table(["SESSION", "PHASE", "EPOCH", "DOING", "IDLE", "AGE", "MESSAGE"])
        for session in sessions {
            let status = session.status
            table.add(
                [
                    session.spec.key.description, status.phase.rawValue, "\(status.epoch)", status.activity.map(doing) ?? "",
                    status.activity?.idleSince.map { Wording.age(of: $0, at: now) } ?? "",
                    Wording.age(of: session.metadata.creationTimestamp, at: now), status.message ?? "",
                ], styles: [nil, status.phase.style])
        }
        return table
    }

    /// `t3, 2 queued`
    private static func doing(_ activity: Activity) -> String {
        var parts: [String] = []
        if let running = activity.running { parts.append(activity.awaitingInput == nil ? "\(running)" : "\(running) asks") }
        if activity.queued > 0 { parts.append("\(activity.queued) queued") }
        return parts.joined(separator: ", ")
    }
}

extension TaskPhase {
    var style: Style? {
        switch self {
        case .pending, .queued: .dim
        case .running: .blue
        case .awaitingInput, .cancelled, .interrupted: .yellow
        case .succeeded: .green
        case .failed: .red
        }
    }

    /// How `run --follow` ends.
    var exitStatus: ExitStatus {
        switch self {
        case .succeeded: .success
        case .cancelled: .cancelled
        case .interrupted: .interrupted
        case .pending, .queued, .running, .awaitingInput, .failed: .failed
        }
    }
}

extension SessionPhase {
    var style: Style? {
        switch self {
        case .pending, .suspended, .ended: .dim
        case .starting, .draining: .yellow
        case .ready: .green
        case .failed: .red
        }
    }
}

extension Timestamp {
    static var now: Timestamp { Timestamp(milliseconds: Int64(Date.now.timeIntervalSince1970 * 1000)) }
}

/// A word for a shell: quoted when it must be.
func shellWord(_ text: String) -> String {
    let isPlain =
        !text.isEmpty
        && text.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 | 32 >= 97 && $0 | 32 <= 122) || "-._/:@".utf8.contains($0) }
    return isPlain ? text : "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
}
