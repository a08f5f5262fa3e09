import SessionModel

/// Puts the comments on a pull request's lines into the threads that they are of.
enum ReviewThreads {
    /// The comments of one review, in the order of files and lines as they were written.
    /// - Parameter all: as the API lists them: the oldest first.
    static func comments(of review: Int64, in all: [JSONValue]) -> [ReviewComment] {
        func root(_ comment: JSONValue) -> Int64? { comment["in_reply_to_id"]?.integer ?? comment["id"]?.integer }
        var threads: [Int64: [ReviewComment.Answered]] = [:]
        var found: [ReviewComment] = []
        for comment in all {
            guard let id = root(comment) else { continue }
            let author = comment["user"]?["login"]?.string ?? "ghost"
            let body = comment["body"]?.string ?? ""
            if comment["pull_request_review_id"]?.integer == review {
                let line = comment["line"]?.integer ?? comment["original_line"]?.integer
                found.append(
                    ReviewComment(
                        path: comment["path"]?.string ?? "", line: line.flatMap { Int(exactly: $0) },
                        hunk: comment["diff_hunk"]?.string ?? "", body: body, author: author,
                        url: comment["html_url"]?.string ?? "", thread: threads[id] ?? []))
            }
            threads[id, default: []].append(.init(author: author, body: body))
        }
        return found
    }
}
