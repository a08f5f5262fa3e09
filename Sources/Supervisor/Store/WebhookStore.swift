import Foundation
import GRDB
import SessionModel

extension SQLiteTransaction {
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

    func keep(_ delivery: WebhookDelivery, subject: String) throws -> Bool {
        try database.execute(
            sql: "DELETE FROM delivery WHERE handled IS NOT NULL AND received < ?",
            arguments: [delivery.received.milliseconds - WebhookDelivery.kept.milliseconds])
        try database.execute(
            sql: """
                INSERT INTO delivery (id, event, payload, received, subject) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
                """, arguments: [delivery.id, delivery.event, delivery.payload, delivery.received.milliseconds, subject])
        return database.changesCount == 1
    }

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

    func openDeliveries() throws -> Int {
        try Int.fetchOne(database, sql: "SELECT COUNT(*) FROM delivery WHERE handled IS NULL") ?? 0
    }

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

    func postpone(_ delivery: WebhookDelivery, outcome: String, until due: Timestamp, waitsFor spawner: String?) throws {
        try database.execute(
            sql: "UPDATE delivery SET outcome = ?, due = ?, waitsFor = ? WHERE ordinal = ?",
            arguments: [outcome, due.milliseconds, spawner, delivery.ordinal])
    }

    func makeRoom(all: Bool) throws {
        try database.execute(
            sql: all
                ? "UPDATE delivery SET due = NULL WHERE handled IS NULL AND due IS NOT NULL"
                : """
                UPDATE delivery SET due = NULL WHERE ordinal IN (
                    SELECT MIN(ordinal) FROM delivery WHERE handled IS NULL AND waitsFor IS NOT NULL GROUP BY waitsFor)
                """)
    }

    func deliveries(after rest: String?, limit: Int) throws -> ListPage<DeliveryReport> {
        let rows = try Row.fetchAll(
            database,
            sql: """
                SELECT id, event, received, handled, outcome, ordinal FROM delivery WHERE ordinal < ?
                ORDER BY ordinal DESC LIMIT ?
                """, arguments: [try Self.ordinal(rest), limit + 1])
        return ListPage(rows, limit: limit, place: { "\($0[5] as Int64)" }) { row in
            DeliveryReport(
                id: row[0], event: row[1], received: Timestamp(milliseconds: row[2]),
                handled: (row[3] as Int64?).map { Timestamp(milliseconds: $0) }, outcome: row[4])
        }
    }

    func keep(pushed commits: [String], of session: String, at now: Timestamp) throws {
        if var report = try report(session), !report.pushed {
            report.pushed = true
            try keep(report)
        }
        try database.execute(sql: "DELETE FROM pushedCommit WHERE expires <= ?", arguments: [now.milliseconds])
        for commit in commits {
            try database.execute(
                sql: "INSERT OR REPLACE INTO pushedCommit VALUES (?, ?)",
                arguments: [commit, (now + WebhookDelivery.kept).milliseconds])
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

    func spawner(named name: String) throws -> SpawnerResource? { try get(SpawnerResource.self, name) }
}

// MARK: - Repositories

extension SQLiteTransaction {
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

extension SQLiteTransaction {
    func report(_ name: String) throws -> ForgeReport? {
        try Row.fetchOne(database, sql: "SELECT * FROM report WHERE name = ?", arguments: [name]).map(Self.report)
    }

    func openReports() throws -> [String] {
        try String.fetchAll(database, sql: "SELECT name FROM report WHERE NOT closed ORDER BY name")
    }

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

    func forgetReport(_ name: String) throws {
        try database.execute(sql: "DELETE FROM report WHERE name = ?", arguments: [name])
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

    func remove(_ message: OutgoingMessage) throws {
        try database.execute(sql: "DELETE FROM outgoing WHERE ordinal = ?", arguments: [message.ordinal])
    }
}

// MARK: - One transaction for all of it

extension SQLiteTransaction: ForgeTransaction {
    /// All that a delivery asks for is done in one transaction.
    func make(
        _ request: TaskRouting.Request, of delivery: WebhookDelivery, at now: Timestamp
    ) throws -> TaskRouting.Answer {
        try TaskRouting.create(request, at: now, in: self)
    }
}

extension SQLiteStore: ForgeStore {
    @discardableResult
    func access<Value: Sendable>(
        _ body: @escaping @Sendable (any ForgeTransaction) throws -> Value
    ) async throws -> Value {
        try await transact { try body($0) }
    }

    /// It is, from the beginning.
    func settle(_ task: String) {}
}
