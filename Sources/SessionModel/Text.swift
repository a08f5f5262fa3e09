extension String {
    /// The longest prefix of at most `limit` bytes of UTF-8 that does not cut a character in two.
    public func prefix(bytes limit: Int) -> String {
        guard utf8.count > limit else { return self }
        var end = utf8.index(utf8.startIndex, offsetBy: max(0, limit))
        while end > utf8.startIndex, utf8[end] & 0xC0 == 0x80 { end = utf8.index(before: end) }
        return String(self[..<end])
    }

    /// The longest suffix of at most `limit` bytes of UTF-8 that does not cut a character in two.
    public func suffix(bytes limit: Int) -> String {
        guard utf8.count > limit else { return self }
        var start = utf8.index(utf8.endIndex, offsetBy: -max(0, limit))
        while start < utf8.endIndex, utf8[start] & 0xC0 == 0x80 { start = utf8.index(after: start) }
        return String(self[start...])
    }
}
