import Foundation
import SessionModel

@testable import GitHub

/// Payloads in the shape of GitHub's, small enough to be read, with the parts that a test wants to be otherwise.
enum Fixture {
    static func object(_ text: String) -> JSONValue { try! JSON.decode(JSONValue.self, from: text) }

    static let repository = #"""
        "repository": {"id": 186853002, "full_name": "acme/widgets", "html_url": "https://github.com/acme/widgets",
          "clone_url": "https://github.com/acme/widgets.git", "default_branch": "main", "owner": {"login": "acme"}}
        """#

    static func user(_ login: String?) -> String { login.map { #"{"login": "\#($0)", "id": 7, "type": "User"}"# } ?? "null" }

    static func issue(
        action: String = "labeled", number: Int = 7, labels: [String] = ["agent"], label: String? = "agent",
        sender: String? = "ada",
        body: String? = "It is broken.", author: String? = "bob", state: String = "open", updated: String = "2026-01-01T00:00:00Z"
    ) -> JSONValue {
        object(
            #"""
            {"action": "\#(action)", "sender": \#(user(sender)), \#(repository),
             "label": \#(label.map { #"{"name": "\#($0)"}"# } ?? "null"),
             "issue": {"number": \#(number), "title": "Broken", "state": "\#(state)", "user": \#(user(author)), "updated_at": "\#(updated)",
               "html_url": "https://github.com/acme/widgets/issues/\#(number)", "body": \#(json(body)),
               "labels": [\#(labels.map { #"{"name": "\#($0)"}"# }.joined(separator: ","))]}}
            """#)
    }

    static func issueComment(
        _ body: String, id: Int = 1, number: Int = 7, sender: String? = "ada", author: String? = "ada",
        onPullRequest: Bool = false,
        action: String = "created"
    ) -> JSONValue {
        object(
            #"""
            {"action": "\#(action)", "sender": \#(user(sender)), \#(repository),
             "comment": {"id": \#(id), "body": \#(json(body)), "user": \#(user(author)), "html_url": "https://github.com/c/\#(id)"},
             "issue": {"number": \#(number), "title": "Broken", "state": "open", "user": null, "body": null, "labels": []
               \#(onPullRequest ? #", "pull_request": {"url": "https://api.github.com/repos/acme/widgets/pulls/\#(number)"}"# : "")}}
            """#)
    }

    static func pullRequest(
        action: String = "opened", number: Int = 12, head: String = "feature", sha: String = "aaa",
        headRepository: String? = "acme/widgets",
        base: String = "main", draft: Bool = false, merged: Bool = false, sender: String? = "ada", before: String? = nil,
        after: String? = nil, labels: [String] = []
    ) -> String {
        #"""
        {"action": "\#(action)", "sender": \#(user(sender)), \#(repository), "number": \#(number),
         "before": \#(json(before)), "after": \#(json(after)),
         "pull_request": {"number": \#(number), "title": "Better", "state": "\#(action == "closed" ? "closed" : "open")",
           "user": \#(user("bob")), "body": "Please.", "draft": \#(draft), "merged": \#(merged), "updated_at": "2026-01-01T00:00:00Z",
           "html_url": "https://github.com/acme/widgets/pull/\#(number)",
           "labels": [\#(labels.map { #"{"name": "\#($0)"}"# }.joined(separator: ","))],
           "head": {"ref": "\#(head)", "sha": "\#(sha)",
             "repo": \#(headRepository.map { #"{"full_name": "\#($0)"}"# } ?? "null")},
           "base": {"ref": "\#(base)", "sha": "bbb", "repo": {"full_name": "acme/widgets"}}}}
        """#
    }

    static func review(_ body: String?, id: Int = 5, state: String = "commented", sender: String = "ada") -> JSONValue {
        var value = object(pullRequest(action: "submitted", sender: sender)).object!
        value["review"] = object(
            #"{"id": \#(id), "body": \#(json(body)), "state": "\#(state)", "user": \#(user(sender)), "html_url": "https://github.com/r/\#(id)"}"#
        )
        return .object(value)
    }

    static func reviewComment(_ body: String, id: Int, review: Int, sender: String = "ada") -> JSONValue {
        var value = object(pullRequest(action: "created", sender: sender)).object!
        value["comment"] = object(
            #"""
            {"id": \#(id), "pull_request_review_id": \#(review), "body": \#(json(body)), "path": "a.swift", "line": 3,
             "diff_hunk": "@@ -1 +1 @@", "user": \#(user(sender)), "html_url": "https://github.com/d/\#(id)"}
            """#)
        return .object(value)
    }

    static func event(_ name: String, _ payload: JSONValue) -> GitHubEvent { try! GitHubEvent(event: name, payload: payload)! }

    static func json(_ text: String?) -> String { text.map { try! JSON.string($0) } ?? "null" }
}
