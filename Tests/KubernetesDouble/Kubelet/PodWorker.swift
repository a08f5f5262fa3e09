import Foundation
import Glibc
import Processes
import SessionModel
import Support

/// What a kubelet does for one pod, from its volumes to its last word.
actor PodWorker {
    nonisolated let name: String
    private let pod: JSONValue
    private unowned let kubelet: FakeKubelet
    private let sandbox: PodSandbox
    private var containers: [ContainerRun]
    private var phase = "Pending"
    private var reason: String?
    private var message: String?
    /// What makes it end: nil while it is to run.
    private var ending: Ending?

    private struct Ending {
        var grace: Duration
        /// The containers' processes are killed at once, and the pod has failed.
        var isEviction = false
    }

    init(_ pod: JSONValue, kubelet: FakeKubelet, address: String, directory: String) {
        self.pod = pod
        self.kubelet = kubelet
        name = pod["metadata"]?["name"]?.string ?? ""
        sandbox = PodSandbox(pod, address: address, directory: directory, disks: kubelet.directory + "/disks")
        let spec = pod["spec"]
        containers =
            (spec?["initContainers"]?.array ?? []).map {
                ContainerRun($0, kind: $0["restartPolicy"]?.string == "Always" ? .sidecar : .initial)
            } + (spec?["containers"]?.array ?? []).map { ContainerRun($0, kind: .main) }
    }

    var isAlive: Bool { containers.contains { $0.pid != nil } }
    var log: String { sandbox.log }

    // MARK: Its life

    func run() async {
        let isUp = await prepare()
        if isUp { await live() }
        await end()
    }

    /// Volumes, then one init container after the other, then the containers.
    private func prepare() async -> Bool {
        report()
        var said: String?
        while let missing = sandbox.mount(from: kubelet.double) {
            if missing != said { kubelet.warn(pod, "FailedMount", missing) }
            said = missing
            guard await pause() else { return false }
        }
        for index in containers.indices where containers[index].kind != .main {
            guard await start(index) else { return false }
            if containers[index].kind == .initial {
                while containers[index].pid != nil { guard await pause() else { return false } }
                guard containers[index].lastCode == 0 else {
                    (phase, reason) = ("Failed", nil)
                    return false
                }
            } else {
                while await !probe(index, "startupProbe") { guard await pause() else { return false } }
                containers[index].isStarted = true
            }
            report()
        }
        for index in containers.indices where containers[index].kind == .main {
            guard await start(index) else { return false }
            containers[index].isStarted = true
        }
        phase = "Running"
        report()
        return true
    }

    /// Restarts what is to be restarted, until the containers have done their work or the pod is to end.
    private func live() async {
        while ending == nil {
            var isWorking = false
            for index in containers.indices where containers[index].kind != .initial {
                let container = containers[index]
                if container.pid == nil, container.isRestarted(by: pod["spec"]?["restartPolicy"]?.string) {
                    if container.restartAt == nil {
                        containers[index].backOff(pod: name)
                        report()
                    } else if let at = container.restartAt, at <= .now {
                        _ = await start(index)
                        report()
                    }
                }
                if container.kind == .main, containers[index].pid != nil || containers[index].restartAt != nil {
                    isWorking = true
                }
                let isReady = containers[index].pid != nil ? await probe(index, "readinessProbe") : false
                if isReady != containers[index].isReady {
                    containers[index].isReady = isReady
                    report()
                }
            }
            if !isWorking, ending == nil {
                phase = containers.contains { $0.kind == .main && $0.lastCode != 0 } ? "Failed" : "Succeeded"
                return
            }
            guard await pause() else { return }
        }
    }

    /// The containers first, then the sidecars in reverse order; what is left after the grace time is killed.
    private func end() async {
        let grace = ending?.grace ?? .seconds(pod["spec"]?["terminationGracePeriodSeconds"]?.integer ?? 30)
        let deadline = ContinuousClock.now + grace
        let groups =
            [containers.indices.filter { containers[$0].kind == .main }]
            + containers.indices.filter { containers[$0].kind != .main }.reversed().map { [$0] }
        for group in groups {
            for index in group { containers[index].signal(ending?.isEviction == true || grace <= .zero ? SIGKILL : SIGTERM) }
            while group.contains(where: { containers[$0].pid != nil }) {
                if ending?.grace ?? grace < grace || deadline <= .now {
                    for index in group { containers[index].kill(reason: "Error") }
                }
                try? await Task.sleep(for: .milliseconds(5))
            }
        }
        if ending?.isEviction == true {
            (phase, reason, message) = ("Failed", "Evicted", "The node was low on resource: memory.")
        } else if phase == "Running" || phase == "Pending" {
            phase = containers.contains { $0.kind == .main && $0.lastCode != 0 } ? "Failed" : "Succeeded"
        }
        for index in containers.indices { containers[index].isReady = false }
        report()
        kubelet.confirmDeletion(of: pod)
    }

    /// False when it is to end.
    private func pause() async -> Bool {
        try? await Task.sleep(for: .milliseconds(10))
        return ending == nil
    }

    // MARK: What others do to it

    func delete(grace: Duration) {
        let known = ending?.grace ?? .seconds(1_000_000)
        ending = Ending(grace: min(known, grace), isEviction: ending?.isEviction ?? false)
        // It had ended by itself before.
        if phase == "Succeeded" || phase == "Failed", !isAlive { kubelet.confirmDeletion(of: pod) }
    }

    func evict() { ending = Ending(grace: .zero, isEviction: true) }

    func kill(_ container: String, reason: String) {
        for index in containers.indices where containers[index].name == container { containers[index].kill(reason: reason) }
    }

    /// The test is over.
    func die() {
        ending = Ending(grace: .zero)
        for index in containers.indices { containers[index].kill(reason: "Error") }
    }

    // MARK: Containers

    private func start(_ index: Int) async -> Bool {
        while kubelet.isMissing(image: containers[index].image) {
            containers[index].wait("ImagePullBackOff", "Back-off pulling image \"\(containers[index].image)\"")
            report()
            guard await pause() else { return false }
        }
        do {
            let pid = try sandbox.start(containers[index].manifest)
            containers[index].started(pid)
            Task {
                let end = try? await blocking { Child.wait(pid) }
                ended(pid, end ?? nil)
            }
            return true
        } catch {
            containers[index].cannotStart("\(error)")
            report()
            return true
        }
    }

    private func ended(_ pid: Int32, _ end: ProcessEnd?) {
        guard let index = containers.firstIndex(where: { $0.pid == pid }) else { return }
        containers[index].ended(end, words: sandbox.lastWords(of: containers[index].name))
        report()
    }

    private func probe(_ index: Int, _ kind: String) async -> Bool {
        guard let command = containers[index].manifest[kind]?["exec"]?["command"] else { return containers[index].pid != nil }
        guard containers[index].pid != nil else { return false }
        let probe = containers[index].manifest.with("command", command).with("args", [])
        let sandbox = sandbox
        return (try? await blocking { Child.wait(try sandbox.start(probe, isProbe: true)) == .code(0) }) ?? false
    }

    // MARK: The status

    func report() {
        let now = JSONValue.string(ISO8601DateFormatter().string(from: .now))
        func condition(_ type: String, _ isTrue: Bool) -> JSONValue {
            ["type": .string(type), "status": isTrue ? "True" : "False", "lastTransitionTime": now]
        }
        let isInitialized = containers.allSatisfy { $0.kind == .main || ($0.kind == .initial ? $0.lastCode == 0 : $0.isStarted) }
        let isReady = phase == "Running" && containers.allSatisfy { $0.kind == .initial || $0.isReady }
        var status: [String: JSONValue] = [
            "phase": .string(phase), "hostIP": "127.0.0.1",
            "conditions": [
                condition("PodScheduled", true), condition("Initialized", isInitialized), condition("ContainersReady", isReady),
                condition("Ready", isReady),
            ],
            "initContainerStatuses": .array(containers.filter { $0.kind != .main }.map(\.status)),
            "containerStatuses": .array(containers.filter { $0.kind == .main }.map(\.status)),
        ]
        if containers.contains(where: { $0.pid != nil || $0.lastCode != nil }) {
            status["podIP"] = .string(sandbox.address)
            status["podIPs"] = [["ip": .string(sandbox.address)]]
        }
        if let reason { status["reason"] = .string(reason) }
        if let message { status["message"] = .string(message) }
        kubelet.report(pod, .object(status))
    }
}
