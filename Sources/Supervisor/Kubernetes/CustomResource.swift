import Kubernetes
import SessionModel

/// A Task or a Session as the API server has it.
struct CustomResource<Spec: ClusterSpec>: KubernetesObject {
    var apiVersion: String?
    var kind: String?
    var metadata: ObjectMeta
    var spec: Spec
    /// Nil until a supervisor has written it.
    var status: Spec.IndexedStatus?

    init(metadata: ObjectMeta, spec: Spec, status: Spec.IndexedStatus?) {
        apiVersion = Spec.type.apiVersion
        kind = Spec.type.kind
        self.metadata = metadata
        self.spec = spec
        self.status = status
    }

    /// What the rules are told of it.
    var document: Resource<Spec, Spec.IndexedStatus> {
        let created = metadata.creationTimestamp ?? Timestamp(milliseconds: 0)
        return Resource(
            kind: Spec.kind,
            metadata: Metadata(
                name: metadata.name ?? "", uid: metadata.uid ?? "", resourceVersion: metadata.resourceVersion ?? "",
                creationTimestamp: created),
            spec: metadata.deletionTimestamp == nil ? spec : spec.deleted, status: status ?? Spec.initialStatus(created))
    }
}

typealias TaskObject = CustomResource<TaskSpec>
typealias SessionObject = CustomResource<SessionSpec>
typealias SpawnerObject = CustomResource<SpawnerSpec>

extension TaskObject {
    /// An annotation: the version that the Task had when it was made.
    static let firstVersionAnnotation = "holdfast.dev/first-version"

    /// An annotation: the id of the delivery that has made it.
    static let deliveryAnnotation = "holdfast.dev/delivery"

    /// The version that it had before a supervisor first wrote it.
    var firstVersion: String { metadata.annotations?[Self.firstVersionAnnotation] ?? metadata.resourceVersion ?? "" }
}

/// The spec of a custom resource.
protocol ClusterSpec: IndexedSpec, Sendable, Hashable, Codable where IndexedStatus: Sendable & Hashable & Codable {
    static var type: ResourceType { get }
    static func initialStatus(_ created: Timestamp) -> IndexedStatus
    /// What it says once the object was deleted, and only waits for what holds it.
    var deleted: Self { get }
}

extension TaskSpec: ClusterSpec {
    static var type: ResourceType { .tasks }
    static func initialStatus(_: Timestamp) -> TaskStatus { TaskStatus() }
    /// Its cancellation is asked for in its status.
    var deleted: TaskSpec { self }
}

extension SessionSpec: ClusterSpec {
    static var type: ResourceType { .sessions }
    static func initialStatus(_ created: Timestamp) -> SessionResourceStatus { SessionResourceStatus(since: created) }

    /// It is drained first, as one that was told to end.
    var deleted: SessionSpec {
        var spec = self
        spec.end = true
        return spec
    }
}

extension SpawnerSpec: ClusterSpec {
    static var type: ResourceType { .spawners }
    static func initialStatus(_: Timestamp) -> SpawnerStatus { SpawnerStatus() }
    var deleted: SpawnerSpec { self }
}
