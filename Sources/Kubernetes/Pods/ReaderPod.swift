import SessionModel

/// A pod that serves the transcript on the volume of a session that sleeps or has ended, for a few minutes.
///
/// It is none of the session's epochs: it mounts the volume read-only, runs no agent, and takes no lock. Its name is made up for each,
/// since its Secret, which has the same name, outlives it for a moment.
extension SessionPod {
    /// How long it serves: the kubelet ends it then.
    static let readerLifetime = TimeSpan.minutes(5)

    public static func readerName(session: String, suffix: String) -> String { "\(session)-reader-\(suffix)" }

    /// - Returns: nil when the session has no volume.
    public func readerPod() -> GenericObject? {
        guard let claimName else { return nil }
        let template = session.spec.worker.podTemplate?["spec"]
        var spec: [String: JSONValue] = [
            "restartPolicy": "Never", "activeDeadlineSeconds": .integer(Self.readerLifetime.milliseconds / 1000),
            "terminationGracePeriodSeconds": 2, "automountServiceAccountToken": false, "enableServiceLinks": false,
            "securityContext": [
                "runAsNonRoot": true, "fsGroup": .integer(PodLayout.agentUser), "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": ["type": "RuntimeDefault"],
            ],
            "containers": [reader],
            "volumes": [
                ["name": .string(PodVolume.session), "persistentVolumeClaim": ["claimName": .string(claimName)]],
                ["name": .string(PodVolume.epoch), "secret": ["secretName": .string(name), "defaultMode": 0o440]],
            ],
        ]
        // Where the volume can be reached from.
        for field in ["nodeSelector", "affinity", "tolerations", "priorityClassName", "runtimeClassName", "imagePullSecrets"] {
            spec[field] = template?[field]
        }
        if !settings.pullSecrets.isEmpty {
            spec["imagePullSecrets"] = .array(settings.pullSecrets.map { ["name": .string($0)] })
        }
        var labels = labels
        labels[PodLabels.epoch] = nil
        labels[PodLabels.reader] = "true"
        return GenericObject(
            .pods,
            metadata: ObjectMeta(
                name: name, namespace: namespace, labels: labels,
                annotations: [PodLabels.key: session.spec.key.description, PodLabels.safeToEvict: "true"],
                ownerReferences: [owner]),
            members: ["spec": .object(spec)])
    }

    private var reader: JSONValue {
        [
            // As every pod's that serves a transcript.
            "name": "sidecar", "image": .string(settings.sidecarImage), "imagePullPolicy": "IfNotPresent",
            "command": [.string(PodLayout.program)],
            "args": [
                "read", "--state-dir", .string(PodLayout.state), "--listen", .string("[$(POD_IP)]:\(PodLayout.port)"),
                "--token-file", .string(PodLayout.epoch + "/token"), "--tls-certificate", .string(PodLayout.epoch + "/tls.crt"),
                "--tls-key", .string(PodLayout.epoch + "/tls.key"),
            ],
            "env": [["name": "POD_IP", "valueFrom": ["fieldRef": ["fieldPath": "status.podIP"]]]],
            "ports": [["name": .string(PodLayout.portName), "containerPort": .integer(PodLayout.port)]],
            "volumeMounts": [
                Self.mount(PodVolume.session, PodLayout.state, part: "state", readOnly: true),
                Self.mount(PodVolume.epoch, PodLayout.epoch, readOnly: true),
            ],
            "resources": ["requests": ["cpu": "10m", "memory": "32Mi"], "limits": ["memory": "256Mi"]],
            "securityContext": Self.restricted(user: PodLayout.sidecarUser, readOnlyRoot: true),
        ]
    }
}
