/// Where a session's journal, working directory and agent's state are.
public enum SessionStorage: String, Sendable, Hashable, Codable, CaseIterable {
    /// On a PersistentVolumeClaim that outlives the pods: the default of pull requests and issues.
    case persistentVolumeClaim = "PersistentVolumeClaim"
    /// In the pod: everything goes with it, and a session that sleeps or moves begins anew. The default of commit scope.
    case emptyDir = "EmptyDir"
}

extension SessionSpec {
    /// Where this session's are, in a cluster.
    public var storage: SessionStorage {
        worker.storage
            ?? (worker.volumeClaimTemplate != nil || key.kind != .commit ? .persistentVolumeClaim : .emptyDir)
    }
}

/// A Secret in the session's namespace.
public struct SecretReference: Sendable, Hashable, Codable {
    public var name: String

    public init(name: String) { self.name = name }
}

extension AgentDescription {
    /// The field that only a pod can fulfil, if there is one: on one machine it would silently be without effect.
    public var podField: String? {
        if image != nil { return "image" }
        if podTemplate != nil { return "podTemplate" }
        if storage != nil { return "storage" }
        if volumeClaimTemplate != nil { return "volumeClaimTemplate" }
        if credentials?.secretRef != nil { return "credentials.secretRef" }
        return nil
    }

    /// What is wrong with what is asked of the pod, as one sentence; nil when nothing is.
    var podMistake: String? {
        if let image, image.isEmpty || image.contains(where: \.isWhitespace) {
            return "agent.image “\(image)” is no image's name"
        }
        if let reference = credentials?.secretRef, reference.name.isEmpty { return "agent.credentials.secretRef.name is empty" }
        if storage == .emptyDir, volumeClaimTemplate != nil {
            return "agent.storage is EmptyDir, and agent.volumeClaimTemplate shapes a claim: choose one"
        }
        for (field, value) in [("podTemplate", podTemplate), ("volumeClaimTemplate", volumeClaimTemplate)] {
            if let value, value.object == nil { return "agent.\(field) must be an object" }
        }
        return nil
    }

    /// What the sidecar in a pod is to know: the description without what the pod is made of.
    /// - Parameter credentials: where the Secret of `credentials.secretRef` is mounted.
    public func inPod(credentials directory: String) -> AgentDescription {
        var description = self
        description.image = nil
        description.podTemplate = nil
        description.storage = nil
        description.volumeClaimTemplate = nil
        if credentials?.secretRef != nil {
            description.credentials?.secretRef = nil
            description.credentials?.directory = directory
            if credentials?.expose == .token { description.credentials?.token = "\(directory)/GITHUB_TOKEN" }
        }
        return description
    }
}
