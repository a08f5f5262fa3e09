import Testing

@testable import Workspace

/// What is read from the script that runs before a follow-up turn, however far it came.
@Suite struct FollowReportTests {
    @Test func aWholeReportIsRead() {
        let report = FollowReport(
            """
            checkout
            rebase
            @config
            default main
            @rev-list
            head 3333
            unpushed
            @fetch
            remote 2222
            last 1111
            """)
        #expect(report.found == "checkout" && report.operation == "rebase" && report.command == "fetch")
        #expect(report.defaultBranch == "main" && report.hasUnpushed)
        #expect(report.remote == "2222" && report.last == "1111" && report.head == "3333")
        #expect(!report.hasNotMoved)
    }

    @Test func aRemoteHasNotMovedWhenItIsWhereItWas() {
        func report(_ operation: String, _ remote: String, _ last: String) -> FollowReport {
            FollowReport("checkout\n\(operation)@config\n@rev-list\nhead 1\n@fetch\nremote \(remote)\nlast \(last)\n")
        }
        #expect(report("", "2", "2").hasNotMoved)
        #expect(!report("", "2", "1").hasNotMoved && !report("", "", "").hasNotMoved && !report("merge\n", "2", "2").hasNotMoved)
    }

    @Test func ofTwoOperationsTheFirstCounts() {
        #expect(FollowReport("checkout\nmerge\nbisect\n@config\n").operation == "merge")
        #expect(FollowReport("checkout\n@config\n@rev-list\n@fetch\nremote\n").operation == nil)
    }

    @Test func aRefThatIsNotThereIsNil() {
        let report = FollowReport("checkout\n@config\n@rev-list\n@fetch\nremote \nlast \n")
        #expect(report.remote == nil && report.last == nil)
    }

    @Test(arguments: ["", "absent\n", "checkout\n"])
    func whereItEndedEarlyNoCommandOfGitIsToBlame(output: String) {
        let report = FollowReport(output)
        #expect(report.command == nil && report.remote == nil && !report.hasUnpushed)
        #expect(report.found == output.split(separator: "\n").first.map(String.init))
    }
}
