import Foundation
import SessionModel
import Support
import Testing

@testable import GitHub

@Suite(.timeLimit(.minutes(1)))
final class ClientTests {
    private let double: GitHubDouble
    private let tokenFile: String
    private let github: GitHubClient

    init() throws {
        double = try GitHubDouble(pageSize: 2)
        tokenFile = NSTemporaryDirectory() + "hf-github-" + UUID().uuidString.prefix(8)
        try Data("ghp_double\n".utf8).write(to: URL(filePath: tokenFile))
        github = GitHubClient(host: "github.com", tokenFile: tokenFile, api: double.url, pause: .milliseconds(1))
    }

    deinit {
        double.stop()
        try? FileManager.default.removeItem(atPath: tokenFile)
    }

    private func code(_ attempt: () async throws -> Void) async -> GitHubError.Code? {
        do {
            try await attempt()
            return nil
        } catch {
            return (error as? GitHubError)?.code
        }
    }

    @Test(arguments: [
        ("admin", ForgePermission.admin), ("maintain", .write), ("write", .write), ("triage", .read), ("read", .read),
        ("none", .none),
        ("new-role", .none),
    ])
    func permissionsAreRead(word: String, permission: ForgePermission) async throws {
        double.change { $0.permissions = ["ada": word] }
        #expect(try await github.permission(of: "ada", in: "acme/widgets") == permission)
    }

    @Test func whoIsNotKnownMayNothing() async throws {
        #expect(try await github.permission(of: "eve", in: "acme/widgets") == .none)
        #expect(try await github.isMember("eve", of: "acme/core") == false)
        double.change { $0.members = ["acme/core/ada"] }
        #expect(try await github.isMember("ada", of: "acme/core"))
        #expect(try await github.login() == "robot")
        // A name cannot become another path.
        _ = try await github.permission(of: "../../x?y", in: "acme/widgets")
        #expect(double.requests.last == "GET /repos/acme/widgets/collaborators/..%2F..%2Fx%3Fy/permission")
    }

    @Test func listsAreReadPageAfterPage() async throws {
        let files = (1...7).map { "file\($0)" }
        double.change { $0.files = [12: files] }
        #expect(try await github.files(of: 12, in: "acme/widgets") == files)
        #expect(double.requests.count == 4)
        #expect(GitHubClient.next(#"<https://a/?page=1>; rel="prev", <https://a/?page=3>; rel="next""#) == "https://a/?page=3")
        #expect(GitHubClient.next(#"<https://a/>; rel="last""#) == nil && GitHubClient.next("rubbish; rel=\"next\"") == nil)
    }

    @Test func aPageElsewhereIsNotAskedForWithTheToken() async throws {
        let other = try GitHubDouble()
        defer { other.stop() }
        double.change { state in
            state.moods = [.init(200, #"[{"filename": "a"}]"#, headers: ["Link": "<\(other.url)/repos/x>; rel=\"next\""])]
        }
        #expect(try await github.files(of: 12, in: "acme/widgets") == ["a"])
        #expect(other.requests.isEmpty)
    }

    @Test func aReviewsCommentsHaveTheirThreads() async throws {
        func comment(_ id: Int64, _ review: Int64, _ body: String, by login: String?, answers: Int64? = nil, line: Int64? = 3)
            -> JSONValue
        {
            var members: [String: JSONValue] = [
                "id": .integer(id), "pull_request_review_id": .integer(review), "body": .string(body), "path": "a.swift",
                "diff_hunk": "@@", "original_line": 9, "html_url": "u", "line": line.map { .integer($0) } ?? .null,
                "user": login.map { ["login": .string($0)] } ?? .null,
            ]
            members["in_reply_to_id"] = answers.map { .integer($0) }
            return .object(members)
        }
        double.change { state in
            state.lineComments = [
                12: [
                    comment(1, 4, "Why?", by: "ada"), comment(2, 4, "Other", by: "ada"),
                    comment(3, 6, "Because.", by: nil, answers: 1),
                    comment(4, 5, "Still?", by: "eve", answers: 1), comment(5, 5, "New", by: "eve", line: nil),
                ]
            ]
        }
        let comments = try await github.comments(of: 5, on: 12, in: "acme/widgets")
        #expect(comments.map(\.body) == ["Still?", "New"])
        #expect(comments[0].thread == [.init(author: "ada", body: "Why?"), .init(author: "ghost", body: "Because.")])
        #expect(comments[0].line == 3 && comments[1].line == 9 && comments[1].thread.isEmpty)
    }

    @Test func everyKindOfRefusalIsTold() async throws {
        for (mood, expected) in [
            (GitHubDouble.Mood(401), GitHubError.Code.unauthorized),
            (.init(403, #"{"message": "Resource not accessible"}"#), .forbidden),
            (.init(404), .notFound), (.init(410), .notFound),
            (.init(422, #"{"message": "x", "errors": [{"message": "y"}]}"#), .rejected),
            (.init(409), .rejected),
        ] {
            double.change { $0.moods = [mood] }
            #expect(await code { _ = try await github.login() } == expected, "\(mood.status)")
        }
        try FileManager.default.removeItem(atPath: tokenFile)
        #expect(await code { _ = try await github.login() } == .unauthorized)
    }

    @Test func faultsAreTriedAgainButNotForEver() async throws {
        double.change { $0.moods = [.init(502, "<html>"), .init(500)] }
        #expect(try await github.login() == "robot")
        double.change { $0.moods = [.init(502), .init(503), .init(504), .init(200, "not JSON")] }
        #expect(await code { _ = try await github.login() } == .unavailable)
        #expect(double.requests.count == 6)
        // What may have changed something is sent once.
        double.change { $0.moods = [.init(502)] }
        #expect(await code { _ = try await github.send("POST", path: "/repos/acme/widgets/issues", [:]) } == .unavailable)
        #expect(double.requests.count == 7)
    }

    @Test func limitsSayUntilWhen() async throws {
        double.change { $0.moods = [.init(429, "{}", headers: ["Retry-After": "30"])] }
        guard case .rateLimited(let until) = await code({ _ = try await github.login() }) else {
            Issue.record("it is not told")
            return
        }
        let left = until - Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
        #expect(left > .seconds(20) && left <= .seconds(30))
        #expect(double.requests.count == 1, "nobody asks again before that")
    }

    @Test func limitsAreUnderstood() {
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        func end(_ status: Int, _ headers: [String: String], _ message: String = "") -> TimeSpan? {
            RateLimit.end(status: status, header: { headers[$0] }, message: message, at: now).map { $0 - now }
        }
        #expect(end(403, ["X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800000600"]) == .minutes(10))
        #expect(end(429, ["Retry-After": "5", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800000600"]) == .seconds(5))
        #expect(end(403, [:], "You have exceeded a secondary rate limit.") == .minutes(1))
        #expect(end(429, [:]) == .minutes(1))
        #expect(end(403, ["X-RateLimit-Remaining": "12"], "Must have admin rights") == nil)
        #expect(end(404, ["Retry-After": "5"]) == nil)
        // Clocks that differ and nonsense are no reason to wait for ever, or not at all.
        #expect(end(403, ["X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999999"]) == .minutes(65))
        #expect(end(403, ["X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"]) == .seconds(1))
        #expect(end(429, ["Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"]) == .minutes(1))
    }

    @Test func theRulesLearnWhatTheyNeed() async throws {
        double.change { state in
            state.permissions = ["ada": "write"]
            state.pullRequests = [12: Fixture.object(Fixture.pullRequest())["pull_request"]!]
            state.files = [12: ["docs/a.md"]]
        }
        var spec = SpawnerSpec(
            when: SpawnerTrigger(
                githubWebhook: GitHubWebhook(
                    repository: "acme/widgets", events: ["issue_comment"],
                    filters: [GitHubFilter(event: "issue_comment", branch: "main", paths: ["docs/*"])])))
        spec.profile = "writer"
        let rules = WebhookRules(name: "docs", spec: spec)
        var event = Fixture.event("issue_comment", Fixture.issueComment("spelling", number: 12, onPullRequest: true))
        var facts = WebhookRules.Facts()
        var asked: [WebhookRules.Need] = []
        while case .needs(let need) = rules.decide(event, facts) {
            asked.append(need)
            try await facts.learn(need, about: &event, from: github)
        }
        #expect(asked == [.pullRequest, .files, .permission(of: "ada")])
        guard case .task(let draft) = rules.decide(event, facts) else {
            Issue.record("it makes a Task")
            return
        }
        #expect(draft.scope.number == 12 && draft.scope.profile == "writer")
    }
}
