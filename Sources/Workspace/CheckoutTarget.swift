import SessionModel

/// What a workspace follows, as git names it.
enum CheckoutTarget: Sendable, Hashable {
    case pullRequest(Int)
    case branch(String)
    case commit(String)
    case defaultBranch

    init(_ description: WorkspaceDescription) {
        self =
            description.pullRequest.map(Self.pullRequest) ?? description.branch.map(Self.branch)
            ?? description.commit.map(Self.commit) ?? .defaultBranch
    }

    /// For people.
    var subject: String {
        switch self {
        case .pullRequest(let number): "pull request \(number)"
        case .branch(let name): "branch \(name)"
        case .commit(let name): "commit \(short(name))"
        case .defaultBranch: "the default branch"
        }
    }

    /// Fetched beside the remote's branches.
    var refspec: String? {
        guard case .pullRequest(let number) = self else { return nil }
        return "+refs/pull/\(number)/head:refs/remotes/origin/pull/\(number)/head"
    }

    static let branches = "+refs/heads/*:refs/remotes/origin/*"
}
