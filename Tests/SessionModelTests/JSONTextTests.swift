import FoundationEssentials
import SessionModel
import Support
import Testing

/// What is written by hand is what the encoder writes, byte for byte.
@Suite struct JSONTextTests {
    private static let texts =
        ["", "plain", "a/b\\c\"d", "\u{0}\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f}\u{7f}", "æøå – 日本語 👩‍👩‍👧 \u{2028}\u{2029}"]
        + (0..<200).map { String(UnicodeScalar($0) ?? "x") + "x" }

    @Test(arguments: texts) func queuedTurns(_ text: String) throws {
        for key in [nil, KeyDigest(key: "k", request: TurnRequest(prompt: text))] {
            for timeout in [nil, TimeSpan.minutes(90)] {
                let queued = TurnQueued(
                    request: TurnRequest(
                        prompt: text, whenBusy: timeout == nil ? nil : .supersede, supersedeKey: timeout.map { _ in text },
                        timeout: timeout, model: key.map { _ in text }, effort: text,
                        onInterrupt: timeout.map { _ in .retry(2) }, raw: key.map { _ in true }), key: key)
                #expect(try Data(queued.json) == JSON.encode(queued))
            }
        }
    }

    @Test func turns() throws {
        var random = SeededRandom(seed: 7)
        for _ in 0..<500 {
            func text() -> String { Self.texts.randomElement(using: &random) ?? "" }
            func maybe<Value>(_ value: Value) -> Value? { Bool.random(using: &random) ? value : nil }
            let moment = Timestamp(milliseconds: Int64.random(in: 0...4_000_000_000_000, using: &random))
            var turn = Turn(
                id: TurnID(UInt64.random(in: 1...1_000_000, using: &random)),
                request: TurnRequest(
                    prompt: text(), whenBusy: maybe(.reject), supersedeKey: maybe(text()), timeout: maybe(.milliseconds(1234)),
                    model: maybe(text()), effort: maybe(text()), onInterrupt: maybe(.continue(3)), raw: maybe(false)),
                createdAt: moment)
            turn.state = TurnState.allCases.randomElement(using: &random) ?? .queued
            turn.startedAt = maybe(moment)
            turn.endedAt = maybe(moment)
            turn.position = maybe(Int.random(in: 1...100, using: &random))
            turn.cancelRequested = Bool.random(using: &random)
            turn.reason = maybe(.completed)
            turn.message = maybe(text())
            turn.cursor = maybe(Cursor(journal: "0123456789abcdef", sequence: 7))
            turn.attempts = maybe(2)
            turn.notices = Int.random(in: 0..<5, using: &random) == 0 ? [text()] : nil
            turn.interruption =
                Int.random(in: 0..<5, using: &random) == 0
                ? Interruption(reason: .hostLost, message: text(), attempt: 1, next: .retry) : nil
            turn.results = Int.random(in: 0..<5, using: &random) == 0 ? TurnResults(answer: text()) : nil
            turn.input =
                Int.random(in: 0..<5, using: &random) == 0
                ? InputRequest(id: "q", question: text(), options: [], deadline: moment) : nil
            #expect(try Data(turn.json()) == JSON.encode(turn))
        }
    }
}
