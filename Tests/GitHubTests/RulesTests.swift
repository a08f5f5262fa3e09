import SessionModel
import Support
import Testing

@testable import GitHub

@Suite struct RulesTests {
    private static let issue7 = try! SessionKey(parsing: "issue:acme/widgets#7")
    private static let pull12 = try! SessionKey(parsing: "pr:acme/widgets#12")

    private static func spawner(
        events: [String] = GitHubWebhook.knownEvents, filters: [GitHubFilter]? = nil, allow: GitHubAllow? = nil,
        change: (inout SpawnerSpec) -> Void = { _ in }
    ) -> WebhookRules {
        var spec = SpawnerSpec(
            when: SpawnerTrigger(
                githubWebhook: GitHubWebhook(repository: "acme/widgets", events: events, filters: filters, allow: allow)))
        change(&spec)
        #expect(spec.mistake == nil, "\(spec.mistake ?? "")")
        return WebhookRules(name: "fixer", spec: spec)
    }

    private static func facts(_ permission: ForgePermission = .write, _ sessions: Set<SessionKey> = [], own: String = "robot")
        -> WebhookRules.Facts
    {
        var facts = WebhookRules.Facts()
        facts.permissions = ["ada": permission, "robot": .write]
        facts.sessions = sessions
        facts.own = own
        facts.comments = []
        return facts
    }

    private func draft(_ decision: WebhookRules.Decision) -> WebhookRules.Draft? {
        if case .task(let draft) = decision { draft } else { nil }
    }

    private func reason(_ decision: WebhookRules.Decision) -> String? {
        if case .ignore(let reason) = decision { reason } else { nil }
    }

    // MARK: What makes a Task

    @Test func aLabelledIssueBecomesATaskOfItsSession() throws {
        let decision = Self.spawner(filters: [GitHubFilter(event: "issues", action: "labeled", labels: ["agent"])])
            .decide(Fixture.event("issues", Fixture.issue()), Self.facts())
        let draft = try #require(self.draft(decision), "\(decision)")
        #expect(draft.scope == ScopeSpec(kind: .issue, repository: "github.com/acme/widgets", number: 7))
        #expect(try draft.scope.key(task: "t") == Self.issue7)
        #expect(draft.key.hasPrefix("fixer:github:github.com/186853002#7:labeled:agent:"))
        #expect(draft.trusted && !draft.supersedes && draft.prompt == nil)
    }

    @Test(arguments: [
        (GitHubFilter(event: "issues", action: "opened"), "the action is"),
        (GitHubFilter(event: "issues", labels: ["agent", "urgent"]), "a label is missing"),
        (GitHubFilter(event: "issues", labels: ["other"]), "a label is missing"),
        (GitHubFilter(event: "issues", excludeLabels: ["AGENT"]), "excluded label"),
        (GitHubFilter(event: "issues", state: "closed"), "it is not closed"),
        (GitHubFilter(event: "issues", author: "eve"), "eve did not do it"),
        (GitHubFilter(event: "issues", draft: true), "it is no draft"),
        (GitHubFilter(event: "issues", branch: "main"), "its base branch is not main"),
        (GitHubFilter(event: "issues", paths: ["*"]), "an issue changes no files"),
        (GitHubFilter(event: "issues", bodyPattern: "/fix*"), "no line is"),
    ])
    func aFilterThatDoesNotFitSaysWhy(filter: GitHubFilter, why: String) {
        let decision = Self.spawner(filters: [filter]).decide(Fixture.event("issues", Fixture.issue()), Self.facts())
        #expect(reason(decision)?.contains(why) == true, "\(decision)")
    }

    @Test func oneFilterThatFitsIsEnough() {
        let rules = Self.spawner(filters: [
            GitHubFilter(event: "issues", author: "eve"), GitHubFilter(event: "pull_request"),
            GitHubFilter(
                event: "issues", action: "labeled", labels: ["Agent"], state: "open", draft: false, author: "ADA",
                bodyPattern: "*broken*"),
        ])
        #expect(draft(rules.decide(Fixture.event("issues", Fixture.issue()), Self.facts())) != nil)
    }

    @Test func anotherLabelOnALabelledIssueIsNoNews() {
        let rules = Self.spawner(filters: [GitHubFilter(event: "issues", action: "labeled", labels: ["agent"])])
        let event = Fixture.event("issues", Fixture.issue(labels: ["agent", "p1"], label: "p1"))
        #expect(reason(rules.decide(event, Self.facts()))?.contains("“p1” is not one of those") == true)
    }

    @Test func changedFilesAreAskedForOnlyWhenAFilterNamesPaths() {
        let rules = Self.spawner(filters: [GitHubFilter(event: "pull_request", paths: ["docs/*"])])
        let event = Fixture.event("pull_request", Fixture.object(Fixture.pullRequest()))
        var facts = Self.facts()
        #expect(rules.decide(event, facts) == .needs(.files))
        facts.files = ["Sources/a.swift"]
        #expect(reason(rules.decide(event, facts)) == "it changes no such file")
        facts.files = ["Sources/a.swift", "docs/a/b.md"]
        #expect(draft(rules.decide(event, facts)) != nil)
    }

    @Test(arguments: ["edited", "deleted", "closed", "unlabeled", "transferred", "dismissed", "locked"])
    func whatIsNoRequestMakesNoTaskByItself(action: String) {
        for (name, payload) in [
            ("issues", Fixture.issue(action: action)), ("issue_comment", Fixture.issueComment("x", action: action)),
            ("pull_request", Fixture.object(Fixture.pullRequest(action: action))),
        ] {
            #expect(draft(Self.spawner().decide(Fixture.event(name, payload), Self.facts())) == nil, "\(name) \(action)")
        }
    }

    @Test func aSuspendedSpawnerAndAnotherRepositoryMakeNothing() {
        let event = Fixture.event("issues", Fixture.issue())
        #expect(reason(Self.spawner { $0.suspend = true }.decide(event, Self.facts())) == "the Spawner is suspended")
        for (pattern, fits) in [
            ("acme/widgets", true), ("Acme/Widgets", true), ("acme/*", true), ("github.com/acme/widgets", true), ("*/*", true),
            ("acme/widget", false), ("acme", false), ("ghe.example.com/acme/widgets", false), ("other/*", false),
        ] {
            #expect(WebhookRules.matches(event.repository, pattern) == fits, "\(pattern)")
        }
    }

    // MARK: Who may

    @Test func thePermissionIsAskedForAndDecides() {
        let event = Fixture.event("issues", Fixture.issue())
        #expect(Self.spawner().decide(event, WebhookRules.Facts()) == .needs(.permission(of: "ada")))
        for permission in ForgePermission.allCases {
            for least in [nil] + GitHubAllow.Permission.allCases.map(Optional.some) {
                let decision = Self.spawner(allow: GitHubAllow(permission: least)).decide(event, Self.facts(permission))
                #expect(
                    (draft(decision) != nil) == (permission >= ForgePermission(least ?? .write)),
                    "\(permission) \(String(describing: least))")
            }
        }
    }

    @Test func whatThePayloadSaysOfSomebodyCountsForNothing() {
        var payload = Fixture.issueComment("please", sender: "eve", author: "eve").object!
        payload["comment"] = Fixture.object(
            #"{"id": 1, "body": "please", "user": {"login": "eve"}, "author_association": "OWNER"}"#)
        var facts = Self.facts()
        facts.permissions["eve"] = .read
        let decision = Self.spawner().decide(Fixture.event("issue_comment", .object(payload)), facts)
        #expect(reason(decision)?.contains("eve may not trigger") == true, "\(decision)")
    }

    @Test func listsLetOthersIn() {
        let event = Fixture.event("issues", Fixture.issue())
        #expect(draft(Self.spawner(allow: GitHubAllow(users: ["Ada"])).decide(event, Self.facts(.none))) != nil)
        #expect(draft(Self.spawner(allow: GitHubAllow(users: ["eve"])).decide(event, Self.facts(.none))) == nil)
        let rules = Self.spawner(allow: GitHubAllow(teams: ["acme/a", "acme/b"]))
        var facts = Self.facts(.read)
        #expect(rules.decide(event, facts) == .needs(.membership(of: "ada", team: "acme/a")))
        facts.memberships = [WebhookRules.Facts.membership("ada", "acme/a"): false]
        #expect(rules.decide(event, facts) == .needs(.membership(of: "ada", team: "acme/b")))
        facts.memberships[WebhookRules.Facts.membership("ada", "acme/b")] = true
        #expect(draft(rules.decide(event, facts)) != nil)
        facts.memberships[WebhookRules.Facts.membership("ada", "acme/b")] = false
        #expect(draft(rules.decide(event, facts)) == nil)
    }

    @Test func nobodyAndTheExcludedTriggerNothing() {
        let ghost = Fixture.event("issues", Fixture.issue(sender: nil))
        #expect(reason(Self.spawner().decide(ghost, Self.facts())) == "nobody is named who did it")
        let rules = Self.spawner { $0.when.githubWebhook?.excludeAuthors = ["ADA"] }
        #expect(reason(rules.decide(Fixture.event("issues", Fixture.issue()), Self.facts())) == "ada is among excludeAuthors")
    }

    @Test func aForksCodeGetsCredentialsOnlyFromWhoeverMayWrite() throws {
        let rules = Self.spawner(allow: GitHubAllow(users: ["ada"]))
        for (repository, permission, trusted) in [
            ("acme/widgets", ForgePermission.none, true), ("Acme/Widgets", .none, true), ("eve/widgets", .read, false),
            ("eve/widgets", .write, true), (nil, ForgePermission.none, false),
        ] as [(String?, ForgePermission, Bool)] {
            let event = Fixture.event("pull_request", Fixture.object(Fixture.pullRequest(headRepository: repository)))
            #expect(
                draft(rules.decide(event, Self.facts(permission)))?.trusted == trusted, "\(repository ?? "gone") \(permission)")
        }
    }

    // MARK: Whose session

    @Test func aCommentOnAPullRequestIsOfItsSession() throws {
        var event = Fixture.event("issue_comment", Fixture.issueComment("more tests, please", number: 12, onPullRequest: true))
        var facts = Self.facts()
        #expect(Self.spawner().decide(event, facts) == .needs(.pullRequest))
        event.complete(with: Fixture.object(Fixture.pullRequest())["pull_request"]!)
        facts.knowsPullRequest = true
        let draft = try #require(self.draft(Self.spawner().decide(event, facts)))
        #expect(try draft.scope.key(task: "t") == Self.pull12)
        #expect(self.draft(Self.spawner { $0.profile = "reviewer" }.decide(event, facts))?.scope.profile == "reviewer")
        #expect(self.draft(Self.spawner { $0.scope = .commit }.decide(event, facts))?.scope.kind == .commit)
    }

    @Test func aPullRequestOfAnIssuesSessionIsOfThatSession() throws {
        func key(_ repository: String?, head: String = "holdfast/issue-7", sessions: Set<SessionKey> = [Self.issue7]) throws
            -> SessionKey?
        {
            let event = Fixture.event("pull_request", Fixture.object(Fixture.pullRequest(head: head, headRepository: repository)))
            return try draft(Self.spawner().decide(event, Self.facts(.write, sessions)))?.scope.key(task: "t")
        }
        #expect(try key("acme/widgets") == Self.issue7)
        // A stranger can give a branch of his own any name, and a session that is not there is not joined.
        #expect(try key("eve/widgets") == Self.pull12)
        #expect(try key(nil) == Self.pull12)
        #expect(try key("acme/widgets", sessions: []) == Self.pull12)
        for head in ["holdfast/issue-", "holdfast/issue-07x", "holdfast/issue--7", "x/holdfast/issue-7", "holdfast/issue-8"] {
            #expect(try key("acme/widgets", head: head) == Self.pull12, "\(head)")
        }
    }

    // MARK: Commands

    @Test(arguments: [
        ("/stop", CommentCommand.stop, ""), ("  /stop  ", .stop, ""), ("Thanks!\r\n/stop\r\nBye", .stop, ""),
        ("/end", .end, ""),
        ("/continue", .continue, ""), ("/continue with the tests", .continue, "with the tests"),
        ("```\n/end\n```\n/stop", .stop, ""), ("> /end\n/stop", .stop, ""), ("<!--\n/end\n-->\n/stop", .stop, ""),
        ("    /end\n/stop", .stop, ""),
    ])
    func aCommandIsAWholeLine(text: String, command: CommentCommand, argument: String) throws {
        let found = try #require(CommentText.command(in: text, CommentCommands()))
        #expect(found.command == command && found.argument == argument)
    }

    @Test(arguments: [
        "please /stop", "/stop it", "/stopp", "/Stop", "`/stop`", "/continues", "> /stop", "```\n/stop", "~~~sh\n/stop\n~~~", "",
        "<!-- /stop -->", "\t/stop", "﻿/stop now",
    ])
    func anythingElseIsNoCommand(text: String) { #expect(CommentText.command(in: text, CommentCommands()) == nil) }

    @Test func commandsGoToASessionThatIsThere() throws {
        func decide(_ text: String, _ facts: WebhookRules.Facts, _ rules: WebhookRules = Self.spawner(events: ["issues"]))
            -> WebhookRules.Decision
        {
            rules.decide(Fixture.event("issue_comment", Fixture.issueComment(text)), facts)
        }
        let known = Self.facts(.write, [Self.issue7])
        let scope = ScopeSpec(kind: .issue, repository: "github.com/acme/widgets", number: 7)
        #expect(decide("/stop", known) == .command(.stop, scope))
        #expect(decide("/end", known) == .command(.end, scope))
        #expect(draft(decide("/continue", known))?.prompt == "Continue.")
        #expect(draft(decide("/continue more", known))?.prompt == "more")
        #expect(reason(decide("/stop", Self.facts()))?.contains("there is no session") == true)
        #expect(reason(decide("/stop", Self.facts(.read, [Self.issue7])))?.contains("may not trigger") == true)
        let other = Self.spawner(events: ["issues"]) {
            $0.when.githubWebhook?.commands = CommentCommands(continue: "@robot", stop: "", end: "/done")
        }
        #expect(draft(decide("@robot go on", known, other))?.prompt == "go on")
        #expect(decide("/done", known, other) == .command(.end, scope))
        #expect(reason(decide("/stop", known, other)) != nil)
    }

    // MARK: Reviews

    @Test func aReviewAndItsCommentsAreOneTurn() throws {
        let review = Fixture.event("pull_request_review", Fixture.review("See below.", id: 5))
        let comment = Fixture.event("pull_request_review_comment", Fixture.reviewComment("Why?", id: 8, review: 5))
        var facts = Self.facts()
        facts.comments = nil
        #expect(Self.spawner().decide(review, facts) == .needs(.reviewComments(5)))
        #expect(Self.spawner().decide(comment, facts) == .needs(.reviewComments(5)))
        facts.comments = [ReviewComment(path: "a", line: 1, hunk: "h", body: "b", author: "ada", url: "u", thread: [])]
        let first = try #require(draft(Self.spawner().decide(review, facts)))
        let second = try #require(draft(Self.spawner().decide(comment, facts)))
        #expect(first.key == second.key, "whichever comes first makes the turn, and the other one none")
    }

    @Test func anApprovalWithoutAWordIsNoWork() {
        let facts = Self.facts()
        func decide(_ body: String?, _ state: String) -> WebhookRules.Decision {
            Self.spawner().decide(Fixture.event("pull_request_review", Fixture.review(body, state: state)), facts)
        }
        #expect(reason(decide(nil, "approved")) == "the review says nothing")
        #expect(reason(decide("", "commented")) == "the review says nothing")
        #expect(draft(decide("Nice.", "approved")) != nil)
        #expect(draft(decide(nil, "changes_requested")) != nil)
    }

    // MARK: Ends

    @Test func whatIsClosedClosesItsSession() {
        let issue = Fixture.event("issues", Fixture.issue(action: "closed", state: "closed"))
        let scope = ScopeSpec(kind: .issue, repository: "github.com/acme/widgets", number: 7)
        // Nobody needs a permission for what the forge says is so.
        var facts = Self.facts(.none, [Self.issue7])
        #expect(Self.spawner(events: ["pull_request"]).decide(issue, facts) == .scope(scope, closed: true))
        #expect(Self.spawner { $0.suspend = true }.decide(issue, facts) == .scope(scope, closed: true))
        facts.sessions = []
        #expect(reason(Self.spawner().decide(issue, facts)) == "it has no session")
    }

    @Test(arguments: [true, false]) func theMergeOfItsPullRequestClosesAnIssuesSession(merged: Bool) {
        let event = Fixture.event(
            "pull_request", Fixture.object(Fixture.pullRequest(action: "closed", head: "holdfast/issue-7", merged: merged)))
        let decision = Self.spawner().decide(event, Self.facts(.none, [Self.issue7]))
        let scope = ScopeSpec(kind: .issue, repository: "github.com/acme/widgets", number: 7)
        if merged {
            #expect(decision == .scope(scope, closed: true))
        } else {
            #expect(reason(decision)?.contains("without being merged") == true)
        }
        let own = Fixture.event("pull_request", Fixture.object(Fixture.pullRequest(action: "closed", merged: merged)))
        #expect(
            Self.spawner().decide(own, Self.facts(.none, [Self.pull12]))
                == .scope(ScopeSpec(kind: .pullRequest, repository: "github.com/acme/widgets", number: 12), closed: true))
    }

    // MARK: Loops, and what is new

    @Test func itsOwnCommentsAndPushesTriggerNothing() {
        let own = Fixture.issueComment("Done.\n<!-- holdfast:session -->", sender: "robot", author: "Robot")
        #expect(
            reason(Self.spawner().decide(Fixture.event("issue_comment", own), Self.facts()))
                == "it is a comment of Holdfast's own")
        // The person whose token it is may speak, and others may quote what they like.
        let person = Fixture.issueComment("Now do it.", sender: "robot", author: "robot")
        #expect(draft(Self.spawner().decide(Fixture.event("issue_comment", person), Self.facts())) != nil)
        let quoted = Fixture.issueComment("<!-- holdfast:session --> what is this?")
        #expect(draft(Self.spawner().decide(Fixture.event("issue_comment", quoted), Self.facts())) != nil)

        var facts = Self.facts()
        facts.pushed = ["ccc"]
        func push(_ after: String) -> WebhookRules.Decision {
            let payload = Fixture.pullRequest(action: "synchronize", sha: after, before: "aaa", after: after)
            return Self.spawner().decide(Fixture.event("pull_request", Fixture.object(payload)), facts)
        }
        #expect(reason(push("ccc")) == "the session has pushed it itself")
        #expect(draft(push("ddd")) != nil)
        facts.recent = WebhookRules.mostPerHour
        #expect(reason(push("ddd"))?.contains("something answers itself") == true)
    }

    @Test func onlyPushesSupersede() throws {
        let rules = Self.spawner { $0.taskTemplate.turn = TurnSpec(whenBusy: .supersede) }
        let push = Fixture.pullRequest(action: "synchronize", before: "aaa", after: "ddd")
        #expect(draft(rules.decide(Fixture.event("pull_request", Fixture.object(push)), Self.facts()))?.supersedes == true)
        #expect(draft(rules.decide(Fixture.event("pull_request_review", Fixture.review("r")), Self.facts()))?.supersedes == false)
        #expect(draft(rules.decide(Fixture.event("issue_comment", Fixture.issueComment("x")), Self.facts()))?.supersedes == false)
    }

    /// Whatever comes, somebody without the right makes no Task and no command, and what has no session gets no command.
    @Test func noEventOfAStrangerDoesAnything() {
        var random = SeededRandom(seed: 8)
        let texts = ["/stop", "/end", "/continue x", "please", "<!-- holdfast:session -->"]
        for _ in 0..<2000 {
            let text = texts.randomElement(using: &random)!
            let events = [
                Fixture.event(
                    "issues",
                    Fixture.issue(action: ["opened", "labeled", "reopened"].randomElement(using: &random)!, sender: "eve")),
                Fixture.event(
                    "issue_comment",
                    Fixture.issueComment(text, sender: "eve", author: ["eve", "ada", "robot"].randomElement(using: &random)!)),
                Fixture.event("pull_request_review", Fixture.review(text, sender: "eve")),
                Fixture.event(
                    "pull_request",
                    Fixture.object(
                        Fixture.pullRequest(
                            headRepository: Bool.random(using: &random) ? "eve/widgets" : "acme/widgets", sender: "eve"))),
            ]
            var facts = Self.facts(.admin, Bool.random(using: &random) ? [Self.issue7, Self.pull12] : [])
            facts.permissions["eve"] = [ForgePermission.none, .read].randomElement(using: &random)!
            let decision = Self.spawner().decide(events.randomElement(using: &random)!, facts)
            #expect(reason(decision) != nil, "\(decision)")
        }
    }
}
