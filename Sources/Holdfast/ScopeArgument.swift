import ArgumentParser
import SessionModel

/// What `--scope` says: `pr:OWNER/REPO#N`, `issue:OWNER/REPO#N`, `commit`, `commit:SHA` or `commit:OWNER/REPO@SHA`.
///
/// A repository may also be `HOST/OWNER/REPO` or a path on this machine, which begins with `/`, `./` or `../`.
struct ScopeArgument {
    /// - Throws: a usage failure that shows the forms.
    static func parse(_ text: String, profile: String? = nil, directory: String) throws(Failure) -> ScopeSpec {
        var scope = ScopeSpec(kind: .commit)
        if text == "commit" {
            // A session of its own, with nothing to say about the repository.
        } else if text.hasPrefix("commit:") {
            let rest = text.dropFirst("commit:".count)
            let at = rest.lastIndex(of: "@")
            let sha = at.map { rest[rest.index(after: $0)...] } ?? rest
            guard (7...64).contains(sha.utf8.count), sha.allSatisfy(\.isHexDigit) else {
                throw Failure(
                    .usage, "--scope “\(text)”: “\(sha)” is not a commit's object name; write commit:SHA or commit:OWNER/REPO@SHA"
                )
            }
            scope.sha = String(sha)
            scope.repository = at.map { repository(String(rest[..<$0]), directory) }
        } else {
            let key = try key(text, directory: directory, as: "--scope ")
            scope = ScopeSpec(kind: key.kind, repository: key.repository, number: key.number, profile: key.profile)
        }
        if let profile {
            guard scope.profile == nil || scope.profile == profile else {
                throw Failure(
                    .usage, "--scope has the profile “\(scope.profile ?? "")” and --profile says “\(profile)”: give one")
            }
            scope.profile = profile
        }
        return scope
    }

    /// How the API names a session that the user names: the text of a key is made complete, any other text stays as it is.
    static func sessionID(_ text: String, directory: String) throws(Failure) -> String {
        guard text.contains(":") else { return text }
        return try key(text, directory: directory, as: "").description
    }

    /// Where git finds a scope's repository, when nothing else is said.
    static func cloneURL(_ scope: ScopeSpec) -> String? {
        scope.repository.map { $0.hasPrefix("/") || $0.contains("://") ? $0 : "https://\($0)" }
    }

    private static func key(_ text: String, directory: String, as label: String) throws(Failure) -> SessionKey {
        var text = text
        if let colon = text.firstIndex(of: ":"), text[text.index(after: colon)...].hasPrefix(".") {
            text = text[...colon] + absolute(String(text[text.index(after: colon)...]), directory)
        }
        do {
            return try SessionKey(parsing: text)
        } catch {
            throw Failure(.usage, "\(label)\(error)")
        }
    }

    private static func repository(_ text: String, _ directory: String) -> String {
        if text.hasPrefix(".") { return absolute(text, directory) }
        return text.hasPrefix("/") || text.split(separator: "/").count != 2 ? text : "github.com/\(text)"
    }

    /// A path that begins with `.` or `..`, from the root.
    static func absolute(_ path: String, _ directory: String) -> String {
        guard path.hasPrefix(".") else { return path }
        var parts = directory.split(separator: "/")
        for part in path.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }
}
