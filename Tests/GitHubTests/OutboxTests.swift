import SessionModel
import Testing

@testable import GitHub

/// When the forge is told: no forge, no clock.
@Suite struct OutboxTests {
    private static let start = Timestamp(milliseconds: 1_000_000)

    /// An outbox and a forge that holds what it is told, and loses answers when it is told to.
    private struct Bench {
        var outbox = Outbox()
        var now = OutboxTests.start
        var comments: [Int64: String] = [:]
        var actions: [(at: Timestamp, Outbox.Action)] = []
        var faults: [GitHubError.Code] = []
        /// Whether what fails is done all the same.
        var isDone = false

        mutating func want(_ text: String, id: String = "a", place: Outbox.Place = .unknown, written: String? = nil) {
            outbox.want(id, text: text, place: place, written: written, at: now)
        }

        /// Until nothing is left to do before `limit`.
        @discardableResult mutating func run(until limit: Timestamp = .latest) -> [Outbox.News] {
            var news: [Outbox.News] = []
            for _ in 0..<1000 {
                switch outbox.next(at: now) {
                case .wait(nil): return news
                case .wait(let time?):
                    guard time <= limit else { return news }
                    now = max(now, time)
                case .perform(let id, let action):
                    actions.append((now, action))
                    news.append(outbox.handle(id, action, perform(action), at: now))
                }
            }
            Issue.record("it never rests: \(actions.suffix(3))")
            return news
        }

        private mutating func perform(_ action: Outbox.Action) -> Outbox.Result {
            let fault = faults.isEmpty ? nil : faults.removeFirst()
            if let fault, !isDone { return .failed(GitHubError(fault, "no")) }
            var result: Outbox.Result
            switch action {
            case .find: result = .found(comments.keys.min())
            case .create(let text):
                let id = Int64(comments.count + 1)
                comments[id] = text
                result = .written(at: id)
            case .update(let id, let text):
                result = comments[id] == nil ? .failed(GitHubError(.notFound, "gone")) : .written(at: id)
                if comments[id] != nil { comments[id] = text }
            }
            if let fault { result = .failed(GitHubError(fault, "no")) }
            return result
        }
    }

    @Test func whatChangesIsToldInPlaceAndNotTooOften() {
        var bench = Bench()
        bench.want("queued")
        bench.run()
        // Three changes while the last write is fresh are one.
        for text in ["working", "waiting", "done"] { bench.want(text) }
        bench.run()
        #expect(bench.comments == [1: "done"])
        #expect(bench.actions.map(\.1) == [.find, .create("queued"), .update(1, "done")])
        #expect(bench.actions[2].at - bench.actions[1].at == .seconds(10))
        bench.want("done")
        bench.run()
        #expect(bench.actions.count == 3)
    }

    @Test func afterARestartTheCommentIsKnownOrFound() {
        var bench = Bench()
        bench.want("queued")
        bench.run()
        bench.outbox = Outbox()
        bench.want("queued", place: .at(1), written: "queued")
        bench.run()
        #expect(bench.actions.count == 2)
        // Killed between writing and storing.
        bench.outbox = Outbox()
        bench.want("working")
        bench.run()
        #expect(bench.comments == [1: "working"])
    }

    @Test func aLostAnswerMakesNoSecondComment() {
        var bench = Bench()
        bench.isDone = true
        bench.faults = [.unavailable]
        bench.want("queued", place: .absent)
        bench.run()
        #expect(bench.comments == [1: "queued"])
        #expect(bench.actions.map(\.1) == [.create("queued"), .find, .update(1, "queued")])
    }

    @Test(arguments: [GitHubError.Code.forbidden, .rejected, .notFound])
    func whatIsRefusedIsNotTriedAgainUntilItIsAnother(code: GitHubError.Code) {
        var bench = Bench()
        bench.want("queued", place: .absent)
        bench.faults = [code]
        let news = bench.run()
        #expect(news == [.refused(id: "a", why: "no")])
        #expect(bench.actions.count == 1 && bench.outbox.isSettled("a"))
        bench.want("queued")
        bench.run()
        #expect(bench.actions.count == 1)
        bench.want("working")
        bench.run()
        #expect(bench.comments == [1: "working"])
    }

    @Test func aLimitHoldsUpEverything() {
        var bench = Bench()
        let end = bench.now + .minutes(7)
        bench.faults = [.rateLimited(until: end)]
        bench.want("a", id: "a", place: .absent)
        bench.want("b", id: "b", place: .absent)
        bench.run()
        #expect(bench.actions.dropFirst().allSatisfy { $0.at >= end })
        #expect(bench.comments.values.sorted() == ["a", "b"])
        // One after the other.
        #expect(bench.actions[2].at - bench.actions[1].at == .seconds(1))
    }

    @Test func faultsAreTriedAgainLessAndLessOften() {
        var bench = Bench()
        bench.faults = Array(repeating: .unauthorized, count: 9)
        bench.want("x", place: .absent)
        bench.run()
        let pauses = zip(bench.actions, bench.actions.dropFirst()).map { $1.at - $0.at }
        #expect(pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300].map { TimeSpan.seconds($0) })
        #expect(bench.comments == [1: "x"])
    }

    @Test func whatAPersonHasDeletedComesBackOnlyWithNews() {
        var bench = Bench()
        bench.want("queued")
        bench.run()
        bench.comments = [:]
        bench.want("working")
        bench.run()
        #expect(bench.comments.isEmpty)
        bench.want("done")
        bench.run()
        #expect(bench.comments == [1: "done"])
    }

    @Test func aPullRequestThatIsFoundIsNotMadeAgain() {
        var bench = Bench()
        bench.comments = [1: "somebody's"]
        bench.outbox.want("p", .pullRequest, text: "v1", place: .unknown, at: bench.now)
        #expect(bench.run() == [.stands(id: "p", at: 1, text: "v1")])
        #expect(bench.actions.map(\.1) == [.find])
        #expect(bench.comments == [1: "somebody's"])
    }
}
