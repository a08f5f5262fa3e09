import Journal
import NIOConcurrencyHelpers
import SessionModel

/// Counts of requests since the start.
final class RequestMetrics: Sendable {
    struct Counts {
        var accepted = 0
        var repeated = 0
        var followers = 0
    }

    private let counts = NIOLockedValueBox(Counts())

    func enqueued(new: Bool) { counts.withLockedValue { if new { $0.accepted += 1 } else { $0.repeated += 1 } } }
    func followerCame() { counts.withLockedValue { $0.followers += 1 } }
    func followerLeft() { counts.withLockedValue { $0.followers -= 1 } }
    var snapshot: Counts { counts.withLockedValue { $0 } }
}

/// The sidecar's figures in the Prometheus text format.
enum Metrics {
    static func text(of session: Session, requests: RequestMetrics) async -> String {
        let status = await session.status()
        let requests = requests.snapshot
        var text = ""
        func metric(_ name: String, _ type: String, _ help: String, _ samples: [(labels: String, value: String)]) {
            text += "# HELP holdfast_sidecar_\(name) \(help)\n# TYPE holdfast_sidecar_\(name) \(type)\n"
            for sample in samples { text += "holdfast_sidecar_\(name)\(sample.labels) \(sample.value)\n" }
        }
        func gauge(_ name: String, _ help: String, _ value: Int) { metric(name, "gauge", help, [("", String(value))]) }

        gauge("ready", "1 when the session can work.", status.ready ? 1 : 0)
        gauge("epoch", "The incarnation of the session.", Int(status.activity.epoch))
        gauge("busy", "1 while a turn is queued or running, a client is attached or a lease holds.", status.activity.busy ? 1 : 0)
        gauge("draining", "1 while the session drains.", status.activity.draining ? 1 : 0)
        gauge("queued_turns", "Turns that wait.", status.turns.queued)
        gauge("running_turns", "Turns that run: 0 or 1.", status.turns.running)
        gauge("agent_warm", "1 while the agent's process is kept.", status.agent.warm ? 1 : 0)
        gauge("followers", "Open transcript streams.", requests.followers)
        metric(
            "turns_ended_total", "counter", "Turns of the whole session, by how they ended.",
            [
                ("{state=\"succeeded\"}", "\(status.turns.succeeded)"), ("{state=\"failed\"}", "\(status.turns.failed)"),
                ("{state=\"cancelled\"}", "\(status.turns.cancelled)"),
                ("{state=\"interrupted\"}", "\(status.turns.interrupted)"),
            ])
        metric(
            "enqueue_requests_total", "counter", "Accepted enqueue requests since the start, by whether the turn was new.",
            [("{new=\"true\"}", "\(requests.accepted)"), ("{new=\"false\"}", "\(requests.repeated)")])
        metric("journal_events_total", "counter", "Durable events of the journal.", [("", "\(session.journal.durable)")])
        metric(
            "journal_syncs_total", "counter", "Times the journal was made durable since the start.",
            [("", "\(session.journal.syncs)")])
        metric(
            "tokens_total", "counter", "Tokens the agent reported, of the whole session.",
            [
                ("{kind=\"input\"}", "\(status.usage.inputTokens ?? 0)"),
                ("{kind=\"output\"}", "\(status.usage.outputTokens ?? 0)"),
            ])
        return text
    }
}
