import Foundation
import SessionModel
import Support
import Testing

@testable import GitHub

@Suite struct EventTests {
    @Test func anIssueIsRead() {
        let event = Fixture.event("issues", Fixture.issue())
        #expect(event.kind == .issues && event.action == "labeled" && event.label == "agent" && event.sender == "ada")
        #expect(event.repository.name == "github.com/acme/widgets")
        #expect(event.subject.labels == ["agent"] && event.subject.author == "bob" && !event.subject.isPullRequest)
    }

    @Test func aCommentKnowsWhatItIsOn() {
        #expect(!Fixture.event("issue_comment", Fixture.issueComment("x")).subject.isPullRequest)
        var event = Fixture.event("issue_comment", Fixture.issueComment("x", number: 12, onPullRequest: true))
        #expect(
            event.subject.isPullRequest && event.subject.head == nil && event.subject.author == nil && event.subject.body == "")
        // Another pull request's answer does not count.
        event.complete(with: Fixture.object(Fixture.pullRequest(number: 13))["pull_request"]!)
        #expect(event.subject.head == nil)
        event.complete(with: Fixture.object(Fixture.pullRequest(number: 12))["pull_request"]!)
        #expect(event.subject.head?.ref == "feature" && event.subject.base?.ref == "main")
    }

    @Test func whatIsGoneIsNil() throws {
        let pull = Fixture.event("pull_request", Fixture.object(Fixture.pullRequest(headRepository: nil)))
        #expect(pull.subject.head?.repository == nil && pull.subject.head?.sha == "aaa")
        let ghost = Fixture.event("issue_comment", Fixture.issueComment("x", sender: nil, author: nil))
        #expect(ghost.sender == nil && ghost.comment?.author == nil)
        #expect(Fixture.event("issues", Fixture.issue(body: nil, author: nil)).subject.body == "")
    }

    @Test func hostsOfEnterpriseServersAreTheirOwn() {
        var payload = Fixture.issue().object!
        payload["repository"] = ["full_name": "acme/widgets", "html_url": "https://GitHub.Example.com/acme/widgets"]
        #expect(Fixture.event("issues", .object(payload)).repository.name == "github.example.com/acme/widgets")
        payload["repository"] = ["full_name": "acme/widgets"]
        #expect(Fixture.event("issues", .object(payload)).repository.cloneURL == "https://github.com/acme/widgets.git")
    }

    @Test func eventsOfWhichNothingIsMadeAreNil() throws {
        for name in ["ping", "push", "check_run", "star", "", "Issues"] {
            #expect(try GitHubEvent(event: name, payload: Fixture.issue()) == nil)
        }
    }

    /// Every member is taken away, emptied, or made something else: it is read or refused, and never anything else.
    @Test func anyShapeIsReadOrRefused() throws {
        var random = SeededRandom(seed: 21)
        let payloads: [(String, JSONValue)] = [
            ("issues", Fixture.issue()), ("issue_comment", Fixture.issueComment("/stop", onPullRequest: true)),
            ("pull_request", Fixture.object(Fixture.pullRequest())), ("pull_request_review", Fixture.review("r")),
            ("pull_request_review_comment", Fixture.reviewComment("c", id: 1, review: 2)),
        ]
        var read = 0
        for (name, payload) in payloads {
            for _ in 0..<400 {
                guard let event = try? GitHubEvent(event: name, payload: mutated(payload, &random)) else { continue }
                read += 1
                #expect(event.subject.number > 0 && event.repository.fullName.contains("/") && !event.meaning.isEmpty)
            }
        }
        #expect(read > 200, "most of what may be missing may be missing")
    }

    private func mutated(_ value: JSONValue, _ random: inout SeededRandom) -> JSONValue {
        let others: [JSONValue] = [nil, "", "x", 0, -1, [], [:], .bool(true), .number(1.5), .integer(.max)]
        switch value {
        case .object(var members):
            guard let key = members.keys.sorted().randomElement(using: &random) else { return others[0] }
            switch Int.random(in: 0..<8, using: &random) {
            case 0: members[key] = nil
            case 1: members[key] = others.randomElement(using: &random)
            default: members[key] = mutated(members[key]!, &random)
            }
            return .object(members)
        case .array(var elements) where !elements.isEmpty:
            elements[0] = mutated(elements[0], &random)
            return .array(elements)
        default: return others.randomElement(using: &random)!
        }
    }

    @Test func theSameThingHasTheSameMeaningHoweverItIsTold() {
        let first = Fixture.event("issue_comment", Fixture.issueComment("x", id: 9))
        #expect(first.meaning == Fixture.event("issue_comment", Fixture.issueComment("edited since", id: 9)).meaning)
        #expect(first.meaning != Fixture.event("issue_comment", Fixture.issueComment("x", id: 10)).meaning)
        // A review and its comments are one thing.
        let review = Fixture.event("pull_request_review", Fixture.review("r", id: 5))
        #expect(
            review.meaning == Fixture.event("pull_request_review_comment", Fixture.reviewComment("c", id: 8, review: 5)).meaning)
        // A label that is taken off and put on again is put on twice.
        let label = Fixture.event("issues", Fixture.issue(updated: "1"))
        #expect(label.meaning == Fixture.event("issues", Fixture.issue(updated: "1")).meaning)
        #expect(label.meaning != Fixture.event("issues", Fixture.issue(updated: "2")).meaning)
        // Pushed away and back again.
        func push(_ before: String, _ after: String) -> String {
            Fixture.event(
                "pull_request", Fixture.object(Fixture.pullRequest(action: "synchronize", before: before, after: after))
            ).meaning
        }
        #expect(push("a", "b") != push("b", "a") && push("a", "b") == push("a", "b"))
        // A repository keeps its events when it gets another name.
        var renamed = Fixture.issueComment("x", id: 9).object!
        renamed["repository"] = ["id": 186_853_002, "full_name": "other/name", "html_url": "https://github.com/other/name"]
        #expect(Fixture.event("issue_comment", .object(renamed)).meaning == first.meaning)
    }
}
