/// Patterns in which `*` stands for any characters, also none. Matching takes no longer than the two texts are long together times
/// the number of stars, whatever somebody writes into them.
public enum Wildcard {
    public static func matches(_ text: some StringProtocol, _ pattern: String) -> Bool {
        let parts = pattern.utf8.split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false).map { Array($0) }
        var rest = Array(text.utf8)[...]
        guard rest.starts(with: parts[0]) else { return false }
        guard parts.count > 1 else { return rest.count == parts[0].count }
        rest = rest.dropFirst(parts[0].count)
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let end = end(of: part, in: rest) else { return false }
            rest = rest[end...]
        }
        let last = parts[parts.count - 1]
        return rest.count >= last.count && rest.suffix(last.count).elementsEqual(last)
    }

    private static func end(of part: [UInt8], in text: ArraySlice<UInt8>) -> Int? {
        guard text.count >= part.count else { return nil }
        for start in text.startIndex...(text.endIndex - part.count) where text[start] == part[0] {
            if text[start...].starts(with: part) { return start + part.count }
        }
        return nil
    }
}
