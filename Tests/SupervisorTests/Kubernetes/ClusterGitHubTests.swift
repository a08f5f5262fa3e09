import Curl
import Foundation
import GitHub
import Kubernetes
import KubernetesDouble
import SessionModel
import Support
import Testing

@testable import Supervisor

/// Events of GitHub in a cluster, from the signed delivery to what the agent has pushed: real supervisors, a real git gateway, real
/// sidecars, and doubles of the API server and of GitHub.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ClusterGitHubTests {
    private static let secret = "webhook-secret"
    private static let token = "ghp_theForgesOwnSecret42"

    /// GitHub with one repository, for a cluster.
    private struct Forge {
        let cluster: StoryCluster
        let git: GitBackend
        let api: GitHubDouble
        let bare: String

        var flags: [String] {
            [
                "--github-webhook-secret", cluster.home.path + "/secret", "--github-token", cluster.home.path + "/forge-token",
                "--github-api", api.url,
            ]
        }

        init(_ cluster: StoryCluster) async throws {
            self.cluster = cluster
            let (fixture, root) = (cluster.git, cluster.git.root + "/forge")
            let bare = root + "/acme/widgets.git"
            self.bare = bare
            try FileManager.default.createDirectory(atPath: root + "/acme", withIntermediateDirectories: true)
            _ = try await blocking { try fixture.git("clone", "--quiet", "--bare", fixture.remote, bare, in: fixture.root) }
            git = try GitBackend(root: root, token: ClusterGitHubTests.token)
            api = try GitHubDouble(token: ClusterGitHubTests.token)
            api.change { $0.permissions = ["ada": "write", "eve": "read"] }
            try fixture.write("forge-token", ClusterGitHubTests.token, in: cluster.home.path)
            try fixture.write("secret", ClusterGitHubTests.secret, in: cluster.home.path)
        }

        func stop() {
            git.stop()
            api.stop()
        }

        /// As GitHub does it, to whichever replica answers.
        func deliver(_ id: String, _ event: String, _ payload: JSONValue) async throws {
            var members = payload.object!
            members["repository"] = [
                "id": 1, "full_name": "acme/widgets", "html_url": .string("\(git.url)/acme/widgets"),
                "clone_url": .string("\(git.url)/acme/widgets.git"), "default_branch": "main",
            ]
            let body = Array(try JSON.encode(JSONValue.object(members)))
            try await cluster.until("a supervisor that takes deliveries") {
                for url in cluster.apis {
                    var request = CurlRequest(
                        "POST", url + "/v1/webhooks/github",
                        headers: [
                            ("Host", "hooks.example.org"), ("Content-Type", "application/json"), ("X-GitHub-Event", event),
                            ("X-GitHub-Delivery", id),
                            ("X-Hub-Signature-256", WebhookSignature.header(body: body, secret: ClusterGitHubTests.secret)),
                        ])
                    request.body = body
                    if let answer = try? await CurlClient.shared.execute(request), answer.status == 202 { return true }
                }
                return nil
            }
        }
    }

    private var spawners: (StoryCluster) -> Objects<SpawnerObject> {
        { $0.client.objects(.spawners, as: SpawnerObject.self, in: $0.namespace) }
    }

    /// Waits for the Task that is made as the so-manieth, and for its end.
    private func task(_ cluster: StoryCluster, _ ordinal: Int) async throws -> TaskObject {
        let name = try await cluster.until("Task \(ordinal)") { () -> String? in
            let tasks = try await cluster.tasks.list().items.sorted {
                ($0.status?.ordinal ?? .max) < ($1.status?.ordinal ?? .max)
            }
            return tasks.count >= ordinal && tasks[ordinal - 1].status?.ordinal != nil ? tasks[ordinal - 1].metadata.name : nil
        }
        _ = try await cluster.end(of: name)
        return try await cluster.tasks.get(name)
    }

    @Test func aLabelledIssueIsWorkedOnAndAskedForMoreUntilItIsMerged() async throws {
        try await StoryCluster.run { cluster in
            let forge = try await Forge(cluster)
            defer { forge.stop() }
            let api = forge.api
            api.change { $0.branches = ["holdfast/issue-7"] }
            let host = String(forge.git.url.dropFirst("http://".count))
            let secrets: Objects<GenericObject> = cluster.client.objects(.secrets, in: cluster.namespace)
            try await secrets.create(
                GenericObject(
                    .secrets, metadata: ObjectMeta(name: "github", namespace: cluster.namespace),
                    members: ["data": ["GITHUB_TOKEN": .string(Data(Self.token.utf8).base64EncodedString())]]))
            let port = try ClusterGatewayTests.freePort()
            let arguments = ["--git-gateway", "https://127.0.0.1:\(port)"] + forge.flags
            let first = try cluster.startSupervisor(arguments)
            try await cluster.startGateway(port: port)

            // kubectl apply
            var spec = SpawnerSpec(
                when: SpawnerTrigger(
                    githubWebhook: GitHubWebhook(
                        repository: "\(host)/acme/widgets",
                        events: ["issues", "issue_comment", "pull_request_review", "pull_request"],
                        filters: [GitHubFilter(event: "issues", action: "labeled", labels: ["agent"])])),
                taskTemplate: TaskTemplate(
                    prompt: "{{nobody.knows}}", worker: AgentDescription(driver: .acp, command: ["holdfast-demo-agent"]),
                    credentials: WorkspaceCredentials(secretRef: SecretReference(name: "github"))))
            let spawners = spawners(cluster)
            func ready(_ status: Condition.Status) async throws -> SpawnerObject {
                try await cluster.until("the Spawner's condition") {
                    let spawner = try await spawners.get("fixer")
                    return spawner.status?.conditions.first { $0.type == "Ready" }?.status == status ? spawner : nil
                }
            }
            // A name that no event has is an error, and said where its author looks.
            _ = try await spawners.create(SpawnerObject(metadata: ObjectMeta(name: "fixer"), spec: spec, status: nil))
            var spawner = try await ready(.false)
            #expect(spawner.status?.conditions.first?.message.contains("nobody") == true, "\(spawner)")
            spec.taskTemplate.prompt =
                "{{#opening}}{{subject.body}}{{/opening}}{{comment.body}}{{#review.comments}}\n{{path}}: {{body}}{{/review.comments}}"
            spawner.spec = spec
            _ = try await spawners.replace(spawner)
            _ = try await ready(.true)

            // Labelled by somebody who may: the agent clones through the gateway, works and pushes.
            let script = """
                Remember the plum.
                run: echo fixed > fix.txt && git add -A && git commit -qm fix && git push -q
                run: env; git config --list; cat /proc/self/environ /proc/$PPID/environ | tr '\\0' '\\n'
                say: Fix the widget
                """
            let labelled: JSONValue = [
                "action": "labeled", "label": ["name": "agent"], "sender": ["login": "ada"],
                "issue": [
                    "number": 7, "title": "Broken", "body": .string(script), "labels": [["name": "agent"]], "updated_at": "1",
                ],
            ]
            try await forge.deliver("1", "issues", labelled)
            try await forge.deliver("1-again", "issues", labelled)
            let begun = try await task(cluster, 1)
            #expect(begun.status?.phase == .succeeded, "\(begun) \(cluster.gatewayLog)")
            let key = try #require(begun.status?.session)
            #expect(key.description == "issue:\(host)/acme/widgets#7")
            #expect(try cluster.git.git("show", "holdfast/issue-7:fix.txt", in: forge.bare) == "fixed")

            // The supervisor opens the pull request for it, once, and one comment says so.
            try await cluster.until("a pull request") { api.pullRequests.count == 1 ? true : nil }
            let (request, opened) = try #require(api.pullRequests.first)
            #expect(opened["head"]?["ref"]?.string == "holdfast/issue-7" && opened["base"]?["ref"]?.string == "main")
            try await cluster.until("the comment that names it") {
                let text = api.comments(7).first ?? ""
                return text.contains("Holdfast: done") && text.contains("ull request #\(request)") ? true : nil
            }
            #expect(api.reactions.contains("eyes issues/7"))
            // Its own event makes no turn.
            try await forge.deliver(
                "0", "pull_request", ["action": "opened", "sender": ["login": "robot"], "pull_request": opened])

            // A review with three comments is one turn of the same session.
            let commit = try cluster.git.git("rev-parse", "holdfast/issue-7", in: forge.bare)
            let pull: JSONValue = [
                "number": .integer(Int64(request)), "title": "Fix", "state": "open", "merged": false,
                "head": ["ref": "holdfast/issue-7", "sha": .string(commit), "repo": ["full_name": "acme/widgets"]],
                "base": ["ref": "main", "sha": "b"],
            ]
            let comments: [JSONValue] = (1...3).map { index in
                [
                    "id": .integer(Int64(index)), "pull_request_review_id": 5, "path": "fix.txt", "line": 1,
                    "diff_hunk": "@@", "body": .string("comment \(index)"), "user": ["login": "ada"],
                ]
            }
            api.change { state in
                state.pullRequests = [request: pull]
                state.lineComments = [request: comments]
            }
            try await forge.deliver(
                "2", "pull_request_review",
                [
                    "action": "submitted", "sender": ["login": "ada"], "pull_request": pull,
                    "review": ["id": 5, "body": "What do you remember?", "state": "commented", "user": ["login": "ada"]],
                ])
            let second = try await task(cluster, 2)
            #expect(second.status?.session == key)
            #expect(second.spec.prompt == "What do you remember?\nfix.txt: comment 1\nfix.txt: comment 2\nfix.txt: comment 3")
            #expect(second.status?.results?.answer?.contains("“Remember the plum.") == true, "\(second)")

            // A stranger's comment does nothing, and a command another turn, once, though the leader dies.
            func comment(_ id: Int64, _ text: String, by login: String) -> JSONValue {
                [
                    "action": "created", "sender": ["login": .string(login)],
                    "issue": ["number": .integer(Int64(request)), "pull_request": [:]],
                    "comment": ["id": .integer(id), "body": .string(text), "user": ["login": .string(login)]],
                ]
            }
            try await forge.deliver("3", "issue_comment", comment(31, "/end", by: "eve"))
            try await forge.deliver("4", "issue_comment", comment(32, "/continue say: more", by: "ada"))
            cluster.kill(first)
            try cluster.startSupervisor(arguments)
            try await forge.deliver("4-again", "issue_comment", comment(32, "/continue say: more", by: "ada"))
            let third = try await task(cluster, 3)
            #expect(third.spec.prompt == "say: more" && third.status?.session == key)
            #expect(third.status?.phase == .succeeded, "\(third)")
            try await forge.deliver("6", "issue_comment", comment(33, "/status", by: "ada"))
            try await cluster.until("an answer") {
                api.comments(request).contains { $0.hasPrefix("<!-- holdfast: answer 33 -->") } ? true : nil
            }

            // Merged: the session ends.
            var merged = pull.object!
            (merged["merged"], merged["state"]) = (true, "closed")
            try await forge.deliver(
                "5", "pull_request", ["action": "closed", "sender": ["login": "ada"], "pull_request": .object(merged)])
            try await cluster.until("the end of the session") {
                try await cluster.sessions.get(key.name).status?.phase == .ended ? true : nil
            }
            #expect(try await cluster.tasks.list().items.count == 3)
            try await cluster.until("the comment that says the end") {
                api.comments(7).first?.contains("Holdfast: ended, done") == true ? true : nil
            }
            #expect(api.comments(7).count == 1 && api.comments(request).count == 1 && api.pullRequests.count == 1)
            // Each is counted once, the one that the leader died over, too.
            let status = try await spawners.get("fixer").status
            #expect(status?.tasks == 3 && status?.recentTasks?.count == 3, "\(String(describing: status))")

            // What became of each is known, and nothing of it says a secret.
            let maps: Objects<GenericObject> = cluster.client.objects(.configMaps, in: cluster.namespace)
            let records = try JSON.string(try await maps.list().items)
            for sentence in ["eve may not trigger", "known already", "Holdfast has opened it itself"] {
                #expect(records.contains(sentence), "\(records)")
            }
            let everything = records + cluster.log + cluster.gatewayLog + (api.comments(7) + api.comments(request)).joined()
            for secret in [Self.token, Self.secret] { #expect(!everything.contains(secret)) }
        }
    }

    /// Hundreds of deliveries, half of them repeats under the same or another id, to two replicas of which the one that leads is killed
    /// again and again, and to an API server with troubles: what each comment of somebody who may asks for is one Task, in order.
    @Test func deliveriesMakeEveryIntendedTaskOnce() async throws {
        let seed = ProcessInfo.processInfo.environment["HOLDFAST_SEED"].flatMap { UInt64($0) } ?? .random(in: 1...999_999)
        try await StoryCluster.run { cluster in
            let forge = try await Forge(cluster)
            defer { forge.stop() }
            // No pod starts: Tasks wait, and this is about how they come to be.
            cluster.kubelet.setScheduling(false)
            var replicas = [try cluster.startSupervisor(forge.flags), try cluster.startSupervisor(forge.flags)]
            let spec = SpawnerSpec(
                when: SpawnerTrigger(githubWebhook: GitHubWebhook(repository: "*/acme/widgets", events: ["issue_comment"])),
                taskTemplate: TaskTemplate(
                    prompt: "{{comment.body}}", worker: AgentDescription(driver: .acp, command: ["holdfast-demo-agent"])),
                report: SpawnerReport(reactions: false))
            _ = try await spawners(cluster).create(
                SpawnerObject(metadata: ObjectMeta(name: "fixer"), spec: spec, status: nil))

            var random = SeededRandom(seed: seed)
            let issues = 5
            var intended: [Int: [String]] = [:]
            var schedule: [(id: String, payload: JSONValue)] = []
            for index in 0..<100 {
                let (number, isStranger) = (index % issues + 1, index % 7 == 0)
                if !isStranger { intended[number, default: []].append("c\(index)") }
                let login: JSONValue = isStranger ? "eve" : "ada"
                schedule.append(
                    (
                        "d\(index)",
                        [
                            "action": "created", "sender": ["login": login], "issue": ["number": .integer(Int64(number))],
                            "comment": [
                                "id": .integer(Int64(index + 1)), "user": ["login": login], "body": .string("c\(index)"),
                            ],
                        ]
                    ))
            }
            for delivery in schedule.shuffled(using: &random) {
                let first = schedule.firstIndex { $0.id == delivery.id } ?? 0
                let again = Bool.random(using: &random) ? delivery.id : delivery.id + "-again"
                schedule.insert((again, delivery.payload), at: Int.random(in: (first + 1)...schedule.count, using: &random))
            }
            let faults = [
                Fault(.answer(500, reason: "InternalError", message: "no")), Fault(.drop), Fault(.dropAfter),
                Fault(.answer(409, reason: "Conflict", message: "changed")) { $0.method == "PUT" },
                Fault(.answer(429, reason: "TooManyRequests", message: "busy", retryAfter: 1)),
            ]
            for (index, delivery) in schedule.enumerated() {
                if index % 50 == 25 {
                    cluster.kill(replicas.removeFirst())
                    replicas.append(try cluster.startSupervisor(forge.flags))
                }
                if random.oneIn(20) { cluster.double.inject(faults.randomElement(using: &random)!) }
                try await forge.deliver(delivery.id, "issue_comment", delivery.payload)
            }
            let count = intended.values.map(\.count).reduce(0, +)
            let tasks = try await cluster.until("all Tasks, each with its session") { () -> [TaskObject]? in
                let tasks = try await cluster.tasks.list().items
                return tasks.count >= count && tasks.allSatisfy { $0.status?.session != nil } ? tasks : nil
            }
            #expect(tasks.count == count, "seed \(seed)")
            for (number, words) in intended {
                let prompts = tasks.filter { $0.status?.session?.number == number }
                    .sorted { ($0.status?.ordinal ?? .max) < ($1.status?.ordinal ?? .max) }.map(\.spec.prompt)
                #expect(prompts == words, "seed \(seed), issue \(number)")
            }
            try await cluster.until("one comment for each issue") {
                (1...issues).allSatisfy { forge.api.comments($0).count == 1 } ? true : nil
            }
        }
    }
}
