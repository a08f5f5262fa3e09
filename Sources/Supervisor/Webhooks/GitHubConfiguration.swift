import Foundation
import GitHub

/// Where events of GitHub come from, and how it is asked about them.
struct GitHubConfiguration: Sendable {
    var secretFile: String
    var tokenFile: String
    var host = "github.com"
    /// The API's address, where it is another one than the host's own.
    var api: String?

    /// What must not be in anything that the forge is told.
    var secrets: @Sendable () -> [String] {
        { [secretFile, tokenFile] in
            [secretFile, tokenFile].compactMap { FileManager.default.contents(atPath: $0) }
                .map { String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) }
        }
    }

    var client: GitHubClient { GitHubClient(host: host, tokenFile: tokenFile, api: api) }
}
