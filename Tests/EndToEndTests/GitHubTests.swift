import Curl
import Foundation
import GitHub
import Processes
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// Events of GitHub, from the signed delivery to what the agent has pushed, with the real binaries.
    @Suite struct GitHubTests {
        private static let secret = "webhook-secret"
        private static let token = "ghp_theForgesOwnSecret42"

        @Test(.timeLimit(.minutes(5))) func aLabelledIssueIsWorkedOnAndAskedForMoreUntilItIsMerged() async throws {
            let git = try GitFixture()
            let bare = git.root + "/forge/acme/widgets.git"
            try FileManager.default.createDirectory(atPath: git.root + "/forge/acme", withIntermediateDirectories: true)
            _ = try await blocking { try git.git("clone", "--quiet", "--bare", git.remote, bare, in: git.root) }
            let forge = try GitBackend(root: git.root + "/forge", token: Self.token)
            let api = try GitHubDouble(token: Self.token)
            defer {
                forge.stop()
                api.stop()
            }
            api.change { state in
                state.permissions = ["ada": "write", "eve": "read"]
                state.branches = ["holdfast/issue-7"]
            }
            try git.write("token", Self.token, in: git.root)
            try git.write("secret", Self.secret, in: git.root)
            let host = String(forge.url.dropFirst("http://".count))

            try await SupervisorHome.run { home in
                home.arguments = [
                    "--github-webhook-secret", git.root + "/secret", "--github-token", git.root + "/token", "--github-api",
                    api.url,
                ]
                try await home.start()
                let spawner = SpawnerSpec(
                    when: SpawnerTrigger(
                        githubWebhook: GitHubWebhook(
                            repository: "\(host)/acme/widgets",
                            events: ["issues", "issue_comment", "pull_request_review", "pull_request"],
                            filters: [GitHubFilter(event: "issues", action: "labeled", labels: ["agent"])])),
                    taskTemplate: TaskTemplate(
                        prompt:
                            "{{#opening}}{{subject.body}}{{/opening}}{{comment.body}}{{#review.comments}}\n{{path}}: {{body}}{{/review.comments}}",
                        credentials: WorkspaceCredentials(tokenFile: git.root + "/token")))
                _ = try await home.json(SpawnerResource.self, "PUT", "/v1/spawners/fixer", body: spawner)

                // Labelled by somebody who may: the agent clones through the gateway, works and pushes.
                let number = 7
                let script = """
                    Remember the plum.
                    run: echo fixed > fix.txt && git add -A && git commit -qm fix && git push -q
                    run: env; git config --list; cat ../git.config ../git-grant.json; cat /proc/self/environ /proc/$PPID/environ | tr '\\0' '\\n'
                    say: Fix the widget
                    """
                try await deliver(
                    home, "1", "issues",
                    [
                        "action": "labeled", "label": ["name": "agent"], "sender": ["login": "ada"],
                        "issue": [
                            "number": 7, "title": "Broken", "body": .string(script), "labels": [["name": "agent"]],
                            "updated_at": "1",
                        ],
                    ], forge.url)
                let first = try await task(home, 1)
                #expect(first.status.phase == .succeeded, "\(first.status)")
                #expect(first.status.session?.description == "issue:\(host)/acme/widgets#\(number)")
                #expect(try git.git("show", "holdfast/issue-7:fix.txt", in: bare) == "fixed")

                // The supervisor opens the pull request for it, once, and one comment says so.
                try await until("a pull request") { api.pullRequests.count == 1 }
                let (request, opened) = try #require(api.pullRequests.first)
                #expect(opened["head"]?["ref"]?.string == "holdfast/issue-7" && opened["base"]?["ref"]?.string == "main")
                #expect(opened["body"]?.string?.contains("Closes #7.") == true, "\(opened)")
                try await until("the comment names it") {
                    api.comments(7).first?.contains("Holdfast: done") == true
                        && api.comments(7).first?.contains("ull request #\(request)") == true
                }
                #expect(api.reactions.contains("eyes issues/7"))
                // Its own event makes no turn.
                try await deliver(
                    home, "0", "pull_request",
                    ["action": "opened", "sender": ["login": "robot"], "pull_request": opened], forge.url)

                // A review of the pull request from that branch: its comments, and their events, are one turn of the same session.
                let commit = try git.git("rev-parse", "holdfast/issue-7", in: bare)
                let pull: JSONValue = [
                    "number": .integer(Int64(request)), "title": "Fix", "state": "open", "merged": false,
                    "head": ["ref": "holdfast/issue-7", "sha": .string(commit), "repo": ["full_name": "acme/widgets"]],
                    "base": ["ref": "main", "sha": "b"],
                ]
                let comments: [JSONValue] = (1...3).map { index in
                    [
                        "id": .integer(Int64(index)), "pull_request_review_id": 5, "path": "fix.txt", "line": 1,
                        "diff_hunk": "@@",
                        "body": .string("comment \(index)"), "user": ["login": "ada"],
                    ]
                }
                api.change { state in
                    state.pullRequests = [request: pull]
                    state.lineComments = [request: comments]
                }
                for (index, comment) in comments.enumerated() {
                    try await deliver(
                        home, "r\(index)", "pull_request_review_comment",
                        ["action": "created", "sender": ["login": "ada"], "pull_request": pull, "comment": comment], forge.url)
                }
                try await deliver(
                    home, "2", "pull_request_review",
                    [
                        "action": "submitted", "sender": ["login": "ada"], "pull_request": pull,
                        "review": ["id": 5, "body": "What do you remember?", "state": "commented", "user": ["login": "ada"]],
                    ], forge.url)
                let second = try await task(home, 2)
                #expect(second.status.session == first.status.session)
                #expect(second.spec.prompt == "What do you remember?\nfix.txt: comment 1\nfix.txt: comment 2\nfix.txt: comment 3")
                #expect(second.status.results?.answer?.contains("“Remember the plum.") == true, "\(second.status)")

                // A stranger's comment does nothing, its push no turn, and a command another one, once, though the supervisor dies.
                func comment(_ id: Int64, _ text: String, by login: String) -> JSONValue {
                    [
                        "action": "created", "sender": ["login": .string(login)],
                        "issue": ["number": .integer(Int64(request)), "pull_request": [:]],
                        "comment": ["id": .integer(id), "body": .string(text), "user": ["login": .string(login)]],
                    ]
                }
                try await deliver(home, "3", "issue_comment", comment(31, "/end", by: "eve"), forge.url)
                try await deliver(home, "4", "issue_comment", comment(32, "/continue say: more", by: "ada"), forge.url)
                home.kill()
                try await home.start()
                try await deliver(home, "4-again", "issue_comment", comment(32, "/continue say: more", by: "ada"), forge.url)
                let third = try await task(home, 3)
                #expect(third.spec.prompt == "say: more" && third.status.session == first.status.session)
                #expect(third.status.phase == .succeeded, "\(third.status)")

                try await deliver(home, "6", "issue_comment", comment(33, "/status", by: "ada"), forge.url)
                try await until("an answer") { api.comments(request).contains { $0.hasPrefix("<!-- holdfast: answer 33 -->") } }
                #expect(api.reactions.contains("eyes issues/comments/32"), "\(api.reactions)")

                // Merged: the session ends.
                var merged = pull.object!
                merged["merged"] = true
                merged["state"] = "closed"
                try await deliver(
                    home, "5", "pull_request",
                    ["action": "closed", "sender": ["login": "ada"], "pull_request": .object(merged)], forge.url)
                let name = try #require(first.status.session).name
                _ = try await home.session(name) { $0.status.phase == .ended }
                #expect(try await home.tasks().count == 3)
                let answer = try #require(try await home.send("GET", "/v1/webhooks/deliveries"))
                let text = String(decoding: answer.body, as: UTF8.self)
                #expect(text.contains("eve may not trigger") && text.contains("known already"), "\(text)")
                #expect(text.contains("Holdfast has opened it itself"), "\(text)")
                // The comment has told it all along, in one place; all else was answers.
                try await until("the comment says the end") { api.comments(7).first?.contains("Holdfast: ended, done") == true }
                #expect(api.comments(7).count == 1 && api.comments(request).count == 1 && api.pullRequests.count == 1)
                #expect(
                    !(api.comments(7) + api.comments(request)).contains { $0.contains(Self.token) || $0.contains(Self.secret) })
                try expectNowhere(Self.token, home)
            }
        }

        /// A value is in no file of the supervisor's and its sessions', its logs and transcripts among them, and in no environment or
        /// command line of theirs.
        private func expectNowhere(_ value: String, _ home: SupervisorHome) throws {
            let value = Data(value.utf8)
            let files = FileManager.default.enumerator(atPath: home.path)!.compactMap { $0 as? String }
            #expect(files.contains { $0.hasSuffix(".jsonl") } && files.contains("log") && files.contains("data/store.db"))
            for file in files {
                let bytes = FileManager.default.contents(atPath: "\(home.path)/\(file)") ?? Data()
                #expect(bytes.firstRange(of: value) == nil, "\(file)")
            }
            for process in home.processes {
                for part in ["environ", "cmdline"] {
                    let bytes = FileManager.default.contents(atPath: "/proc/\(process.pid)/\(part)") ?? Data()
                    #expect(bytes.firstRange(of: value) == nil, "\(process.command)")
                }
            }
        }

        private func until(_ what: String, _ isSo: () -> Bool) async throws {
            let deadline = ContinuousClock.now + .seconds(60)
            while !isSo() {
                guard ContinuousClock.now < deadline else { throw SidecarFailure("waited in vain for: \(what)") }
                try await Task.sleep(for: .milliseconds(20))
            }
        }

        /// A thousand deliveries, half of them repeats under the same or another id, to a supervisor that is killed again and again:
        /// what each comment of somebody who may asks for is run once, and in order.
        @Test(.timeLimit(.minutes(10))) func aThousandDeliveriesMakeEveryIntendedTurnOnce() async throws {
            let seed = Chance.seed()
            let git = try GitFixture()
            let api = try GitHubDouble(token: Self.token)
            defer { api.stop() }
            api.change { $0.permissions = ["ada": "write", "eve": "read"] }
            try git.write("token", Self.token, in: git.root)
            try git.write("secret", Self.secret, in: git.root)
            try await SupervisorHome.run(seed: seed) { home in
                home.arguments = [
                    "--github-webhook-secret", git.root + "/secret", "--github-token", git.root + "/token", "--github-api",
                    api.url,
                ]
                try await home.start()
                let spawner = SpawnerSpec(
                    when: SpawnerTrigger(githubWebhook: GitHubWebhook(repository: "*/acme/widgets", events: ["issue_comment"])),
                    taskTemplate: TaskTemplate(prompt: "{{comment.body}}"), report: SpawnerReport(reactions: false))
                _ = try await home.json(SpawnerResource.self, "PUT", "/v1/spawners/fixer", body: spawner)

                var random = SeededRandom(seed: seed)
                let issues = 10
                var intended: [Int: [String]] = [:]
                var schedule: [(id: String, payload: JSONValue)] = []
                for index in 0..<500 {
                    let (number, isStranger) = (index % issues + 1, index % 7 == 0)
                    if !isStranger { intended[number, default: []].append("c\(index)") }
                    schedule.append(
                        (
                            "d\(index)",
                            [
                                "action": "created", "sender": ["login": isStranger ? "eve" : "ada"],
                                "issue": ["number": .integer(Int64(number))],
                                "comment": [
                                    "id": .integer(Int64(index + 1)), "user": ["login": isStranger ? "eve" : "ada"],
                                    "body": .string("run: echo c\(index) >> \(home.path)/done-\(number)"),
                                ],
                            ]
                        ))
                }
                // A comment comes after those before it, but its repeats come whenever they like.
                for delivery in schedule.shuffled(using: &random) {
                    let first = schedule.firstIndex { $0.id == delivery.id } ?? 0
                    let again = Bool.random(using: &random) ? delivery.id : delivery.id + "-again"
                    schedule.insert((again, delivery.payload), at: Int.random(in: (first + 1)...schedule.count, using: &random))
                }
                #expect(schedule.count == 1000)
                for (index, delivery) in schedule.enumerated() {
                    if random.oneIn(60) {
                        home.kill()
                        try await home.start()
                    }
                    if random.oneIn(100) { api.change { $0.moods = [.init(502), .init(502, isDone: true), .init(502)] } }
                    try await deliver(home, delivery.id, "issue_comment", delivery.payload, "http://forge.example", git.remote)
                    if index % 250 == 249 { home.kill(); try await home.start() }
                }
                let count = intended.values.map(\.count).reduce(0, +)
                let deadline = ContinuousClock.now + .seconds(300)
                var tasks: [TaskResource] = []
                while tasks.count < count || tasks.contains(where: { !$0.status.phase.isTerminal }) {
                    guard ContinuousClock.now < deadline else { throw SidecarFailure("\(tasks.count) of \(count) Tasks") }
                    try await Task.sleep(for: .milliseconds(200))
                    tasks = try await home.tasks()
                }
                #expect(tasks.count == count && tasks.allSatisfy { $0.status.phase == .succeeded }, "seed \(seed)")
                for (number, words) in intended {
                    let done = try String(contentsOfFile: "\(home.path)/done-\(number)", encoding: .utf8)
                    #expect(done.split(separator: "\n").map(String.init) == words, "seed \(seed), issue \(number)")
                    try await until("the comment of issue \(number)") { !api.comments(number).isEmpty }
                    #expect(api.comments(number).count == 1, "seed \(seed), issue \(number): \(api.comments(number))")
                }
                #expect(Set(tasks.compactMap(\.status.session)).count == issues)
            }
        }

        /// As GitHub does it.
        private func deliver(
            _ home: SupervisorHome, _ id: String, _ event: String, _ payload: JSONValue, _ forge: String, _ clone: String? = nil
        ) async throws {
            var members = payload.object!
            members["repository"] = [
                "id": 1, "full_name": "acme/widgets", "html_url": .string("\(forge)/acme/widgets"),
                "clone_url": .string(clone ?? "\(forge)/acme/widgets.git"), "default_branch": "main",
            ]
            let body = Array(try JSON.encode(JSONValue.object(members)))
            let deadline = ContinuousClock.now + .seconds(30)
            while true {
                var request = CurlRequest(
                    "POST", home.url + "/v1/webhooks/github",
                    headers: [
                        // What a reverse proxy passes on.
                        ("Host", "hooks.example.org"), ("Content-Type", "application/json"), ("X-GitHub-Event", event),
                        ("X-GitHub-Delivery", id),
                        ("X-Hub-Signature-256", WebhookSignature.header(body: body, secret: Self.secret)),
                    ])
                request.body = body
                if let answer = try? await CurlClient.shared.execute(request) {
                    #expect(answer.status == 202, "\(String(decoding: answer.body, as: UTF8.self))")
                    if answer.status == 202 { return }
                }
                guard ContinuousClock.now < deadline else { throw SidecarFailure("no supervisor takes deliveries") }
            }
        }

        /// Waits for the Task that is made as the so-manieth, and for its end.
        private func task(_ home: SupervisorHome, _ ordinal: Int) async throws -> TaskResource {
            let deadline = ContinuousClock.now + .seconds(60)
            while true {
                let tasks = try await home.tasks()
                if tasks.count >= ordinal { return try await home.end(of: tasks.reversed()[ordinal - 1].metadata.name) }
                guard ContinuousClock.now < deadline else {
                    let answer = try await home.send("GET", "/v1/webhooks/deliveries")
                    throw SidecarFailure("Task \(ordinal) is not made: \(String(decoding: answer?.body ?? [], as: UTF8.self))")
                }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }
}
