/// What ``Scripts/follow`` printed, as far as it came.
struct FollowReport: Sendable, Hashable {
    /// What stands in the directory's place: `absent`, `empty`, `foreign` or `checkout`. Nil when not even that could be found out.
    private(set) var found: String?
    /// A merge, rebase, cherry-pick, revert or bisect in progress.
    private(set) var operation: String?
    /// The command of git that was the last to be started.
    private(set) var command: String?
    private(set) var defaultBranch: String?
    private(set) var hasUnpushed = false
    /// The commit that HEAD is at; nil before the first one, and where a script cannot read it.
    private(set) var head: String?
    /// Where the followed ref is after the fetch; nil when the remote does not have it.
    private(set) var remote: String?
    /// The last head of the remote that the working tree had.
    private(set) var last: String?

    /// The remote is where it was when the tree last had it, so that there is nothing to bring into the tree.
    var hasNotMoved: Bool { operation == nil && remote != nil && remote == last }

    init(_ output: String) {
        for line in output.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            switch words.first ?? "" {
            case let word where found == nil: found = word
            case let word where word.hasPrefix("@"): command = String(word.dropFirst())
            case "default": defaultBranch = words.dropFirst().first
            case "unpushed": hasUnpushed = true
            case "head": head = words.dropFirst().first
            case "remote": remote = words.dropFirst().first
            case "last": last = words.dropFirst().first
            case let word where command == nil && operation == nil: operation = word
            default: break
            }
        }
    }
}
