public import SessionModel

/// What a session's pod says of its epoch: whether it lives, where, what it waits for, what is wrong and what to do. Pure.
///
/// ```swift
/// let seen = PodObservation(pod, node: node, warnings: warnings, at: now)
/// switch seen.state { case .ended(let how): …; case .unknown(let why): … }
/// ```
public struct PodObservation: Sendable, Hashable {
    public enum State: Sendable, Hashable {
        /// Its sidecar does not run yet; the sentence says what it waits for.
        case starting(String)
        /// Its sidecar runs, and may be talked with at the address.
        case running(address: String, isReady: Bool)
        /// No process of it is alive; the clause says how it ended.
        case ended(String)
        /// Nobody can tell whether it runs, and the sentence says what to do. Nothing may take its place.
        case unknown(String)
    }

    /// Something that a person should know, and mostly can mend.
    public struct Trouble: Sendable, Hashable {
        public enum Reason: String, Sendable, Hashable, CaseIterable {
            case unschedulable = "Unschedulable"
            case imagePull = "ImagePullFailed"
            case volume = "VolumeNotReady"
            /// The kubelet cannot make one of its containers.
            case container = "ContainerNotStarted"
            case crashLoop = "CrashLoop"
            case outOfMemory = "OutOfMemory"
            case evicted = "Evicted"
        }
        public var reason: Reason
        /// What has happened, and what to do.
        public var message: String
    }

    /// What the cluster says of the pod's node.
    public enum Node: Sendable, Hashable {
        case found(GenericObject)
        /// There is no such object any more: the node is gone, with all that ran on it.
        case missing
        /// It is not known, at least not yet; a supervisor of one namespace may not ask.
        case unseen
    }

    /// A Warning event about the pod: some troubles are told by nothing else.
    public struct Warning: Sendable, Hashable {
        public var reason: String
        public var message: String

        public init(reason: String, message: String) {
            self.reason = reason
            self.message = message
        }
    }

    public let state: State
    public let trouble: Trouble?
    /// Its deletion has been asked for.
    public let isStopping: Bool

    /// How long a deletion may be overdue before its node is taken for silent.
    static let patience = TimeSpan.seconds(60)

    /// - Parameters:
    ///   - node: of the pod's `spec.nodeName`.
    ///   - warnings: the Warning events about this pod, the newest last.
    public init(_ pod: GenericObject, node: Node = .unseen, warnings: [Warning] = [], at now: Timestamp) {
        let facts = PodFacts(pod)
        isStopping = pod.metadata.deletionTimestamp != nil
        trouble = facts.trouble(warnings)
        if facts.phase == "Succeeded" || facts.phase == "Failed" {
            state = .ended(facts.end)
        } else if isStopping, facts.nodeName == nil {
            // No kubelet has ever seen it; what holds the object is not its end.
            state = .ended("it was deleted before it had a node")
        } else if let nodeName = facts.nodeName, let verdict = Self.verdict(on: node, named: nodeName) {
            state = verdict
        } else if facts.phase == "Unknown" {
            state = .unknown("its node does not say whether it runs. \(Self.advice(facts.nodeName ?? ""))")
        } else if let due = pod.metadata.deletionTimestamp, facts.nodeName != nil, now > due + Self.patience {
            state = .unknown(
                "it was to be gone at \(due), and node \(facts.nodeName ?? "") has not said that it is. \(Self.advice(facts.nodeName ?? ""))"
            )
        } else if let address = facts.address, facts.sidecar?.isRunning == true {
            state = .running(address: address, isReady: facts.isTrue("Ready"))
        } else {
            state = .starting(trouble?.message ?? facts.waitsFor)
        }
    }

    /// What a node that is gone or silent means for its pods; nil when it is neither.
    private static func verdict(on node: Node, named name: String) -> State? {
        switch node {
        case .unseen: return nil
        case .missing: return .ended("its node \(name) is gone")
        case .found(let node):
            let taints = node["spec"]?["taints"]?.array ?? []
            if taints.contains(where: { $0["key"] == "node.kubernetes.io/out-of-service" }) {
                return .ended("its node \(name) is out of service")
            }
            let ready = (node["status"]?["conditions"]?.array ?? []).first { $0["type"] == "Ready" }
            guard ready?["status"] == "Unknown" else { return nil }
            let since = ready?["lastTransitionTime"]?.string.map { " since \($0)" } ?? ""
            return .unknown("its node \(name) has not answered\(since). \(advice(name))")
        }
    }

    private static func advice(_ node: String) -> String {
        "When that machine is off for certain: kubectl taint node \(node) node.kubernetes.io/out-of-service=nodeshutdown:NoExecute, or delete the Node; until then no other pod takes its place"
    }
}
