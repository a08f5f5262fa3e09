import SessionModel

/// What is read from a pod's document.
struct PodFacts {
    /// One container's status.
    struct Container {
        let name: String
        let status: JSONValue
        private var waiting: JSONValue? { status["state"]?["waiting"] }

        var isRunning: Bool { status["state"]?["running"] != nil }
        var waitingReason: String? { waiting?["reason"]?.string }
        var waitingMessage: String? { waiting?["message"]?.string }
        /// How it ended, if it has; else how it ended the last time.
        var end: JSONValue? { status["state"]?["terminated"] ?? status["lastState"]?["terminated"] }
        var image: String { status["image"]?.string ?? "" }
        var restarts: Int64 { status["restartCount"]?.integer ?? 0 }
    }

    let name: String
    let phase: String
    let nodeName: String?
    let address: String?
    private let spec: JSONValue
    private let status: JSONValue
    let containers: [Container]

    init(_ pod: GenericObject) {
        name = pod.metadata.name ?? ""
        spec = pod["spec"] ?? [:]
        status = pod["status"] ?? [:]
        phase = status["phase"]?.string ?? "Pending"
        nodeName = spec["nodeName"]?.string
        address = status["podIP"]?.string
        containers = ["initContainerStatuses", "containerStatuses"].flatMap { list in
            (pod["status"]?[list]?.array ?? []).map { Container(name: $0["name"]?.string ?? "", status: $0) }
        }
    }

    var sidecar: Container? { containers.first { $0.name == "sidecar" } }

    func condition(_ type: String) -> JSONValue? { status["conditions"]?.array?.first { $0["type"] == .string(type) } }
    func isTrue(_ type: String) -> Bool { condition(type)?["status"] == "True" }

    // MARK: Waiting

    /// What a pod without trouble waits for.
    var waitsFor: String {
        guard nodeName != nil, isTrue("PodScheduled") else { return "waits for a node to run on" }
        if condition("PodReadyToStartContainers")?["status"] != "True" { return "waits for its volumes and its network" }
        guard let next = containers.first(where: { !$0.isRunning && $0.end == nil }) else {
            return "waits for its sidecar to answer"
        }
        return "waits for its container “\(next.name)” to start"
    }

    // MARK: The end

    /// How a pod ended that has, as a clause.
    var end: String {
        if let reason = status["reason"]?.string {
            return "its pod was ended by the cluster (\(reason))" + (status["message"]?.string.map { ": \($0)" } ?? "")
        }
        if let disruption { return "its pod was evicted: \(disruption)" }
        // What says the most: a container that was killed, then one that failed.
        let ended = containers.filter { $0.end != nil }
        let telling =
            ended.first { $0.end?["reason"] == "OOMKilled" } ?? ended.first { $0.end?["exitCode"] != 0 }
            ?? ended.first { $0.name == "agent" }
        guard let telling else { return "its pod ended (\(phase))" }
        return "its container “\(telling.name)” ended \(Self.how(telling.end))"
    }

    /// Why the cluster has taken it off its node, if it has.
    private var disruption: String? {
        guard let target = condition("DisruptionTarget"), target["status"] == "True" else { return nil }
        return target["message"]?.string ?? target["reason"]?.string ?? "the cluster needed its node"
    }

    private static func how(_ end: JSONValue?) -> String {
        if end?["reason"] == "OOMKilled" { return "because it needed more memory than its limit" }
        let code = end?["exitCode"]?.integer ?? 0
        guard code > 128, code < 160 else { return "with exit code \(code)" + (meanings[code].map { " (\($0))" } ?? "") }
        return "by signal \(code - 128)"
    }

    /// The sidecar's exit codes, as docs/operations.md has them.
    private static let meanings: [Int64: String] = [
        64: "wrong usage or a wrong description file", 70: "an unexpected error", 74: "the disk cannot be used",
        75: "the state directory is in use", 76: "a newer epoch has written there",
    ]

    // MARK: Trouble

    func trouble(_ warnings: [PodObservation.Warning]) -> PodObservation.Trouble? {
        if let disruption {
            return .init(
                reason: .evicted, message: "the cluster has evicted it (\(disruption)); the session goes on in its next pod")
        }
        if status["reason"] == "Evicted" {
            return .init(
                reason: .evicted,
                message:
                    "its node was short of something (\(status["message"]?.string ?? "it does not say of what")); the session goes on in its next pod: give the agent's container requests that fit"
            )
        }
        if let scheduled = condition("PodScheduled"), scheduled["status"] == "False" { return unschedulable(scheduled) }
        for container in containers {
            if let trouble = trouble(of: container) { return trouble }
        }
        return phase == "Pending" ? told(by: warnings) : nil
    }

    private func unschedulable(_ condition: JSONValue) -> PodObservation.Trouble {
        let why = condition["message"]?.string ?? condition["reason"]?.string ?? ""
        let isVolume = why.contains("PersistentVolumeClaim") || why.contains("persistentvolumeclaim") || why.contains("volume")
        return isVolume
            ? .init(
                reason: .volume,
                message:
                    "no node has its volume: \(why). Look at the claim (kubectl describe pvc) and at worker.volumeClaimTemplate; a claim that another pod uses is free when that has ended"
            )
            : .init(
                reason: .unschedulable,
                message:
                    "no node takes it: \(why). Add nodes, or change requests, nodeSelector, affinity or tolerations in worker.podTemplate; it is tried again by itself"
            )
    }

    private func trouble(of container: Container) -> PodObservation.Trouble? {
        let detail = container.waitingMessage.map { ": \($0)" } ?? ""
        switch container.waitingReason {
        case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
            "ImageInspectError":
            return imagePull(container.name, container.image, detail)
        case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError":
            return .init(
                reason: .container,
                message:
                    "its container “\(container.name)” cannot be made\(detail). Mend what is named there, or worker.podTemplate; it is tried again by itself"
            )
        case "CrashLoopBackOff" where container.end?["reason"] != "OOMKilled":
            return .init(
                reason: .crashLoop,
                message:
                    "its container “\(container.name)” ends again and again, \(Self.how(container.end)). See why: kubectl logs \(name) -c \(container.name) --previous"
            )
        default: break
        }
        guard container.end?["reason"] == "OOMKilled" else { return nil }
        let limit = limit(of: container.name).map { " of \($0)" } ?? ""
        return .init(
            reason: .outOfMemory,
            message:
                "its container “\(container.name)” needed more memory than its limit\(limit) and was ended by the kernel. Raise resources.limits.memory of that container in worker.podTemplate"
        )
    }

    private func imagePull(_ container: String, _ image: String, _ detail: String) -> PodObservation.Trouble {
        .init(
            reason: .imagePull,
            message:
                "the image \(image) of its container “\(container)” cannot be pulled\(detail). Check its name, and imagePullSecrets in worker.podTemplate; it is tried again by itself"
        )
    }

    /// A pod that waits may say no more than `PodInitializing`, while events say why.
    private func told(by warnings: [PodObservation.Warning]) -> PodObservation.Trouble? {
        // What kept its volumes and its network from being there is over when they are.
        let hasSandbox = isTrue("PodReadyToStartContainers")
        let newest = warnings.last { warning in
            guard Self.beforeContainers.contains(warning.reason) else { return true }
            // The epoch's own Secret is made right after its pod, whose kubelet may be faster.
            return !hasSandbox && !warning.message.contains("secret \"\(name)\" not found")
        }
        guard let newest else { return nil }
        switch newest.reason {
        case "Failed", "BackOff", "ErrImageNeverPull", "InspectFailed":
            let waiting = containers.first {
                !$0.isRunning && $0.end == nil && newest.message.contains($0.image) && !$0.image.isEmpty
            }
            guard newest.message.contains("image") || waiting != nil else { return nil }
            return imagePull(waiting?.name ?? "agent", waiting?.image ?? "", ": \(newest.message)")
        case "FailedMount", "FailedAttachVolume", "FailedMapVolume", "ProvisioningFailed":
            return .init(
                reason: .volume,
                message:
                    "its volumes cannot be mounted: \(newest.message). Look at the claim, and at the Secrets that it names; it is tried again by itself"
            )
        case "FailedCreatePodSandBox", "NetworkNotReady":
            return .init(
                reason: .container, message: "its node cannot make it: \(newest.message). It is tried again by itself")
        default: return nil
        }
    }

    private static let beforeContainers: Set<String> = [
        "FailedMount", "FailedAttachVolume", "FailedMapVolume", "ProvisioningFailed", "FailedCreatePodSandBox", "NetworkNotReady",
    ]

    private func limit(of container: String) -> String? {
        ["initContainers", "containers"].flatMap { spec[$0]?.array ?? [] }.first { $0["name"] == .string(container) }?[
            "resources"]?[
                "limits"]?["memory"]?.string
    }
}
