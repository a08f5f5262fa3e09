import SessionModel

/// A part of a list. The newest items come first, so what is added to a list is never behind a page of it.
struct ListPage<Item: Sendable>: Sendable {
    var items: [Item]
    /// Where the rest begins, in the store's own words; nil when this is the last part.
    var rest: String?
}

extension ListPage {
    /// - Parameters:
    ///   - found: what comes after a place in the list, in its order; one more than the limit when there is more.
    ///   - place: of the last item of a page, behind which the next begins.
    init<Found>(_ found: some Collection<Found>, limit: Int, place: (Found) -> String, item: (Found) throws -> Item?) rethrows {
        let page = found.prefix(limit)
        items = try page.compactMap(item)
        guard found.count > limit, let last = page.suffix(1).first else { return }
        rest = place(last)
    }
}

extension Problem {
    /// What a client sends to continue a list was never given out for it.
    static var unknownContinuation: Problem {
        Problem(
            .invalidRequest,
            "“continue” is not of this list: send it as the page before gave it, with the same parameters, or leave it out to begin with the newest."
        )
    }
}
