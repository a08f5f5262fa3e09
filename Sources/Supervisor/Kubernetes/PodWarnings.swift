import Kubernetes
import SessionModel

/// The Warning events about pods, by the pod's uid: a failing pull or mount is told by nothing else while a pod waits.
struct PodWarnings {
    private struct Entry {
        var pod: String
        /// RFC 3339, always in UTC: they compare as text.
        var at: String
        var warning: PodObservation.Warning
    }
    /// By the event's name.
    private var entries: [String: Entry] = [:]
    private var namesOfPod: [String: Set<String>] = [:]

    /// What is known of a pod, the newest last.
    func warnings(of uid: String) -> [PodObservation.Warning] {
        (namesOfPod[uid] ?? []).compactMap { entries[$0] }.sorted { $0.at < $1.at }.map(\.warning)
    }

    /// - Returns: the uid of the pod that the event is about.
    @discardableResult
    mutating func hear(_ change: Kubernetes.Change<GenericObject>) -> String? {
        switch change {
        case .deleted(let event):
            guard let name = event.metadata.name, let old = entries.removeValue(forKey: name) else { return nil }
            namesOfPod[old.pod]?.remove(name)
            if namesOfPod[old.pod]?.isEmpty == true { namesOfPod[old.pod] = nil }
            return old.pod
        case .added(let event), .updated(_, let event):
            guard let name = event.metadata.name, let pod = event["involvedObject"]?["uid"]?.string else { return nil }
            let at =
                event["series"]?["lastObservedTime"]?.string ?? event["lastTimestamp"]?.string ?? event["eventTime"]?.string
                ?? event["firstTimestamp"]?.string ?? ""
            let warning = PodObservation.Warning(
                reason: event["reason"]?.string ?? "", message: event["message"]?.string ?? "")
            entries[name] = Entry(pod: pod, at: at, warning: warning)
            namesOfPod[pod, default: []].insert(name)
            return pod
        }
    }
}
