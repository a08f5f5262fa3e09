/// A message about an object, as `kubectl describe` and `kubectl events` show it: `events.k8s.io/v1`.
public struct Event: KubernetesObject {
    public enum Severity: String, Sendable, Hashable, Codable { case normal = "Normal", warning = "Warning" }

    /// The object that it is about.
    public struct Reference: Sendable, Hashable, Codable {
        public var apiVersion: String?
        public var kind: String?
        public var namespace: String?
        public var name: String?
        public var uid: String?

        public init(_ type: ResourceType, _ metadata: ObjectMeta) {
            apiVersion = type.apiVersion
            kind = type.kind
            namespace = metadata.namespace
            name = metadata.name
            uid = metadata.uid
        }
    }

    /// That it happened again.
    public struct Series: Sendable, Hashable, Codable {
        public var count: Int
        public var lastObservedTime: MicroTime

        public init(count: Int, lastObservedTime: MicroTime) {
            self.count = count
            self.lastObservedTime = lastObservedTime
        }
    }

    public var apiVersion: String?
    public var kind: String?
    public var metadata: ObjectMeta
    public var eventTime: MicroTime?
    public var reportingController: String?
    public var reportingInstance: String?
    /// What was done or tried, one word: `Suspend`.
    public var action: String?
    /// Why, one word: `Idle`.
    public var reason: String?
    public var type: String?
    /// A sentence for people.
    public var note: String?
    public var regarding: Reference?
    public var series: Series?
}

/// What is to be said about an object.
public struct EventDraft: Sendable, Hashable {
    public var regarding: Event.Reference
    public var severity: Event.Severity
    public var reason: String
    public var action: String
    public var note: String

    /// - Parameter note: at most 1,024 bytes are kept, which is the server's limit.
    public init(_ severity: Event.Severity, _ reason: String, action: String, note: String, regarding: Event.Reference) {
        self.severity = severity
        self.reason = reason
        self.action = action
        self.regarding = regarding
        var text = Substring(note)
        while text.utf8.count > 1024 { text.removeLast() }
        self.note = String(text)
    }
}
