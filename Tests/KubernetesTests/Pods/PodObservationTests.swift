import SessionModel
import Testing

@testable import Kubernetes

/// What is read from pods as a real server has recorded them.
struct PodObservationTests {
    private let now = Timestamp("2026-11-22T09:50:00.000Z")!

    private func recorded(_ name: String) throws -> GenericObject {
        try JSON.decode(from: JSON.encode(try #require(try Exchange.named("pod-get-\(name)").response.body)))
    }

    private func observe(
        _ name: String, node: PodObservation.Node = .unseen, warnings: [PodObservation.Warning] = [], at time: Timestamp? = nil,
        _ change: (inout GenericObject) -> Void = { _ in }
    ) throws -> PodObservation {
        var pod = try recorded(name)
        change(&pod)
        return PodObservation(pod, node: node, warnings: warnings, at: time ?? now)
    }

    @Test func ready() throws {
        let seen = try observe("ready")
        #expect(seen.state == .running(address: "10.244.0.2", isReady: true))
        #expect(seen.trouble == nil && !seen.isStopping)
    }

    @Test func terminating() throws {
        let seen = try observe("terminating", at: Timestamp("2026-11-22T09:48:50.000Z"))
        #expect(seen.state == .running(address: "10.244.0.2", isReady: true) && seen.isStopping)
    }

    /// A node that has not said within a minute that it has done what it was told is not answering.
    @Test func aDeletionThatIsOverdueIsUnknown() throws {
        guard case .unknown(let why) = try observe("terminating", at: now + .minutes(60)).state else { throw Missed() }
        #expect(why.contains("node node1 has not said that it is") && why.contains("out-of-service"))
    }

    @Test func succeeded() throws {
        #expect(try observe("succeeded").state == .ended("its container “agent” ended with exit code 0"))
    }

    @Test func outOfMemory() throws {
        let seen = try observe("oomkilled")
        #expect(seen.state == .ended("its container “agent” ended because it needed more memory than its limit"))
        #expect(seen.trouble?.reason == .outOfMemory)
        #expect(seen.trouble?.message.contains("its limit of 16Mi") == true)
        #expect(seen.trouble?.message.contains("resources.limits.memory") == true)
    }

    @Test func unschedulable() throws {
        let seen = try observe("unschedulable")
        #expect(seen.trouble?.reason == .unschedulable)
        guard case .starting(let why) = seen.state else { throw Missed() }
        #expect(why.contains("didn't match Pod's node affinity/selector") && why.contains("worker.podTemplate"))
    }

    @Test func aVolumeThatNoNodeHas() throws {
        let seen = try observe("unschedulable") {
            $0["status"] = [
                "phase": "Pending",
                "conditions": [
                    [
                        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                        "message": "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
                    ]
                ],
            ]
        }
        #expect(seen.trouble?.reason == .volume && seen.trouble?.message.contains("kubectl describe pvc") == true)
    }

    @Test func crashLoop() throws {
        let seen = try observe("crashloop")
        #expect(seen.state == .running(address: "10.244.0.3", isReady: false))
        #expect(seen.trouble?.reason == .crashLoop)
        #expect(seen.trouble?.message.contains("ends again and again, with exit code 3") == true)
        #expect(seen.trouble?.message.contains("kubectl logs crash -c agent --previous") == true)
    }

    /// The recorded pod says no more than that it waits: only its events say why.
    @Test func anImageThatCannotBePulled() throws {
        let silent = try observe("imagepull-failed")
        #expect(silent.state == .running(address: "10.244.0.5", isReady: false) && silent.trouble == nil)
        let told = try observe(
            "imagepull-failed",
            warnings: [
                .init(reason: "Failed", message: "Failed to pull image \"registry.invalid/none:1\": no such host")
            ])
        #expect(told.trouble?.reason == .imagePull)
        #expect(told.trouble?.message.contains("the image registry.invalid/none:1 of its container “agent”") == true)
        #expect(told.trouble?.message.contains("imagePullSecrets") == true)
        let plain = try observe("imagepull-failed") { pod in
            pod = Self.waiting(pod, "ImagePullBackOff", "Back-off pulling image")
        }
        #expect(plain.trouble?.reason == .imagePull)
    }

    @Test(arguments: [
        ("FailedMount", "secret \"x\" not found", PodObservation.Trouble.Reason.volume),
        ("FailedAttachVolume", "Multi-Attach error", .volume), ("FailedCreatePodSandBox", "no network", .container),
    ])
    func whatOnlyEventsSay(reason: String, message: String, expected: PodObservation.Trouble.Reason) throws {
        func observe(_ message: String, hasSandbox: Bool) throws -> PodObservation {
            try self.observe("imagepull-failed", warnings: [.init(reason: reason, message: message)]) { pod in
                var status = pod["status"]?.object ?? [:]
                status["conditions"] = [
                    ["type": "PodScheduled", "status": "True"],
                    ["type": "PodReadyToStartContainers", "status": hasSandbox ? "True" : "False"],
                ]
                pod["status"] = .object(status)
            }
        }
        let seen = try observe(message, hasSandbox: false)
        #expect(seen.trouble?.reason == expected && seen.trouble?.message.contains(message) == true)
        // It is over when the pod has got so far; and its own Secret is made right after the pod.
        #expect(try observe(message, hasSandbox: true).trouble == nil)
        let name = try recorded("imagepull-failed").metadata.name ?? ""
        #expect(try observe("secret \"\(name)\" not found", hasSandbox: false).trouble == nil)
    }

    @Test func anEventOfLongAgoIsNoTroubleOfARunningPod() throws {
        #expect(try observe("ready", warnings: [.init(reason: "FailedMount", message: "x")]).trouble == nil)
    }

    @Test func aContainerThatCannotBeMade() throws {
        let seen = try observe("imagepull-failed") {
            $0 = Self.waiting($0, "CreateContainerConfigError", "secret \"s\" not found")
        }
        #expect(seen.trouble?.reason == .container && seen.trouble?.message.contains("secret \"s\" not found") == true)
    }

    @Test func evicted() throws {
        let stream = try #require(try Exchange.named("watch-pod-evicted").response.stream)
        let last = try #require(stream.last { $0.event["object"]?["status"]?["phase"] == "Succeeded" }?.event["object"])
        let seen = PodObservation(try JSON.decode(from: JSON.encode(last)), at: now)
        guard case .ended(let how) = seen.state else { throw Missed() }
        #expect(how.hasPrefix("its pod was evicted"))
        #expect(seen.trouble?.reason == .evicted && seen.trouble?.message.contains("the session goes on in its next pod") == true)
    }

    @Test func evictedByAnOverloadedNode() throws {
        let seen = try observe("succeeded") {
            $0["status"] = ["phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."]
        }
        #expect(seen.state == .ended("its pod was ended by the cluster (Evicted): The node was low on resource: memory."))
        #expect(seen.trouble?.reason == .evicted)
    }

    // MARK: Nodes

    private func node(_ status: JSONValue, taints: [JSONValue] = []) -> PodObservation.Node {
        .found(
            GenericObject(
                .nodes, metadata: ObjectMeta(name: "node1"),
                members: [
                    "spec": ["taints": .array(taints)],
                    "status": [
                        "conditions": [
                            ["type": "Ready", "status": status, "lastTransitionTime": "2026-11-22T09:40:00Z"]
                        ]
                    ],
                ]))
    }

    @Test func aSilentNodeLeavesItUnknown() throws {
        guard case .unknown(let why) = try observe("ready", node: node("Unknown")).state else { throw Missed() }
        #expect(why.contains("node1 has not answered since 2026-11-22T09:40:00Z") && why.contains("kubectl taint node node1"))
        // What has ended has ended, whatever becomes of its node.
        guard case .ended = try observe("succeeded", node: node("Unknown")).state else { throw Missed() }
    }

    @Test func aNodeThatIsGoneOrOutOfServiceHasEndedIt() throws {
        #expect(try observe("ready", node: .missing).state == .ended("its node node1 is gone"))
        let taint: JSONValue = ["key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"]
        #expect(
            try observe("ready", node: node("Unknown", taints: [taint])).state == .ended("its node node1 is out of service"))
    }

    @Test func aNodeThatIsOnlyNotReadyStillAnswers() throws {
        #expect(try observe("ready", node: node("False")).state == .running(address: "10.244.0.2", isReady: true))
        // A pod that has no node yet has none to lose.
        guard case .starting = try observe("unschedulable", node: .missing).state else { throw Missed() }
    }

    // MARK: Every step

    /// At no moment of a recorded life is it called ended before the kubelet has said so, or was never to see it, nor alive afterwards.
    @Test(arguments: ["lifecycle", "crashloop", "imagepull", "oomkilled", "evicted", "run-to-completion", "unschedulable"])
    func everyStepOfARecordedLife(name: String) throws {
        var hasEnded = false
        for event in try #require(try Exchange.named("watch-pod-\(name)").response.stream) {
            guard let object = event.event["object"], object["kind"] == "Pod", object["metadata"]?["uid"] != nil else { continue }
            let pod: GenericObject = try JSON.decode(from: JSON.encode(object))
            // The recording's own time: shortly before any deletion is due.
            let seen = PodObservation(pod, at: pod.metadata.deletionTimestamp ?? now)
            let phase = object["status"]?["phase"]?.string ?? ""
            let isEnded = if case .ended = seen.state { true } else { false }
            let neverHadANode = object["spec"]?["nodeName"] == nil && pod.metadata.deletionTimestamp != nil
            #expect(isEnded == (["Succeeded", "Failed"].contains(phase) || neverHadANode))
            #expect(isEnded || !hasEnded)
            hasEnded = isEnded
            if case .starting(let why) = seen.state { #expect(why.hasPrefix("waits for ") || seen.trouble != nil) }
        }
    }

    private static func waiting(_ pod: GenericObject, _ reason: String, _ message: String) -> GenericObject {
        var pod = pod
        var status = pod["status"]?.object ?? [:]
        status["containerStatuses"] = [
            [
                "name": "agent", "image": "registry.invalid/none:1",
                "state": ["waiting": ["reason": .string(reason), "message": .string(message)]],
            ]
        ]
        pod["status"] = .object(status)
        return pod
    }

    private struct Missed: Error {}
}
