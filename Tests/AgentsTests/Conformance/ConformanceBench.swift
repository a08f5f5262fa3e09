import AgentHost
import Agents
import Foundation
import Logging
import Processes
import SessionModel
import Support
import Testing

/// An agent that the scenarios are run with.
struct ConformanceAgent: Sendable, CustomStringConvertible {
    var name: String
    /// The link to its program, where that has another name.
    var installedAs: String?
    var driver: AgentDescription.Driver
    /// The agent and its environment, told where its state is.
    var describe: @Sendable (_ state: String) -> AgentDescription
    /// It is a program that runs once for every turn.
    var runsOnce = false
    /// It shows messages while they come.
    var streams = true
    var tells = Telling.everything
    /// It can take a conversation up again in another process, which else begins with a digest.
    var resumes = true
    /// A prompt is in the agent's own transcript before anything is done about it, so that a kill does not lose it.
    var keepsPromptsAtOnce = true
    /// Why a scenario is nothing that this agent can do.
    var cannot: [Scenario: String] = [:]

    var description: String { name }

    /// What is recorded when it goes on in another process.
    var resumption: String { resumes ? "conversation.resumed" : "conversation.reseeded" }

    /// What it tells of a tool call.
    enum Telling: Sendable {
        /// What it is given, and how it ended.
        case everything
        /// What it is about to do, in a title.
        case titles
        /// Of a shell command neither what it is nor how it ended.
        case names
        /// Nothing, but what it says of it.
        case nothing
    }
}

/// One scenario's world: a real agent host, a state directory, a working directory and a driver; and it does what the session does
/// around the driver.
final class ConformanceBench: @unchecked Sendable {
    let agent: ConformanceAgent
    private let host: HostLink
    private let marker: String
    private let base: String
    private var root: String
    private(set) var driver: any AgentDriver
    private(set) var recorder = Recorder()
    private var turns: UInt64 = 0
    private var pid: Int32 = 0
    /// How many processes of the agent were started.
    private(set) var started = 0
    /// What the session would know of the conversation.
    var conversation: String?
    var asks = false {
        didSet { driver = makeDriver() }
    }
    /// What it prints when it begins to work by itself comes late: after the next prompt, when there is the file ``promptThere``.
    var isLate = false {
        didSet { driver = makeDriver() }
    }

    static let promptThere = "prompt-is-there"

    /// As the session has it.
    static let cancelGrace = Duration.seconds(10)

    private init(agent: ConformanceAgent, host: HostLink, marker: String, base: String) {
        self.agent = agent
        self.host = host
        self.marker = marker
        self.base = base
        root = base + "/1"
        driver = Self.driver(agent, root, host)
    }

    /// Gives a bench to a scenario, and checks that no process of it is left.
    static func with(_ agent: ConformanceAgent, _ body: (ConformanceBench) async throws -> Void) async throws {
        let base = "/tmp/hf-\(UUID().uuidString.prefix(8))"
        let marker = "HOLDFAST_TEST=\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: base + "/1/work", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: base) }
        let host = try await HostLink.start(
            directory: base + "/run", marker: marker, executable: [Products.path("holdfast-sidecar"), "host"],
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let bench = ConformanceBench(agent: agent, host: host, marker: marker, base: base)
        do {
            // A scenario that is over its time limit waits for a turn, which ends when nothing runs any more.
            try await withTaskCancellationHandler {
                try await body(bench)
            } onCancel: {
                Task { try? await bench.release() }
            }
            try await bench.release()
            let left = bench.processes
            guard left.isEmpty else { throw Leftover(processes: left.map(\.command)) }
        } catch {
            try await host.close()
            throw error
        }
        try await host.close()
    }

    struct Leftover: Error { var processes: [String] }

    private func makeDriver() -> any AgentDriver { Self.driver(agent, root, host, asks: asks, isLate: isLate) }

    private static func driver(
        _ agent: ConformanceAgent, _ root: String, _ host: HostLink, asks: Bool = false, isLate: Bool = false
    ) -> any AgentDriver {
        var description = agent.describe(root + "/state")
        description.permissions = asks ? .ask : .bypass
        if isLate {
            let late = ["python3", ConformanceAgent.programs + "/late.py", "\(root)/work/\(promptThere)"]
            description.command = late + (description.command ?? [])
        }
        let base = [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": root + "/home",
            "HOLDFAST_AGENT_STATE": root + "/state", "LANG": "C.UTF-8",
        ]
        return AgentDrivers.make(
            description: description, host: host, environment: AgentEnvironment(base, for: description),
            digest: { "the digest" })
    }

    // MARK: Turns

    var directory: String { root + "/work" }
    var state: String { root + "/state" }

    /// Begins a turn with a recorder of its own.
    /// - Parameter stopped: it was interrupted just before the driver began.
    func begin(_ text: String, stopped: Bool = false) -> Task<TurnOutcome, Never> {
        turns += 1
        let recorder = Recorder(isStopping: stopped)
        self.recorder = recorder
        let prompt = AgentPrompt(
            turn: TurnID(turns), text: text, directory: directory, conversation: conversation, inputTimeout: .minutes(1))
        return Task { [self] in
            let outcome = await driver.run(prompt, reporting: recorder)
            await learn(recorder)
            if !outcome.clean || outcome.end.state == .cancelled { try? await release() }
            return outcome
        }
    }

    func run(_ text: String) async -> TurnOutcome { await begin(text).value }

    private func learn(_ recorder: Recorder) async {
        for event in await recorder.events {
            switch event {
            case .conversationStarted(let new), .conversationResumed(let new), .conversationReseeded(let new):
                conversation = new.id
            case .agentStarted: started += 1
            default: break
            }
        }
    }

    /// Asks the driver to stop the turn, and ends its processes when that takes too long, as the queue does.
    func interrupt() async {
        await driver.interrupt()
        let turn = turns
        Task {
            try? await Task.sleep(for: Self.cancelGrace)
            if turn == turns { try? await release() }
        }
    }

    /// Ends all processes, as it is done after a turn that did not end cleanly and when the agent has been idle.
    func release() async throws {
        try await host.endAll(grace: .seconds(5))
        await driver.processesEnded()
    }

    // MARK: What can be seen

    func file(_ name: String) throws -> String { try String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8) }
    func make(_ name: String) throws { try Data().write(to: URL(filePath: "\(directory)/\(name)")) }
    func fileExists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "\(directory)/\(name)") }

    /// Every living process of the scenario, the host aside.
    var processes: [ProcessEntry] {
        ProcessEntry.all().filter { $0.isAlive && $0.carries(marker) && $0.pid != host.hostProcess }
    }

    /// The agent's own process in this or an earlier turn.
    func agentPID() async -> Int32 {
        for case .agentStarted(let agent) in await recorder.events { pid = agent.pid ?? 0 }
        if pid == 0 { pid = processes.first { $0.parent == host.hostProcess }?.pid ?? 0 }
        return pid
    }

    /// Returns when the tool has made the file, or it never will.
    func fileSeen(_ name: String) async { await until { self.fileExists(name) } }
    func deltaSeen() async { await until { await !self.recorder.deltas.isEmpty } }

    /// Returns when the turn has begun and nothing more is to be seen.
    func quiet() async {
        await until { await self.agentPID() != 0 }
        try? await Task.sleep(for: .milliseconds(500))
    }

    private func until(_ isSo: () async -> Bool) async {
        let end = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < end, await !isSo() { try? await Task.sleep(for: .milliseconds(10)) }
    }

    // MARK: The agent's state

    /// Appends half a line to every file of the agent that is named after the conversation.
    func tear(_ conversation: String) throws {
        var torn = 0
        for case let name as String in FileManager.default.enumerator(atPath: state) ?? .init()
        where name.contains(conversation) && name.hasSuffix(".jsonl") {
            let file = try #require(FileHandle(forWritingAtPath: "\(state)/\(name)"))
            try file.seekToEnd()
            try file.write(contentsOf: Data(#"{"type":"user","mess"#.utf8))
            try file.close()
            torn += 1
        }
        if torn == 0 { throw Leftover(processes: ["no transcript of \(conversation) in \(state)"]) }
    }

    /// Makes all that the agent has written older than a year: some delete what is old.
    func age() throws {
        let past = Date(timeIntervalSinceNow: -400 * 86_400)
        for case let name as String in FileManager.default.enumerator(atPath: state) ?? .init() {
            try? FileManager.default.setAttributes([.modificationDate: past], ofItemAtPath: "\(state)/\(name)")
        }
    }

    /// Moves state and working directory to another path, as another pod has it, and makes a driver anew.
    func move() throws {
        let new = base + "/2"
        try FileManager.default.moveItem(atPath: root, toPath: new)
        root = new
        driver = makeDriver()
    }
}
