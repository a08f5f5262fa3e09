import Kubernetes
import NIOConcurrencyHelpers
import SessionModel

/// One epoch of a session in its pod.
final class PodIncarnation: Incarnation {
    let epoch: UInt32
    /// The pod's.
    let name: String
    let uid: String
    let news = IncarnationFeed()
    private let manifest: SessionPod
    private let runtime: KubernetesRuntime
    private let state = NIOLockedValueBox(State())

    private struct State {
        var address: String?
        var client: SidecarClient?
        var seen: PodObservation?
        var isOver = false
        var log = ""
        /// What the pod's annotation says.
        var isSafeToEvict = false
    }

    init(_ manifest: SessionPod, uid: String, runtime: KubernetesRuntime) {
        epoch = manifest.epoch
        name = manifest.name
        self.uid = uid
        self.manifest = manifest
        self.runtime = runtime
    }

    var pid: Int32? { nil }

    var client: SidecarClient? { state.withLockedValue(\.client) }

    /// What the sidecar's container has left as its last words.
    func log() -> String { state.withLockedValue(\.log) }

    func stop(grace: TimeSpan) async { await runtime.stop(self, grace: grace) }

    /// While a session is at work, the cluster's autoscaler is not to take its node away.
    func note(isBusy: Bool) async {
        let isNew = state.withLockedValue { state in
            defer { state.isSafeToEvict = !isBusy }
            return state.isSafeToEvict == isBusy
        }
        if isNew { await runtime.mark(self, isSafeToEvict: !isBusy) }
    }

    // MARK: What the API server tells

    func hear(_ pod: GenericObject, _ seen: PodObservation) {
        let told = state.withLockedValue { state -> [IncarnationNews] in
            guard !state.isOver else { return [] }
            let before = state.seen
            state.seen = seen
            state.log = Self.lastWords(of: pod)
            var told: [IncarnationNews] = []
            if seen.trouble != before?.trouble {
                told.append(.trouble(seen.trouble.map { Trouble(reason: $0.reason.rawValue, message: $0.message) }))
            }
            switch seen.state {
            case .starting: break
            case .running(let address, _):
                guard address != state.address else { break }
                state.address = address
                state.client = runtime.client(of: manifest, at: address)
                told.append(.addressed)
            // Again and again: what follows from it is a matter of how long it lasts.
            case .unknown(let why): told.append(.unknown(why))
            case .ended(let how):
                state.isOver = true
                told.append(.ended(how))
            }
            return told
        }
        tell(told)
    }

    /// Somebody has taken its finalizer off.
    func hearItIsGone() {
        let isNews = state.withLockedValue { state in
            defer { state.isOver = true }
            return !state.isOver
        }
        if isNews { tell([.ended("its pod was removed")]) }
    }

    private func tell(_ told: [IncarnationNews]) {
        for item in told {
            news.tell(item)
            if case .ended = item { runtime.ended(self) }
        }
    }

    private static func lastWords(of pod: GenericObject) -> String {
        let containers =
            (pod["status"]?["initContainerStatuses"]?.array ?? []) + (pod["status"]?["containerStatuses"]?.array ?? [])
        for container in containers {
            for state in ["state", "lastState"] {
                let end = container[state]?["terminated"]
                if let message = end?["message"]?.string, end?["exitCode"]?.integer != 0 {
                    return message.trimmed(toLines: 8)
                }
            }
        }
        return ""
    }
}

extension String {
    fileprivate func trimmed(toLines count: Int) -> String {
        split(separator: "\n", omittingEmptySubsequences: true).suffix(count).joined(separator: "\n")
    }
}
