import GitGateway
import HTTPServing
import Hummingbird
import SessionModel

extension SupervisorAPI {
    /// The text format of Prometheus.
    func showMetrics(_ call: Call) async throws -> Response {
        let (counts, waiting) = try await store.read { (try $0.phaseCounts(), try $0.waitingTasks()) }
        let counters = metrics.values
        var text = ""
        func family(_ name: String, _ type: String, _ help: String, _ samples: [(labels: String, value: Int)]) {
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
            for sample in samples { text += "\(name)\(sample.labels) \(sample.value)\n" }
        }
        func phases<Phase: RawRepresentable>(_ kind: String, _ all: [Phase]) -> [(String, Int)] where Phase.RawValue == String {
            all.map { phase in
                ("{phase=\"\(phase.rawValue)\"}", counts.first { $0.kind == kind && $0.phase == phase.rawValue }?.count ?? 0)
            }
        }
        family("holdfast_tasks", "gauge", "Tasks by phase.", phases("Task", TaskPhase.allCases))
        family("holdfast_sessions", "gauge", "Sessions by phase.", phases("Session", SessionPhase.allCases))
        family(
            "holdfast_tasks_waiting", "gauge", "Tasks that their sessions have not taken yet, by the phases of these.",
            SessionPhase.allCases.map { phase in
                ("{session=\"\(phase.rawValue)\"}", waiting.first { $0.phase == phase.rawValue }?.count ?? 0)
            })
        family(
            "holdfast_sessions_attended", "gauge", "Sessions that have a controller; those at rest have none.",
            [
                ("", counters.attended)
            ])
        family(
            "holdfast_session_transitions_total", "counter", "How often sessions have entered a phase, and why.",
            counters.transitions.map { transition, count in
                ("{phase=\"\(transition.phase.rawValue)\",cause=\"\(transition.cause?.rawValue ?? "")\"}", count)
            }.sorted { $0.0 < $1.0 })
        family(
            "holdfast_deadline_lateness_seconds", "histogram", "How much later than due sessions were looked at.", [])
        let late = counters.lateness
        for (bound, count) in zip(Metrics.Lateness.bounds, late.counts) {
            text += "holdfast_deadline_lateness_seconds_bucket{le=\"\(bound.label)\"} \(count)\n"
        }
        text += "holdfast_deadline_lateness_seconds_bucket{le=\"+Inf\"} \(late.count)\n"
        text += "holdfast_deadline_lateness_seconds_sum \(Double(late.milliseconds) / 1000)\n"
        text += "holdfast_deadline_lateness_seconds_count \(late.count)\n"
        for (name, help, value) in [
            ("reconciles", "Inputs that session controllers have worked on.", counters.reconciles),
            ("sidecar_starts", "Sidecars that were started.", counters.starts),
            ("sidecar_adoptions", "Running sidecars that were found again after a restart.", counters.adoptions),
            ("sidecar_crashes", "Sidecars that ended without having been drained.", counters.crashes),
            ("turns_accepted", "Turns that sidecars have accepted.", counters.turnsAccepted),
            ("turns_deferred", "Times that a sidecar took no turn for now.", counters.turnsDeferred),
            ("drains_accepted", "Drains that sidecars agreed to.", counters.drainsAccepted),
            ("drains_refused", "Drains that were refused or could not be asked for.", counters.drainsRefused),
        ] {
            family("holdfast_\(name)_total", "counter", help, [("", value)])
        }
        return .text(text + (gateway?.text ?? ""), type: "text/plain; version=0.0.4; charset=utf-8")
    }
}
