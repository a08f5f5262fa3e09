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
        if (protected ?? []).contains(where: { Self.matches(branch, $0) }) {
            return "\(branch) is a protected branch: open a pull request instead"
        }
        let branches = branches ?? []
        guard branches.contains(branch) else {
            return branches.isEmpty
                ? "this session may push nothing" : "this session may push \(branches.joined(separator: ", ")) only"
        }
        return command.isDeletion && deletions != true ? "this session may not delete branches" : nil
    }

    /// Whether a name fits a pattern in which `*` stands for any characters.
    static func matches(_ name: String, _ pattern: String) -> Bool {
        let parts = pattern.utf8.split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false).map { Array($0) }
        var rest = Array(name.utf8)[...]
        guard rest.starts(with: parts[0]) else { return false }
        guard parts.count > 1 else { return rest.count == parts[0].count }
        rest = rest.dropFirst(parts[0].count)
        for part in parts.dropFirst().dropLast() {
            guard let found = rest.firstRange(of: part) else { return false }
            rest = rest[found.upperBound...]
        }
        let last = parts[parts.count - 1]
        return rest.count >= last.count && rest.suffix(last.count).elementsEqual(last)
    }
}
