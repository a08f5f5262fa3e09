import Foundation
import SessionModel
import Testing

@testable import GitHub

/// Payloads that GitHub really sent, where the machine has them.
@Suite(.enabled(if: Recording.directory != nil, "recorded payloads are not on this machine"))
struct RecordedEventTests {
    @Test(arguments: Recording.all) func aRecordedPayloadIsRead(_ recording: Recording) throws {
        let event = try recording.event()
        guard let number = recording.number else {
            #expect(event == nil)
            return
        }
        let read = try #require(event)
        #expect(read.action == recording.action && read.subject.number == number && read.sender == "Codertocat")
        #expect(read.repository.name == "github.com/Codertocat/Hello-World" && read.repository.id == 186_853_002)
        #expect(read.repository.defaultBranch == "master" && read.subject.author == "Codertocat")
        #expect(read.subject.labels == ["bug"] && !read.subject.title.isEmpty && !read.subject.body.isEmpty)
        #expect(read.subject.isPullRequest == (number == 2) && !read.subject.isMerged)
        #expect(read.subject.head?.sha == (number == 2 ? "ec26c3e57ca3a959ca5aad62de7213c562f8c821" : nil))
        #expect(read.meaning == "github:github.com/186853002#\(number):\(recording.meaning)")
        #expect(try PromptTemplate(nil).prompt(for: read).contains(read.subject.title))
    }
}

/// A file of ../shared/fixtures/github, and what is in it.
struct Recording: Sendable, CustomTestStringConvertible {
    var name: String
    var action: String
    /// Of the issue or pull request; nil for an event of which nothing is made.
    var number: Int?
    var meaning: String

    init(_ name: String, _ action: String = "", _ number: Int? = nil, _ meaning: String = "") {
        self.name = name
        self.action = action
        self.number = number
        self.meaning = meaning
    }

    static let all = [
        Recording("check_run-completed"), Recording("ping"), Recording("push"),
        Recording("issues-opened", "opened", 1, "opened"),
        Recording("issues-labeled", "labeled", 1, "labeled:bug:2019-05-15T15:20:18Z"),
        Recording("issue_comment-created", "created", 1, "comment:492700400"),
        Recording("pull_request-opened", "opened", 2, "opened"),
        Recording("pull_request-closed", "closed", 2, "closed:2019-05-15T15:21:18Z"),
        Recording(
            "pull_request-synchronize", "synchronize", 2,
            "head:f95f852bd8fca8fcc58a9a2d6c842781e32a215e..ec26c3e57ca3a959ca5aad62de7213c562f8c821"),
        Recording("pull_request_review-submitted", "submitted", 2, "review:237895671"),
        Recording("pull_request_review_comment-created", "created", 2, "review:237895671"),
    ]

    static let directory: URL? = {
        var root = URL(filePath: #filePath)
        for _ in 0..<4 { root.deleteLastPathComponent() }
        let directory = root.appending(path: "shared/fixtures/github")
        return FileManager.default.fileExists(atPath: directory.path) ? directory : nil
    }()

    var kind: String { String(name.prefix { $0 != "-" }) }

    func payload() throws -> JSONValue {
        guard let directory = Self.directory else { throw CocoaError(.fileNoSuchFile) }
        return try JSON.decode(from: Data(contentsOf: directory.appending(path: "\(name).json")))
    }

    func event() throws -> GitHubEvent? { try GitHubEvent(event: kind, payload: payload()) }

    var testDescription: String { name }
}
