import SessionModel
import Testing

@Suite struct WildcardTests {
    @Test(arguments: [
        ("main", "main", true), ("main", "mai", false), ("main", "*", true), ("release/1.2", "release/*", true),
        ("release", "release/*", false), ("a/b/c", "a/*/c", true), ("ac", "a*c", true), ("abc", "a*bc*", true),
        ("ab", "a*ab", false),
        ("xax", "*a*", true), ("xbx", "*a*", false), ("aba", "a*b*a", true), ("aa", "a*a*a", false),
    ])
    func patternsMatch(name: String, pattern: String, expected: Bool) {
        #expect(Wildcard.matches(name, pattern) == expected)
    }

    @Test func aLongTextThatNearlyFitsIsSoonDone() {
        let text = String(repeating: "a", count: 20_000)
        #expect(!Wildcard.matches(text, String(repeating: "*a", count: 50) + "*b"))
    }
}
