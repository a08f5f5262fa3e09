import Foundation
import Kubernetes
import SessionModel
import Testing

@testable import Supervisor

/// Every page of a list together shows each item once, whatever is added and changed in the meantime.
@Suite(.serialized, .timeLimit(.minutes(2))) struct PageTests {
    private static let key = try! SessionKey(parsing: "pr:acme/widgets#12")

    // MARK: SQLite

    @Test func pagesOnOneMachine() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        let scope = ScopeSpec(kind: .pullRequest, repository: "acme/widgets", number: 12)
        var (all, own): ([String], [String]) = ([], [])
        for index in 0..<25 {
            let isOwn = index % 3 != 0
            let task = try await store.create(TaskSpec(prompt: "\(index)", scope: isOwn ? scope : nil))
            all.append(task.metadata.name)
            if isOwn { own.append(task.metadata.name) }
        }
        // Between two pages Tasks are added, and older ones are changed.
        let (changed, gone) = (all[0], all[3])
        let disturb: () async throws -> Void = {
            try await store.create(TaskSpec(prompt: "new", scope: scope))
            try await store.write { store in
                guard var task = try store.task(named: changed) else { return }
                task.status.message = (task.status.message ?? "") + "changed "
                try store.update(task)
                if let task = try store.task(named: gone) { try store.delete(task) }
            }
        }
        let names = try await pages(between: disturb) { rest in
            try await store.read { try $0.tasks(session: nil, after: rest, limit: 4) }
        }
        #expect(names == all.reversed().filter { $0 != gone })
        let expected = try await store.read { try $0.tasks(session: Self.key.name, limit: 1000).map(\.metadata.name) }
        let ofSession = try await pages(between: disturb) { rest in
            try await store.read { try $0.tasks(session: Self.key.name, after: rest, limit: 7) }
        }
        #expect(ofSession == expected && ofSession.suffix(own.count) == own.reversed()[...])
        let sessions = try await pages(between: {}) { rest in
            try await store.read { try $0.sessions(after: rest, limit: 1) }
        }
        #expect(sessions.count == 10 && Set(sessions).count == 10)
    }

    @Test func theLastPageSaysSo() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        #expect(try await store.read { try $0.tasks(session: nil, after: nil, limit: 1) }.rest == nil)
        for _ in 0..<4 { try await store.create(TaskSpec(prompt: "one")) }
        let first = try await store.read { try $0.tasks(session: nil, after: nil, limit: 2) }
        let second = try await store.read { try $0.tasks(session: nil, after: first.rest, limit: 2) }
        #expect(first.rest != nil && second.items.count == 2 && second.rest == nil)
    }

    @Test func deliveriesOnOneMachine() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteStore(path: directory.path + "/store.db")
        try await expectDeliveries(store)
    }

    // MARK: A cluster

    /// Tasks that come to their sessions between two pages are shown once, too, and all of them are of one second or two.
    @Test func pagesInACluster() async throws {
        try await TestNamespace.with { namespace in
            let names = (0..<20).map { "task-\($0)" }
            for name in names { try await namespace.apply(name, TestNamespace.task(name)) }
            try await namespace.until { try $0.task(named: "task-19") != nil }
            func attach(_ numbers: some Sequence<Int>) async throws {
                for name in numbers.map({ names[$0] }) {
                    try await namespace.store.write { store in
                        guard var task = try store.task(named: name), task.status.session == nil else { return }
                        task.status.session = Self.key
                        _ = try store.update(task)
                    }
                }
            }
            try await attach(0..<8)
            var round = 0
            let seen = try await pages {
                round += 1
                try await attach([8 + round, 19 - round])
                try await namespace.apply("zzz-new-\(round)", TestNamespace.task("new"))
                let new = "zzz-new-\(round)"
                try await namespace.until { try $0.task(named: new) != nil }
            } page: { rest in
                try await namespace.store.read { try $0.tasks(session: nil, after: rest, limit: 3) }
            }
            #expect(Set(seen).count == seen.count, "\(seen)")
            #expect(Set(seen).isSuperset(of: names))

            try await attach(0..<20)
            let ofSession = try await pages(between: {}) { rest in
                try await namespace.store.read { try $0.tasks(session: Self.key.name, after: rest, limit: 6) }
            }
            #expect(ofSession.sorted() == names.sorted())
        }
    }

    @Test func sessionsAndDeliveriesInACluster() async throws {
        try await TestNamespace.with { namespace in
            let names = (0..<9).map { "session-\($0)" }
            for name in names {
                let spec = SessionSpec(key: Self.key, scope: TestNamespace.pullRequest, worker: TestNamespace.agent)
                try await namespace.sessions.create(SessionObject(metadata: ObjectMeta(name: name), spec: spec, status: nil))
            }
            try await namespace.until { try $0.session(named: "session-8") != nil }
            let seen = try await pages(between: {}) { rest in
                try await namespace.store.read { try $0.sessions(after: rest, limit: 2) }
            }
            #expect(seen.sorted() == names)
            try await expectDeliveries(namespace.store)
        }
    }

    @Test func aPlaceIsReadAsItIsWritten() {
        let place = ClusterPlace(created: Timestamp(milliseconds: 5), ordinal: .max, name: "a b", lastOrdinal: 7)
        #expect(ClusterPlace(place.description) == place)
        for text in ["", "1", "1 2 3", "1 2 x name", " 1 2 3 name"] { #expect(ClusterPlace(text) == nil) }
    }

    // MARK: Parts

    private func expectDeliveries(_ store: some ForgeStore) async throws {
        let start = Timestamp.now
        func keep(_ number: Int) async throws {
            let delivery = WebhookDelivery(
                id: "d\(number)", event: "issues", payload: Data(), received: start + .seconds(Int64(number)))
            try await store.access { _ = try $0.keep(delivery, subject: "") }
        }
        for number in 0..<8 { try await keep(number) }
        var (seen, rest, next): ([String], String?, Int) = ([], nil, 8)
        repeat {
            let after = rest
            let page = try await store.access { try $0.deliveries(after: after, limit: 3) }
            seen += page.items.map(\.id)
            rest = page.rest
            try await keep(next)
            next += 1
        } while rest != nil
        #expect(seen == (0..<8).reversed().map { "d\($0)" })
    }

    /// The names of all items.
    private func pages<Spec, Status>(
        between disturb: () async throws -> Void, page: (String?) async throws -> ListPage<Resource<Spec, Status>>
    ) async throws -> [String] {
        var (names, rest): ([String], String?) = ([], nil)
        repeat {
            let page = try await page(rest)
            names += page.items.map(\.metadata.name)
            rest = page.rest
            try await disturb()
        } while rest != nil
        return names
    }
}
