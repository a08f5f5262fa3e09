import SessionModel
import Testing

/// What a session's conditions say of how it was made.
@Suite struct SessionConditionTests {
    private let now = Timestamp(milliseconds: 1_795_000_000_000)

    /// The conditions that a new session is stored with.
    private func conditions(_ key: String, storage: SessionStorage?) throws -> [Condition] {
        let key = try SessionKey(parsing: key)
        var worker = AgentDescription(driver: .acp, command: ["x"])
        worker.storage = storage
        let session = SessionResource(
            kind: "Session", metadata: Metadata(name: key.name, uid: "u", resourceVersion: "1", creationTimestamp: now),
            spec: SessionSpec(key: key, scope: ScopeSpec(kind: key.kind), worker: worker),
            status: SessionResourceStatus(since: now))
        var reconciler = SessionReconciler(session)
        reconciler.take(.restored, at: now)
        while let step = reconciler.next(at: now) {
            if case .store(let write) = step { return write.status.conditions }
            reconciler.answer(.loaded(session, []), at: now)
        }
        return []
    }

    @Test(arguments: [
        ("pr:a/b#1", SessionStorage.emptyDir, true), ("pr:a/b#1", nil, false), ("issue:a/b#1", .persistentVolumeClaim, false),
        ("commit:u", nil, false), ("commit:u", .emptyDir, false),
    ])
    func oneThatIsNotKeptSaysSo(key: String, storage: SessionStorage?, says: Bool) throws {
        let conditions = try conditions(key, storage: storage)
        #expect(conditions.contains { $0.type == "Ready" })
        let told = conditions.first { $0.type == "Ephemeral" }
        #expect((told != nil) == says)
        if let told { #expect(told.status == .true && told.message.contains("it begins anew; to keep them")) }
    }
}
