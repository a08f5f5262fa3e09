import Foundation
import Glibc
import Processes
import SessionModel
import Support
import Testing

@testable import AgentHost

/// Who may be the host, and what others may learn of it.
@Suite(.timeLimit(.minutes(2))) struct TrustTests {
    @Test func theDoorIsGoneOnceTheHostIsIn() async throws {
        try await TestHost.with { host in
            let run = host.directory + "/run"
            #expect(try FileManager.default.contentsOfDirectory(atPath: run) == [])
            #expect(try FileManager.default.attributesOfItem(atPath: run)[.posixPermissions] as? Int == 0o700)
            let socket = try UnixSocket.make()
            defer { close(socket) }
            #expect(try UnixSocket.connect(socket, to: run + "/host.sock") == ENOENT)
            // Nor is it in what the agent can see of the host's arguments and environment.
            let seen = try String(contentsOfFile: "/proc/\(host.link.hostProcess)/cmdline", encoding: .utf8)
            #expect(seen.contains(host.marker))
            #expect(!seen.contains(where: { $0 == "\n" }))
        }
    }

    @Test func theDoorIsNarrow() throws {
        let directory = try TestHost.makeDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let listener = try HostListener(directory: directory + "/run", peerUser: geteuid(), logger: TestHost.logger)
        defer { listener.cancel() }
        for path in [listener.socketPath, listener.secretPath] {
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
        }
        #expect(try String(contentsOfFile: listener.secretPath, encoding: .utf8).count == 64)
    }

    @Test func impostorsAreRefusedAndTheHostStillComesIn() throws {
        var impostors: [Int32] = []
        let host = try RawHost { listener in
            let hellos: [[UInt8]] = try [
                frame(.hello(.init(version: HostFrame.version, secret: String(repeating: "0", count: 64), pid: 1))),
                frame(.hello(.init(version: HostFrame.version, secret: "", pid: 1))),
                frame(.hello(.init(version: 99, secret: "x", pid: 1))),
                frame(.started(1, pid: 1)),
                (0..<500).map { _ in UInt8.random(in: 0...255) },
                [],
            ]
            for hello in hellos {
                let socket = try UnixSocket.make()
                #expect(try UnixSocket.connect(socket, to: listener.socketPath) == 0)
                if !hello.isEmpty { #expect(send(socket, hello, hello.count, Int32(MSG_NOSIGNAL)) == hello.count) }
                impostors.append(socket)
            }
        }
        defer { host.remove() }
        host.send(.list(1))
        #expect(host.receive() == .processes(1, []))
        for impostor in impostors {
            var request = pollfd(fd: impostor, events: Int16(POLLIN), revents: 0)
            #expect(poll(&request, 1, 10_000) == 1)
            var byte: UInt8 = 0
            #expect(recv(impostor, &byte, 1, 0) <= 0)
            close(impostor)
        }
        host.send(.release)
        #expect(Child.wait(host.pid, atMost: .seconds(20)) == .code(0))
    }

    @Test func aHostThatIsRefusedSaysSoAndEnds() throws {
        let directory = try TestHost.makeDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let listener = try HostListener(directory: directory + "/run", peerUser: geteuid(), logger: TestHost.logger)
        try "not the secret".write(toFile: directory + "/other", atomically: true, encoding: .utf8)
        let spawn = Spawn(
            [
                Products.path("holdfast-sidecar"), "host", "--socket", listener.socketPath, "--secret-file", directory + "/other",
                "--marker", TestHost.makeMarker(),
            ], environment: [:])
        let pid = try spawn.start()
        do throws(HostError) {
            _ = try listener.accept(until: .now + .seconds(60), child: pid) { false }
            Issue.record("accepted")
        } catch {
            #expect(error.code == .lost)
            #expect(error.message.contains("ended before it connected"))
        }
        #expect(!FileManager.default.fileExists(atPath: directory + "/other"))
    }

    @Test func noHostInTime() async throws {
        let directory = try TestHost.makeDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        func code(_ executable: [String], _ deadline: TimeSpan) async -> HostError.Code? {
            do throws(HostError) {
                _ = try await HostLink.start(
                    directory: directory + "/run", marker: "A=B", executable: executable, deadline: deadline,
                    logger: TestHost.logger)
                return nil
            } catch { return error.code }
        }
        #expect(await code(["/bin/sh", "-c", "exec sleep 100"], .milliseconds(100)) == .timeout)
        #expect(await code(["/bin/false"], .seconds(30)) == .lost)
        #expect(await code(["/no/such/host"], .seconds(30)) == .cannotStart)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "/run") == [])
        let waiting = Task {
            do throws(HostError) {
                _ = try await HostLink.listen(
                    directory: directory + "/run", marker: "A=B", peerUser: geteuid(), deadline: .minutes(5),
                    logger: TestHost.logger)
                return HostError.Code?.none
            } catch { return error.code }
        }
        waiting.cancel()
        #expect(await waiting.value == .cancelled)
    }

    @Test func aPathThatIsTooLongSaysSo() async throws {
        let directory = try TestHost.makeDirectory() + "/" + String(repeating: "x", count: 100)
        do throws(HostError) {
            _ = try await HostLink.start(directory: directory, marker: "A=B", executable: ["true"], logger: TestHost.logger)
            Issue.record("started")
        } catch { #expect(error.message.contains("use a shorter directory")) }
    }

    /// As in Kubernetes: somebody else starts the host, as another user.
    @Test(.enabled(if: geteuid() == 0 && access("/usr/bin/setpriv", X_OK) == 0))
    func theAgentMayNotLookIntoItsHost() async throws {
        let directory = try TestHost.makeDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let run = directory + "/run"
        let marker = TestHost.makeMarker()
        let spawn = Spawn(
            [
                "/usr/bin/setpriv", "--reuid=65534", "--regid=0", "--clear-groups", Products.path("holdfast-sidecar"), "host",
                "--socket", run + "/host.sock", "--secret-file", run + "/host.secret", "--marker", marker,
            ], environment: ["SECRET": "of the host"])
        let pid = try spawn.start()
        let link = try await HostLink.listen(
            directory: run, marker: marker, peerUser: 65534, deadline: .seconds(60), logger: TestHost.logger)
        #expect(link.hostProcess == pid)
        #expect(link.environment == ["SECRET": "of the host"])
        let process = try await link.start(
            ProcessSpec(
                arguments: ["sh", "-c", "id -u; cat /proc/$PPID/environ; head -c 1 /proc/$PPID/mem; ls /proc/$PPID/fd"],
                environment: ["PATH": "/usr/bin:/bin"], directory: "/"))
        async let errors = text(process.stderr)
        #expect(await text(process.stdout) == "65534\n")
        #expect(await errors.components(separatedBy: "Permission denied").count == 4)
        try await link.release()
        #expect(Child.wait(pid, atMost: .seconds(20)) == .code(0))
    }

    private func frame(_ frame: HostFrame) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try frame.encode(to: &bytes)
        return bytes
    }
}
