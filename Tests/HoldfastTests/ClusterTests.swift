import ArgumentParser
import Foundation
import Glibc
import Processes
import SessionModel
import Support
import Testing

@testable import Holdfast

/// `holdfast --context …` and `kubectl holdfast …`: through a port that kubectl forwards.
@Suite(.timeLimit(.minutes(1))) struct ClusterTests {
    /// A kubectl that writes down how it is called, and forwards to a server of this machine.
    private final class FakeKubectl {
        let home: String
        let environment: [String: String]

        /// - Parameter label: the namespace whose supervisor the namespace `agents` says that it has.
        init(port: String?, label: String = "") throws {
            home = FileManager.default.temporaryDirectory.appending(path: "kubectl-\(UUID().uuidString)").path
            try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
            let forward =
                port.map { "echo 'Forwarding from 127.0.0.1:\($0) -> 7433'; exec sleep 100" }
                ?? "echo 'error: unable to forward port because pod is not running' >&2; exit 1"
            let script = """
                #!/bin/sh
                echo "$*" >> \(home)/calls
                case "$*" in
                *"namespace agents get secret"*) \(label.isEmpty ? "printf 'c2VjcmV0Cg=='" : "exit 1") ;;
                *"get secret holdfast-api "*) printf 'c2VjcmV0Cg==' ;;
                *"get namespace agents "*) printf '\(label)' ;;
                *"config view"*) printf agents ;;
                *port-forward*) echo $$ > \(home)/pid; \(forward) ;;
                esac

                """
            try script.write(toFile: home + "/kubectl", atomically: true, encoding: .utf8)
            chmod(home + "/kubectl", 0o700)
            environment = ["HOLDFAST_KUBECTL": home + "/kubectl", "PATH": "/usr/bin:/bin"]
        }

        deinit { try? FileManager.default.removeItem(atPath: home) }

        func read(_ name: String) throws -> [String] {
            try String(contentsOfFile: "\(home)/\(name)", encoding: .utf8).split(separator: "\n").map(String.init)
        }
    }

    @Test func aClustersSupervisorIsReachedThroughKubectl() async throws {
        let server = try FakeServer { _, connection in try connection.respond(200, #"{"items": []}"#) }
        defer { server.stop() }
        let kubectl = try FakeKubectl(port: server.server.url.split(separator: ":").last.map(String.init))
        let outcome = await holdfast(
            ["tasks", "--context", "staging", "-n", "agents", "--output", "json"], environment: kubectl.environment)
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(server.seen == ["GET /v1/tasks?limit=100"])
        #expect(server.last?.headers["authorization"] == "Bearer secret")
        let calls = try kubectl.read("calls")
        #expect(
            Set(calls) == [
                "--context staging --namespace agents get secret holdfast-api --output jsonpath={.data.token}",
                #"--context staging --namespace agents get namespace agents --output jsonpath={.metadata.labels.holdfast\.dev/supervisor}"#,
                "--context staging --namespace agents port-forward --address 127.0.0.1 service/holdfast-supervisor :7433",
            ])
        #expect(calls.last?.contains("port-forward") == true)
        // The port is closed with the command.
        let pid = try #require(Int32(try kubectl.read("pid")[0]))
        #expect(kill(pid, 0) != 0)
    }

    /// Ctrl-C, a closed terminal, kill -9: whatever ends the command, kubectl ends, too.
    @Test(arguments: [SIGINT, SIGTERM, SIGHUP, SIGKILL]) func noPortStaysOpen(signal: Int32) async throws {
        let asked = AsyncStream.makeStream(of: Void.self)
        let server = try FakeServer { _, connection in
            asked.continuation.yield()
            connection.waitForClientToLeave()
        }
        defer { server.stop() }
        let kubectl = try FakeKubectl(port: server.server.url.split(separator: ":").last.map(String.init))
        let command = Process()
        command.executableURL = URL(filePath: Products.path("holdfast"))
        command.arguments = ["tasks", "--context", "staging", "-n", "agents"]
        command.environment = kubectl.environment
        try command.run()
        for await _ in asked.stream { break }
        let pid = try #require(Int32(try kubectl.read("pid")[0]))
        #expect(kill(pid, 0) == 0)
        kill(command.processIdentifier, signal)
        command.waitUntilExit()
        while ProcessEntry(pid)?.isAlive == true { try await Task.sleep(for: .milliseconds(5)) }
    }

    @Test func aNamespacesLabelLeadsToItsSupervisorElsewhere() async throws {
        let server = try FakeServer { _, connection in try connection.respond(200, #"{"items": []}"#) }
        defer { server.stop() }
        let kubectl = try FakeKubectl(port: server.server.url.split(separator: ":").last.map(String.init), label: "holdfast")
        // The namespace is the context's.
        let outcome = await holdfast(["tasks", "--context", "staging"], environment: kubectl.environment)
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(server.seen == ["GET /namespaces/agents/v1/tasks?limit=100"])
        #expect(server.last?.headers["authorization"] == "Bearer secret")
        let forward = try #require(try kubectl.read("calls").last)
        #expect(forward.hasPrefix("--context staging --namespace holdfast port-forward"))
    }

    @Test func whatKubectlSaysIsSaid() async throws {
        let kubectl = try FakeKubectl(port: nil)
        let outcome = await holdfast(["tasks", "--namespace", "agents"], environment: kubectl.environment)
        #expect(outcome.status == ExitStatus.unreachable.rawValue)
        #expect(outcome.errors.contains("unable to forward port because pod is not running"))

        let missing = await holdfast(
            ["tasks", "--context", "x"], environment: ["HOLDFAST_KUBECTL": "no-such-kubectl", "PATH": "/usr/bin:/bin"])
        #expect(missing.status == ExitStatus.failed.rawValue)
        #expect(missing.errors.contains("install kubectl"))
    }

    @Test func onlyOneServerIsNamed() async throws {
        let outcome = await holdfast(["tasks", "--server", "http://x", "--context", "staging"], environment: [:])
        #expect(outcome.status == ExitStatus.usage.rawValue)
        #expect(outcome.errors.contains("give one"))
        let options = try ServerOptions.parse([])
        #expect(options.cluster(environment: [:], isPlugin: false) == nil)
        #expect(options.cluster(environment: [:], isPlugin: true)?.flags == [])
        #expect(try ServerOptions.parse(["--server", "http://x"]).cluster(environment: [:], isPlugin: true) == nil)
    }
}
