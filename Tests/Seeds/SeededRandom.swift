/// A generator of random numbers that a seed repeats exactly (SplitMix64): a failing test prints its seed.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// True once in so many times.
    public mutating func oneIn(_ count: Int) -> Bool { Int.random(in: 0..<count, using: &self) == 0 }

    public mutating func pick<Element>(_ elements: [Element]) -> Element { elements.randomElement(using: &self)! }

    /// Text of up to so many characters, among them ones that JSON escapes and ones of several bytes.
    public mutating func text(upTo count: Int) -> String {
        let alphabet: [Character] = ["a", "b", "z", " ", "\"", "\\", "\n", "/", "\u{0}", "\u{7f}", "é", "漢", "👩‍👩‍👧", "\u{2028}"]
        return String((0..<Int.random(in: 0...count, using: &self)).map { _ in alphabet.randomElement(using: &self)! })
    }
}
