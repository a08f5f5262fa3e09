import Curl
import Foundation
import GitHub
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// Events of GitHub, from the signed delivery to what the agent has pushed, with the real binaries.
    @Suite struct GitHubTests {
        private static let secret = "webhook-secret"

        @Test(.timeLimit(.minutes(5))) func aLabelledIssueIsWorkedOnAndAskedForMoreUntilItIsMerged() async throws {
            let git = try GitFixture()
            let bare = git.root + "/forge/acme/widgets.git"
            try FileManager.default.createDirectory(atPath: git.root + "/forge/acme", withIntermediateDirectories: true)
            _ = try await blocking { try git.git("clone", "--quiet", "--bare", git.remote, bare, in: git.root) }
            let forge = try GitBackend(root: git.root + "/forge", token: "ghp_double")
            let api = try GitHubDouble()
            defer {
                forge.stop()
                api.stop()
            }
            api.change { $0.permissions = ["ada": "write", "eve": "read"] }
            try git.write("token", "ghp_double", in: git.root)
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
                            repository: "\(host)/acme/widgets", events: ["issues", "issue_comment", "pull_request_review"],
                            filters: [GitHubFilter(event: "issues", action: "labeled", labels: ["agent"])])),
                    taskTemplate: TaskTemplate(
                        prompt:
                            "{{#opening}}{{subject.body}}{{/opening}}{{comment.body}}{{#review.comments}}\n{{path}}: {{body}}{{/review.comments}}",
                        credentials: WorkspaceCredentials(tokenFile: git.root + "/token")))
                _ = try await home.json(SpawnerResource.self, "PUT", "/v1/spawners/fixer", body: spawner)

                // Labelled by somebody who may: the agent clones through the gateway, works and pushes.
                let number = 7
                let script = "Remember the plum.\nrun: echo fixed > fix.txt && git add -A && git commit -qm fix && git push -q"
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

                // A review of the pull request from that branch: its comments, and their events, are one turn of the same session.
                let commit = try git.git("rev-parse", "holdfast/issue-7", in: bare)
                let pull: JSONValue = [
                    "number": 12, "title": "Fix", "state": "open", "merged": false,
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
                    state.pullRequests = [12: pull]
                    state.lineComments = [12: comments]
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
                        "action": "created", "sender": ["login": .string(login)], "issue": ["number": 12, "pull_request": [:]],
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
            }
        }

        /// As GitHub does it.
        private func deliver(
            _ home: SupervisorHome, _ id: String, _ event: String, _ payload: JSONValue, _ forge: String
        ) async throws {
            var members = payload.object!
            members["repository"] = [
                "id": 1, "full_name": "acme/widgets", "html_url": .string("\(forge)/acme/widgets"),
                "clone_url": .string("\(forge)/acme/widgets.git"), "default_branch": "main",
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
                    return
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
