import Foundation
import Glibc
import NIOConcurrencyHelpers
import SessionModel
import Support

/// A scheduler, a kubelet and a container runtime in one: gives the double's pods a node, and runs their containers as processes of
/// this machine, each pod with a loopback address of its own.
///
/// ```swift
/// let kubelet = try FakeKubelet(server)
/// defer { await kubelet.stop() }
/// kubelet.kill("my-pod", "sidecar")       // a container dies
/// kubelet.evict("my-pod")
/// ```
/// There are no images: a container's command is looked for among the build's products, and the paths at which volumes are mounted
/// are replaced by the directories that stand for them, in arguments, in the environment and in the files of Secrets.
public final class FakeKubelet: Sendable {
    public static let node = "node-1"
    /// Given to pods so far, by all kubelets of this process.
    private static let addresses = NIOLockedValueBox(0)

    let double: KubernetesDouble
    /// Its files; `disks` in it has those of volume claims.
    public let directory: String
    private let state = NIOLockedValueBox(State())
    private let wake: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation

    private struct State {
        var workers: [String: (worker: PodWorker, task: Task<Void, Never>)] = [:]
        var isScheduling = true
        var isLost = false
        var missingImages: Set<String> = []
        var loop: Task<Void, Never>?
    }

    public init(_ double: KubernetesDouble) throws {
        self.double = double
        // Unix sockets have 107 bytes.
        var template = Array("/tmp/hk-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SidecarFailure("mkdtemp: \(String(cString: strerror(errno)))") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        (wake, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        double.with { $0.setNode(Self.node, ready: "True") }
        double.onChange { [waker] in waker.yield() }
        let loop = Task { [weak self, wake] in
            for await _ in wake { self?.look() }
        }
        state.withLockedValue { $0.loop = loop }
        waker.yield()
    }

    /// Ends everything that it has started and removes its directories.
    public func stop() async {
        let workers = state.withLockedValue { state in
            state.loop?.cancel()
            state.isLost = true
            return Array(state.workers.values)
        }
        // Not cancelled: what ends its processes has to wait for them.
        for (worker, _) in workers { await worker.die() }
        for (_, task) in workers { await task.value }
        try? FileManager.default.removeItem(atPath: directory)
    }

    // MARK: What a test does to it

    /// Kills one container's processes, as the kernel does when it runs out of memory, or as a crash.
    public func kill(_ pod: String, _ container: String, outOfMemory: Bool = false) async {
        await worker(pod)?.kill(container, reason: outOfMemory ? "OOMKilled" : "Error")
    }

    /// The node is short of something: the pod has failed.
    public func evict(_ pod: String) async { await worker(pod)?.evict() }

    /// From now on pods wait for a node, or no longer.
    public func setScheduling(_ isOn: Bool) {
        state.withLockedValue { $0.isScheduling = isOn }
        waker.yield()
    }

    /// From now on images of this name cannot be pulled.
    public func loseImage(_ name: String) { state.withLockedValue { _ = $0.missingImages.insert(name) } }

    /// The node does not answer any more; its processes go on.
    public func loseNode() {
        state.withLockedValue { $0.isLost = true }
        double.with { $0.setNode(Self.node, ready: "Unknown") }
    }

    /// It answers again.
    public func returnNode() async {
        state.withLockedValue { $0.isLost = false }
        double.with { $0.setNode(Self.node, ready: "True") }
        for (worker, _) in state.withLockedValue({ Array($0.workers.values) }) { await worker.report() }
        waker.yield()
    }

    /// How many pods have a living process.
    public var livingPods: Int {
        get async {
            var count = 0
            for (worker, _) in state.withLockedValue({ Array($0.workers.values) }) where await worker.isAlive { count += 1 }
            return count
        }
    }

    /// What the containers of all pods have printed, by pod.
    public func log(_ pod: String) async -> String { await worker(pod)?.log ?? "" }

    private func worker(_ pod: String) -> PodWorker? {
        state.withLockedValue { state in state.workers.values.first { $0.worker.name == pod }?.worker }
    }

    // MARK: Work

    var isLost: Bool { state.withLockedValue(\.isLost) }
    func isMissing(image: String) -> Bool { state.withLockedValue { $0.missingImages.contains(image) } }

    private func look() {
        guard !isLost else { return }
        for pod in double.with({ $0.all("pods") }) {
            guard let uid = pod["metadata"]?["uid"]?.string else { continue }
            guard pod["spec"]?["nodeName"] != nil else {
                schedule(pod)
                continue
            }
            let known = state.withLockedValue { state -> PodWorker? in
                if let entry = state.workers[uid] { return entry.worker }
                let phase = pod["status"]?["phase"]?.string
                guard phase != "Succeeded", phase != "Failed" else { return nil }
                let number = Self.addresses.withLockedValue { last in
                    last += 1
                    return last
                }
                let (high, low) = (number / 250, number % 250 + 1)
                let address = "127.\(64 + Int(getpid()) % 100).\(high).\(low)"
                let worker = PodWorker(pod, kubelet: self, address: address, directory: "\(directory)/\(number)")
                state.workers[uid] = (worker, Task { await worker.run() })
                return worker
            }
            if let known, pod["metadata"]?["deletionTimestamp"] != nil {
                let grace = pod["metadata"]?["deletionGracePeriodSeconds"]?.integer ?? 30
                Task { await known.delete(grace: .seconds(grace)) }
            }
        }
    }

    private func schedule(_ pod: JSONValue) {
        guard pod["metadata"]?["deletionTimestamp"] == nil else { return }
        let isOn = state.withLockedValue(\.isScheduling)
        let condition: JSONValue =
            isOn
            ? ["type": "PodScheduled", "status": "True"]
            : [
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Insufficient memory.",
            ]
        double.with { cluster in
            guard let current = cluster.find(pod) else { return }
            let status: JSONValue = ["phase": "Pending", "conditions": [condition]]
            cluster.store((isOn ? current.setting("spec", "nodeName", .string(Self.node)) : current).with("status", status))
        }
    }

    /// Writes what has become of a pod, unless the node is cut off.
    func report(_ pod: JSONValue, _ status: JSONValue) {
        guard !isLost else { return }
        double.with { cluster in
            guard let current = cluster.find(pod) else { return }
            cluster.store(current.with("status", status))
        }
    }

    /// Says what keeps a pod from starting.
    func warn(_ pod: JSONValue, _ reason: String, _ message: String) {
        guard !isLost else { return }
        double.with { $0.warn(pod, reason, message) }
    }

    /// The kubelet's last word on a pod that was to be deleted: nothing of it runs.
    func confirmDeletion(of pod: JSONValue) {
        guard !isLost else { return }
        double.with { cluster in
            guard let current = cluster.find(pod), current["metadata"]?["deletionTimestamp"] != nil else { return }
            cluster.store(current.setting("metadata", "deletionGracePeriodSeconds", 0))
        }
    }
}

extension Cluster {
    /// All objects of a built-in kind.
    func all(_ plural: String) -> [JSONValue] {
        objects.filter { $0.key.kind == plural }.sorted { $0.key < $1.key }.map(\.value)
    }

    /// The object as it is now; nil when it is gone, or another one has its name.
    func find(_ object: JSONValue) -> JSONValue? {
        objects.first { $0.value["metadata"]?["uid"] == object["metadata"]?["uid"] }?.value
    }

    func named(_ plural: String, _ namespace: String, _ name: String) -> JSONValue? {
        objects[Key(kind: plural, namespace: namespace, name: name)]
    }

    /// Writes a pod as its kubelet does.
    mutating func store(_ pod: JSONValue) {
        guard let kind = kind(group: "", version: "v1", plural: "pods"), let name = pod["metadata"]?["name"]?.string,
            let namespace = pod["metadata"]?["namespace"]?.string
        else { return }
        finish(pod, Key(kind: "pods", namespace: namespace, name: name), kind)
        collectGarbage()
    }

    /// Writes a Warning event about a pod as its kubelet does, or counts it up.
    mutating func warn(_ pod: JSONValue, _ reason: String, _ message: String) {
        guard let kind = kind(group: "", version: "v1", plural: "events"), let metadata = pod["metadata"],
            let name = metadata["name"]?.string, let namespace = metadata["namespace"]?.string
        else { return }
        let key = Key(kind: kind.qualifiedName, namespace: namespace, name: "\(name).\(reason.lowercased())")
        let about: JSONValue = [
            "kind": "Pod", "apiVersion": "v1", "namespace": .string(namespace), "name": .string(name),
            "uid": metadata["uid"] ?? "",
        ]
        let event: JSONValue = [
            "kind": "Event", "apiVersion": "v1", "involvedObject": about, "type": "Warning", "reason": .string(reason),
            "message": .string(message), "lastTimestamp": .string(now().wholeSeconds),
            "metadata": [
                "name": .string(key.name), "namespace": .string(namespace),
                "uid": objects[key]?["metadata"]?["uid"] ?? .string(UUID().uuidString.lowercased()),
            ],
        ]
        _ = put(event, as: key, of: kind)
    }

    /// A Node, as its kubelet and the node controller write it.
    public mutating func setNode(_ name: String, ready: String, taint: String? = nil) {
        guard let kind = kind(group: "", version: "v1", plural: "nodes") else { return }
        let key = Key(kind: "nodes", namespace: "", name: name)
        var node: JSONValue =
            objects[key] ?? [
                "kind": "Node", "apiVersion": "v1",
                "metadata": ["name": .string(name), "uid": .string(UUID().uuidString.lowercased())], "spec": [:],
            ]
        if let taint { node = node.setting("spec", "taints", [["key": .string(taint), "effect": "NoExecute"]]) }
        let message = ready == "True" ? "kubelet is posting ready status" : "Kubelet stopped posting node status."
        node = node.with(
            "status",
            [
                "conditions": [
                    ["type": "Ready", "status": .string(ready), "reason": "KubeletReady", "message": .string(message)]
                ]
            ])
        _ = put(node, as: key, of: kind)
    }

    /// The status of all objects of these kinds, for people.
    public func describe(_ kinds: [String]) -> String {
        objects.filter { kinds.contains($0.key.kind) }.sorted { $0.key < $1.key }.map { key, object in
            let status = (try? JSON.string(object["status"] ?? .null)) ?? ""
            let metadata = (try? JSON.string(object["metadata"] ?? .null)) ?? ""
            return "\(key.kind) \(key.name): \(metadata) \(status)"
        }.joined(separator: "\n")
    }

    public mutating func removeNode(_ name: String) { remove(Key(kind: "nodes", namespace: "", name: name)) }
}
