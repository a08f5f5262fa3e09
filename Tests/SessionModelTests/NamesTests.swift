import SessionModel
import Support
import Testing

@Suite struct NamesTests {
    @Test func cursorsAreReadAsTheyAreWritten() throws {
        for sequence in [0, 1, 128, UInt64.max] {
            let cursor = Cursor(journal: "4f9a2c1d80b34e6a", sequence: sequence)
            #expect(Cursor(cursor.description) == cursor)
            #expect(try JSON.decode(Cursor.self, from: JSON.encode(cursor)) == cursor)
        }
    }

    @Test(arguments: [
        "", "-", "4f9a2c1d80b34e6a", "4f9a2c1d80b34e6a-", "4f9a2c1d80b34e6-1", "4F9A2C1D80B34E6A-1", "4f9a2c1d80b34e6a--1",
        "4f9a2c1d80b34e6a-+1", "4f9a2c1d80b34e6a-01", "4f9a2c1d80b34e6a-1x", "4f9a2c1d80b34e6g-1",
        "4f9a2c1d80b34e6a-18446744073709551616",
        "4f9a2c1d80b34e6a-1 ",
    ])
    func otherTextsAreNoCursors(_ text: String) { #expect(Cursor(text) == nil) }

    @Test func turnsAreReadAsTheyAreWritten() throws {
        for ordinal in [1, 12, UInt64.max] {
            #expect(TurnID(TurnID(ordinal).description) == TurnID(ordinal))
            #expect(try JSON.decode(TurnID.self, from: JSON.encode(TurnID(ordinal))) == TurnID(ordinal))
        }
        #expect(try JSON.string([TurnID(7): 1]) == #"{"t7":1}"#)
        for text in ["", "t", "t0", "t01", "t-1", "t+1", "T1", "1", "t1 ", "t18446744073709551616"] {
            #expect(TurnID(text) == nil)
        }
    }

    @Test func everyProblemHasItsStatusAndIsReadAgain() throws {
        for kind in Problem.Kind.allCases {
            let problem = Problem(kind, "What happened, and what to do.", retryAfter: 5)
            #expect((400...599).contains(problem.status))
            #expect(problem.kind == kind)
            #expect(!problem.title.isEmpty)
            #expect(try JSON.decode(Problem.self, from: JSON.encode(problem)) == problem)
        }
        #expect(try JSON.decode(Problem.self, from: #"{"type":"about:blank","title":"x","status":418,"detail":"y"}"#).kind == nil)
    }

    @Test func textsAreNotCutInTheMiddleOfACharacter() {
        var random = SeededRandom(seed: 6)
        for _ in 0..<500 {
            let text = random.text(upTo: 20)
            for limit in [-1, 0, 1, 2, 3, 5, 11, 1000] {
                let (head, tail) = (text.prefix(bytes: limit), text.suffix(bytes: limit))
                #expect(head.utf8.count <= max(0, limit) || head == text && text.utf8.count <= limit)
                #expect(Array(text.utf8).starts(with: Array(head.utf8)))
                #expect(Array(text.utf8).reversed().starts(with: Array(tail.utf8).reversed()))
                #expect(text.utf8.count - head.utf8.count <= max(0, text.utf8.count - limit) + 3)
            }
        }
    }
}
