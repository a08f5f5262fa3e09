import GitGateway
import HTTPServing
import Hummingbird
import SessionModel

extension SupervisorAPI {
    /// The text format of Prometheus.
    func showMetrics(_ call: Call) async throws -> Response {
        let counts = try await store.read { try $0.phaseCounts() }
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
