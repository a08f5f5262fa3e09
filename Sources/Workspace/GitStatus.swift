/// What `git status --porcelain=v2 --branch -z` says, read as it arrives: a tree with a million changes costs no memory.
struct GitStatus: Sendable, Hashable {
    static let listed = 100

    /// Nil when HEAD is detached.
    private(set) var branch: String?
    /// Nil before the first commit.
    private(set) var head: String?
    /// Files that git tracks and that differ from HEAD, conflicts included.
    private(set) var changed = Files()
    /// Files and directories that git neither tracks nor ignores.
    private(set) var untracked = Files()

    struct Files: Sendable, Hashable {
        /// The first hundred. Bytes that are not UTF-8 become U+FFFD.
        private(set) var paths: [String] = []
        private(set) var count = 0

        fileprivate mutating func append(_ path: ArraySlice<UInt8>) {
            count += 1
            if paths.count < GitStatus.listed { paths.append(String(decoding: path, as: UTF8.self)) }
        }
    }

    private var record: [UInt8] = []
    private var skipsNext = false

    mutating func consume(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while let end = rest.firstIndex(of: 0) {
            record += rest[..<end]
            read(record[...])
            record.removeAll(keepingCapacity: true)
            rest = rest[(end + 1)...]
        }
        record += rest
    }

    private mutating func read(_ record: ArraySlice<UInt8>) {
        if skipsNext {
            skipsNext = false
            return
        }
        switch record.first {
        case UInt8(ascii: "#"):
            let words = String(decoding: record, as: UTF8.self).split(separator: " ", maxSplits: 2)
            guard words.count == 3 else { return }
            if words[1] == "branch.oid", words[2] != "(initial)" { head = String(words[2]) }
            if words[1] == "branch.head", words[2] != "(detached)" { branch = String(words[2]) }
        case UInt8(ascii: "1"): changed.append(path(of: record, after: 8))
        case UInt8(ascii: "u"): changed.append(path(of: record, after: 10))
        case UInt8(ascii: "2"):
            changed.append(path(of: record, after: 9))
            skipsNext = true  // the path it had before
        case UInt8(ascii: "?"): untracked.append(path(of: record, after: 1))
        default: break
        }
    }

    /// The path is the last field and may hold spaces.
    private func path(of record: ArraySlice<UInt8>, after fields: Int) -> ArraySlice<UInt8> {
        var rest = record
        for _ in 0..<fields {
            guard let space = rest.firstIndex(of: UInt8(ascii: " ")) else { return [] }
            rest = rest[(space + 1)...]
        }
        return rest
    }
}
