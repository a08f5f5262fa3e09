import Foundation
import GitHub
import SessionModel

/// A store that also has the Spawners, what came from the forge, and what the forge was told.
protocol ForgeStore: Store {
    /// Reads and writes: as ``Store/write(_:)`` does.
    @discardableResult
    func access<Value: Sendable>(
        _ body: @escaping @Sendable (any ForgeTransaction) throws -> Value
    ) async throws -> Value

    /// Returns when a Task that was made is with its session, or has ended without one, or when that takes too long.
    func settle(_ task: String) async throws
}

/// One access to a ``ForgeStore``.
protocol ForgeTransaction: StoreTransaction {
    // MARK: Deliveries

    /// - Parameter subject: what it is about; deliveries of one subject are handled in their order.
    /// - Returns: false when it has come before.
    func keep(_ delivery: WebhookDelivery, subject: String) throws -> Bool
    /// Deliveries that can be handled now, in the order in which they came: none behind an earlier one of its subject that waits.
    func dueDeliveries(limit: Int, at now: Timestamp) throws -> [WebhookDelivery]
    /// How many deliveries have not been handled.
    func openDeliveries() throws -> Int
    /// When the next delivery that waits is to be looked at again.
    func nextDelivery(after now: Timestamp) throws -> Timestamp?
    func handled(_ delivery: WebhookDelivery, outcome: String, at now: Timestamp) throws
    /// - Parameters:
    ///   - outcome: what it waits for.
    ///   - spawner: that has no room for it: ``makeRoom(all:)`` ends the waiting.
    func postpone(_ delivery: WebhookDelivery, outcome: String, until due: Timestamp, waitsFor spawner: String?) throws
    /// For each Spawner the first that waits for room is looked at again.
    /// - Parameter all: everything that waits, for whatever.
    func makeRoom(all: Bool) throws
    /// The newest first.
    /// - Parameter rest: where to begin, as the page before said; nil for the newest.
    func deliveries(after rest: String?, limit: Int) throws -> ListPage<DeliveryReport>

    /// What a session is about to push: it is not told of it when the forge is.
    func keep(pushed commits: [String], of session: String, at now: Timestamp) throws
    func isPushed(_ commit: String) throws -> Bool

    // MARK: Spawners, and what they make

    func spawners() throws -> [SpawnerResource]
    func spawner(named name: String) throws -> SpawnerResource?
    @discardableResult func insert(_ spawner: SpawnerResource) throws -> SpawnerResource
    @discardableResult func update(_ spawner: SpawnerResource) throws -> SpawnerResource
    func delete(_ spawner: SpawnerResource) throws
    /// Makes a Task of a delivery. In a cluster it comes to its session later: ``ForgeStore/settle(_:)``.
    /// - Returns: a Task that this delivery made counts as created also when it is asked for again, for whoever made it may have died
    ///   before the rest was done.
    func make(
        _ request: TaskRouting.Request, of delivery: WebhookDelivery, at now: Timestamp
    ) throws -> TaskRouting.Answer
    /// The name under which a repository's sessions are known: the one that it had when it was first heard of.
    func knownName(host: String, id: Int64, present name: String) throws -> String

    // MARK: What the forge is told

    /// - Parameter name: the session's.
    func report(_ name: String) throws -> ForgeReport?
    /// The names of the sessions of which something may still be told.
    func openReports() throws -> [String]
    /// The report of the session that has opened a pull request.
    func report(place: String, pullRequest: Int) throws -> ForgeReport?
    func keep(_ report: ForgeReport) throws
    /// Its session is gone.
    func forgetReport(_ name: String) throws
    /// Its ordinal is set here.
    func add(_ message: OutgoingMessage) throws
    func outgoing(after ordinal: Int64) throws -> [OutgoingMessage]
    func remove(_ message: OutgoingMessage) throws
}

// MARK: - What is kept

/// A delivery of a webhook that has been acknowledged.
struct WebhookDelivery: Sendable {
    /// The store's, where it has one.
    var ordinal: Int64 = 0
    var id: String
    var event: String
    var payload: Data
    var received: Timestamp
    /// What the payload says, where that is what was stored.
    var parsed: GitHubEvent?

    /// How long its id, and what it means, are remembered: GitHub redelivers for three days.
    static let kept = TimeSpan.days(7)
}

extension WebhookDelivery {
    /// What it says; nil for an event of which nothing is made.
    func read() throws -> GitHubEvent? {
        if let parsed { return parsed }
        return try GitHubEvent(event: event, payload: JSON.decode(from: payload))
    }
}

/// What became of a delivery, for people.
struct DeliveryReport: Sendable, Codable {
    var id: String
    var event: String
    var received: Timestamp
    var handled: Timestamp?
    /// One sentence for each Spawner, or why it waits.
    var outcome: String?
}

/// What the forge has been told of a session.
struct ForgeReport: Sendable, Hashable, Codable {
    /// The session's.
    var name: String
    var uid: String
    var spawner: String
    /// `host/owner/name`, as the session's key says it.
    var place: String
    /// `owner/name`, as the forge calls it.
    var repository: String
    var number: Int
    var defaultBranch: String?
    var comment: Int64?
    var written: String?
    var pushed = false
    var pullRequest: Int64?
    var closed = false
}

/// A reaction, or the answer to one comment.
struct OutgoingMessage: Sendable, Hashable, Codable {
    var ordinal: Int64 = 0
    var session: String
    var repository: String
    var number: Int
    var answers: Int64?
    var target: String?
    var reaction: String?
    var made: Timestamp

    /// They tell the same.
    func isRepeat(of other: OutgoingMessage) -> Bool {
        var copy = self
        (copy.ordinal, copy.made) = (other.ordinal, other.made)
        return copy == other
    }
}

extension SpawnerSpec: IndexedSpec {
    static var kind: String { "Spawner" }
    static func sessionName(_ spec: SpawnerSpec, _ status: SpawnerStatus) -> String? { nil }
    static func phaseName(_ status: SpawnerStatus) -> String { "" }
    static func isOpen(_ status: SpawnerStatus) -> Bool { false }
    static func expires(_ spec: SpawnerSpec, _ status: SpawnerStatus) -> Timestamp? { nil }
}
