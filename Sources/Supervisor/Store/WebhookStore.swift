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

    /// - Returns: false when it has come before.
    func keep(delivery id: String, event: String, payload: Data, at now: Timestamp) throws -> Bool {
        try database.execute(
            sql: "DELETE FROM delivery WHERE handled IS NOT NULL AND received < ?",
            arguments: [now.milliseconds - Self.deliveriesKept.milliseconds])
        try database.execute(
            sql: "INSERT INTO delivery (id, event, payload, received) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            arguments: [id, event, payload, now.milliseconds])
        return database.changesCount == 1
    }

    /// Deliveries that are to be handled, in the order in which they came.
    func openDeliveries(after ordinal: Int64, limit: Int) throws -> [WebhookDelivery] {
        try Row.fetchAll(
            database,
            sql: """
                SELECT ordinal, id, event, payload, received FROM delivery WHERE handled IS NULL AND ordinal > ?
                ORDER BY ordinal LIMIT ?
                """, arguments: [ordinal, limit]
        ).map {
            WebhookDelivery(
                ordinal: $0[0], id: $0[1], event: $0[2], payload: $0[3], received: Timestamp(milliseconds: $0[4]))
        }
    }

    /// - Parameter done: false while it waits for something, which `outcome` names.
    func note(_ delivery: WebhookDelivery, outcome: String, done: Bool, at now: Timestamp) throws {
        try database.execute(
            sql: """
                UPDATE delivery SET outcome = ?, handled = ?, payload = CASE WHEN ? THEN x'' ELSE payload END
                WHERE ordinal = ? AND (? OR outcome IS NOT ?)
                """, arguments: [outcome, done ? now.milliseconds : nil, done, delivery.ordinal, done, outcome])
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

extension SpawnerSpec: IndexedSpec {
    static var kind: String { "Spawner" }
    static func sessionName(_ spec: SpawnerSpec, _ status: SpawnerStatus) -> String? { nil }
    static func phaseName(_ status: SpawnerStatus) -> String { "" }
    static func isOpen(_ status: SpawnerStatus) -> Bool { false }
    static func expires(_ spec: SpawnerSpec, _ status: SpawnerStatus) -> Timestamp? { nil }
}
