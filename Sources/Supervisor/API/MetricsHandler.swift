import GitGateway
import HTTPServing
import Hummingbird
import SessionModel

extension SupervisorAPI {
    func showMetrics(_ call: Call) async throws -> Response {
        .metrics(MetricsPage(parts: [try await figures()]).text + (gateway?.text ?? ""))
    }

    /// - Parameter namespace: told in every figure, where there are several.
    func figures(of namespace: String? = nil) async throws -> MetricsPage.Part {
        let (counts, waiting) = try await store.read { (try $0.phaseCounts(), try $0.waitingTasks()) }
        return MetricsPage.Part(namespace: namespace, counts: counts, waiting: waiting, counters: metrics.values)
    }
}

extension Response {
    static func metrics(_ text: String) -> Response { .text(text, type: "text/plain; version=0.0.4; charset=utf-8") }
}

/// The supervisor's figures in the text format of Prometheus.
struct MetricsPage {
    /// One namespace's.
    struct Part: Sendable {
        var namespace: String?
        var counts: [(kind: String, phase: String, count: Int)]
        var waiting: [(phase: String, count: Int)]
        var counters: Metrics.Counters
    }

    let parts: [Part]

    private typealias Sample = (labels: [(String, String)], value: String)

    var text: String {
        func phases<Phase: RawRepresentable>(_ kind: String, _ all: [Phase], _ part: Part) -> [Sample]
        where Phase.RawValue == String {
            all.map { phase in
                let count = part.counts.first { $0.kind == kind && $0.phase == phase.rawValue }?.count ?? 0
                return ([("phase", phase.rawValue)], "\(count)")
            }
        }
        var text = family("holdfast_tasks", "gauge", "Tasks by phase.") { phases("Task", TaskPhase.allCases, $0) }
        text += family("holdfast_sessions", "gauge", "Sessions by phase.") { phases("Session", SessionPhase.allCases, $0) }
        text += family(
            "holdfast_tasks_waiting", "gauge", "Tasks that their sessions have not taken yet, by the phases of these."
        ) { part in
            SessionPhase.allCases.map { phase in
                ([("session", phase.rawValue)], "\(part.waiting.first { $0.phase == phase.rawValue }?.count ?? 0)")
            }
        }
        text += family(
            "holdfast_sessions_attended", "gauge", "Sessions that have a controller; those at rest have none."
        ) { [([], "\($0.counters.attended)")] }
        text += family(
            "holdfast_session_transitions_total", "counter", "How often sessions have entered a phase, and why."
        ) { part in
            part.counters.transitions.map { transition, count in
                ([("phase", transition.phase.rawValue), ("cause", transition.cause?.rawValue ?? "")], "\(count)")
            }.sorted { ($0.labels[0].1, $0.labels[1].1) < ($1.labels[0].1, $1.labels[1].1) }
        }
        text += lateness
        for (name, help, figure) in Self.counters {
            text += family("holdfast_\(name)_total", "counter", help) { [([], "\($0.counters[keyPath: figure])")] }
        }
        return text
    }

    private var lateness: String {
        let name = "holdfast_deadline_lateness_seconds"
        var text = family(name, "histogram", "How much later than due sessions were looked at.") { _ in [] }
        for part in parts {
            let late = part.counters.lateness
            for (bound, count) in zip(Metrics.Lateness.bounds, late.counts) {
                text += line("\(name)_bucket", ([("le", bound.label)], "\(count)"), part)
            }
            text += line("\(name)_bucket", ([("le", "+Inf")], "\(late.count)"), part)
            text += line("\(name)_sum", ([], "\(Double(late.milliseconds) / 1000)"), part)
            text += line("\(name)_count", ([], "\(late.count)"), part)
        }
        return text
    }

    private static var counters: [(name: String, help: String, figure: KeyPath<Metrics.Counters, Int>)] {
        [
            ("reconciles", "Inputs that session controllers have worked on.", \.reconciles),
            ("sidecar_starts", "Sidecars that were started.", \.starts),
            ("sidecar_adoptions", "Running sidecars that were found again after a restart.", \.adoptions),
            ("sidecar_crashes", "Sidecars that ended without having been drained.", \.crashes),
            ("turns_accepted", "Turns that sidecars have accepted.", \.turnsAccepted),
            ("turns_deferred", "Times that a sidecar took no turn for now.", \.turnsDeferred),
            ("drains_accepted", "Drains that sidecars agreed to.", \.drainsAccepted),
            ("drains_refused", "Drains that were refused or could not be asked for.", \.drainsRefused),
        ]
    }

    private func family(_ name: String, _ type: String, _ help: String, _ samples: (Part) -> [Sample]) -> String {
        var text = "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        for part in parts { for sample in samples(part) { text += line(name, sample, part) } }
        return text
    }

    private func line(_ name: String, _ sample: Sample, _ part: Part) -> String {
        let labels = (part.namespace.map { [("namespace", $0)] } ?? []) + sample.labels
        let text = labels.map { "\($0.0)=\"\($0.1)\"" }.joined(separator: ",")
        return "\(name)\(labels.isEmpty ? "" : "{\(text)}") \(sample.value)\n"
    }
}
