import Foundation
import GRDB
import SessionModel

/// One transaction of the ``SQLiteStore``.
final class SQLiteTransaction {
    let database: Database
    private(set) var changes: [Change] = []

    init(_ database: Database) { self.database = database }

    var version: String {
        get throws { "\(try Int64.fetchOne(database, sql: "SELECT version FROM counter") ?? 0)" }
    }
}

// MARK: - Any resource

extension SQLiteTransaction {
    func get<Document: StoredResource>(_ type: Document.Type, _ name: String) throws -> Document? {
        let statement = try database.cachedStatement(sql: "SELECT document FROM resource WHERE kind = ? AND name = ?")
        return try String.fetchOne(statement, arguments: [Document.kind, name]).map { try JSON.decode(from: $0) }
    }

    /// Adds a document. Its version is set here.
    @discardableResult
    func insert<Document: StoredResource>(_ document: Document) throws -> Document {
        var document = document
        let version = try nextVersion()
        document.metadata.resourceVersion = "\(version)"
        let statement = try database.cachedStatement(
            sql: """
                INSERT INTO resource (kind, name, uid, version, ordinal, session, phase, open, expires, document)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """)
        try statement.execute(arguments: [
            Document.kind, document.metadata.name, document.metadata.uid, version, version, document.sessionName,
            document.phaseName, document.isOpen, document.expires?.milliseconds, try JSON.string(document),
        ])
        note(document, created: true)
        return document
    }

    /// Writes a document that was read before.
    /// - Throws: ``StoreError/conflict(kind:name:)`` when its version is not the stored one.
    @discardableResult
    func update<Document: StoredResource>(_ document: Document) throws -> Document {
        var document = document
        let read = document.metadata.resourceVersion
        let version = try nextVersion()
        document.metadata.resourceVersion = "\(version)"
        let statement = try database.cachedStatement(
            sql: """
                UPDATE resource SET version = ?, session = ?, phase = ?, open = ?, expires = ?, document = ?
                WHERE kind = ? AND name = ? AND uid = ? AND version = ?
                """)
        try statement.execute(arguments: [
            version, document.sessionName, document.phaseName, document.isOpen,
            document.expires?.milliseconds, try JSON.string(document), Document.kind, document.metadata.name,
            document.metadata.uid, Int64(read),
        ])
        guard database.changesCount == 1 else {
            throw StoreError.conflict(kind: Document.kind, name: document.metadata.name)
        }
        note(document, created: false)
        return document
    }

    func delete<Document: StoredResource>(_ document: Document) throws {
        try database.cachedStatement(sql: "DELETE FROM resource WHERE kind = ? AND name = ? AND uid = ?")
            .execute(arguments: [Document.kind, document.metadata.name, document.metadata.uid])
    }

    private func nextVersion() throws -> Int64 {
        guard
            let version = try Int64.fetchOne(
                database.cachedStatement(sql: "UPDATE counter SET version = version + 1 RETURNING version"))
        else { throw StoreError.notDurable }
        return version
    }

    private func note(_ document: some StoredResource, created: Bool) {
        changes.append(
            Change(
                kind: type(of: document).kind, name: document.metadata.name, session: document.sessionName, created: created,
                expires: document.expires != nil, rests: document.rests))
    }
}

// MARK: - Questions

extension SQLiteTransaction {
    func tasks(session: String?, after rest: String?, limit: Int) throws -> ListPage<TaskResource> {
        try page(of: session, after: rest, limit: limit)
    }

    func openTasks(session: String) throws -> [TaskResource] {
        let statement = try database.cachedStatement(
            sql: "SELECT document FROM resource WHERE session = ? AND kind = 'Task' AND open ORDER BY ordinal")
        return try String.fetchAll(statement, arguments: [session]).map { try JSON.decode(from: $0) }
    }

    func sessions(after rest: String?, limit: Int) throws -> ListPage<SessionResource> {
        try page(after: rest, limit: limit)
    }

    private func page<Document: StoredResource & Sendable>(
        of session: String? = nil, after rest: String?, limit: Int
    ) throws -> ListPage<Document> {
        let sql = """
            SELECT ordinal, document FROM resource WHERE kind = ? AND ordinal < ? \(session == nil ? "" : "AND session = ?")
            ORDER BY ordinal DESC LIMIT ?
            """
        let arguments: StatementArguments = [Document.kind, try Self.ordinal(rest)] + (session.map { [$0] } ?? []) + [limit + 1]
        return try ListPage(
            try Row.fetchAll(database, sql: sql, arguments: arguments), limit: limit, place: { "\($0[0] as Int64)" },
            item: { try JSON.decode(from: $0[1] as String) })
    }

    /// Before which ordinal the rest of a list begins.
    static func ordinal(_ rest: String?) throws(Problem) -> Int64 {
        guard let rest else { return .max }
        guard let ordinal = Int64(rest) else { throw .unknownContinuation }
        return ordinal
    }

    func openSessionNames() throws -> [String] {
        try String.fetchAll(database, sql: "SELECT name FROM resource WHERE kind = 'Session' AND open ORDER BY ordinal")
    }

    func sessionNames(prefix: String) throws -> [String] {
        try String.fetchAll(
            database, sql: "SELECT name FROM resource WHERE kind = 'Session' AND name >= ? AND name < ? ORDER BY name LIMIT 2",
            arguments: [prefix, prefix + "~"])
    }

    var nextExpiry: Timestamp? {
        get throws {
            try Int64.fetchOne(database, sql: "SELECT MIN(expires) FROM resource WHERE expires IS NOT NULL")
                .map { Timestamp(milliseconds: $0) }
        }
    }

    func firstExpired(at now: Timestamp) throws -> (kind: String, name: String)? {
        try Row.fetchOne(
            database, sql: "SELECT kind, name FROM resource WHERE expires <= ? ORDER BY expires LIMIT 1",
            arguments: [now.milliseconds]
        ).map { ($0[0], $0[1]) }
    }

    func phaseCounts() throws -> [(kind: String, phase: String, count: Int)] {
        try Row.fetchAll(database, sql: "SELECT kind, phase, COUNT(*) FROM resource GROUP BY kind, phase ORDER BY kind, phase")
            .map { ($0[0], $0[1], $0[2]) }
    }

    func waitingTasks() throws -> [(phase: String, count: Int)] {
        try Row.fetchAll(
            database,
            sql: """
                SELECT session.phase, COUNT(*) FROM resource AS task
                JOIN resource AS session ON session.kind = 'Session' AND session.name = task.session
                WHERE task.kind = 'Task' AND task.open AND task.phase = 'Pending' GROUP BY session.phase
                """
        ).map { ($0[0], $0[1]) }
    }
}

// MARK: - Idempotency keys

extension SQLiteTransaction {
    func key(_ key: String, at now: Timestamp) throws -> StoredKey? {
        try Row.fetchOne(
            database.cachedStatement(sql: "SELECT digest, task FROM idempotencyKey WHERE key = ? AND expires > ?"),
            arguments: [key, now.milliseconds]
        ).map { StoredKey(digest: $0[0], task: $0[1]) }
    }

    /// Keeps a key, and forgets the ones whose time is up.
    func keep(_ key: String, digest: String, task: String, until expiry: Timestamp, at now: Timestamp) throws {
        try database.cachedStatement(sql: "DELETE FROM idempotencyKey WHERE expires <= ?").execute(arguments: [now.milliseconds])
        try database.cachedStatement(sql: "INSERT INTO idempotencyKey VALUES (?, ?, ?, ?)")
            .execute(arguments: [key, digest, task, expiry.milliseconds])
    }
}

// MARK: - What the rules ask

extension SQLiteTransaction: StoreTransaction {
    func session(named name: String) throws -> SessionResource? { try get(SessionResource.self, name) }
    func task(named name: String) throws -> TaskResource? { try get(TaskResource.self, name) }
}
