import SessionModel

extension PushRules {
    /// Why the session may not push this, in a clause; nil when it may.
    /// - Parameter defaultBranch: nil for a repository that has none yet.
    func refusal(of command: PushRequest.Command, defaultBranch: String?) -> String? {
        if command.ref.hasPrefix("refs/tags/") {
            guard tags == true else { return "this session may not push tags" }
            return command.isDeletion && deletions != true ? "this session may not delete tags" : nil
        }
        guard command.ref.hasPrefix("refs/heads/") else { return "only branches can be pushed through the git gateway" }
        let branch = String(command.ref.dropFirst("refs/heads/".count))
        if branch == defaultBranch { return "\(branch) is the default branch: open a pull request instead" }
        if (protected ?? []).contains(where: { Wildcard.matches(branch, $0) }) {
            return "\(branch) is a protected branch: open a pull request instead"
        }
        let branches = branches ?? []
        guard branches.contains(branch) else {
            return branches.isEmpty
                ? "this session may push nothing" : "this session may push \(branches.joined(separator: ", ")) only"
        }
        return command.isDeletion && deletions != true ? "this session may not delete branches" : nil
    }
}
