import SessionModel

/// The definitions of the custom resources, made from the types that read them.
public enum CustomResources {
    /// Each as its file in `deploy/crds` has it.
    public static func definitions() throws -> [GenericObject] {
        [
            try definition(
                .tasks, singular: "task", shortName: "htask", spec: TaskSpec.self, status: TaskStatus.self, rules: taskRules,
                columns: [
                    ("Scope", "string", ".spec.scope.kind", 0), ("Phase", "string", ".status.phase", 0),
                    ("Session", "string", ".status.session", 0), ("Turn", "string", ".status.turn", 0),
                    ("Reason", "string", ".status.reason", 0), ("Message", "string", ".status.message", 1),
                    ("Age", "date", ".metadata.creationTimestamp", 0),
                ]),
            try definition(
                .sessions, singular: "session", shortName: "hsession", spec: SessionSpec.self,
                status: SessionResourceStatus.self, rules: sessionRules,
                columns: [
                    ("Key", "string", ".spec.key", 0), ("Phase", "string", ".status.phase", 0),
                    ("Epoch", "integer", ".status.epoch", 0), ("Busy", "boolean", ".status.activity.busy", 0),
                    ("Queued", "integer", ".status.activity.queued", 0),
                    ("Branch", "string", ".status.workspace.branch", 1), ("Message", "string", ".status.message", 1),
                    ("Age", "date", ".metadata.creationTimestamp", 0),
                ]),
            try definition(
                .spawners, singular: "spawner", shortName: "hspawner", spec: SpawnerSpec.self, status: SpawnerStatus.self,
                rules: spawnerRules,
                columns: [
                    ("Repository", "string", ".spec.when.githubWebhook.repository", 0),
                    ("Ready", "string", #".status.conditions[?(@.type=="Ready")].status"#, 0),
                    ("Tasks", "integer", ".status.tasks", 0), ("Last event", "date", ".status.lastEventTime", 0),
                    ("Suspended", "boolean", ".spec.suspend", 1),
                    ("Message", "string", #".status.conditions[?(@.type=="Ready")].message"#, 1),
                    ("Age", "date", ".metadata.creationTimestamp", 0),
                ]),
        ]
    }

    /// What types read that are written as one text.
    static let samples = [
        SchemaSample(TimeSpan.self, "1s"), SchemaSample(Timestamp.self, "2026-01-01T00:00:00Z"),
        SchemaSample(SessionKey.self, "pr:github.com/a/b#1"), SchemaSample(TurnID.self, "t1"),
        SchemaSample(Cursor.self, "0123456789abcdef-1"), SchemaSample(OnInterrupt.self, "Fail"),
    ]

    private static func definition<Spec: Decodable, Status: Decodable>(
        _ type: ResourceType, singular: String, shortName: String, spec: Spec.Type, status: Status.Type,
        rules: [String: FieldRules], columns: [(name: String, type: String, path: String, priority: Int64)]
    ) throws -> GenericObject {
        let schema = Schema(rules: rules, formats: formats)
        let shape = Shape.object(try shapes(spec, status), required: ["spec"])
        let version: JSONValue = [
            "name": .string(type.version), "served": true, "storage": true, "subresources": ["status": [:]],
            "schema": ["openAPIV3Schema": schema.json(shape, at: "")],
            "additionalPrinterColumns": .array(
                columns.map { column in
                    var fields: [String: JSONValue] = [
                        "name": .string(column.name), "type": .string(column.type), "jsonPath": .string(column.path),
                    ]
                    if column.priority > 0 { fields["priority"] = .integer(column.priority) }
                    return .object(fields)
                }),
        ]
        return GenericObject(
            .definitions, metadata: ObjectMeta(name: type.qualifiedName),
            members: [
                "spec": [
                    "group": .string(type.group), "scope": "Namespaced", "versions": [version],
                    "names": [
                        "plural": .string(type.plural), "singular": .string(singular), "kind": .string(type.kind),
                        "listKind": .string(type.kind + "List"), "shortNames": [.string(shortName)], "categories": ["holdfast"],
                    ],
                ]
            ])
    }

    static func shapes<Spec: Decodable, Status: Decodable>(_: Spec.Type, _: Status.Type) throws -> [String: Shape] {
        ["spec": try Shape.of(Spec.self, samples: samples), "status": try Shape.of(Status.self, samples: samples)]
    }
}
