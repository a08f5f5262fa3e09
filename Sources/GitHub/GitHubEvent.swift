public import SessionModel

/// What a webhook's delivery says, as far as anybody here asks. Payloads differ by event, by age and by who sends them (users,
/// organisations, apps, Enterprise servers): what is missing or null is nil here, and what is not known is not looked at.
public struct GitHubEvent: Sendable, Hashable, Codable {
    public enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        case issues
        case issueComment = "issue_comment"
        case pullRequest = "pull_request"
        case review = "pull_request_review"
        case reviewComment = "pull_request_review_comment"
    }

    public struct Repository: Sendable, Hashable, Codable {
        /// It stays the same when the repository is renamed or given to somebody else.
        public var id: Int64?
        /// `owner/name`
        public var fullName: String
        public var host: String
        public var cloneURL: String
        public var defaultBranch: String?

        /// Under which its sessions are known, where that is not its present name: it was renamed or given to somebody else since.
        public var knownAs: String?

        /// `host/owner/name`: what its sessions' keys say.
        public var name: String { knownAs ?? presentName }
        /// `host/owner/name`: what the forge calls it.
        public var presentName: String { "\(host)/\(fullName)" }
    }

    /// The issue or pull request that it is about.
    public struct Subject: Sendable, Hashable, Codable {
        public var number: Int
        public var isPullRequest: Bool
        public var title: String
        public var body: String
        public var url: String
        public var author: String?
        public var labels: [String]
        public var state: String?
        public var isDraft: Bool?
        public var isMerged: Bool
        public var updatedAt: String?
        /// Of a pull request; a comment's payload does not have them.
        public var head: Reference?
        public var base: Reference?
    }

    public struct Reference: Sendable, Hashable, Codable {
        public var ref: String
        public var sha: String
        /// `owner/name`; nil when that repository is gone.
        public var repository: String?
    }

    /// A comment, or the text of a review.
    public struct Comment: Sendable, Hashable, Codable {
        public var id: Int64
        public var body: String
        public var url: String
        public var author: String?
        /// The review that a comment on a line is of, or the review itself.
        public var review: Int64?
        /// `approved`, `changes_requested`, `commented`: of a review.
        public var reviewState: String?
    }

    public var kind: Kind
    public var action: String
    public var repository: Repository
    public var sender: String?
    public var subject: Subject
    public var comment: Comment?
    /// That was put on or taken off.
    public var label: String?
    /// Of a push to a pull request.
    public var before: String?
    public var after: String?
}

extension GitHubEvent {
    /// - Parameters:
    ///   - event: the header `X-GitHub-Event`.
    /// - Returns: nil for an event of which no Tasks are made.
    /// - Throws: ``UnreadableEvent`` when what every such event has is not there.
    public init?(event: String, payload: JSONValue) throws(UnreadableEvent) {
        guard let kind = Kind(rawValue: event) else { return nil }
        self.kind = kind
        guard let action = payload["action"]?.string else { throw UnreadableEvent("action") }
        self.action = action
        repository = try Self.repository(payload["repository"])
        sender = payload["sender"]?["login"]?.string
        guard let subject = Self.subject(payload["pull_request"], isPullRequest: true) ?? Self.subject(payload["issue"]) else {
            throw UnreadableEvent(kind == .issues || kind == .issueComment ? "issue.number" : "pull_request.number")
        }
        self.subject = subject
        switch kind {
        case .issueComment, .reviewComment:
            comment = Self.comment(payload["comment"])
            guard comment != nil else { throw UnreadableEvent("comment.id") }
        case .review:
            guard var review = Self.comment(payload["review"]) else { throw UnreadableEvent("review.id") }
            review.review = review.id
            review.reviewState = payload["review"]?["state"]?.string?.lowercased()
            comment = review
        case .issues, .pullRequest:
            break
        }
        label = payload["label"]?["name"]?.string
        before = payload["before"]?.string
        after = payload["after"]?.string
    }

    private static func repository(_ value: JSONValue?) throws(UnreadableEvent) -> Repository {
        guard let name = value?["full_name"]?.string, name.split(separator: "/").count == 2 else {
            throw UnreadableEvent("repository.full_name")
        }
        // Enterprise servers have hosts of their own; only their addresses say which.
        let url = value?["html_url"]?.string ?? value?["clone_url"]?.string ?? ""
        let host = url.firstRange(of: "://").map { String(url[$0.upperBound...].prefix { $0 != "/" }) } ?? ""
        let known = host.isEmpty ? "github.com" : host.lowercased()
        return Repository(
            id: value?["id"]?.integer, fullName: name, host: known,
            cloneURL: value?["clone_url"]?.string ?? "https://\(known)/\(name).git",
            defaultBranch: value?["default_branch"]?.string)
    }

    /// - Parameter isPullRequest: an issue's payload says it by a member of its own.
    private static func subject(_ value: JSONValue?, isPullRequest: Bool? = nil) -> Subject? {
        guard let value, let number = value["number"]?.integer, number > 0, let number = Int(exactly: number) else { return nil }
        return Subject(
            number: number, isPullRequest: isPullRequest ?? (value["pull_request"]?.object != nil),
            title: value["title"]?.string ?? "", body: value["body"]?.string ?? "", url: value["html_url"]?.string ?? "",
            author: value["user"]?["login"]?.string,
            labels: (value["labels"]?.array ?? []).compactMap { $0["name"]?.string ?? $0.string },
            state: value["state"]?.string, isDraft: value["draft"]?.bool,
            isMerged: value["merged"]?.bool ?? (value["merged_at"]?.string != nil), updatedAt: value["updated_at"]?.string,
            head: reference(value["head"]), base: reference(value["base"]))
    }

    private static func reference(_ value: JSONValue?) -> Reference? {
        guard let ref = value?["ref"]?.string, let sha = value?["sha"]?.string else { return nil }
        return Reference(ref: ref, sha: sha, repository: value?["repo"]?["full_name"]?.string)
    }

    private static func comment(_ value: JSONValue?) -> Comment? {
        guard let value, let id = value["id"]?.integer else { return nil }
        return Comment(
            id: id, body: value["body"]?.string ?? "", url: value["html_url"]?.string ?? "",
            author: value["user"]?["login"]?.string, review: value["pull_request_review_id"]?.integer, reviewState: nil)
    }

    /// The pull request as the API has it, for a comment whose payload does not say what it is a pull request of.
    public mutating func complete(with pullRequest: JSONValue) {
        if let subject = Self.subject(pullRequest, isPullRequest: true), subject.number == self.subject.number {
            self.subject = subject
        }
    }

    /// The issue or pull request that it is about, whatever its repository is called now.
    public var place: String {
        "github:\(repository.host)/\(repository.id.map(String.init) ?? repository.fullName.lowercased())#\(subject.number)"
    }

    /// What happened, whoever tells of it and how often: the key of the turn that it becomes. A redelivery under a new id, and a
    /// second event of the same review, have the same.
    public var meaning: String {
        let version = subject.updatedAt ?? ""
        return switch kind {
        case .issueComment: "\(place):comment:\(comment?.id ?? 0)"
        case .review, .reviewComment: "\(place):review:\(comment?.review ?? comment?.id ?? 0)"
        case .issues, .pullRequest:
            switch action {
            case "opened": "\(place):opened"
            case "synchronize": "\(place):head:\(before ?? "")..\(after ?? subject.head?.sha ?? "")"
            case "labeled", "unlabeled": "\(place):\(action):\(label ?? ""):\(version)"
            default: "\(place):\(action):\(version)"
            }
        }
    }
}

/// A member that every event of its kind has is missing.
public struct UnreadableEvent: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
    init(_ member: String) { description = "the payload has no \(member)" }
}
