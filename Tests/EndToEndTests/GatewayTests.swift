import Curl
import Foundation
import Processes
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// The git gateway of the real binaries.
    @Suite struct GatewayTests {
        private static let token = "ghp_theForgesOwnSecret42"

        /// A forge that demands its token, with one repository.
        private func forge() async throws -> (git: GitFixture, forge: GitBackend) {
            let git = try GitFixture()
            try FileManager.default.createDirectory(atPath: git.root + "/forge/acme", withIntermediateDirectories: true)
            _ = try await blocking {
                try git.git("clone", "--quiet", "--bare", git.remote, git.root + "/forge/acme/widgets.git", in: git.root)
            }
            try git.write("token", Self.token, in: git.root)
            return (git, try GitBackend(root: git.root + "/forge", token: Self.token))
        }

        @Test(.timeLimit(.minutes(3))) func anAgentPushesItsBranchWithoutEverHoldingTheToken() async throws {
            let (git, forge) = try await forge()
            defer { forge.stop() }
            let bare = git.root + "/forge/acme/widgets.git"
            try await SupervisorHome.run { home in
                try await home.start()
                func run(_ key: String, _ prompt: String) async throws -> TaskResource {
                    let spec = TaskSpec(
                        prompt: prompt, scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7),
                        workspace: WorkspaceSpec(
                            repository: forge.url + "/acme/widgets.git",
                            credentials: WorkspaceCredentials(tokenFile: git.root + "/token")))
                    return try await home.end(of: try await home.create(spec, key: key).metadata.name)
                }
                // While it works, its processes are looked through for the token.
                let first = try await run(
                    "first",
                    """
                    run: echo done > work.txt && git add -A && git commit -qm work && git push -q && git rev-parse HEAD
                    run: git push origin HEAD:main
                    run: git remote -v; git config --list --show-origin; env; cat ../git.config; cat ../git-grant.json
                    run: ! cat /proc/self/environ /proc/$PPID/environ | grep -q \(Self.token.prefix(10))
                    """)
                let name = try #require(first.status.session).name
                let events = try await home.transcript(name)
                let output = events.compactMap { if case .toolResult(let result) = $0.body { result } else { nil } }
                #expect(output.map(\.status) == ["completed", "failed", "completed", "completed"], "\(output)")
                #expect(output[1].output?.contains("this session may push holdfast/issue-7 only") == true, "\(output[1])")
                let pushed = try git.git("rev-parse", "holdfast/issue-7", in: bare)
                #expect(output[0].output?.contains(pushed) == true)
                #expect(try git.git("rev-parse", "main", in: bare) == git.git("rev-parse", "main", in: git.remote))

                // The transcript tells of it, within the turn that did it.
                let transfers = events.compactMap { event in
                    if case .git(let transfer) = event.body { (event.turn, transfer) } else { nil }
                }
                #expect(transfers.contains { $0.1.operation == .fetch && $0.1.outcome == .ok }, "\(transfers)")
                let pushes = transfers.filter { $0.1.operation == .push }
                #expect(pushes.map(\.0) == [TurnID(1), TurnID(1)])
                #expect(pushes.map(\.1.outcome) == [.ok, .refused])
                #expect(pushes.first?.1.refs?.first?.new == pushed)
                let metrics = try #require(try await home.send("GET", "/metrics"))
                let text = String(decoding: metrics.body, as: UTF8.self)
                #expect(text.contains("holdfast_git_transfers_total{operation=\"push\",outcome=\"refused\"} 1"), "\(text)")

                // The supervisor dies; its sessions go on, and the next one serves git under the same address.
                home.kill()
                try await home.start()
                let second = try await run("second", "run: echo more > work.txt && git commit -qam more && git push -q")
                #expect(second.status.phase == .succeeded && second.status.session == first.status.session, "\(second.status)")
                #expect(try git.git("rev-parse", "holdfast/issue-7", in: bare) != pushed)
                #expect(try await home.session(name) { _ in true }.status.epoch == 1)

                // Nothing that the session can reach has the token, nor the credential in the transcript.
                for process in home.processes {
                    let environment = FileManager.default.contents(atPath: "/proc/\(process.pid)/environ") ?? Data()
                    #expect(environment.firstRange(of: Data(Self.token.utf8)) == nil, "\(process.command)")
                }
                let configuration = try String(contentsOfFile: "\(home.data)/sessions/\(name)/git.config", encoding: .utf8)
                let words = configuration.split(whereSeparator: \.isWhitespace).map(String.init)
                let credential = try #require(words.first { $0.count > 60 })
                let files = FileManager.default.enumerator(atPath: home.path)!.compactMap { $0 as? String }
                for file in files {
                    let bytes = FileManager.default.contents(atPath: "\(home.path)/\(file)") ?? Data()
                    #expect(bytes.firstRange(of: Data(Self.token.utf8)) == nil, "\(file)")
                    guard file.contains("/state/transcript/") || file.hasSuffix("log") else { continue }
                    #expect(bytes.firstRange(of: Data(credential.utf8)) == nil, "\(file)")
                }
                #expect(files.contains { $0.hasSuffix(".jsonl") } && files.contains { $0.hasSuffix("sidecar.log") })

                // A session that has ended has no credential any more.
                _ = try await home.json(SessionResource.self, "DELETE", "/v1/sessions/\(name)")
                _ = try await home.session(name) { $0.status.phase == .ended }
                let answer = try await blocking {
                    do {
                        return try git.git(
                            "-c", "include.path=\(home.data)/sessions/\(name)/git.config", "ls-remote",
                            forge.url + "/acme/widgets.git", in: git.root)
                    } catch let error as GitFixtureError {
                        return error.output
                    }
                }
                #expect(answer.contains("Authentication failed") || answer.contains("could not read Username"), "\(answer)")
            }
        }

        /// What it costs to stand in the way of two gigabytes in both directions.
        @Test(.timeLimit(.minutes(3))) func twoGigabytesPassInLittleMemory() async throws {
            let total = 2 << 30
            let zero = String(repeating: "0", count: 40)
            @Sendable func packet(_ text: String) -> String {
                String(text.utf8.count + 4 + 0x10000, radix: 16).dropFirst() + text
            }
            let forge = try LoopbackServer(streamsBodies: true) { request, connection in
                switch (request.method, request.path) {
                case ("GET", _):
                    let line = "\(zero) capabilities^{}\0symref=HEAD:refs/heads/main\n"
                    try connection.respond(
                        200,
                        "001e# service=git-upload-pack\n0000\(packet(line))0000"
                    )
                case (_, "/acme/widgets.git/git-upload-pack"):
                    while try connection.readBody() != nil {}
                    try connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(total)\r\n\r\n")
                    let block = [UInt8](repeating: 80, count: 1 << 20)
                    for _ in 0..<(total >> 20) { try connection.send(block) }
                default:
                    var count = 0
                    while let bytes = try connection.readBody() { count += bytes.count }
                    try connection.respond(200, "\(count)")
                }
            }
            defer { forge.stop() }
            try await StandaloneGateway.run(repository: forge.url + "/acme/widgets.git") { gateway in
                var fetch = gateway.request("/git-upload-pack")
                fetch.body = Array("0032want \(zero)\n00000009done\n".utf8)
                var received = 0
                for try await chunk in try await CurlClient.shared.stream(fetch).body { received += chunk.count }
                #expect(received == total)
                let command = "\(zero) \(String(repeating: "1", count: 40)) refs/heads/holdfast/issue-7\0report-status"
                let head = packet(command) + "0000"
                for length in [nil, Int64(head.utf8.count + total)] {
                    var push = gateway.request("/git-receive-pack")
                    push.upload = CurlUpload(length: length) { writer in
                        try await writer.write(Array(head.utf8))
                        let block = [UInt8](repeating: 80, count: 1 << 20)
                        for _ in 0..<(total >> 20) { try await writer.write(block) }
                    }
                    let answer = try await CurlClient.shared.execute(push)
                    #expect(String(decoding: answer.body, as: UTF8.self) == "\(head.utf8.count + total)")
                }
                #expect(gateway.peakMegabytes < 100, "\(gateway.peakMegabytes) MB at its most")
            }
        }
    }
}

/// `holdfast-supervisor git-gateway` with one session's grant.
private final class StandaloneGateway: Sendable {
    private let pid: Int32
    private let url: String
    private let repository: String

    static func run(repository: String, _ body: (StandaloneGateway) async throws -> Void) async throws {
        let root = NSTemporaryDirectory() + "hf-gateway-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: root) }
        try Data("t".utf8).write(to: URL(filePath: root + "/token"))
        // The document that docs/operations.md describes; the digest is of “secret”.
        let grant: JSONValue = [
            "session": "issue:acme/widgets#7", "repository": .string(repository), "tokenFile": .string(root + "/token"),
            "credential": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
            "push": ["branches": ["holdfast/issue-7"]],
        ]
        try JSON.encode(grant).write(to: URL(filePath: root + "/worker.json"))
        let gateway = try await StandaloneGateway(root: root, repository: repository)
        defer {
            kill(gateway.pid, SIGTERM)
            _ = Child.wait(gateway.pid)
        }
        try await body(gateway)
    }

    private init(root: String, repository: String) async throws {
        self.repository = repository
        let log = root + "/log"
        let descriptor = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(descriptor) }
        var spawn = Spawn(
            [Products.path("holdfast-supervisor"), "git-gateway", "--listen", "127.0.0.1:0", "--grants-dir", root],
            environment: ["PATH": "/usr/bin:/bin"], directory: root)
        spawn.descriptors = [nil, descriptor, descriptor]
        pid = try spawn.start()
        let deadline = ContinuousClock.now + .seconds(30)
        while true {
            let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            if let mark = text.firstRange(of: "address=127.0.0.1:") {
                url = "http://127.0.0.1:\(text[mark.upperBound...].prefix { $0.isNumber })"
                return
            }
            guard Child.poll(pid) == nil, ContinuousClock.now < deadline else { throw SidecarFailure("no gateway: \(text)") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    func request(_ suffix: String) -> CurlRequest {
        let path = repository.dropFirst("http:/".count)
        let authorization = "Basic " + Data("worker:secret".utf8).base64EncodedString()
        return CurlRequest("POST", url + path + suffix, headers: [("Authorization", authorization)], timeout: nil)
    }

    /// The most memory that it ever had.
    var peakMegabytes: Int {
        let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? ""
        return (Int(line.split(separator: " ").dropFirst().first ?? "") ?? .max) / 1024
    }
}
