import SessionModel
import Testing

@testable import Workspace

/// The policy after a fetch, over every combination of facts.
@Suite struct WorkspacePlanTests {
    private static let old = String(repeating: "a", count: 40)
    private static let new = String(repeating: "b", count: 40)
    private static let mine = String(repeating: "c", count: 40)

    private func facts(
        head: String? = old, remote: String? = new, last: String? = old, ahead: Int = 0, behind: Int = 1
    ) -> WorkspacePlan.Facts {
        var facts = WorkspacePlan.Facts(subject: "pull request 1")
        facts.expectedBranch = "pr-1"
        facts.branch = "pr-1"
        facts.head = head
        facts.remote = remote
        facts.last = last
        facts.ahead = ahead
        facts.behind = behind
        return facts
    }

    @Test func aTreeMovesOnlyWhenNothingCanBeLost() {
        var moves = 0
        for branch in ["pr-1", "other", nil] {
            for head in [Self.old, Self.new, Self.mine, nil] {
                for remote in [Self.old, Self.new, nil] {
                    for last in [Self.old, Self.new, nil] {
                        for (ahead, behind) in [(0, 0), (0, 2), (2, 0), (2, 2)] {
                            for pushed in [false, true] {
                                for changed in [0, 3] {
                                    for operation in [nil, "rebase"] {
                                        for expected in ["pr-1", nil] {
                                            var facts = facts(
                                                head: head, remote: remote, last: last, ahead: ahead, behind: behind)
                                            facts.expectedBranch = expected
                                            facts.branch = branch
                                            facts.wasPushed = pushed
                                            facts.changedCount = changed
                                            facts.changed = Array(repeating: "file", count: changed)
                                            facts.operation = operation
                                            moves += check(WorkspacePlan(facts), facts) ? 1 : 0
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        #expect(moves > 0)
    }

    /// - Returns: whether the tree moves.
    private func check(_ plan: WorkspacePlan, _ facts: WorkspacePlan.Facts) -> Bool {
        // What stands in the way of every move, however the rest of the facts combine.
        let free =
            facts.expectedBranch != nil && facts.branch == facts.expectedBranch && facts.operation == nil
            && facts.changedCount == 0 && facts.remote != nil && facts.remote != facts.last
        switch plan.move {
        case .none:
            // A tree that stays behind a remote that moved is always explained, unless it is none of the workspace's business.
            if facts.expectedBranch != nil, facts.remote != nil, facts.remote != facts.last, facts.behind > 0 {
                #expect(plan.note != nil && plan.step != nil, "\(facts)")
            }
            return false
        case .fastForward(let commit):
            #expect(free && facts.ahead == 0 && facts.behind > 0 && commit == facts.remote, "\(facts)")
        case .reset(let commit, let keeping):
            #expect(free && facts.ahead > 0 && commit == facts.remote && keeping == facts.head, "\(facts)")
            #expect(facts.wasPushed && facts.behind > 0 || facts.head == facts.last, "\(facts)")
        }
        #expect(plan.note == nil && plan.step == nil && plan.followsRemote, "\(facts)")
        return true
    }

    @Test func upToDateIsNothing() {
        let plan = WorkspacePlan(facts(head: Self.new, behind: 0))
        #expect(plan.move == .none && plan.note == nil && plan.followsRemote)
    }

    @Test func behindIsFastForwarded() {
        #expect(WorkspacePlan(facts(behind: 3)).move == .fastForward(to: Self.new))
    }

    @Test func anUnbornBranchIsFastForwarded() {
        #expect(WorkspacePlan(facts(head: nil, last: nil)).move == .fastForward(to: Self.new))
    }

    @Test func rewrittenAndPushedIsReset() {
        var facts = facts(ahead: 1, behind: 2)
        facts.wasPushed = true
        #expect(WorkspacePlan(facts).move == .reset(to: Self.new, keeping: Self.old))
        facts.changedCount = 1
        #expect(WorkspacePlan(facts).step?.step == .dirty)
    }

    @Test func divergedIsToldWithBothHeads() {
        let plan = WorkspacePlan(facts(head: Self.mine, ahead: 1, behind: 2))
        #expect(plan.move == .none && plan.step?.step == .diverged && !plan.followsRemote)
        #expect(plan.note?.contains(Self.mine.prefix(12)) == true && plan.note?.contains(Self.new.prefix(12)) == true)
        #expect(plan.note?.contains("1 commit that") == true && plan.note?.contains("2 commits that") == true)
    }

    @Test func changedFilesAreNamedUpToTwenty() {
        var facts = facts()
        facts.changed = (1...100).map { "file\($0)" }
        facts.changedCount = 250
        let note = WorkspacePlan(facts).note
        #expect(note?.contains("file1, file2") == true && note?.contains("file20 and 230 more") == true)
    }

    @Test func aBranchThatWasNeverOnTheRemoteIsNothingToSpeakOf() {
        #expect(WorkspacePlan(facts(remote: nil, last: nil)).note == nil)
        #expect(WorkspacePlan(facts(remote: nil)).note?.contains("no longer has") == true)
    }
}
