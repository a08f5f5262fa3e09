import Foundation
public import SessionModel

/// The objects of an API server and their history: pure but for the uids it makes up.
///
/// It does what recorded exchanges of a 1.36 server show. It knows no validation beyond required names, no CEL, no admission and
/// no authorisation.
public struct Cluster: Sendable {
    /// A type of objects that it serves.
    public struct Kind: Sendable, Hashable {
        public var group: String
        public var version: String
        public var plural: String
        public var kind: String
        public var isNamespaced: Bool
        public var hasStatus: Bool
        public var hasGeneration = false
        public var schema: JSONValue?

        var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }
        var qualifiedName: String { group.isEmpty ? plural : "\(plural).\(group)" }
        /// A custom resource's errors name the kind where a built-in one's name the plural; conflicts always name the plural.
        var isCustom: Bool { schema != nil }
    }

    struct Key: Hashable, Comparable {
        var kind: String
        var namespace: String
        var name: String
        static func < (a: Key, b: Key) -> Bool { (a.namespace, a.name) < (b.namespace, b.name) }
    }

    struct Change: Sendable {
        var version: Int64
        var kind: String
        /// Nil when it was created.
        var before: JSONValue?
        /// The last state, of a deleted one with the version of its deletion.
        var after: JSONValue
        var isDeletion: Bool
    }

    private(set) var kinds: [Kind]
    var objects: [Key: JSONValue] = [:]
    var version: Int64
    private(set) var history: [Change] = []
    /// Changes up to here are forgotten.
    private(set) var compacted: Int64 = 0
    var now: @Sendable () -> Timestamp
    /// What is to be deleted without its dependents, and how often the garbage collector passes by before it sees to that: until
    /// then the object is there, and its name is taken.
    private var orphaning: [Key: Int] = [:]

    public init(version: Int64 = 320, now: @escaping @Sendable () -> Timestamp) {
        self.version = version
        self.now = now
        func kind(_ group: String, _ plural: String, _ kind: String, namespaced: Bool = true, status: Bool = false) -> Kind {
            Kind(group: group, version: "v1", plural: plural, kind: kind, isNamespaced: namespaced, hasStatus: status)
        }
        kinds = [
            kind("", "namespaces", "Namespace", namespaced: false, status: true),
            kind("", "nodes", "Node", namespaced: false, status: true),
            kind("", "pods", "Pod", status: true), kind("", "secrets", "Secret"), kind("", "configmaps", "ConfigMap"),
            kind("", "persistentvolumeclaims", "PersistentVolumeClaim", status: true),
            kind("coordination.k8s.io", "leases", "Lease"), kind("events.k8s.io", "events", "Event"),
            kind("", "events", "Event"),
            kind(
                "apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition", namespaced: false, status: true),
        ]
        for name in ["default", "kube-system"] {
            let metadata: JSONValue = ["name": .string(name), "uid": .string(UUID().uuidString.lowercased())]
            objects[Key(kind: "namespaces", namespace: "", name: name)] = [
                "kind": "Namespace", "apiVersion": "v1", "metadata": metadata.with("resourceVersion", "1"),
                "status": ["phase": "Active"],
            ]
        }
    }

    func kind(group: String, version: String, plural: String) -> Kind? {
        kinds.first { $0.group == group && $0.version == version && $0.plural == plural }
    }

    // MARK: Writing

    /// Stores a new state of an object and tells it. Nothing happens when nothing has changed.
    mutating func put(_ object: JSONValue, as key: Key, of kind: Kind) -> JSONValue {
        let before = objects[key]
        if let before, before.without("metadata", "resourceVersion") == object.without("metadata", "resourceVersion") {
            return before
        }
        version += 1
        let stored = object.setting("metadata", "resourceVersion", .string("\(version)"))
        objects[key] = stored
        history.append(Change(version: version, kind: kind.qualifiedName, before: before, after: stored, isDeletion: false))
        if kind.plural == "customresourcedefinitions" { serve(stored) }
        return stored
    }

    mutating func remove(_ key: Key) {
        guard let before = objects.removeValue(forKey: key) else { return }
        version += 1
        let last = before.setting("metadata", "resourceVersion", .string("\(version)"))
        history.append(Change(version: version, kind: key.kind, before: before, after: last, isDeletion: true))
        if key.kind == "namespaces" {
            for inside in objects.keys.filter({ $0.namespace == key.name }).sorted() { remove(inside) }
        }
        if key.kind == "customresourcedefinitions.apiextensions.k8s.io" {
            kinds.removeAll { $0.qualifiedName == key.name }
            for object in objects.keys.filter({ $0.kind == key.name }) { remove(object) }
        }
    }

    /// Forgets the history: who watches from before now is told 410.
    public mutating func compact() {
        compacted = version
        history = []
    }

    /// A restored backup: versions go on from an earlier one, and of the custom objects only one is there.
    public mutating func restore(toVersion version: Int64, keeping name: String) {
        objects = objects.filter { key, _ in
            key.name == name || !(kinds.first { $0.qualifiedName == key.kind }?.isCustom ?? false)
        }
        self.version = version
        history = []
        compacted = 0
    }

    public var currentVersion: Int64 { version }

    /// Changes that are not about the objects of interest: versions grow.
    public mutating func skipVersions(_ count: Int64) { version += count }

    func changes(of kind: String, after version: Int64) -> [Change] {
        history.filter { $0.version > version && $0.kind == kind }
    }

    /// A new definition's objects can be made from now on.
    private mutating func serve(_ definition: JSONValue) {
        guard let spec = definition["spec"], let group = spec["group"]?.string, let names = spec["names"],
            let plural = names["plural"]?.string, let name = names["kind"]?.string
        else { return }
        kinds.removeAll { $0.group == group && $0.plural == plural }
        for version in spec["versions"]?.array ?? [] where version["served"]?.bool == true {
            kinds.append(
                Kind(
                    group: group, version: version["name"]?.string ?? "", plural: plural, kind: name,
                    isNamespaced: spec["scope"]?.string == "Namespaced", hasStatus: version["subresources"]?["status"] != nil,
                    hasGeneration: true, schema: version["schema"]?["openAPIV3Schema"] ?? [:]))
        }
    }

    // MARK: Garbage

    /// Does what the garbage collector does, at once: takes away what has no owner left, and lets owners go that wait for that.
    mutating func collectGarbage() {
        for (key, passes) in orphaning {
            orphaning[key] = passes > 0 ? passes - 1 : nil
            guard passes == 0, let object = objects[key], let kind = kinds.first(where: { $0.qualifiedName == key.kind }) else {
                continue
            }
            orphanDependents(of: object)
            finish(object.removingFinalizer("orphan"), key, kind)
        }
        var goesOn = true
        while goesOn {
            goesOn = false
            let uids = Set(objects.values.compactMap { $0["metadata"]?["uid"]?.string })
            for (key, object) in objects.sorted(by: { $0.key < $1.key }) {
                let owners = object["metadata"]?["ownerReferences"]?.array ?? []
                let isOrphan = !owners.isEmpty && !owners.contains { uids.contains($0["uid"]?.string ?? "") }
                let waiting = owners.contains { owner in
                    objects.values.contains {
                        $0["metadata"]?["uid"] == owner["uid"] && $0.finalizers.contains("foregroundDeletion")
                    }
                }
                if isOrphan || waiting, object["metadata"]?["deletionTimestamp"] == nil {
                    delete(key, policy: nil, gracePeriod: nil)
                    goesOn = true
                }
            }
            for (key, object) in objects where object.finalizers.contains("foregroundDeletion") {
                let uid = object["metadata"]?["uid"]
                let hasDependents = objects.values.contains {
                    ($0["metadata"]?["ownerReferences"]?.array ?? []).contains { $0["uid"] == uid }
                }
                guard !hasDependents, let kind = kinds.first(where: { $0.qualifiedName == key.kind }) else { continue }
                finish(object.removingFinalizer("foregroundDeletion"), key, kind)
                goesOn = true
            }
        }
    }

    /// Marks it or takes it away; returns what is left of it.
    @discardableResult
    mutating func delete(_ key: Key, policy: String?, gracePeriod: Int64?) -> JSONValue? {
        guard var object = objects[key], let kind = kinds.first(where: { $0.qualifiedName == key.kind }) else { return nil }
        var finalizers = object.finalizers
        if policy == "Orphan", !finalizers.contains("orphan") {
            finalizers.append("orphan")
            orphaning[key] = 3
        }
        if policy == "Foreground", !finalizers.contains("foregroundDeletion") { finalizers.append("foregroundDeletion") }
        // A pod that has been given to a node goes only when the kubelet says that it has ended.
        let grace = kind.plural == "pods" && object["spec"]?["nodeName"] != nil ? gracePeriod ?? 30 : 0
        guard !finalizers.isEmpty || grace > 0 else {
            remove(key)
            return nil
        }
        if object["metadata"]?["deletionTimestamp"] == nil {
            object = object.setting("metadata", "deletionTimestamp", .string(now().wholeSeconds))
                .setting("metadata", "deletionGracePeriodSeconds", .integer(grace))
            if kind.hasGeneration, let generation = object["metadata"]?["generation"]?.integer {
                object = object.setting("metadata", "generation", .integer(generation + 1))
            }
        }
        if !finalizers.isEmpty { object = object.setting("metadata", "finalizers", .array(finalizers.map { .string($0) })) }
        return put(object, as: key, of: kind)
    }

    /// Stores it, or takes it away when it was to be deleted and nothing holds it any more.
    @discardableResult
    mutating func finish(_ object: JSONValue, _ key: Key, _ kind: Kind) -> JSONValue {
        let isEnding = object["metadata"]?["deletionTimestamp"] != nil
        let isHeld =
            !object.finalizers.isEmpty || (object["metadata"]?["deletionGracePeriodSeconds"]?.integer ?? 0) > 0
        guard isEnding, !isHeld else { return put(object, as: key, of: kind) }
        // Its last state has the version that it had.
        let last = object.setting("metadata", "resourceVersion", objects[key]?["metadata"]?["resourceVersion"] ?? "")
        objects[key] = last
        remove(key)
        return last
    }

    private mutating func orphanDependents(of owner: JSONValue) {
        let uid = owner["metadata"]?["uid"]
        for (key, object) in objects {
            let owners = object["metadata"]?["ownerReferences"]?.array ?? []
            let others = owners.filter { $0["uid"] != uid }
            guard others.count < owners.count, let kind = kinds.first(where: { $0.qualifiedName == key.kind }) else { continue }
            let without = object.without("metadata", "ownerReferences")
            _ = put(others.isEmpty ? without : without.setting("metadata", "ownerReferences", .array(others)), as: key, of: kind)
        }
    }
}
