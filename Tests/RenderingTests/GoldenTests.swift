import Rendering
import SessionModel
import Testing

/// What a person sees, character by character.
struct GoldenTests {
    @Test func textOnATerminalWithoutColor() {
        var renderer = TranscriptRenderer(format: .text, color: false, width: 76)
        let text = Sample.events.map { renderer.render($0) }.joined()
        #expect(text == golden)
    }

    @Test func colorsChangeNothingButColors() {
        var renderer = TranscriptRenderer(format: .text, color: true, width: 76)
        let text = Sample.events.map { renderer.render($0) }.joined()
        #expect(text.contains("\u{1B}[32;1m✔ succeeded"))
        #expect(text.replacing(/\u{1B}\[[0-9;]*m/, with: "") == golden)
    }

    @Test func markdown() {
        var renderer = TranscriptRenderer(format: .markdown)
        let text = Sample.events.map { renderer.render($0) }.joined()
        #expect(
            text.contains("## t1 · 2026-11-23 18:14:05 UTC\n\n> Make the parser accept empty files.\n> \n> See the review.\n\n"))
        #expect(text.contains("- **Run the tests**\n\n```\nmake test\n```\n\n```\ntest 1 … ok\n"))
        #expect(text.contains("Done. Empty files parse to **no** records.\n\n**✔ succeeded in 5.3s**\n\n"))
        #expect(text.contains("```\nparser.c\n+if (!n) return 0;\n```\n\n"))
        #expect(!text.contains("\u{1B}"))
    }

    private let golden = """
        18:14:05 · session opened: pr:github.com/acme/widgets#12, epoch 1, holdfast 0.1.0
        18:14:05 · cloned https://github.com/acme/widgets at 3f2a1c9

        ━━ t1 ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 2026-11-23 18:14:05 UTC ━━
        ❯ Make the parser accept empty files.

          See the review.
        18:14:05 · agent started: demo-agent 1.0

          The parser reads the first byte without looking.

          I will look at the parser first, then at its tests, and change only what
          the review asks for, so that the diff stays small.

          ☑ Read
          ▸ Fix

          ● Run the tests
            make test
            │ test 1 … ok
            │ test 2 … ok
            │ test 3 … ok
            │ test 4 … ok
            │ test 5 … ok
            │ test 6 … ok
            │ … 29 lines …
            │ test 36 … ok
            │ test 37 … ok
            │ test 38 … ok
            │ test 39 … ok
            │ test 40 … ok
            └ failed in 1.4s

          ● Edit parser.c
        18:14:06 · t2 queued: Also update the changelog.

          ● Edit parser.c
            │ parser.c
            │ + if (!n) return 0;
            └ done in 12ms

          ? May I push to fix-12?
            allow  Allow
            reject  Reject
            refused at 19:14:06 UTC if nobody answers
        18:14:10 · answered: allow

          Done. Empty files parse to **no** records.

        ✔ succeeded in 5.3s
          fix-12 at 9b1e2d3, 1 unpushed commit, 1 dirty file · 1 file changed, 1 insertion(+)
          2 tool calls · 12.3k tokens in, 678 out, $0.04

        ━━ t2 ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 18:14:10 UTC ━━
        ❯ Also update the changelog.
          ┆ panic: out of memory␈
        18:14:11 · the agent ended: signal 9

        ✘ failed in 300ms (AgentExited): the agent's process ended with signal 9

        """
}
