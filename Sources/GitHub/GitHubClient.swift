import Curl
import Foundation
import SessionModel

/// GitHub's REST API, as far as Holdfast asks it, with a personal access token. Enterprise servers have theirs under `/api/v3`.
///
/// Requests that change nothing are tried again when the server has a fault; others are not, for nobody knows what they did.
public struct GitHubClient: Sendable {
    /// `https://api.github.com`
    let base: String
    /// Read at every request, so that a new token is used at once.
    let tokenFile: String
    private let curl: CurlClient
    private let pause: Duration

    /// - Parameters:
    ///   - host: `github.com`, or an Enterprise server's.
    ///   - api: the API's address, where it is another one than the host's own.
    public init(host: String, tokenFile: String, api: String? = nil, pause: Duration = .seconds(1)) {
        base = api ?? (host == "github.com" ? "https://api.github.com" : "https://\(host)/api/v3")
        self.tokenFile = tokenFile
        self.pause = pause
        curl = CurlClient(maxConnections: 8, maxIdleConnections: 2)
    }

    /// The most elements that are read of a list.
    static let longestList = 3000
    private static let attempts = 3
    /// What is asked of a repository's old name is answered elsewhere, after one step.
    private static let longestWay = 3

    func get(_ path: String) async throws(GitHubError) -> JSONValue { try await send("GET", "\(base)\(path)").body }

    func send(_ method: String, path: String, _ body: JSONValue) async throws(GitHubError) -> JSONValue {
        try await send(method, "\(base)\(path)", body).body
    }

    /// All elements of a list, page after page.
    func list(_ path: String) async throws(GitHubError) -> [JSONValue] {
        var next: String? = "\(base)\(path)\(path.contains("?") ? "&" : "?")per_page=100"
        var elements: [JSONValue] = []
        while let url = next, elements.count < Self.longestList {
            let page = try await send("GET", url)
            guard let part = page.body.array else { throw GitHubError(.unavailable, "GET \(path): the answer is not a list") }
            elements += part
            // The token goes nowhere else, whatever an answer says.
            next = page.next.flatMap { $0.hasPrefix("\(base)/") ? $0 : nil }
        }
        return elements
    }

    private func send(
        _ method: String, _ url: String, _ body: JSONValue? = nil
    ) async throws(GitHubError) -> (body: JSONValue, next: String?) {
        var wait = pause
        for attempt in 1... {
            do throws(GitHubError) {
                var (step, url) = (1, url)
                while true {
                    switch try await sendOnce(method, url, body) {
                    case .answer(let body, let next): return (body, next)
                    case .moved(let place):
                        guard step < Self.longestWay else {
                            throw GitHubError(.rejected, "\(method) \(url): it moves in circles")
                        }
                        (step, url) = (step + 1, place)
                    }
                }
            } catch {
                guard error.code == .unavailable, method == "GET", attempt < Self.attempts, !Task.isCancelled else { throw error }
                try? await Task.sleep(for: wait)
                wait *= 2
            }
        }
        throw GitHubError(.unavailable, "\(method): not reached")
    }

    private enum Answer {
        case answer(JSONValue, next: String?)
        /// Another address of the API has it: the repository was renamed.
        case moved(String)
    }

    private func sendOnce(_ method: String, _ url: String, _ body: JSONValue?) async throws(GitHubError) -> Answer {
        let what = "\(method) \(url.dropFirst(base.count).prefix { $0 != "?" })"
        var request = CurlRequest(
            method, url,
            headers: [
                ("Authorization", "Bearer \(try token())"), ("Accept", "application/vnd.github+json"),
                ("X-GitHub-Api-Version", "2022-11-28"), ("User-Agent", "holdfast"),
            ])
        let response: CurlResponse
        do {
            if let body {
                request.headers.append(("Content-Type", "application/json"))
                request.body = Array(try JSON.encode(body))
            }
            response = try await curl.execute(request, maxBody: 16 << 20)
        } catch {
            throw GitHubError(.unavailable, "\(what): \(error)")
        }
        let answer: JSONValue? =
            response.body.isEmpty ? .some(.null) : try? JSON.decode(JSONValue.self, from: Data(response.body))
        if (200..<300).contains(response.status) {
            guard let answer else {
                throw GitHubError(.unavailable, "\(what): the answer is not JSON")
            }
            return .answer(answer, next: response.header("Link").flatMap(Self.next))
        }
        if [301, 302, 307, 308].contains(response.status), let place = response.header("Location") {
            let place = place.hasPrefix("/") ? Self.origin(base) + place : place
            // The token goes nowhere else, whatever an answer says.
            guard place.hasPrefix("\(base)/") else { throw GitHubError(.rejected, "\(what): it has moved out of \(base)") }
            return .moved(place)
        }
        throw Self.error(what, response, answer)
    }

    /// `https://host`
    private static func origin(_ url: String) -> String {
        guard let scheme = url.firstRange(of: "://") else { return url }
        return String(url[..<scheme.upperBound]) + url[scheme.upperBound...].prefix { $0 != "/" }
    }

    private static func error(_ what: String, _ response: CurlResponse, _ answer: JSONValue?) -> GitHubError {
        let details = (answer?["errors"]?.array ?? []).compactMap { $0["message"]?.string ?? $0["code"]?.string }
        let words = ([answer?["message"]?.string ?? "status \(response.status)"] + details).joined(separator: "; ")
        let message = "\(what): \(words)".prefix(bytes: 1000)
        if let end = RateLimit.end(status: response.status, header: response.header, message: words, at: .now) {
            return GitHubError(.rateLimited(until: end), message)
        }
        return switch response.status {
        case 401: GitHubError(.unauthorized, message)
        case 403, 451: GitHubError(.forbidden, message)
        case 404, 410: GitHubError(.notFound, message)
        case 500...: GitHubError(.unavailable, message)
        default: GitHubError(.rejected, message)
        }
    }

    /// `<https://…?page=2>; rel="next", <…>; rel="last"`
    static func next(_ link: String) -> String? {
        for part in link.split(separator: ",") where part.contains("rel=\"next\"") {
            guard let open = part.firstIndex(of: "<"), let close = part.firstIndex(of: ">"), open < close else { continue }
            return String(part[part.index(after: open)..<close])
        }
        return nil
    }

    private func token() throws(GitHubError) -> String {
        let text = FileManager.default.contents(atPath: tokenFile).map { String(decoding: $0, as: UTF8.self) }
        guard let words = text?.split(whereSeparator: \.isWhitespace), words.count == 1 else {
            throw GitHubError(.unauthorized, "the token file \(tokenFile) cannot be read, or holds no token")
        }
        return String(words[0])
    }
}

extension Timestamp {
    fileprivate static var now: Timestamp { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
}
