import SessionModel
import Testing

@testable import GitHub

@Suite struct TemplateTests {
    private static let review = Fixture.event("pull_request_review", Fixture.review("See below.", state: "changes_requested"))
    private static let comments = [
        ReviewComment(
            path: "Sources/a.swift", line: 3, hunk: "@@ -1 +1 @@\n-a\n+b", body: "Why?", author: "ada", url: "u",
            thread: [.init(author: "bob", body: "Because.")]),
        ReviewComment(
            path: "README.md", line: nil, hunk: "@@", body: "{{subject.title}} & <b>", author: "eve", url: "u", thread: []),
    ]

    @Test func theStandardPromptHasEverythingThatWasSaid() throws {
        let text = try PromptTemplate(nil).prompt(for: Self.review, comments: Self.comments)
        #expect(
            text == """
                ada: pull_request_review (submitted) on pull request #12 of acme/widgets, “Better”
                https://github.com/acme/widgets/pull/12

                ada wrote:

                See below.

                Sources/a.swift, line 3:
                @@ -1 +1 @@
                -a
                +b
                bob: Because.
                ada: Why?

                README.md:
                @@
                eve: {{subject.title}} & <b>

                """, "\(text)")
        let issue = try PromptTemplate(nil).prompt(for: Fixture.event("issues", Fixture.issue()))
        #expect(
            issue == """
                ada: issues (labeled) on issue #7 of acme/widgets, “Broken”
                https://github.com/acme/widgets/issues/7

                It is broken.

                """, "\(issue)")
    }

    @Test func namesAndSectionsWork() throws {
        let text = try PromptTemplate(
            "{{subject.number}}{{^comment.body}} none{{/comment.body}}{{#subject}} {{title}} {{repository.name}}{{/subject}} [{{label}}]"
        ).prompt(for: Fixture.event("pull_request", Fixture.object(Fixture.pullRequest())))
        #expect(text == "12 none Better acme/widgets []")
    }

    @Test(arguments: [
        ("{{subject.titel}}", "subject.titel"), ("{{title}}", "title"),
        ("{{#review.comments}}{{file}}{{/review.comments}}", "file"),
        ("{{^label}}{{nothing}}{{/label}}", "nothing"), ("{{#opening}}{{x.y}}{{/opening}}", "x"), ("{{subject.title.x}}", "x"),
        ("{{comment.title}}{{subject.title}}", "comment.title"),
    ])
    func anUnknownNameIsAnError(template: String, name: String) {
        let error = #expect(throws: TemplateError.self) { try PromptTemplate(template) }
        #expect(error?.description.contains(name) == true, "\(error?.description ?? "")")
    }

    @Test(arguments: [
        "{{subject", "{{#a}}", "{{/a}}", "{{> partial}}", "{{=<% %>=}}<% x %>", "{{$block}}{{/block}}", "{{<parent}}{{/parent}}",
    ])
    func whatIsNoTemplateIsAnError(template: String) {
        #expect(throws: TemplateError.self) { try PromptTemplate(template) }
    }
}
