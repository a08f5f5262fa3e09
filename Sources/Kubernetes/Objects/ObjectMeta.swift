public import SessionModel

/// What every object of the API server has.
public protocol KubernetesObject: Codable, Sendable, Hashable {
    var metadata: ObjectMeta { get set }
}

extension KubernetesObject {
    public var key: ObjectKey { ObjectKey(metadata) }
}

/// Where an object is: unique among the objects of a type.
public struct ObjectKey: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Nil for what has no namespace.
    public var namespace: String?
    public var name: String

    public init(namespace: String? = nil, name: String) {
        self.namespace = namespace
        self.name = name
    }

    init(_ metadata: ObjectMeta) { self.init(namespace: metadata.namespace, name: metadata.name ?? "") }

    public var description: String { namespace.map { "\($0)/\(name)" } ?? name }

    public static func < (a: ObjectKey, b: ObjectKey) -> Bool { (a.namespace ?? "", a.name) < (b.namespace ?? "", b.name) }
}

/// The standard metadata. `managedFields` are left out: nobody here reads them, and a write without them leaves them as they are.
public struct ObjectMeta: Sendable, Hashable, Codable {
    public var name: String?
    /// The server makes a name from it when there is none.
    public var generateName: String?
    public var namespace: String?
    /// Never used twice, not even for the same name.
    public var uid: String?
    /// Changes with every write. A write that names an older one is refused with 409.
    public var resourceVersion: String?
    /// Grows with every change of the spec.
    public var generation: Int64?
    public var creationTimestamp: Timestamp?
    /// Set once its deletion has been asked for: it goes when it has no finalizers left.
    public var deletionTimestamp: Timestamp?
    public var deletionGracePeriodSeconds: Int64?
    public var labels: [String: String]?
    public var annotations: [String: String]?
    public var ownerReferences: [OwnerReference]?
    public var finalizers: [String]?

    public init(
        name: String? = nil, generateName: String? = nil, namespace: String? = nil, labels: [String: String]? = nil,
        annotations: [String: String]? = nil, ownerReferences: [OwnerReference]? = nil, finalizers: [String]? = nil
    ) {
        self.name = name
        self.generateName = generateName
        self.namespace = namespace
        self.labels = labels
        self.annotations = annotations
        self.ownerReferences = ownerReferences
        self.finalizers = finalizers
    }
}

/// The object that another one belongs to: when it goes, the garbage collector takes the other away.
public struct OwnerReference: Sendable, Hashable, Codable {
    public var apiVersion: String
    public var kind: String
    public var name: String
    public var uid: String
    /// The one that manages it.
    public var controller: Bool?
    /// The owner waits for it when it is deleted in the foreground.
    public var blockOwnerDeletion: Bool?

    public init(
        apiVersion: String, kind: String, name: String, uid: String, controller: Bool? = nil, blockOwnerDeletion: Bool? = nil
    ) {
        self.apiVersion = apiVersion
        self.kind = kind
        self.name = name
        self.uid = uid
        self.controller = controller
        self.blockOwnerDeletion = blockOwnerDeletion
    }
}
