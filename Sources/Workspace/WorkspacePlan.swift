import SessionModel

/// What is done with a working tree after a fetch. All of the policy is here, and none of the I/O.
///
/// One rule stands above the others: nothing that exists only here is ever moved or overwritten. Where that rule keeps the tree
/// from following the remote, the agent is told so, and it decides.
struct WorkspacePlan: Sendable, Hashable {
    enum Move: Sendable, Hashable {
        case none
        case fastForward(to: String)
        /// The remote's history was rewritten and nothing here is unpushed; `keeping` stays reachable under `refs/holdfast/old/`.
        case reset(to: String, keeping: String)
    }

    var move: Move = .none
    /// For the transcript; moves are reported when they have happened.
    var step: WorkspaceStep?
    /// What the agent must be told before its prompt. A move's note is written when it has happened.
    var note: String?
    /// After this plan the tree has all of the remote's head: it need not be looked at again until the remote moves.
    var followsRemote = false

    /// What is known after a fetch.
    struct Facts: Sendable, Hashable {
        /// What the workspace follows, in words for people: `pull request 12`, `branch main`.
        var subject: String
        /// The local branch that follows it; nil when the workspace stays on a commit.
        var expectedBranch: String?
        /// The branch that HEAD is on; nil when it is detached.
        var branch: String?
        /// Nil before the first commit.
        var head: String?
        /// The remote's head now; nil when the remote does not have it.
        var remote: String?
        /// The last head of the remote that the working tree had.
        var last: String?
        /// Commits on HEAD that the remote's head does not have.
        var ahead = 0
        /// Commits on the remote's head that HEAD does not have.
        var behind = 0
        /// Before the fetch, every commit on HEAD was on some branch of the remote.
        var wasPushed = false
        /// Tracked files that differ from HEAD: at most a hundred, and how many in all. Untracked ones do not count, for no move
        /// overwrites them.
        var changed: [String] = []
        var changedCount = 0
        /// A merge, rebase, cherry-pick, revert or bisect in progress.
        var operation: String?
    }

    init(_ facts: Facts) {
        guard let expected = facts.expectedBranch else { return }
        let head = facts.head.map(short) ?? "no commit yet"

        if let operation = facts.operation {
            let remote = facts.remote.map { " The head of \(facts.subject) on the remote is \(short($0))." } ?? ""
            note = "A \(operation) is in progress in your working tree (HEAD is \(head)), so nothing was merged into it.\(remote)"
            step = WorkspaceStep(.diverged, "Left alone: a \(operation) is in progress.")
            return
        }

        guard let remote = facts.remote else {
            // A branch that was never pushed is nothing to speak of.
            guard let last = facts.last else { return }
            note =
                "The remote no longer has \(facts.subject) (it was at \(short(last))). Your working tree was left as it is, at \(head)."
            step = WorkspaceStep(.diverged, "The remote no longer has \(facts.subject); left at \(head).")
            return
        }
        // The remote has not moved since the tree last had it. If HEAD lacks some of it now, the agent wanted it so.
        if remote == facts.last {
            followsRemote = true
            return
        }

        guard facts.branch == expected else {
            guard facts.behind > 0 else { return }
            let place = facts.branch.map { "on branch \($0)" } ?? "on no branch (detached HEAD)"
            note =
                "\(facts.subject.capitalizedFirst) has moved on the remote to \(short(remote)), but you are \(place) at \(head) and not on \(expected), so nothing was merged. The remote has \(commits(facts.behind)) that your HEAD does not have."
            step = WorkspaceStep(
                .diverged, "Left alone: HEAD is \(place), not on \(expected). The remote is at \(short(remote)).")
            return
        }

        let rolledBack = facts.behind == 0 && facts.ahead > 0 && facts.head == facts.last
        if facts.behind == 0, !rolledBack {
            followsRemote = true
            return
        }
        if facts.changedCount > 0 {
            note =
                "\(facts.subject.capitalizedFirst) has moved on the remote to \(short(remote)) and your working tree, at \(head), has uncommitted changes, so nothing was merged. Changed: \(files(facts))."
            step = WorkspaceStep(
                .dirty, "Left alone at \(head): \(facts.changedCount) changed files. The remote is at \(short(remote)).")
        } else if facts.ahead == 0 {
            move = .fastForward(to: remote)
            followsRemote = true
        } else if let old = facts.head, rolledBack || facts.wasPushed {
            move = .reset(to: remote, keeping: old)
            followsRemote = true
        } else {
            note =
                "Your branch \(expected) and \(facts.subject) on the remote have diverged, so nothing was merged: your HEAD is \(head) with \(commits(facts.ahead)) that the remote does not have, the remote's head is \(short(remote)) with \(commits(facts.behind)) that you do not have."
            step = WorkspaceStep(
                .diverged, "Left alone at \(head), \(facts.ahead) ahead and \(facts.behind) behind \(short(remote)).")
        }
    }
}

/// An object's name as people read it.
func short(_ object: String) -> String { String(object.prefix(12)) }

func commits(_ count: Int) -> String { count == 1 ? "1 commit" : "\(count) commits" }

/// The first twenty changed files.
private func files(_ facts: WorkspacePlan.Facts) -> String {
    let shown = facts.changed.prefix(20)
    let rest = facts.changedCount - shown.count
    return shown.joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
}

extension String {
    var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
