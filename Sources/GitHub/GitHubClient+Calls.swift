public import SessionModel

/// What a person may do, and what an event does not say.
extension GitHubClient {
    /// The login of the token's owner.
    public func login() async throws(GitHubError) -> String {
        guard let login = try await get("/user")["login"]?.string else {
            throw GitHubError(.unavailable, "GET /user: the answer has no login")
        }
        return login
    }

    /// What a person may do with a repository: nothing, for somebody who is unknown there.
    public func permission(of login: String, in repository: String) async throws(GitHubError) -> ForgePermission {
        let answer: JSONValue
        do throws(GitHubError) {
            answer = try await get("/repos/\(repository)/collaborators/\(Self.escaped(login))/permission")
        } catch  where error.code == .notFound {
            return .none
        }
        // `maintain` is `write` here, and `triage` is `read`.
        return switch answer["permission"]?.string {
        case "admin": .admin
        case "write", "maintain": .write
        case "read", "triage": .read
        default: .none
        }
    }

    /// - Parameter team: `organisation/slug`
    public func isMember(_ login: String, of team: String) async throws(GitHubError) -> Bool {
        let parts = team.split(separator: "/").map { Self.escaped(String($0)) }
        guard parts.count == 2 else { return false }
        do throws(GitHubError) {
            let answer = try await get("/orgs/\(parts[0])/teams/\(parts[1])/memberships/\(Self.escaped(login))")
            return answer["state"]?.string == "active"
        } catch  where error.code == .notFound {
            return false
        }
    }

    public func pullRequest(_ number: Int, in repository: String) async throws(GitHubError) -> JSONValue {
        try await get("/repos/\(repository)/pulls/\(number)")
    }

    /// Whether the forge protects a branch. One that is not there is not protected.
    public func isProtected(_ branch: String, in repository: String) async throws(GitHubError) -> Bool {
        do throws(GitHubError) {
            return try await get("/repos/\(repository)/branches/\(Self.escaped(branch))")["protected"]?.bool ?? true
        } catch  where error.code == .notFound {
            return false
        } catch  where error.code == .forbidden {
            // What cannot be known is not allowed.
            return true
        }
    }

    /// The names of the files that a pull request changes; of a renamed one both.
    public func files(of number: Int, in repository: String) async throws(GitHubError) -> [String] {
        try await list("/repos/\(repository)/pulls/\(number)/files").flatMap { file in
            [file["filename"]?.string, file["previous_filename"]?.string].compactMap(\.self)
        }
    }

    /// The comments of one review, each with what it answers.
    public func comments(of review: Int64, on number: Int, in repository: String) async throws(GitHubError) -> [ReviewComment] {
        ReviewThreads.comments(of: review, in: try await list("/repos/\(repository)/pulls/\(number)/comments"))
    }

    static func escaped(_ text: String) -> String {
        text.utf8.map { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "~"):
                String(UnicodeScalar(byte))
            default: "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }.joined()
    }
}

extension WebhookRules.Facts {
    /// Asks the forge what the rules need.
    public mutating func learn(
        _ need: WebhookRules.Need, about event: inout GitHubEvent, from github: GitHubClient
    ) async throws(GitHubError) {
        let (repository, number) = (event.repository.fullName, event.subject.number)
        switch need {
        case .pullRequest:
            event.complete(with: try await github.pullRequest(number, in: repository))
            knowsPullRequest = true
        case .permission(let login): permissions[login] = try await github.permission(of: login, in: repository)
        case .membership(let login, let team):
            memberships[Self.membership(login, team)] = try await github.isMember(login, of: team)
        case .files: files = try await github.files(of: number, in: repository)
        case .reviewComments(let review): comments = try await github.comments(of: review, on: number, in: repository)
        }
    }
}

/// What the forge is told.
extension GitHubClient {
    /// The comment on an issue or pull request that begins with a marker and is the token's owner's own.
    public func comment(
        marked marker: String, by login: String, on number: Int, in repository: String
    ) async throws(GitHubError) -> Int64? {
        try await list("/repos/\(repository)/issues/\(number)/comments").first { comment in
            comment["user"]?["login"]?.string?.lowercased() == login.lowercased()
                && comment["body"]?.string?.hasPrefix(marker) == true
        }?["id"]?.integer
    }

    public func createComment(_ text: String, on number: Int, in repository: String) async throws(GitHubError) -> Int64 {
        try Self.id(
            await send("POST", path: "/repos/\(repository)/issues/\(number)/comments", ["body": .string(text)]), "id")
    }

    public func updateComment(_ id: Int64, _ text: String, in repository: String) async throws(GitHubError) {
        _ = try await send("PATCH", path: "/repos/\(repository)/issues/comments/\(id)", ["body": .string(text)])
    }

    /// Puts a reaction on a comment, an issue or a pull request. The same one again changes nothing.
    /// - Parameter target: such as `issues/comments/7`.
    public func react(_ reaction: String, to target: String, in repository: String) async throws(GitHubError) -> Int64 {
        try Self.id(
            await send("POST", path: "/repos/\(repository)/\(target)/reactions", ["content": .string(reaction)]), "id")
    }

    /// The pull request of a branch of the repository itself: one that is open, or else one of the token's owner's own with a marker.
    public func pullRequest(
        from branch: String, marked marker: String, by login: String, in repository: String
    ) async throws(GitHubError) -> Int64? {
        let owner = repository.prefix { $0 != "/" }
        let head = Self.escaped("\(owner):\(branch)")
        let all = try await list("/repos/\(repository)/pulls?state=all&head=\(head)").filter { pull in
            pull["head"]?["ref"]?.string == branch
        }
        let own = all.first { pull in
            pull["user"]?["login"]?.string?.lowercased() == login.lowercased()
                && pull["body"]?.string?.hasPrefix(marker) == true
        }
        return (own ?? all.first { $0["state"]?.string == "open" })?["number"]?.integer
    }

    public func openPullRequest(
        title: String, body: String, head: String, base: String, isDraft: Bool, in repository: String
    ) async throws(GitHubError) -> Int64 {
        try Self.id(
            await send(
                "POST", path: "/repos/\(repository)/pulls",
                [
                    "title": .string(title), "body": .string(body), "head": .string(head), "base": .string(base),
                    "draft": .bool(isDraft),
                ]), "number")
    }

    public func defaultBranch(of repository: String) async throws(GitHubError) -> String {
        guard let name = try await get("/repos/\(repository)")["default_branch"]?.string else {
            throw GitHubError(.unavailable, "GET /repos/\(repository): the answer has no default_branch")
        }
        return name
    }

    private static func id(_ answer: JSONValue, _ member: String) throws(GitHubError) -> Int64 {
        guard let id = answer[member]?.integer else {
            throw GitHubError(.unavailable, "the answer to what was written has no \(member)")
        }
        return id
    }
}
