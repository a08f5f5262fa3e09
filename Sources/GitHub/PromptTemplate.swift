import Mustache
import NIOConcurrencyHelpers
import SessionModel

/// The prompt of a Task, from a Spawner's template and an event.
///
/// Strict: a name that no event has is an error, never an empty text; a name that this event has nothing for is empty. What people
/// wrote is put in as it is, and nothing in it is looked at as a template.
public struct PromptTemplate: Sendable {
    private let template: MustacheTemplate
    private let text: String

    /// What a Spawner without a template of its own asks.
    public static let standard = """
        {{#sender.login}}{{sender.login}}: {{/sender.login}}{{event}} ({{action}}) on {{subject.kind}} #{{subject.number}} of \
        {{repository.name}}, “{{subject.title}}”
        {{subject.url}}
        {{#opening}}

        {{subject.body}}
        {{/opening}}
        {{#comment.body}}

        {{comment.author}} wrote:

        {{comment.body}}
        {{/comment.body}}
        {{#review.comments}}

        {{path}}{{#line}}, line {{line}}{{/line}}:
        {{hunk}}
        {{#thread}}
        {{author}}: {{body}}
        {{/thread}}
        {{author}}: {{body}}
        {{/review.comments}}
        """

    /// - Throws: ``TemplateError`` when it is not Mustache, or asks for what no event has.
    public init(_ text: String?) throws(TemplateError) {
        let text = text ?? Self.standard
        for tag in ["{{>", "{{<", "{{$", "{{="] where text.contains(tag) {
            throw TemplateError("“\(tag)” is of a kind of tag that prompts do not have")
        }
        self.text = text
        do {
            template = try MustacheTemplate(string: "{{% CONTENT_TYPE:TEXT}}" + text)
        } catch {
            throw TemplateError("it is not a Mustache template: \(error)")
        }
        // Names in sections are looked at only where the sections are shown: once with everything, once with nothing.
        for sample in [PromptValue.sample, .object(Self.emptied(PromptValue.sample))] { _ = try render(sample) }
    }

    /// - Parameter comments: of a review.
    public func prompt(
        for event: GitHubEvent, comments: [ReviewComment] = []
    ) throws(TemplateError) -> String {
        try render(PromptValue(event, comments: comments))
    }

    private func render(_ value: PromptValue) throws(TemplateError) -> String {
        let misses = NIOLockedValueBox(Misses())
        let result = template.render(PromptObject(value, path: "", misses: misses))
        if let name = misses.withLockedValue(\.first) { throw TemplateError("there is no “\(name)” in an event") }
        return result
    }

    private static func emptied(_ value: PromptValue) -> [String: PromptValue] {
        guard case .object(let members) = value else { return [:] }
        return members.mapValues { member in
            switch member {
            case .text: .text("")
            case .flag: .flag(false)
            case .list: .list([])
            case .object: .object(emptied(member))
            }
        }
    }
}

public struct TemplateError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// What a template can name.
indirect enum PromptValue: Sendable {
    case text(String)
    case flag(Bool)
    case list([PromptValue])
    case object([String: PromptValue])

    init(_ event: GitHubEvent, comments: [ReviewComment]) {
        let subject = event.subject
        func reference(_ reference: GitHubEvent.Reference?) -> PromptValue {
            .object(["ref": .text(reference?.ref ?? ""), "sha": .text(reference?.sha ?? "")])
        }
        self = .object([
            "event": .text(event.kind.rawValue), "action": .text(event.action), "label": .text(event.label ?? ""),
            "opening": .flag(event.comment == nil && event.action != "synchronize"),
            "repository": .object([
                "name": .text(event.repository.fullName), "host": .text(event.repository.host),
                "defaultBranch": .text(event.repository.defaultBranch ?? ""),
            ]),
            "sender": .object(["login": .text(event.sender ?? "")]),
            "subject": .object([
                "kind": .text(subject.isPullRequest ? "pull request" : "issue"), "number": .text(String(subject.number)),
                "title": .text(subject.title), "body": .text(subject.body), "url": .text(subject.url),
                "author": .text(subject.author ?? ""), "labels": .text(subject.labels.joined(separator: ", ")),
                "isPullRequest": .flag(subject.isPullRequest), "head": reference(subject.head), "base": reference(subject.base),
            ]),
            "comment": .object([
                "body": .text(event.comment?.body ?? ""), "url": .text(event.comment?.url ?? ""),
                "author": .text(event.comment?.author ?? ""),
            ]),
            "review": .object([
                "state": .text(event.comment?.reviewState ?? ""),
                "comments": .list(
                    comments.map { comment in
                        .object([
                            "path": .text(comment.path), "line": .text(comment.line.map(String.init) ?? ""),
                            "hunk": .text(comment.hunk), "body": .text(comment.body), "author": .text(comment.author),
                            "url": .text(comment.url),
                            "thread": .list(
                                comment.thread.map { .object(["author": .text($0.author), "body": .text($0.body)]) }),
                        ])
                    }),
            ]),
        ])
    }

    /// An event that has everything.
    static let sample: PromptValue = {
        let reference = GitHubEvent.Reference(ref: "r", sha: "s", repository: "o/n")
        var event = GitHubEvent(
            kind: .review, action: "submitted",
            repository: .init(id: 1, fullName: "o/n", host: "h", cloneURL: "u", defaultBranch: "b"), sender: "s",
            subject: .init(
                number: 1, isPullRequest: true, title: "t", body: "b", url: "u", author: "a", labels: ["l"], state: "open",
                isDraft: false, isMerged: false, updatedAt: nil, head: reference, base: reference),
            comment: .init(id: 1, body: "b", url: "u", author: "a", review: 1, reviewState: "approved"))
        event.label = "l"
        guard
            case .object(var members) = PromptValue(
                event,
                comments: [
                    ReviewComment(
                        path: "p", line: 1, hunk: "h", body: "b", author: "a", url: "u", thread: [.init(author: "a", body: "b")])
                ])
        else { return .object([:]) }
        members["opening"] = .flag(true)
        return .object(members)
    }()
}

/// A ``PromptValue`` as the template engine walks through it. It notes names that are not there: the engine would show nothing.
///
/// Within a section the engine asks the innermost object first, and then at once those around it: a name that one of those has is not
/// missing.
private struct PromptObject: MustacheParent {
    let members: [String: PromptValue]
    let path: String
    let misses: NIOLockedValueBox<Misses>

    init(_ value: PromptValue, path: String, misses: NIOLockedValueBox<Misses>) {
        if case .object(let members) = value { self.members = members } else { members = [:] }
        self.path = path
        self.misses = misses
    }

    func child(named name: String) -> Any? {
        guard let value = members[name] else {
            misses.withLockedValue { $0.miss(name, path: path) }
            return nil
        }
        misses.withLockedValue { $0.hit(name) }
        return wrap(value, path: path + name + ".")
    }

    private func wrap(_ value: PromptValue, path: String) -> Any {
        switch value {
        case .text(let text): return PromptText(text: text, path: path, misses: misses)
        case .flag(let flag): return flag
        case .list(let values): return values.map { PromptObject($0, path: path, misses: misses) }
        case .object: return PromptObject(value, path: path, misses: misses)
        }
    }
}

/// Names that were asked for and are not there.
private struct Misses: Sendable {
    private var found: [String] = []
    /// Of the look-up that goes on: an object around may have it.
    private var pending: (name: String, path: String)?

    mutating func miss(_ name: String, path: String) {
        if let pending, pending.name != name { found.append(pending.path) }
        if pending?.name != name { pending = (name, path + name) }
    }

    mutating func hit(_ name: String) {
        if let pending, pending.name != name { found.append(pending.path) }
        pending = nil
    }

    var first: String? { found.first ?? pending?.path }
}

/// A text. An empty one is no section, and none has parts that could be named.
private struct PromptText: MustacheParent, MustacheCustomRenderable {
    let text: String
    let path: String
    let misses: NIOLockedValueBox<Misses>

    var renderText: String { text }
    var isNull: Bool { text.isEmpty }

    func child(named name: String) -> Any? {
        misses.withLockedValue { $0.miss(name, path: path) }
        return nil
    }
}
