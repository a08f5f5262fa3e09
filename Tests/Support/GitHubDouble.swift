import Foundation
import NIOConcurrencyHelpers
public import SessionModel

/// GitHub's REST API on loopback, as far as Holdfast asks it: with its token, its pages and its moods.
public final class GitHubDouble: Sendable {
    public struct State: Sendable {
        public var token: String
        /// The token's owner.
        public var login = "robot"
        /// By login: `admin`, `write`, `read`, `none`. Others are not known to the repository.
        public var permissions: [String: String] = [:]
        /// `organisation/slug/login`
        public var members: Set<String> = []
        public var pullRequests: [Int: JSONValue] = [:]
        public var files: [Int: [String]] = [:]
        /// Branches.
        public var protected: Set<String> = []
        /// The comments on the lines of a pull request.
        public var lineComments: [Int: [JSONValue]] = [:]
        /// The comments of an issue or a pull request.
        public var comments: [Int: [JSONValue]] = [:]
        /// `eyes issues/comments/7`
        public var reactions: [String] = []
        /// Branches that pull requests can be made of; nil for any.
        public var branches: Set<String>?
        /// What repositories are called now, by what they were called before.
        public var moved: [String: String] = [:]
        /// The next answers, instead of what would be answered.
        public var moods: [Mood] = []
        /// The next answers to what changes something.
        public var writeMoods: [Mood] = []
        /// Of what is made next.
        public var nextID: Int64 = 1000
        /// `GET /repos/acme/widgets/pulls/1`
        public var requests: [String] = []
        /// How many elements a page has at most.
        public var pageSize = 30
    }

    /// An answer out of the ordinary.
    public struct Mood: Sendable {
        public var status: Int
        public var body: String
        public var headers: [String: String]
        /// Whether what was asked for is done all the same.
        public var isDone: Bool
        public init(
            _ status: Int, _ body: String = #"{"message": "Server Error"}"#, headers: [String: String] = [:], isDone: Bool = false
        ) {
            self.status = status
            self.body = body
            self.headers = headers
            self.isDone = isDone
        }
        public static let secondaryLimit = Mood(
            403, #"{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#)
    }

    public var url: String { server.url }
    private let server: LoopbackServer
    private let state: NIOLockedValueBox<State>

    public init(token: String = "ghp_double", pageSize: Int = 30) throws {
        let state = NIOLockedValueBox(State(token: token, pageSize: pageSize))
        self.state = state
        server = try LoopbackServer { request, connection in
            let host = request.headers["host"] ?? ""
            let mood: Mood? = state.withLockedValue { state in
                state.requests.append("\(request.method) \(request.path)")
                if request.method != "GET", !state.writeMoods.isEmpty { return state.writeMoods.removeFirst() }
                return state.moods.isEmpty ? nil : state.moods.removeFirst()
            }
            if let mood, mood.isDone { _ = state.withLockedValue { Self.answer(request, host: host, &$0) } }
            if let mood { return try connection.respond(mood.status, mood.body, headers: mood.headers) }
            let (status, answer, headers) = state.withLockedValue { Self.answer(request, host: host, &$0) }
            try connection.respond(status, try answer.map { try JSON.string($0) } ?? "", headers: headers)
        }
    }

    public func stop() { server.stop() }
    public func change(_ body: (inout State) -> Void) { state.withLockedValue { body(&$0) } }
    public var requests: [String] { state.withLockedValue { $0.requests } }
    /// The texts of the comments of an issue or a pull request.
    public func comments(_ number: Int) -> [String] {
        state.withLockedValue { ($0.comments[number] ?? []).compactMap { $0["body"]?.string } }
    }
    public var reactions: [String] { state.withLockedValue { $0.reactions } }
    public var pullRequests: [Int: JSONValue] { state.withLockedValue { $0.pullRequests } }

    private static func answer(
        _ request: LoopbackServer.Request, host: String, _ state: inout State
    ) -> (Int, JSONValue?, [String: String]) {
        guard request.headers["authorization"] == "Bearer \(state.token)" else {
            return (401, ["message": "Bad credentials"], [:])
        }
        guard request.headers["user-agent"] != nil else { return (403, ["message": "Please set a User-Agent"], [:]) }
        let missing: (Int, JSONValue?, [String: String]) = (404, ["message": "Not Found"], [:])
        let path = request.path.split(separator: "/").map { $0.removingPercentEncoding ?? "" }
        if path.first == "repos", path.count > 2, let place = state.moved["\(path[1])/\(path[2])"] {
            let rest = request.path.split(separator: "/").dropFirst(3).map { "/\($0)" }.joined()
            let query = request.query.isEmpty ? "" : "?\(request.query)"
            return (307, ["message": "Moved"], ["Location": "http://\(host)/repos/\(place)\(rest)\(query)"])
        }
        if request.method != "GET" { return write(request, path, &state) ?? missing }
        switch (request.method, path.count, path.first) {
        case ("GET", 3, "repos"): return (200, ["default_branch": "main"], [:])
        case ("GET", 6, "repos") where path[3] == "issues" && path[5] == "comments":
            return page(Int(path[4]).flatMap { state.comments[$0] } ?? [], request, host, state.pageSize)
        case ("GET", 4, "repos") where path[3] == "pulls":
            let head = request.query.split(separator: "&").first { $0.hasPrefix("head=") }
                .flatMap { String($0.dropFirst(5)).removingPercentEncoding }
            let pulls = state.pullRequests.sorted { $0.key < $1.key }.map(\.value).filter { pull in
                head.map { $0 == "\(path[1]):\(pull["head"]?["ref"]?.string ?? "")" } ?? true
            }
            return page(pulls, request, host, state.pageSize)
        case ("GET", 1, "user"): return (200, ["login": .string(state.login)], [:])
        case ("GET", 6, "orgs") where path[2] == "teams" && path[4] == "memberships":
            guard state.members.contains("\(path[1])/\(path[3])/\(path[5])") else { return missing }
            return (200, ["state": "active"], [:])
        case ("GET", 6, "repos") where path[3] == "collaborators" && path[5] == "permission":
            guard let permission = state.permissions[path[4]] else { return missing }
            return (200, ["permission": .string(permission), "role_name": .string(permission)], [:])
        case ("GET", 5, "repos") where path[3] == "pulls":
            guard let pull = Int(path[4]).flatMap({ state.pullRequests[$0] }) else { return missing }
            return (200, pull, [:])
        case ("GET", 5, "repos") where path[3] == "branches":
            return (200, ["name": .string(path[4]), "protected": .bool(state.protected.contains(path[4]))], [:])
        case ("GET", 6, "repos") where path[3] == "pulls" && path[5] == "files":
            let files = Int(path[4]).flatMap { state.files[$0] } ?? []
            return page(files.map { ["filename": .string($0)] }, request, host, state.pageSize)
        case ("GET", 6, "repos") where path[3] == "pulls" && path[5] == "comments":
            return page(Int(path[4]).flatMap { state.lineComments[$0] } ?? [], request, host, state.pageSize)
        default: return missing
        }
    }

    /// What changes something.
    private static func write(
        _ request: LoopbackServer.Request, _ path: [String], _ state: inout State
    ) -> (Int, JSONValue?, [String: String])? {
        guard path.count > 3, path[0] == "repos", let body = try? JSON.decode(JSONValue.self, from: Data(request.body)) else {
            return nil
        }
        state.nextID += 1
        let user: JSONValue = ["login": .string(state.login)]
        switch (request.method, Array(path[3...])) {
        case ("POST", let rest) where rest.count == 3 && rest[0] == "issues" && rest[2] == "comments":
            guard let number = Int(rest[1]), let text = body["body"]?.string, text.utf8.count <= 65536 else { return nil }
            let comment: JSONValue = ["id": .integer(state.nextID), "body": .string(text), "user": user]
            state.comments[number, default: []].append(comment)
            return (201, comment, [:])
        case ("PATCH", let rest) where rest.count == 3 && rest[0] == "issues" && rest[1] == "comments":
            for (number, comments) in state.comments {
                guard let index = comments.firstIndex(where: { $0["id"]?.integer == Int64(rest[2]) }) else { continue }
                var comment = comments[index].object ?? [:]
                comment["body"] = body["body"]
                state.comments[number]?[index] = .object(comment)
                return (200, .object(comment), [:])
            }
            return nil
        case ("POST", let rest) where rest.last == "reactions":
            let reaction = "\(body["content"]?.string ?? "") \(rest.dropLast().joined(separator: "/"))"
            let isKnown = state.reactions.contains(reaction)
            if !isKnown { state.reactions.append(reaction) }
            return (isKnown ? 200 : 201, ["id": .integer(state.nextID)], [:])
        case ("POST", ["pulls"]):
            let head = body["head"]?.string ?? ""
            func refused(_ why: String) -> (Int, JSONValue?, [String: String]) {
                (422, ["message": "Validation Failed", "errors": [["message": .string(why)]]], [:])
            }
            if let branches = state.branches, !branches.contains(head) { return refused("head is invalid") }
            let isThere = state.pullRequests.values.contains {
                $0["head"]?["ref"]?.string == head && $0["state"]?.string == "open"
            }
            if isThere { return refused("A pull request already exists for acme:\(head).") }
            let number = Int(state.nextID)
            let pull: JSONValue = [
                "number": .integer(state.nextID), "title": body["title"] ?? .null, "body": body["body"] ?? .null,
                "draft": body["draft"] ?? .null, "state": "open", "merged": false, "user": user,
                "head": ["ref": .string(head), "sha": "a", "repo": ["full_name": .string("\(path[1])/\(path[2])")]],
                "base": ["ref": body["base"] ?? .null, "sha": "b"],
            ]
            state.pullRequests[number] = pull
            return (201, pull, [:])
        default: return nil
        }
    }

    private static func page(
        _ all: [JSONValue], _ request: LoopbackServer.Request, _ host: String, _ size: Int
    ) -> (Int, JSONValue?, [String: String]) {
        let query = Dictionary(
            request.query.split(separator: "&").map { $0.split(separator: "=").map(String.init) }.filter { $0.count == 2 }
                .map { ($0[0], $0[1]) }, uniquingKeysWith: { $1 })
        let number = query["page"].flatMap { Int($0) } ?? 1
        let size = min(size, query["per_page"].flatMap { Int($0) } ?? 30)
        let from = min(all.count, (number - 1) * size)
        let part = Array(all[from..<min(all.count, from + size)])
        guard from + size < all.count else { return (200, .array(part), [:]) }
        let next = "<http://\(host)\(request.path)?per_page=\(size)&page=\(number + 1)>; rel=\"next\""
        return (200, .array(part), ["Link": next])
    }
}
