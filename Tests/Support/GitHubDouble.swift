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
        /// The next answers, instead of what would be answered.
        public var moods: [Mood] = []
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
        public init(_ status: Int, _ body: String = #"{"message": "Server Error"}"#, headers: [String: String] = [:]) {
            self.status = status
            self.body = body
            self.headers = headers
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
            let mood = state.withLockedValue { state in
                state.requests.append("\(request.method) \(request.path)")
                return state.moods.isEmpty ? nil : state.moods.removeFirst()
            }
            if let mood { return try connection.respond(mood.status, mood.body, headers: mood.headers) }
            let (status, answer, headers) = state.withLockedValue { Self.answer(request, host: host, &$0) }
            try connection.respond(status, try answer.map { try JSON.string($0) } ?? "", headers: headers)
        }
    }

    public func stop() { server.stop() }
    public func change(_ body: (inout State) -> Void) { state.withLockedValue { body(&$0) } }
    public var requests: [String] { state.withLockedValue { $0.requests } }

    private static func answer(
        _ request: LoopbackServer.Request, host: String, _ state: inout State
    ) -> (Int, JSONValue?, [String: String]) {
        guard request.headers["authorization"] == "Bearer \(state.token)" else {
            return (401, ["message": "Bad credentials"], [:])
        }
        guard request.headers["user-agent"] != nil else { return (403, ["message": "Please set a User-Agent"], [:]) }
        let missing: (Int, JSONValue?, [String: String]) = (404, ["message": "Not Found"], [:])
        let path = request.path.split(separator: "/").map { $0.removingPercentEncoding ?? "" }
        switch (request.method, path.count, path.first) {
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
