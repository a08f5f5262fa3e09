import ArgumentParser
import FoundationEssentials
import SessionModel

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "Show what the session is doing.")

    @OptionGroup var inspector: InspectorOptions
    @Flag(help: "Print the API's answer as JSON.") var json = false

    func run() throws {
        do {
            let answer = try inspector.client.request("GET", "/v1/session")
            guard answer.status < 300 else { throw InspectorClient.problem(answer) }
            if json {
                Terminal.write(String(decoding: answer.body, as: UTF8.self) + "\n")
                return
            }
            Terminal.write(Self.text(of: try JSON.decode(SessionStatus.self, from: Data(answer.body))))
        } catch { Exit.fail(error) }
    }

    /// One fact a line, the name padded.
    static func text(of status: SessionStatus) -> String {
        let activity = status.activity
        var rows: [(String, String)] = []
        if let key = status.session { rows.append(("session", key.description)) }
        let doing =
            if activity.drained { "drained" } else if activity.draining { "draining" } else if let turn = activity.running {
                activity.awaitingInput == nil ? "working on \(turn)" : "\(turn) waits for an answer"
            } else if activity.queued > 0 { "waiting: \(activity.waitingFor ?? "")" } else {
                "idle since \(activity.idleSince.map(\.description) ?? "now")"
            }
        rows.append(("state", doing + (status.ready ? "" : "  (not ready)")))
        for reason in status.notReady { rows.append(("", reason)) }
        if let input = activity.awaitingInput {
            rows.append(("question", input.question))
            rows.append(("", input.options.map { "\($0.id): \($0.name)" }.joined(separator: " · ")))
        }
        rows.append(("epoch", "\(activity.epoch), since \(status.startedAt)"))
        let agent = [status.agent.name ?? status.agent.driver ?? "none described", status.agent.warm ? "warm" : nil]
        rows.append(("agent", agent.compactMap(\.self).joined(separator: ", ")))
        let turns = status.turns
        rows.append(
            (
                "turns",
                [
                    ("queued", turns.queued), ("running", turns.running), ("succeeded", turns.succeeded),
                    ("failed", turns.failed),
                    ("cancelled", turns.cancelled), ("interrupted", turns.interrupted),
                ].filter { $0.1 > 0 }.map { "\($0.1) \($0.0)" }.joined(separator: ", ")
            ))
        if rows.last?.1.isEmpty == true { rows[rows.count - 1].1 = "none yet" }
        if let workspace = status.workspace, workspace.branch != nil || workspace.commit != nil {
            var text = [workspace.branch, workspace.commit.map { String($0.prefix(12)) }].compactMap(\.self).joined(
                separator: " at ")
            if workspace.dirtyFileCount > 0 { text += ", \(workspace.dirtyFileCount) changed" }
            if let unpushed = workspace.unpushed, unpushed > 0 { text += ", \(unpushed) unpushed" }
            rows.append(("workspace", text))
        }
        rows.append(("directory", status.directory))
        rows.append(("cursor", activity.cursor.description))
        return rows.map { name, value in name + String(repeating: " ", count: 12 - name.utf8.count) + value + "\n" }.joined()
    }
}
