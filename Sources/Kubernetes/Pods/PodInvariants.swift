import SessionModel

/// What a worker's `podTemplate` cannot change: what a session, or the cluster's safety, relies on.
struct PodInvariants {
    let pod: SessionPod
    /// The template before the merge.
    let base: JSONValue

    /// Members of the pod's spec, and what is to be done instead of setting them.
    private static let fixed: [(field: String, instead: String)] = [
        ("restartPolicy", "the agent's container is started again when it crashes, and ends with its session"),
        ("terminationGracePeriodSeconds", "it follows from lifetime.drainTimeout: set that"),
        ("activeDeadlineSeconds", "it would end a session at work: set lifetime.ttl or lifetime.turnTimeout"),
        ("automountServiceAccountToken", "an agent gets no token of the cluster"),
        ("shareProcessNamespace", "the agent must not see the sidecar's processes"),
        ("hostPID", "the agent must not see the node's processes"),
        ("hostIPC", "the agent must not share the node's memory"),
        ("hostNetwork", "the agent must not have the node's addresses, nor get around network policies"),
        ("ephemeralContainers", "they are for kubectl debug"),
    ]
    /// What the agent's container takes from a template.
    private static let agentFields = [
        "env", "envFrom", "imagePullPolicy", "ports", "resources", "securityContext", "volumeDevices", "volumeMounts",
        "workingDir",
    ]

    func check(_ merged: JSONValue) throws(PodManifestError) {
        for (part, names) in [("", ["metadata", "spec"]), ("metadata", ["annotations", "labels"])] {
            let object = part.isEmpty ? merged : merged[part]
            if let other = object?.object?.keys.sorted().first(where: { !names.contains($0) }) {
                throw refused(part.isEmpty ? other : "\(part).\(other)", "a template has \(names.joined(separator: " and "))")
            }
        }
        for part in ["labels", "annotations"] {
            let (own, others) = (base["metadata"]?[part]?.object ?? [:], merged["metadata"]?[part]?.object ?? [:])
            for (name, value) in own.sorted(by: { $0.key < $1.key }) where others[name] != value {
                throw refused("metadata.\(part)[\(name)]", "it is the supervisor's")
            }
            for (name, value) in others.sorted(by: { $0.key < $1.key }) where own[name] == nil {
                if name.hasPrefix("holdfast.dev/") {
                    throw refused("metadata.\(part)[\(name)]", "these names are the supervisor's")
                }
                if value.string == nil { throw refused("metadata.\(part)[\(name)]", "its value must be a text") }
            }
        }
        guard let own = base["spec"], let spec = merged["spec"] else { throw refused("spec", "it cannot be taken away") }
        for (field, instead) in Self.fixed where spec[field] != own[field] { throw refused("spec.\(field)", instead) }
        try keeps(own["securityContext"], spec["securityContext"], "spec.securityContext")
        try checkVolumes(own["volumes"], spec["volumes"])
        try checkContainers(own, spec)
    }

    private func checkContainers(_ own: JSONValue, _ spec: JSONValue) throws(PodManifestError) {
        for list in ["initContainers", "containers"] {
            let (ours, all) = (own[list]?.array ?? [], spec[list]?.array ?? [])
            for container in ours {
                let path = "spec.\(list)[\(container["name"]?.string ?? "")]"
                guard let changed = all.first(where: { $0["name"] == container["name"] }) else {
                    throw refused(path, "a session needs it")
                }
                if container["name"] == "agent" {
                    try checkAgent(container, changed, path)
                } else {
                    try equal(container, changed, path, but: ["resources"], "only its resources can be set")
                }
            }
            for container in all where !ours.contains(where: { $0["name"] == container["name"] }) {
                try checkMounts([], container["volumeMounts"], "spec.\(list)[\(container["name"]?.string ?? "")].volumeMounts")
            }
        }
    }

    private func checkAgent(_ own: JSONValue, _ changed: JSONValue, _ path: String) throws(PodManifestError) {
        if changed["image"] != own["image"] { throw refused("\(path).image", "set worker.image") }
        try equal(
            own, changed, path, but: Self.agentFields,
            "of the agent's container it takes \(Self.agentFields.joined(separator: ", "))")
        try keeps(own["securityContext"], changed["securityContext"], "\(path).securityContext")
        for field in ["privileged", "procMount"] where changed["securityContext"]?[field] != nil {
            throw refused("\(path).securityContext.\(field)", "the agent's container stays within Pod Security “restricted”")
        }
        if changed["securityContext"]?["seccompProfile"]?["type"] == "Unconfined" {
            throw refused(
                "\(path).securityContext.seccompProfile", "the agent's container stays within Pod Security “restricted”")
        }
        if changed["securityContext"]?["capabilities"] != own["securityContext"]?["capabilities"] {
            throw refused("\(path).securityContext.capabilities", "the agent's container has none")
        }
        let mounts = own["volumeMounts"]?.array ?? []
        for mount in mounts where !(changed["volumeMounts"]?.array ?? []).contains(mount) {
            throw refused("\(path).volumeMounts[\(mount["mountPath"]?.string ?? "")]", "the sidecar relies on it")
        }
        try checkMounts(mounts, changed["volumeMounts"], "\(path).volumeMounts")
    }

    /// Of the session's volumes only the working directory may be mounted elsewhere.
    private func checkMounts(_ own: [JSONValue], _ mounts: JSONValue?, _ path: String) throws(PodManifestError) {
        for mount in mounts?.array ?? [] where !own.contains(mount) {
            guard let volume = mount["name"]?.string, PodVolume.all.contains(volume) else { continue }
            let part = mount["subPath"]?.string ?? ""
            guard volume == PodVolume.session, part.split(separator: "/").first == "workspace", !part.contains("..") else {
                throw refused(
                    "\(path)[\(mount["mountPath"]?.string ?? "")]",
                    "of the session's volumes only “\(PodVolume.session)” can be mounted, with subPath workspace")
            }
        }
    }

    private func checkVolumes(_ own: JSONValue?, _ volumes: JSONValue?) throws(PodManifestError) {
        let (ours, all) = (own?.array ?? [], volumes?.array ?? [])
        for volume in ours where !all.contains(volume) {
            throw refused("spec.volumes[\(volume["name"]?.string ?? "")]", "it is the session's: choose another name")
        }
        for volume in all where !ours.contains(volume) {
            let path = "spec.volumes[\(volume["name"]?.string ?? "")]"
            if volume["name"]?.string.map(PodVolume.all.contains) == true {
                throw refused(path, "it is the session's: choose another name")
            }
            let projected = volume["projected"]?["sources"]?.array ?? []
            if projected.contains(where: { $0["serviceAccountToken"] != nil }) {
                throw refused("\(path).projected", "an agent gets no token of the cluster")
            }
            let secrets = [volume["secret"]?["secretName"]] + projected.map { $0["secret"]?["name"] }
            if secrets.contains(.string(pod.name)) { throw refused(path, "it is the sidecar's secret") }
            if let claim = pod.claimName, volume["persistentVolumeClaim"]?["claimName"] == .string(claim) {
                throw refused(
                    path, "it has the session's journal: mount the volume “\(PodVolume.session)” with subPath workspace")
            }
        }
    }

    // MARK: Helpers

    /// Everything that the pod has there is still there.
    private func keeps(_ own: JSONValue?, _ changed: JSONValue?, _ path: String) throws(PodManifestError) {
        for (name, value) in (own?.object ?? [:]).sorted(by: { $0.key < $1.key }) where changed?[name] != value {
            throw refused("\(path).\(name)", "the session's volumes and Pod Security “restricted” rely on it")
        }
    }

    private func equal(
        _ own: JSONValue, _ changed: JSONValue, _ path: String, but free: [String], _ why: String
    ) throws(PodManifestError) {
        let names = Set((own.object ?? [:]).keys).union((changed.object ?? [:]).keys)
        for name in names.sorted() where !free.contains(name) && own[name] != changed[name] {
            throw refused("\(path).\(name)", why)
        }
    }

    private func refused(_ field: String, _ why: String) -> PodManifestError {
        PodManifestError("podTemplate cannot set \(field): \(why)")
    }
}
