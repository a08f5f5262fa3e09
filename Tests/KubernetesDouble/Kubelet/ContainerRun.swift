import Foundation
import Glibc
import Processes
import SessionModel

/// One container of a pod, over all its restarts.
struct ContainerRun {
    enum Kind { case initial, sidecar, main }

    let manifest: JSONValue
    let kind: Kind
    var isStarted = false
    var isReady = false
    private(set) var pid: Int32?
    /// Of the last process that has ended.
    private(set) var lastCode: Int64?
    private(set) var restartAt: ContinuousClock.Instant?
    private var restarts: Int64 = 0
    private var state: JSONValue = ["waiting": ["reason": "PodInitializing"]]
    private var lastState: JSONValue = [:]
    private var startedAt = ""
    /// Why it was killed, if it was not its own doing.
    private var killedFor: String?

    init(_ manifest: JSONValue, kind: Kind) {
        self.manifest = manifest
        self.kind = kind
    }

    var name: String { manifest["name"]?.string ?? "" }
    var image: String { manifest["image"]?.string ?? "" }

    private static var now: String { ISO8601DateFormatter().string(from: .now) }

    mutating func started(_ pid: Int32) {
        if state["terminated"] != nil || lastCode != nil { restarts += 1 }
        self.pid = pid
        startedAt = Self.now
        restartAt = nil
        state = ["running": ["startedAt": .string(startedAt)]]
    }

    mutating func wait(_ reason: String, _ message: String) {
        state = ["waiting": ["reason": .string(reason), "message": .string(message)]]
    }

    mutating func cannotStart(_ why: String) {
        lastCode = 128
        state = [
            "terminated": [
                "exitCode": 128, "reason": "StartError", "message": .string(why), "startedAt": .string(Self.now),
                "finishedAt": .string(Self.now),
            ]
        ]
    }

    mutating func ended(_ end: ProcessEnd?, words: String) {
        let code: Int64 =
            switch end {
            case .code(let code): Int64(code)
            case .signal(let signal): 128 + Int64(signal)
            case nil: 255
            }
        pid = nil
        lastCode = code
        isReady = false
        var record: [String: JSONValue] = [
            "exitCode": .integer(code), "reason": .string(killedFor ?? (code == 0 ? "Completed" : "Error")),
            "startedAt": .string(startedAt), "finishedAt": .string(Self.now),
        ]
        // As terminationMessagePolicy FallbackToLogsOnError has it.
        if code != 0, manifest["terminationMessagePolicy"]?.string == "FallbackToLogsOnError" {
            record["message"] = .string(words)
        }
        state = ["terminated": .object(record)]
        killedFor = nil
    }

    func isRestarted(by policy: String?) -> Bool {
        guard let lastCode, pid == nil else { return false }
        return kind == .sidecar || policy == "Always" || policy == "OnFailure" && lastCode != 0
    }

    mutating func backOff(pod: String) {
        lastState = state
        let pause = Duration.milliseconds(100) * (1 << min(6, restarts))
        restartAt = .now + pause
        isStarted = kind == .main
        // The first restart comes at once, too fast to be told as a back-off.
        guard restarts > 0 else { return }
        wait("CrashLoopBackOff", "back-off \(pause) restarting failed container=\(name) pod=\(pod)")
    }

    func signal(_ number: Int32) {
        guard let pid else { return }
        Glibc.kill(pid, number)
    }

    /// What is in a container ends with its first process.
    mutating func kill(reason: String) {
        guard let pid else { return }
        if killedFor == nil { killedFor = reason }
        let inside = ProcessEntry.descendants(of: pid)
        Glibc.kill(pid, SIGKILL)
        for entry in inside { entry.signal(SIGKILL) }
    }

    var status: JSONValue {
        [
            "name": .string(name), "image": .string(image), "state": state, "lastState": lastState, "ready": .bool(isReady),
            "started": .bool(isStarted && pid != nil), "restartCount": .integer(restarts),
        ]
    }
}
