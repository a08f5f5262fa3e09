import Curl
import Foundation
import SessionModel
import Support
import Testing

@testable import GitGateway

/// Real git on both sides, and a forge that demands its token.
@Suite(.timeLimit(.minutes(3)))
struct GatewayTests {
    @Test func aSessionClonesAndPushesItsBranchWithoutTheToken() async throws {
        let bench = try await GatewayBench()
        try await bench.work()
        #expect(bench.git.read("README.md", in: bench.clone) == "hello\n")
        let commit = try await bench.run("rev-parse", "HEAD")
        try await bench.run("push", "--quiet", "origin", "HEAD:refs/heads/holdfast/issue-7")
        #expect(try bench.git.git("rev-parse", "holdfast/issue-7", in: bench.remote) == commit)
        // Again, rewritten: the branch is the session's own.
        try await bench.run("commit", "--quiet", "--amend", "--message", "other")
        try await bench.run("push", "--quiet", "--force", "origin", "HEAD:refs/heads/holdfast/issue-7")
        // And it is fetched by name, with the clone's own addresses, also when git is told twice how to get there.
        try await bench.run("config", "include.path", bench.configuration)
        try await bench.run("fetch", "--quiet", "origin")

        let reported = bench.reported
        #expect(reported.allSatisfy { $0.outcome == .ok }, "\(reported)")
        let pushes = reported.filter { $0.operation == .push }
        #expect(
            pushes.map(\.refs) == [
                [GitRefUpdate(ref: "refs/heads/holdfast/issue-7", old: nil, new: commit, result: .ok)],
                [
                    GitRefUpdate(
                        ref: "refs/heads/holdfast/issue-7", old: commit, new: try await bench.run("rev-parse", "HEAD"),
                        result: .ok)
                ],
            ])
        #expect(pushes.allSatisfy { $0.sentBytes > 200 && $0.receivedBytes > 0 })
        #expect(reported.contains { $0.operation == .fetch && $0.receivedBytes > 200 })
        // The session has seen no token: not in its files, nor in what git prints.
        let trace = try await bench.run("-c", "alias.all=!git config --list; git remote -v; env", "all")
        #expect(!trace.contains(GatewayBench.token))
        for file in FileManager.default.enumerator(atPath: bench.clone)!.compactMap({ $0 as? String }) {
            let bytes = FileManager.default.contents(atPath: bench.clone + "/" + file) ?? Data()
            #expect(bytes.firstRange(of: Data(GatewayBench.token.utf8)) == nil, "\(file)")
        }
    }

    @Test func aLargePushAndAPartialCloneStreamThrough() async throws {
        let bench = try await GatewayBench()
        try await bench.work()
        // Random, so that it does not shrink: git sends it in chunks.
        var random = SeededRandom(seed: 3)
        let noise = Data((0..<(6 << 20)).map { _ in UInt8.random(in: 0...255, using: &random) })
        try noise.write(to: URL(filePath: bench.clone + "/noise"))
        try await bench.run("add", "noise")
        try await bench.run("commit", "--quiet", "--message", "noise")
        try await bench.run("push", "--quiet", "origin", "HEAD:refs/heads/holdfast/issue-7")
        let again = bench.git.root + "/again"
        try await bench.run(
            "clone", "--quiet", "--filter=blob:none", "--branch", "holdfast/issue-7", bench.repository, again, in: bench.git.root)
        #expect(FileManager.default.contents(atPath: again + "/noise") == noise)
        #expect(bench.reported.contains { $0.operation == .push && $0.sentBytes > 6 << 20 })
        #expect(bench.reported.contains { $0.operation == .fetch && $0.receivedBytes > 6 << 20 })
        // The older protocols go through as well.
        for version in ["0", "1"] {
            try await bench.run(
                "-c", "protocol.version=\(version)", "clone", "--quiet", bench.repository, again + version, in: bench.git.root)
        }
    }

    @Test(arguments: [
        (["HEAD:refs/heads/main"], "main is the default branch"),
        (["HEAD:refs/heads/other"], "this session may push holdfast/issue-7"),
        (["HEAD:refs/tags/v1"], "this session may not push tags"),
        (["HEAD:refs/heads/release/2"], "release/2 is a protected branch"),
        ([":refs/heads/holdfast/old"], "this session may not delete branches"),
        (["HEAD:refs/heads/holdfast/issue-7", "HEAD:refs/heads/other"], "refused with the other refs"),
    ])
    func anyOtherRefIsRefusedBeforeAByteReachesTheForge(refs: [String], why: String) async throws {
        let bench = try await GatewayBench(
            push: PushRules(
                branches: ["holdfast/issue-7", "holdfast/old", "main", "release/2"], protected: ["release/*"]))
        try bench.git.git("branch", "holdfast/old", "main", in: bench.remote)
        let before = try bench.git.git("for-each-ref", in: bench.remote)
        try await bench.work()
        let words = try await bench.failure(of: ["push", "origin"] + refs)
        #expect(words.contains("[remote rejected]") && words.contains(why), "\(words)")
        #expect(words.contains("remote: Holdfast: nothing was pushed"), "\(words)")
        #expect(try bench.git.git("for-each-ref", in: bench.remote) == before)
        #expect(!bench.forge.requests.contains { $0.hasPrefix("POST /acme/widgets.git/git-receive-pack") })
        let push = try #require(bench.reported.last)
        #expect(
            push.operation == .push && push.outcome == .refused
                && push.refs?.contains { $0.refused?.contains(why) == true } == true)
    }

    @Test func whatTheForgeItselfRefusesIsToldAsItIs() async throws {
        let bench = try await GatewayBench()
        try await bench.work()
        let hook = bench.remote + "/hooks/pre-receive"
        try Data("#!/bin/sh\necho the forge has rules of its own >&2\nexit 1\n".utf8).write(to: URL(filePath: hook))
        chmod(hook, 0o755)
        let words = try await bench.failure("push", "origin", "HEAD:refs/heads/holdfast/issue-7")
        #expect(words.contains("remote: the forge has rules of its own"), "\(words)")
        let push = try #require(bench.reported.last)
        #expect(push.outcome == .failed && push.refs?.first?.refused == "pre-receive hook declined", "\(push)")
    }

    @Test func aCredentialIsGoodForOneRepositoryOnly() async throws {
        let bench = try await GatewayBench()
        // The other one is on the same forge, and the token would open it.
        let other = bench.url + bench.forge.url.dropFirst("http:/".count) + "/acme/secrets.git"
        let words = try await bench.failure("clone", other, bench.clone, in: bench.git.root)
        #expect(words.contains("remote: Holdfast: This session works on") && words.contains("403"), "\(words)")
        #expect(!bench.forge.requests.contains { $0.contains("secrets") })
        for path in ["/acme/widgets.git/../secrets.git", "/acme/widgets.git/x", "/acme%2Fwidgets.git%2F..%2Fsecrets.git"] {
            let answer = try await send(bench, "GET", prefix(bench) + path + "/info/refs?service=git-upload-pack")
            #expect(answer.status == 403, "\(path)")
        }
        #expect(bench.forge.requests.isEmpty)
    }

    @Test func withoutAValidCredentialNothingPasses() async throws {
        let bench = try await GatewayBench()
        let path = prefix(bench) + "/acme/widgets.git/info/refs?service=git-upload-pack"
        func basic(_ text: String) -> String { "Basic " + Data(text.utf8).base64EncodedString() }
        for header in [
            nil, "", "Basic", "Basic !", "Bearer \(GatewayBench.credential)", basic("no-colon"),
            basic("\(GatewayBench.name):wrong"),
            basic("\(GatewayBench.name):"), basic("other:\(GatewayBench.credential)"), basic("../grants/\(GatewayBench.name):x"),
            basic("\(GatewayBench.name):\(GatewayBench.token)"), basic(":"), basic(String(repeating: "a", count: 9000) + ":x"),
        ] {
            let answer = try await send(bench, "GET", path, authorization: header)
            #expect(answer.status == 401, "\(header ?? "none")")
            #expect(answer.header("WWW-Authenticate") != nil)
        }
        // A session that sleeps has no grant any more.
        try FileManager.default.removeItem(atPath: "\(bench.grants)/\(GatewayBench.name).json")
        #expect(try await send(bench, "GET", path).status == 401)
        #expect(bench.forge.requests.isEmpty)
    }

    @Test func onlySmartHTTPIsServed() async throws {
        let bench = try await GatewayBench()
        for (method, path) in [
            ("GET", "/acme/widgets.git/HEAD"), ("GET", "/acme/widgets.git/info/refs"),
            ("GET", "/acme/widgets.git/objects/info/packs"),
            ("GET", "/acme/widgets.git/info/refs?service=git-upload-archive"),
            ("POST", "/acme/widgets.git/info/lfs/objects/batch"),
            ("PUT", "/acme/widgets.git/git-receive-pack"), ("GET", "/acme/widgets.git/git-receive-pack"), ("POST", "/"),
        ] {
            let answer = try await send(bench, method, prefix(bench) + path)
            #expect(answer.status == 404, "\(method) \(path)")
        }
        #expect(bench.forge.requests.isEmpty)
        let health = try await CurlClient.shared.execute(CurlRequest("GET", bench.url + "/livez"))
        #expect(health.status == 200)
    }

    @Test func malformedAndHugePushesReachNoForge() async throws {
        let bench = try await GatewayBench()
        let path = prefix(bench) + "/acme/widgets.git/git-receive-pack"
        let zero = String(repeating: "0", count: 40)
        let one = String(repeating: "1", count: 40)
        @Sendable func line(_ text: String) -> String { "\(String(text.utf8.count + 4 + 0x10000, radix: 16).dropFirst())\(text)" }
        for body in [
            "", "0", "zzzz", "00", "0001", line("x") + "0000", line("\(zero) \(one) refs/heads/x"), line("push-cert\0x") + "0000",
        ] {
            let answer = try await send(bench, "POST", path, body: Array(body.utf8))
            #expect(answer.status == 400, "\(body.prefix(20)): \(answer.status)")
        }
        // One that has no report to refuse refs in is an error of its own.
        let plain = try await send(bench, "POST", path, body: Array((line("\(zero) \(one) refs/heads/main") + "0000").utf8))
        #expect(plain.status == 403)
        let zipped = try await send(bench, "POST", path, body: [1], headers: [("Content-Encoding", "gzip")])
        #expect(zipped.status == 415)
        // Its list of refs never ends.
        var endless = CurlRequest(
            "POST", bench.url + path, headers: [("Authorization", Self.authorization)], timeout: .seconds(60))
        endless.upload = CurlUpload { writer in
            while true { try await writer.write(Array(line("shallow \(one)").utf8)) }
        }
        let answer = try await CurlClient.shared.stream(endless)
        #expect(answer.status == 400)
        #expect(bench.forge.requests.isEmpty)
    }

    @Test func theTokenIsReadAgainAndItsAbsenceSaid() async throws {
        let bench = try await GatewayBench()
        try await bench.work()
        // Rotated at the forge and in the file: nobody restarts anything.
        bench.forge.token = "ghp_another"
        let refused = try await bench.failure("fetch", "origin")
        #expect(refused.contains("remote: Holdfast: The forge does not take the token"), "\(refused)")
        #expect(!refused.contains(GatewayBench.token) && !refused.lowercased().contains("password"), "\(refused)")
        try bench.git.write("token", "ghp_another", in: bench.git.root)
        try await bench.run("fetch", "--quiet", "origin")
        try FileManager.default.removeItem(atPath: bench.tokenFile)
        let missing = try await bench.failure("fetch", "origin")
        #expect(missing.contains("Holdfast has no token"), "\(missing)")
        #expect(!missing.contains(bench.tokenFile), "where it would be is the operator's business")
    }

    @Test func aForgeThatIsGoneOrMovedIsSaid() async throws {
        let moved = try LoopbackServer { _, connection in
            try connection.respond(301, "", headers: ["Location": "https://elsewhere.example/x.git"])
        }
        let bench = try await GatewayBench(forgeURL: moved.url)
        let repository = moved.url + "/acme/widgets.git"
        let words = try await bench.failure("clone", repository, bench.clone, in: bench.git.root)
        #expect(words.contains("has moved at the forge"), "\(words)")
        moved.stop()
        let gone = try await bench.failure("clone", repository, bench.clone, in: bench.git.root)
        #expect(gone.contains("The forge cannot be reached"), "\(gone)")
    }

    @Test func aRenamedRepositoryIsFollowedOnItsOwnHost() async throws {
        let bench = try await GatewayBench()
        let (old, new) = (bench.git.root + "/forge/acme/widgets.git", bench.git.root + "/forge/acme/gadgets.git")
        try FileManager.default.moveItem(atPath: old, toPath: new)
        bench.forge.moved = ["/acme/widgets.git": "/acme/gadgets.git"]
        try await bench.work()
        try await bench.run("push", "--quiet", "origin", "HEAD:refs/heads/holdfast/issue-7")
        #expect(try bench.git.git("for-each-ref", "--format=%(refname)", in: new).contains("refs/heads/holdfast/issue-7"))
    }

    @Test func theTokenDoesNotFollowARepositoryToAnotherHost() async throws {
        let elsewhere = try LoopbackServer { _, connection in try connection.respond(200, "") }
        defer { elsewhere.stop() }
        let moved = try LoopbackServer { request, connection in
            let place = elsewhere.url + request.path + "?" + request.query
            try connection.respond(301, "", headers: ["Location": place])
        }
        defer { moved.stop() }
        let bench = try await GatewayBench(forgeURL: moved.url)
        let words = try await bench.failure("clone", moved.url + "/acme/widgets.git", bench.clone, in: bench.git.root)
        #expect(words.contains("has moved at the forge") && elsewhere.accepted == 0, "\(words)")
    }

    @Test(
        arguments: [
            ("https://f.example/acme/new.git/info/refs", "https://f.example/acme/new.git"),
            ("/acme/new.git/info/refs", "https://f.example/acme/new.git"), ("//evil.example/x/info/refs", nil),
            ("https://f.example.evil.example/x/info/refs", nil), ("http://f.example/x/info/refs", nil),
            ("https://f.example@evil.example/x/info/refs", nil), ("https://f.example/login", nil), (nil, nil),
        ] as [(String?, String?)])
    func onlyItsOwnHostIsFollowed(location: String?, place: String?) {
        #expect(Forge.place(location, of: "https://f.example/acme/widgets.git", "/info/refs") == place)
    }

    // MARK: Without git

    static let authorization = "Basic " + Data("\(GatewayBench.name):\(GatewayBench.credential)".utf8).base64EncodedString()

    /// The gateway's path to the forge: its host.
    private func prefix(_ bench: GatewayBench) -> String { "/" + bench.forge.url.dropFirst("http://".count) }

    private func send(
        _ bench: GatewayBench, _ method: String, _ path: String, authorization: String? = authorization, body: [UInt8]? = nil,
        headers: [(name: String, value: String)] = []
    ) async throws -> CurlResponse {
        var request = CurlRequest(method, bench.url + path, headers: headers, body: body)
        if let authorization { request.headers.append(("Authorization", authorization)) }
        return try await CurlClient.shared.execute(request)
    }
}
