import Foundation
import GRDB
import SessionModel

/// A delivery of a webhook that has been acknowledged.
struct WebhookDelivery: Sendable {
    var ordinal: Int64
    var id: String
    var event: String
    var payload: Data
    var received: Timestamp
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

extension SQLiteTransaction {
    /// How long the ids of deliveries are remembered: GitHub redelivers for three days.
    static let deliveriesKept = TimeSpan.days(7)

    static func migrateWebhooks(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE delivery (
                    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
                    -- The forge's.
                    id TEXT NOT NULL UNIQUE,
                    event TEXT NOT NULL,
                    -- As it came; emptied once it is handled.
                    payload BLOB NOT NULL,
                    received INTEGER NOT NULL,
                    handled INTEGER,
                    outcome TEXT
                );
                CREATE INDEX deliveryOpen ON delivery (ordinal) WHERE handled IS NULL;
                -- What sessions have pushed through the git gateway, so that they are not told of it.
                CREATE TABLE pushedCommit (name TEXT PRIMARY KEY NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
                """)
    }

    static func migrateReports(_ database: Database) throws {
        try database.execute(
            sql: """
                -- The issue or pull request that it is about: its deliveries are handled in their order.
                ALTER TABLE delivery ADD COLUMN subject TEXT NOT NULL DEFAULT '';
                -- Of one that waits: when it is to be looked at again, and the Spawner that has no room for it.
                ALTER TABLE delivery ADD COLUMN due INTEGER;
                ALTER TABLE delivery ADD COLUMN waitsFor TEXT;
                CREATE INDEX deliverySubject ON delivery (subject, ordinal) WHERE handled IS NULL;
                CREATE INDEX deliveryDue ON delivery (due) WHERE handled IS NULL;
                CREATE INDEX deliveryWaits ON delivery (waitsFor, ordinal) WHERE handled IS NULL AND waitsFor IS NOT NULL;
                -- The name under which a repository's sessions are known, although it may be called otherwise now.
                CREATE TABLE repository (
                    host TEXT NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL UNIQUE, PRIMARY KEY (host, id)
                ) WITHOUT ROWID;
                -- What the forge is told of a session that events have made.
                CREATE TABLE report (
                    -- The session's.
                    name TEXT PRIMARY KEY NOT NULL,
                    uid TEXT NOT NULL,
                    spawner TEXT NOT NULL,
                    -- As the keys of its sessions say it, and as its API is asked for it.
                    place TEXT NOT NULL,
                    repository TEXT NOT NULL,
                    number INTEGER NOT NULL,
                    defaultBranch TEXT,
                    comment INTEGER,
                    -- What the comment says.
                    written TEXT,
                    -- The session has pushed, or may have.
                    pushed INTEGER NOT NULL DEFAULT 0,
                    pullRequest INTEGER,
                    -- Nothing of it will change any more.
                    closed INTEGER NOT NULL DEFAULT 0
                ) WITHOUT ROWID;
                CREATE INDEX reportOpen ON report (name) WHERE NOT closed;
                CREATE INDEX reportPullRequest ON report (place, pullRequest) WHERE pullRequest IS NOT NULL;
                -- What the forge is to be told once.
                CREATE TABLE outgoing (
                    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
                    session TEXT NOT NULL,
                    repository TEXT NOT NULL,
                    number INTEGER NOT NULL,
                    -- The comment that is answered, or what gets the reaction.
                    answers INTEGER,
                    target TEXT,
                    reaction TEXT,
                    made INTEGER NOT NULL
                );
                """)
    }

    /// - Parameter subject: what it is about; deliveries of one subject are handled in their order.
    /// - Returns: false when it has come before.
    func keep(
        delivery id: String, event: String, payload: Data, subject: String = "", at now: Timestamp
    ) throws -> Bool {
        try database.execute(
            sql: "DELETE FROM delivery WHERE handled IS NOT NULL AND received < ?",
            arguments: [now.milliseconds - Self.deliveriesKept.milliseconds])
        try database.execute(
            sql: """
                INSERT INTO delivery (id, event, payload, received, subject) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
                """, arguments: [id, event, payload, now.milliseconds, subject])
        return database.changesCount == 1
    }

    /// Deliveries that can be handled now, in the order in which they came: none behind an earlier one of its subject that waits.
    func dueDeliveries(limit: Int, at now: Timestamp) throws -> [WebhookDelivery] {
        try Row.fetchAll(
            database,
            sql: """
                SELECT ordinal, id, event, payload, received FROM delivery
                WHERE handled IS NULL AND (due IS NULL OR due <= :now) AND (subject = '' OR NOT EXISTS (
                    SELECT 1 FROM delivery AS earlier
                    WHERE earlier.handled IS NULL AND earlier.subject = delivery.subject AND earlier.ordinal < delivery.ordinal
                        AND earlier.due > :now
                ))
                ORDER BY ordinal LIMIT :limit
                """, arguments: ["now": now.milliseconds, "limit": limit]
        ).map {
            WebhookDelivery(
                ordinal: $0[0], id: $0[1], event: $0[2], payload: $0[3], received: Timestamp(milliseconds: $0[4]))
        }
    }

    /// How many deliveries have not been handled.
    func openDeliveries() throws -> Int {
        try Int.fetchOne(database, sql: "SELECT COUNT(*) FROM delivery WHERE handled IS NULL") ?? 0
    }

    /// When the next delivery that waits is to be looked at again.
    func nextDelivery(after now: Timestamp) throws -> Timestamp? {
        try Int64.fetchOne(
            database, sql: "SELECT MIN(due) FROM delivery WHERE handled IS NULL AND due > ?", arguments: [now.milliseconds]
        ).map { Timestamp(milliseconds: $0) }
    }

    func handled(_ delivery: WebhookDelivery, outcome: String, at now: Timestamp) throws {
        try database.execute(
            sql: "UPDATE delivery SET outcome = ?, handled = ?, payload = x'' WHERE ordinal = ?",
            arguments: [outcome, now.milliseconds, delivery.ordinal])
    }

    /// - Parameters:
    ///   - outcome: what it waits for.
    ///   - spawner: that has no room for it: ``makeRoom(at:)`` ends the waiting.
    func postpone(_ delivery: WebhookDelivery, outcome: String, until due: Timestamp, waitsFor spawner: String?) throws {
        try database.execute(
            sql: "UPDATE delivery SET outcome = ?, due = ?, waitsFor = ? WHERE ordinal = ?",
            arguments: [outcome, due.milliseconds, spawner, delivery.ordinal])
    }

    /// For each Spawner the first that waits for room is looked at again.
    /// - Parameter all: everything that waits, for whatever.
    func makeRoom(all: Bool = false) throws {
        try database.execute(
            sql: all
                ? "UPDATE delivery SET due = NULL WHERE handled IS NULL AND due IS NOT NULL"
                : """
                UPDATE delivery SET due = NULL WHERE ordinal IN (
                    SELECT MIN(ordinal) FROM delivery WHERE handled IS NULL AND waitsFor IS NOT NULL GROUP BY waitsFor)
                """)
    }

    /// The newest first.
    func deliveries(limit: Int) throws -> [DeliveryReport] {
        try Row.fetchAll(
            database, sql: "SELECT id, event, received, handled, outcome FROM delivery ORDER BY ordinal DESC LIMIT ?",
            arguments: [limit]
        ).map { row in
            DeliveryReport(
                id: row[0], event: row[1], received: Timestamp(milliseconds: row[2]),
                handled: (row[3] as Int64?).map { Timestamp(milliseconds: $0) }, outcome: row[4])
        }
    }

    func keep(pushed commits: [String], at now: Timestamp) throws {
        try database.execute(sql: "DELETE FROM pushedCommit WHERE expires <= ?", arguments: [now.milliseconds])
        for commit in commits {
            try database.execute(
                sql: "INSERT OR REPLACE INTO pushedCommit VALUES (?, ?)",
                arguments: [commit, (now + Self.deliveriesKept).milliseconds])
        }
    }

    func isPushed(_ commit: String) throws -> Bool {
        try Bool.fetchOne(
            database, sql: "SELECT EXISTS (SELECT 1 FROM pushedCommit WHERE name = ?)", arguments: [commit]) ?? false
    }

    func spawners() throws -> [SpawnerResource] {
        try String.fetchAll(database, sql: "SELECT document FROM resource WHERE kind = 'Spawner' ORDER BY name")
            .map { try JSON.decode(from: $0) }
    }
}

// MARK: - Repositories

extension SQLiteTransaction {
    /// The name under which a repository's sessions are known: the one that it had when it was first heard of.
    func knownName(host: String, id: Int64, present name: String) throws -> String {
        if let known = try String.fetchOne(
            database, sql: "SELECT name FROM repository WHERE host = ? AND id = ?", arguments: [host, id])
        {
            return known
        }
        // Another one that was called so before has the name, and keeps its sessions.
        let known = try [name.lowercased(), "\(name.lowercased()):\(id)"].first { name in
            try database.execute(
                sql: "INSERT INTO repository VALUES (?, ?, ?) ON CONFLICT DO NOTHING", arguments: [host, id, name])
            return database.changesCount == 1
        }
        return known ?? name
    }
}

// MARK: - Reports

/// What the forge has been told of a session.
struct ForgeReport: Sendable, Hashable {
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
struct OutgoingMessage: Sendable, Hashable {
    var ordinal: Int64 = 0
    var session: String
    var repository: String
    var number: Int
    var answers: Int64?
    var target: String?
    var reaction: String?
    var made: Timestamp
}

extension SQLiteTransaction {
    func report(_ name: String) throws -> ForgeReport? {
        try Row.fetchOne(database, sql: "SELECT * FROM report WHERE name = ?", arguments: [name]).map(Self.report)
    }

    /// The names of the sessions of which something may still be told.
    func openReports() throws -> [String] {
        try String.fetchAll(database, sql: "SELECT name FROM report WHERE NOT closed ORDER BY name")
    }

    /// The report of the session that has opened a pull request.
    func report(place: String, pullRequest: Int) throws -> ForgeReport? {
        try Row.fetchOne(
            database, sql: "SELECT * FROM report WHERE place = ? AND pullRequest = ?", arguments: [place, pullRequest]
        ).map(Self.report)
    }

    func keep(_ report: ForgeReport) throws {
        try database.execute(
            sql: "INSERT OR REPLACE INTO report VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            arguments: [
                report.name, report.uid, report.spawner, report.place, report.repository, report.number, report.defaultBranch,
                report.comment, report.written, report.pushed, report.pullRequest, report.closed,
            ])
    }

    private static func report(_ row: Row) -> ForgeReport {
        ForgeReport(
            name: row[0], uid: row[1], spawner: row[2], place: row[3], repository: row[4], number: row[5],
            defaultBranch: row[6], comment: row[7], written: row[8], pushed: row[9], pullRequest: row[10], closed: row[11])
    }

    func add(_ message: OutgoingMessage) throws {
        try database.execute(
            sql: """
                INSERT INTO outgoing (session, repository, number, answers, target, reaction, made) VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                message.session, message.repository, message.number, message.answers, message.target, message.reaction,
                message.made.milliseconds,
            ])
    }

    func outgoing(after ordinal: Int64) throws -> [OutgoingMessage] {
        try Row.fetchAll(
            database,
            sql: """
                SELECT ordinal, session, repository, number, answers, target, reaction, made FROM outgoing
                WHERE ordinal > ? ORDER BY ordinal
                """, arguments: [ordinal]
        ).map {
            OutgoingMessage(
                ordinal: $0[0], session: $0[1], repository: $0[2], number: $0[3], answers: $0[4], target: $0[5], reaction: $0[6],
                made: Timestamp(milliseconds: $0[7]))
        }
    }

    func remove(outgoing ordinal: Int64) throws {
        try database.execute(sql: "DELETE FROM outgoing WHERE ordinal = ?", arguments: [ordinal])
    }
}

extension SpawnerSpec: IndexedSpec {
    static var kind: String { "Spawner" }
    static func sessionName(_ spec: SpawnerSpec, _ status: SpawnerStatus) -> String? { nil }
    static func phaseName(_ status: SpawnerStatus) -> String { "" }
    static func isOpen(_ status: SpawnerStatus) -> Bool { false }
    static func expires(_ spec: SpawnerSpec, _ status: SpawnerStatus) -> Timestamp? { nil }
}
