/// Takes the values of known secrets out of texts: every stretch that belongs to one becomes `***`.
///
/// ```swift
/// let redact = Redactor(["s3cr3t-token"])
/// redact("Authorization: Bearer s3cr3t-token")  // "Authorization: Bearer ***"
/// var stream = redact.stream()
/// stream.feed("s3cr") + stream.feed("3t-token.") + stream.finish()  // "***."
/// ```
/// A text in parts and the same text at once give the same. A secret is also found as JSON spells it, and line by line when it
/// has several. Of a secret that is cut off at the text's beginning or end the rest is found if it has ``minimum`` bytes or more.
/// What somebody has encoded in another way is not recognised.
public struct Redactor: Sendable {
    /// In bytes. Shorter values are no secrets: they would blacken half of every text.
    public static let minimum = 8
    public static let mask = "***"

    /// By their first byte.
    private var needles: [[[UInt8]]] = []

    public init(_ secrets: some Sequence<String>) {
        let spellings = Set(secrets.flatMap { Self.spellings(of: $0) })
        guard !spellings.isEmpty else { return }
        needles = Array(repeating: [], count: 256)
        for spelling in spellings { needles[Int(spelling[0])].append(spelling) }
    }

    /// Nothing is secret: every text stays as it is.
    public var isEmpty: Bool { needles.isEmpty }

    public func callAsFunction(_ text: String) -> String {
        guard !isEmpty, text.utf8.count >= Self.minimum else { return text }
        var text = text
        // Most texts have nothing secret in them, and cost no more than a look.
        guard text.withUTF8(hasSecret) else { return text }
        var stream = stream()
        return stream.feed(text) + stream.finish()
    }

    /// For one text that comes in parts.
    public func stream() -> Stream { Stream(redactor: self) }

    /// The ways in which a secret may be written.
    private static func spellings(of secret: String) -> [[UInt8]] {
        let lines = secret.split(whereSeparator: \.isNewline)
        let parts = [secret] + (lines.count > 1 ? lines.map(String.init) : [])
        return parts.filter { $0.utf8.count >= minimum }.flatMap { part -> [[UInt8]] in
            let plain = Array(part.utf8)
            let quoted = (try? JSON.string(part)).map { Array($0.utf8.dropFirst().dropLast()) } ?? plain
            // Some writers of JSON escape the slash, too.
            let slashes = quoted.flatMap { $0 == UInt8(ascii: "/") ? [UInt8(ascii: "\\"), $0] : [$0] }
            return [plain, quoted, slashes]
        }
    }
}

// MARK: - Searching

extension Redactor {
    private typealias Text = UnsafeBufferPointer<UInt8>

    /// What begins at a place: the longest secret, and whether the text ends within one.
    private func look(_ text: Text, at start: Int) -> (length: Int, isOpen: Bool) {
        var found = (length: 0, isOpen: false)
        for needle in needles[Int(text[start])] {
            let length = min(needle.count, text.count - start)
            guard length > found.length || length < needle.count, Self.equal(needle, 0, text, start, length) else { continue }
            if length == needle.count { found.length = length } else { found.isOpen = true }
        }
        return found
    }

    /// How many bytes at the beginning of the text are the end of a secret, and whether the whole text may be within one.
    private func lookBack(_ text: Text) -> (length: Int, isOpen: Bool) {
        var found = (length: 0, isOpen: false)
        for needle in needles.joined() {
            for start in needle.indices.dropFirst() where needle[start] == text[0] {
                let length = min(needle.count - start, text.count)
                guard Self.equal(needle, start, text, 0, length) else { continue }
                if start + length < needle.count {
                    found.isOpen = true
                } else if length >= Self.minimum {
                    found.length = max(found.length, length)
                }
            }
        }
        return found
    }

    private func hasSecret(_ text: Text) -> Bool {
        for start in text.indices {
            let (length, isOpen) = look(text, at: start)
            if length > 0 || isOpen && text.count - start >= Self.minimum { return true }
        }
        let (length, isOpen) = lookBack(text)
        return length > 0 || isOpen
    }

    private static func equal(_ needle: [UInt8], _ from: Int, _ text: Text, _ start: Int, _ length: Int) -> Bool {
        for offset in 0..<length where needle[from + offset] != text[start + offset] { return false }
        return true
    }
}

// MARK: - Parts

extension Redactor {
    /// Redacts a text that comes in parts. It keeps back what may turn out to belong to a secret, and no more.
    public struct Stream: Sendable {
        private let redactor: Redactor
        /// What has come and is not decided.
        private var held: [UInt8] = []
        /// How many of those are known to belong to a secret.
        private var secret = 0
        /// The byte before them belonged to a secret: its mask stands already.
        private var isMasked = false
        private var hasBegun = false

        fileprivate init(redactor: Redactor) { self.redactor = redactor }

        /// Nothing is kept back.
        public var isSettled: Bool { held.isEmpty }

        /// What can be shown now.
        public mutating func feed(_ part: String) -> String {
            redactor.isEmpty ? part : String(decoding: feed(Array(part.utf8)), as: UTF8.self)
        }

        /// The same of bytes, which may begin and end within a character.
        public mutating func feed(_ part: [UInt8]) -> [UInt8] {
            guard !redactor.isEmpty else { return part }
            held += part
            return take(isEnd: false)
        }

        /// The rest, at the end of the text. What is fed after it is another text.
        public mutating func finish() -> String { String(decoding: finish(), as: UTF8.self) }

        public mutating func finish() -> [UInt8] {
            defer { self = Stream(redactor: redactor) }
            return take(isEnd: true)
        }

        private mutating func take(isEnd: Bool) -> [UInt8] {
            guard !held.isEmpty else { return [] }
            var output: [UInt8] = []
            var position = 0
            held.withUnsafeBufferPointer { text in
                if !hasBegun {
                    let (length, isOpen) = redactor.lookBack(text)
                    if isOpen, !isEnd { return }
                    secret = isOpen && text.count >= Redactor.minimum ? text.count : length
                    hasBegun = true
                }
                while position < text.count {
                    let (length, isOpen) = redactor.look(text, at: position)
                    if isOpen, !isEnd { break }
                    let rest = text.count - position
                    secret = max(secret, position + (isOpen && rest >= Redactor.minimum ? rest : length))
                    if position >= secret {
                        output.append(text[position])
                    } else if !isMasked {
                        output += Redactor.mask.utf8
                    }
                    isMasked = position < secret
                    position += 1
                }
            }
            held.removeFirst(position)
            secret = max(0, secret - position)
            return output
        }
    }
}
