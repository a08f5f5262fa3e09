import Foundation
import HTTPServing
import SessionModel

/// The answer of a list: all of it, or a page.
struct ResourceList<Item: Encodable & Sendable>: Encodable, Sendable {
    var items: [Item]
    /// Of the store when the list was made.
    var resourceVersion: String
    /// What gets the next page as `?continue=`; nil when this is the last.
    var `continue`: String?
}

extension ResourceList {
    /// - Parameter list: what is listed: ``ListPart/rest(of:)`` takes the continuation for that only.
    init(_ page: ListPage<Item>, of list: String, version: String) {
        self.init(
            items: page.items, resourceVersion: version,
            continue: page.rest.map { Continuation(list: list, rest: $0).description })
    }
}

/// Which part of a list a request asks for: `?limit=` and `?continue=`.
struct ListPart {
    let limit: Int
    private let text: String?

    /// - Throws: `Problem` for a limit that is none.
    init(_ call: Call, default: Int, most: Int) throws(Problem) {
        limit = try call.query("limit", as: Int.self) ?? `default`
        text = call.query("continue")
        guard (1...most).contains(limit) else {
            throw Problem(
                .invalidRequest,
                "limit must be from 1 to \(most); an answer that has “continue” goes on with ?continue= and that.")
        }
    }

    /// Where the part begins, in the words of the store; nil for the newest.
    /// - Throws: `Problem` for a continuation of anything else.
    func rest(of list: String) throws(Problem) -> String? {
        guard let text, !text.isEmpty else { return nil }
        guard let continuation = Continuation(text), continuation.list == list else { throw .unknownContinuation }
        return continuation.rest
    }
}

/// What a client sends to get the next page, and has no need to understand: the list, and where its rest begins.
private struct Continuation: LosslessStringConvertible {
    var list: String
    var rest: String

    init(list: String, rest: String) {
        self.list = list
        self.rest = rest
    }

    /// In the letters of a URL.
    var description: String {
        Data("\(list)\n\(rest)".utf8).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_")
            .replacing("=", with: "")
    }

    init?(_ text: String) {
        let whole = text.replacing("-", with: "+").replacing("_", with: "/")
        let padding = String(repeating: "=", count: (4 - whole.utf8.count % 4) % 4)
        guard let data = Data(base64Encoded: whole + padding),
            let parts = String(validating: data, as: UTF8.self)?
                .split(separator: "\n", maxSplits: 1).map(String.init), parts.count == 2
        else { return nil }
        self.init(list: parts[0], rest: parts[1])
    }
}
