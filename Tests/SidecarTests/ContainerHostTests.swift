import Curl
import Foundation
import Glibc
import Processes
import SessionModel
import Support
import Testing

/// The agent host in a container of its own: `serve --host-user`, and a host that somebody else starts.
@Suite struct ContainerHostTests {
    private static var user: [String] { ["--host-user", "\(geteuid())"] }

    /// What the kubelet does: it starts the host, with the environment of the agent's container.
    private func startHost(_ home: SidecarHome, environment: [String: String] = [:]) throws -> Int32 {
        let link = home.socket + ".d"
        return try Spawn(
            [
                Products.path("holdfast-sidecar"), "host", "--socket", link + "/host.sock", "--secret-file",
                link + "/host.secret",
                "--marker", "HOLDFAST_STATE=\(home.state)", "--termination-grace", "60s",
            ], environment: ["PATH": "/usr/bin:/bin", "HOME": home.path].merging(environment) { $1 }
        ).start()
    }

    private func answer(_ prompt: String, _ sidecar: SidecarProcess) async throws -> (turn: Turn, output: String) {
        let turn = try await sidecar.end(of: try await sidecar.enqueue(prompt).id)
        let lines = try await sidecar.send("GET", "/v1/transcript?turn=\(turn.id)", headers: ["Accept": "application/x-ndjson"])
        return (turn, String(decoding: lines.body, as: UTF8.self))
    }

    @Test func whatItRunsHasTheEnvironmentOfItsOwnContainer() async throws {
        try await SidecarProcess.with(
            agent: .demo(), arguments: Self.user, environment: ["OF_THE_SIDECAR": "seen", "IMAGE_TOKEN": "other"]
        ) { sidecar in
            #expect(try await sidecar.send("GET", "/readyz").status == 503)
            let host = try startHost(
                sidecar.home,
                environment: ["OF_THE_IMAGE": "seen", "IMAGE_TOKEN": "hf-secret-of-the-image", "HOLDFAST_X": "hidden"])
            try await sidecar.waitUntilReady()
            let (turn, output) = try await answer("run: env; echo agent=$HOLDFAST_AGENT_STATE", sidecar)
            #expect(turn.state == .succeeded)
            #expect(output.contains("OF_THE_IMAGE=seen") && output.contains("HOME=\(sidecar.home.path)"))
            #expect(!output.contains("OF_THE_SIDECAR") && !output.contains("hidden"))
            #expect(output.contains("agent=\(sidecar.home.state)/agent"))
            // It is the sidecar that knows what not to write down.
            #expect(output.contains("IMAGE_TOKEN=") && !output.contains("hf-secret-of-the-image"))
            kill(host, SIGKILL)
            _ = Child.wait(host)
        }
    }

    /// A pod is deleted: the agent's container is told first, and the sidecar when that has ended.
    @Test func aTurnEndsWhenTheContainerIsStopped() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: Self.user + ["--grace", "30s"]) { sidecar in
            let host = try startHost(sidecar.home)
            try await sidecar.waitUntilReady()
            let turn = try await sidecar.enqueue("run: touch started; while [ ! -e go ]; do sleep 0.05; done")
            try await sidecar.enqueue("say: next")
            let workspace = sidecar.home.workspace
            try await sidecar.until { FileManager.default.fileExists(atPath: workspace + "/started") }
            kill(host, SIGTERM)
            try await sidecar.until { try await sidecar.json(Activity.self, "GET", "/v1/activity").draining }
            #expect(try await problem(sidecar, "POST", "/v1/turns", body: #"{"prompt":"late"}"#).problem.kind == .draining)
            try Data().write(to: URL(filePath: workspace + "/go"))
            #expect(try await sidecar.end(of: turn.id).state == .succeeded)
            #expect(Child.wait(host, atMost: .seconds(30)) == .code(0))
            // It goes on answering, and waits for its own turn to be stopped.
            #expect(try await sidecar.turn(TurnID(2)).state == .queued)
            sidecar.kill(SIGTERM)
            #expect(try await sidecar.waitForExit() == .code(0))
        }
    }

    @Test func anotherHostTakesTheTurnsAfterOneThatWasKilled() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: Self.user) { sidecar in
            let first = try startHost(sidecar.home)
            try await sidecar.waitUntilReady()
            let turn = try await sidecar.enqueue("run: touch started; sleep 600")
            let workspace = sidecar.home.workspace
            try await sidecar.until { FileManager.default.fileExists(atPath: workspace + "/started") }
            // As the kernel ends a container: its first process, and with it all the others.
            let others = ProcessEntry.descendants(of: first)
            kill(first, SIGKILL)
            for process in others { process.signal(SIGKILL) }
            _ = Child.wait(first)
            #expect(try await sidecar.end(of: turn.id).reason == .hostLost)
            let second = try startHost(sidecar.home)
            #expect(try await answer("say: again", sidecar).turn.state == .succeeded)
            kill(second, SIGKILL)
            _ = Child.wait(second)
        }
    }

    /// Another container has a root file system of its own, and another host on one machine has not.
    @Test(arguments: [true, false]) func aContainerThatIsStartedAnewIsSetUpAnew(isContainer: Bool) async throws {
        let home = try SidecarHome()
        let log = home.path + "/set-up"
        let workspace = home.path + "/workspace.json"
        try JSON.encode(WorkspaceDescription(setupCommand: "echo done >> \(log)")).write(to: URL(filePath: workspace))
        let sidecar = try await SidecarProcess.start(
            in: home, agent: .demo(), arguments: ["--workspace", workspace] + (isContainer ? Self.user : []))
        defer { sidecar.kill(SIGKILL) }
        var hosts: [Int32] = []
        for _ in 1...2 {
            if isContainer { hosts.append(try startHost(home)) }
            try await sidecar.waitUntilReady()
            for _ in 1...2 { #expect(try await answer("say: yes", sidecar).turn.state == .succeeded) }
            let host = try #require(isContainer ? hosts.last : sidecar.host?.pid)
            kill(host, SIGKILL)
            if isContainer { _ = Child.wait(host) }
            // Until the loss is known, it may still be asked.
            try await sidecar.until { try await sidecar.events().contains { $0.body.type == "host.lost" } }
        }
        let lines = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n").count
        #expect(lines == (isContainer ? 2 : 1))
        sidecar.kill(SIGKILL)
        await home.remove()
    }

    /// Its container is started again then, and not taken for one that has done its work.
    @Test func aHostThatLosesItsSidecarFails() async throws {
        try await SidecarProcess.with(agent: .demo(), arguments: Self.user) { sidecar in
            let host = try startHost(sidecar.home)
            try await sidecar.waitUntilReady()
            sidecar.kill(SIGKILL)
            #expect(Child.wait(host, atMost: .seconds(30)) == .code(1))
        }
    }

    @Test func theProgramInstallsItself() throws {
        let home = try SidecarHome()
        defer { try? FileManager.default.removeItem(atPath: home.path) }
        for _ in 1...2 {
            let pid = try Spawn([Products.path("holdfast-sidecar"), "install", home.path + "/home"], environment: [:]).start()
            #expect(Child.wait(pid, atMost: .seconds(30)) == .code(0))
        }
        let installed = home.path + "/home/holdfast-sidecar"
        #expect(FileManager.default.contentsEqual(atPath: installed, andPath: Products.path("holdfast-sidecar")))
        let version = try Spawn([installed, "--version"], environment: [:]).start()
        #expect(Child.wait(version, atMost: .seconds(30)) == .code(0))
        let nowhere = try Spawn([Products.path("holdfast-sidecar"), "install", "/no/such"], environment: [:]).start()
        #expect(Child.wait(nowhere, atMost: .seconds(30)) == .code(64))
    }
}
