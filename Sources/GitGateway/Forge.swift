import Curl
import HTTPServing
import HTTPTypes
import NIOConcurrencyHelpers
import SessionModel

/// The gateway's requests to the forge, with the forge's token.
struct Forge: Sendable {
    /// Its own connections: each long clone has one.
    private let client = CurlClient(maxConnections: 1024, maxIdleConnections: 8)

    /// Where repositories are that were renamed, by where they were. Asking for the refs, which git does first, learns it.
    private let moved = NIOLockedValueBox<[String: String]>([:])

    /// How long the forge may be silent. While it counts and compresses, git sends a sign of life every few seconds.
    static let silence = Duration.seconds(300)

    /// What is passed on of a session's request.
    static func headers(of call: Call, _ names: [String]) -> [(name: String, value: String)] {
        names.compactMap { name in call.header(name).map { (name, $0) } }
    }

    /// - Throws: ``Refusal`` when there is no answer, or one that is an error, in words that a session may read.
    func send(
        _ method: String, _ suffix: String, for access: GitGateway.Access, headers: [(name: String, value: String)],
        body: [UInt8]? = nil, upload: CurlUpload? = nil
    ) async throws(Refusal) -> CurlStreamedResponse {
        let repository = access.grant.repository
        let place = moved.withLockedValue { $0[repository] } ?? repository.trimmingSlashes
        var request = CurlRequest(method, place + suffix, headers: headers, body: body, timeout: nil)
        request.upload = upload
        request.idleTimeout = Self.silence
        request.http2 = false
        request.headers.append(
            ("Authorization", BasicCredential.header(user: "x-access-token", password: access.token)))
        let response: CurlStreamedResponse
        do {
            response = try await client.stream(request)
        } catch {
            // The session broke its own upload off, or has gone.
            if error.code == .upload || error.code == .cancelled { throw Refusal(400, "The request broke off.") }
            throw Refusal(502, "The forge cannot be reached: \(error.message).")
        }
        guard response.status != 200 else { return response }
        if [301, 302, 307, 308].contains(response.status), method == "GET", body == nil, place == repository.trimmingSlashes,
            let new = Self.place(response.header("Location"), of: repository, suffix)
        {
            moved.withLockedValue { $0[repository] = new }
            return try await send(method, suffix, for: access, headers: headers)
        }
        throw await refusal(response, repository: repository, token: access.token)
    }

    /// Where a repository has moved to. Only on its own host: the token goes nowhere else, whatever an answer says.
    static func place(_ location: String?, of repository: String, _ suffix: String) -> String? {
        guard let location, location.hasSuffix(suffix), let scheme = repository.firstRange(of: "://") else { return nil }
        let host = repository[scheme.upperBound...].prefix { $0 != "/" }
        let origin = String(repository[..<scheme.upperBound] + host + "/")
        let place = location.hasPrefix("/") && !location.hasPrefix("//") ? origin + String(location.dropFirst()) : location
        guard place.hasPrefix(origin) else { return nil }
        return String(place.dropLast(suffix.count))
    }

    private func refusal(_ response: CurlStreamedResponse, repository: String, token: String) async -> Refusal {
        var text = await words(response, without: token)
        if !text.isEmpty { text = " It says: \(text)" }
        switch response.status {
        // Passed on, a 401 would make git ask its user for a password.
        case 401: return Refusal(403, "The forge does not take the token that Holdfast has for \(repository).\(text)")
        case 403: return Refusal(403, "The forge does not let Holdfast's token do this with \(repository).\(text)")
        case 404: return Refusal(404, "The forge has no repository \(repository), or Holdfast's token may not see it.\(text)")
        case 301, 302, 307, 308:
            return Refusal(
                502, "The repository \(repository) has moved at the forge: give its new address in the session's workspace.")
        case 429: return Refusal(429, "The forge wants fewer requests; try again later.\(text)")
        default: return Refusal(502, "The forge answered \(response.status) for \(repository).\(text)")
        }
    }

    /// The beginning of what the forge says to people.
    private func words(_ response: CurlStreamedResponse, without token: String) async -> String {
        guard response.header("Content-Type")?.hasPrefix("text/plain") == true else { return "" }
        var bytes: [UInt8] = []
        do {
            for try await chunk in response.body where bytes.count < 2048 { bytes += chunk.prefix(2048) }
        } catch {
            // What has come will do.
        }
        let text = String(decoding: bytes.prefix(2048), as: UTF8.self).replacing(token, with: "***")
        return text.split(whereSeparator: \.isNewline).joined(separator: " ")
    }
}

extension String {
    fileprivate var trimmingSlashes: String {
        var text = self[...]
        while text.hasSuffix("/") { text.removeLast() }
        return String(text)
    }
}
