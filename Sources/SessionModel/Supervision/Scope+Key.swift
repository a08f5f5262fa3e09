import Crypto
import FoundationEssentials

extension ScopeSpec {
    /// The key of the session that a Task with this scope belongs to.
    /// - Parameter task: the Task's uid, which is the identity of a commit scope.
    /// - Throws: ``Problem`` with one sentence that names the mistake.
    public func key(task uid: String) throws(Problem) -> SessionKey {
        do {
            switch kind {
            case .commit:
                return try SessionKey(.task(uid: uid), profile: profile)
            case .pullRequest, .issue:
                guard let repository else {
                    throw Problem(
                        .invalidRequest, "scope.repository is missing: name it as OWNER/NAME, HOST/OWNER/NAME or a path.")
                }
                guard let number else {
                    throw Problem(.invalidRequest, "scope.number is missing: give the number of the \(kind.noun).")
                }
                let name = Self.normalized(repository)
                return try SessionKey(
                    kind == .pullRequest
                        ? .pullRequest(repository: name, number: number) : .issue(repository: name, number: number),
                    profile: profile)
            }
        } catch let error as InvalidSessionKey {
            throw Problem(.invalidRequest, "scope “\(error.text)” is not valid: \(error.why).")
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(.invalidRequest, "scope is not valid: \(error)")
        }
    }

    /// One name for every way to write a repository: `acme/widgets`, `https://github.com/acme/widgets.git` and
    /// `git@github.com:acme/widgets` are all `github.com/acme/widgets`. A path stays as it is.
    public static func normalized(_ repository: String) -> String {
        var name = Substring(repository)
        if let scheme = name.firstRange(of: "://") {
            let isFile = name[..<scheme.lowerBound] == "file"
            name = name[scheme.upperBound...]
            if !isFile, let at = name.firstIndex(of: "@"), at < (name.firstIndex(of: "/") ?? name.endIndex) {
                name = name[name.index(after: at)...]
            }
        } else if !name.hasPrefix("/"), let at = name.firstIndex(of: "@"), let colon = name[at...].firstIndex(of: ":") {
            return normalized("ssh://" + name[name.index(after: at)..<colon] + "/" + name[name.index(after: colon)...])
        }
        while name.count > 1, name.hasSuffix("/") { name.removeLast() }
        if name.hasPrefix("/") { return String(name) }
        if name.hasSuffix(".git") { name.removeLast(4) }
        return name.filter { $0 == "/" }.count == 1 ? "github.com/\(name)" : String(name)
    }

    /// Whether two addresses are of one repository, in whatever way they are written, and whatever way in they are.
    static func isSameRepository(_ one: String, _ other: String) -> Bool {
        func name(_ address: String) -> String {
            let name = normalized(address)
            return (try? SessionKey(.issue(repository: name, number: 1)))?.repository ?? name
        }
        return one == other || name(one) == name(other)
    }
}

extension ScopeKind {
    public var noun: String {
        switch self {
        case .commit: "commit"
        case .pullRequest: "pull request"
        case .issue: "issue"
        }
    }
}

extension SessionSpec {
    /// The session's working directory, from what the user said of the workspace and, where that is silent, from the scope.
    public var workspaceDescription: WorkspaceDescription {
        var description = WorkspaceDescription(
            repository: workspace?.repository ?? Self.remote(key.repository ?? scope.repository), mirror: workspace?.mirror,
            setupCommand: workspace?.setupCommand)
        guard description.repository != nil else { return description }
        if let ref = workspace?.ref {
            if ref.utf8.count == 40, ref.allSatisfy(\.isHexDigit) {
                description.commit = ref
            } else {
                description.branch = ref
            }
            return description
        }
        switch key.subject {
        case .pullRequest(_, let number): description.pullRequest = number
        case .issue: description.branch = branch
        case .task: description.commit = scope.sha
        }
        return description
    }

    /// The branch that is the session's own: it may push it, and nobody else works on it.
    public var branch: String {
        switch key.subject {
        case .pullRequest(_, let number): "holdfast/pr-\(number)"
        case .issue(_, let number): "holdfast/issue-\(number)"
        case .task(let uid): "holdfast/task-\(uid.prefix(12))"
        }
    }

    /// Stands for what an incarnation is started with: when it changes, the session starts anew at its next idle moment.
    public var startDigest: String {
        struct Start: Encodable {
            var worker: AgentDescription
            var workspace: WorkspaceSpec?
        }
        // What cannot be encoded cannot have been stored.
        let bytes = (try? JSON.encode(Start(worker: worker, workspace: workspace))) ?? Data()
        return Base32.encode(SHA256.hash(data: bytes).prefix(10))
    }

    /// What the session may push: its own branch, and what its user says beside.
    public var pushRules: PushRules {
        var rules = workspace?.push ?? PushRules()
        rules.branches = [branch] + (rules.branches ?? [])
        return rules
    }

    /// Where a repository that only the scope names can be cloned from.
    private static func remote(_ repository: String?) -> String? {
        guard let repository else { return nil }
        if repository.hasPrefix("/") { return repository }
        return "https://\(ScopeSpec.normalized(repository)).git"
    }
}
