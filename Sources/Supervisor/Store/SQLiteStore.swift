import Foundation
import GRDB
import NIOConcurrencyHelpers
import SessionModel

/// Tasks and Sessions in SQLite, with optimistic versions and a change feed: what the API server is to Kubernetes mode.
///
/// Every write is one transaction that is on disk when it returns (WAL with `synchronous=FULL`). Changes are told to observers
/// after their commit and in its order, so nobody polls.
final class SQLiteStore: Store {
    private let pool: DatabasePool
    let feed = ChangeFeed()

    /// Opens or makes the database.
    init(path: String) throws {
        var configuration = Configuration()
        configuration.label = "store"
        configuration.busyMode = .timeout(5)
        pool = try DatabasePool(path: path, configuration: configuration)
        // A pool sets NORMAL when it turns WAL on, and then a power loss could take back what was acknowledged.
        try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
        guard try synchronous == 2 else { throw StoreError.notDurable }
        try Self.migrate(pool)
    }

    /// The writer's `synchronous` setting; 2 is FULL.
    var synchronous: Int {
        get throws { try pool.writeWithoutTransaction { try Int.fetchOne($0, sql: "PRAGMA synchronous") ?? 0 } }
    }

    func read<Value: Sendable>(_ body: @escaping @Sendable (any StoreTransaction) throws -> Value) async throws -> Value {
        try await pool.read { try body(SQLiteTransaction($0)) }
    }

    /// Runs `body` in one transaction. It is undone when `body` throws.
    @discardableResult
    func write<Value: Sendable>(_ body: @escaping @Sendable (any StoreTransaction) throws -> Value) async throws -> Value {
        try await transact { try body($0) }
    }

    /// The same, for what only this store keeps.
    @discardableResult
    func transact<Value: Sendable>(_ body: @escaping @Sendable (SQLiteTransaction) throws -> Value) async throws -> Value {
        let feed = feed
        return try await pool.writeWithoutTransaction { database in
            let transaction = SQLiteTransaction(database)
            var value: Value?
            try database.inTransaction(.immediate) {
                value = try body(transaction)
                return .commit
            }
            // Still on the writer's queue, so the order is that of the commits.
            feed.publish(transaction.changes)
            guard let value else { throw StoreError.notDurable }
            return value
        }
    }

    func create(_ request: TaskRouting.Request) async throws -> TaskRouting.Answer {
        try await write { try TaskRouting.create(request, at: .now, in: $0) }
    }

    func close() throws { try pool.close() }

    private static func migrate(_ pool: DatabasePool) throws {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { database in
            try database.execute(
                sql: """
                    CREATE TABLE resource (
                        kind TEXT NOT NULL,
                        name TEXT NOT NULL,
                        uid TEXT NOT NULL UNIQUE,
                        version INTEGER NOT NULL,
                        -- The version at its creation: the order in which Tasks run.
                        ordinal INTEGER NOT NULL,
                        -- The name of the Session that a Task belongs to.
                        session TEXT,
                        phase TEXT NOT NULL,
                        -- Whether something is still to be done for it.
                        open INTEGER NOT NULL,
                        document TEXT NOT NULL,
                        PRIMARY KEY (kind, name)
                    ) WITHOUT ROWID;
                    CREATE INDEX resourceOrdinal ON resource (kind, ordinal);
                    CREATE INDEX resourceSession ON resource (session, ordinal) WHERE session IS NOT NULL;
                    CREATE INDEX resourceOpen ON resource (kind, ordinal) WHERE open;
                    CREATE TABLE idempotencyKey (
                        key TEXT PRIMARY KEY NOT NULL,
                        digest TEXT NOT NULL,
                        task TEXT NOT NULL,
                        expires INTEGER NOT NULL
                    ) WITHOUT ROWID;
                    CREATE INDEX idempotencyKeyExpires ON idempotencyKey (expires);
                    CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL);
                    INSERT INTO counter VALUES (1, 0);
                    """)
        }
        migrator.registerMigration("2") { database in
            // When a resource is to be deleted.
            try database.execute(
                sql: """
                    ALTER TABLE resource ADD COLUMN expires INTEGER;
                    CREATE INDEX resourceExpires ON resource (expires) WHERE expires IS NOT NULL;
                    """)
        }
        migrator.registerMigration("3") { database in
            // A resource's version was written as a number; it is a text, as in a cluster.
            try database.execute(
                sql: "UPDATE resource SET document = json_set(document, '$.metadata.resourceVersion', CAST(version AS TEXT))")
        }
        migrator.registerMigration("webhooks", migrate: SQLiteTransaction.migrateWebhooks)
        migrator.registerMigration("4") { database in
            // What had ended before there was a time for it to be deleted.
            let ended = try Row.fetchAll(
                database,
                sql: """
                    SELECT kind, name, document FROM resource
                    WHERE kind IN ('Session', 'Task') AND NOT open AND expires IS NULL
                    """)
            for row in ended {
                let (kind, name, document): (String, String, String) = (row[0], row[1], row[2])
                let expires =
                    kind == SessionSpec.kind
                    ? try JSON.decode(SessionResource.self, from: document).expires
                    : try JSON.decode(TaskResource.self, from: document).expires
                try database.execute(
                    sql: "UPDATE resource SET expires = ? WHERE kind = ? AND name = ?",
                    arguments: [expires?.milliseconds, kind, name])
            }
        }
        migrator.registerMigration("reports", migrate: SQLiteTransaction.migrateReports)
        try migrator.migrate(pool)
    }
}
