import SessionModel

/// The pod's own part: what a template is merged onto.
extension SessionPod {
    /// Beyond the drain: for cancelling what goes on after it, and for the journal's last lines.
    static let margin: Int64 = 60

    private var drainSeconds: Int64 { (lifetime.drainTimeout.milliseconds + 999) / 1000 }

    func spec() throws(PodManifestError) -> JSONValue {
        guard let image = session.spec.worker.image ?? settings.agentImage else {
            throw PodManifestError("worker.image is missing: name the agent's image, or start the supervisor with --agent-image")
        }
        if session.spec.workspace?.credentials != nil {
            guard usesGateway else {
                throw PodManifestError(
                    "workspace.credentials names a file, and the git gateway of a cluster has only Secrets: name one in secretRef"
                )
            }
            guard settings.gitGateway != nil else {
                throw PodManifestError(
                    "workspace.credentials needs the git gateway, and this supervisor knows none: start it with --git-gateway URL"
                )
            }
        }
        if let files = session.spec.worker.credentials, files.env != nil || files.directory != nil || files.token != nil {
            throw PodManifestError(
                "worker.credentials names files, and a pod has only its own: put them into a Secret and name it in credentials.secretRef"
            )
        }
        var spec: [String: JSONValue] = [
            // The agent's container is started again after a crash; after its release it ends, and the pod with it.
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": .integer(drainSeconds + Self.margin),
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": [
                "runAsNonRoot": true, "fsGroup": .integer(PodLayout.agentUser), "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": ["type": "RuntimeDefault"],
            ],
            "initContainers": [tools, sidecar],
            "containers": [agent(image: image)],
            "volumes": .array(volumes),
        ]
        if !settings.pullSecrets.isEmpty {
            spec["imagePullSecrets"] = .array(settings.pullSecrets.map { ["name": .string($0)] })
        }
        return .object(spec)
    }

    // MARK: Containers

    /// Copies the sidecar's binary to where the agent's container finds it.
    private var tools: JSONValue {
        [
            "name": "tools", "image": .string(settings.sidecarImage), "imagePullPolicy": "IfNotPresent",
            "command": [.string(PodLayout.program)], "args": ["install", .string(PodLayout.tools)],
            "volumeMounts": [["name": .string(PodVolume.tools), "mountPath": .string(PodLayout.tools)]],
            "resources": resources(of: "tools", requests: ["cpu": "10m", "memory": "32Mi"], limits: ["memory": "128Mi"]),
            "securityContext": Self.restricted(user: PodLayout.sidecarUser, readOnlyRoot: true),
        ]
    }

    private var sidecar: JSONValue {
        func health(_ more: [JSONValue] = []) -> JSONValue {
            ["command": .array([.string(PodLayout.program), "health"] + more)]
        }
        return [
            "name": "sidecar", "image": .string(settings.sidecarImage), "imagePullPolicy": "IfNotPresent",
            // It starts before the agent's container and is stopped after it.
            "restartPolicy": "Always",
            "command": [.string(PodLayout.program)], "args": .array(sidecarArguments.map { .string($0) }),
            "env": [["name": "POD_IP", "valueFrom": ["fieldRef": ["fieldPath": "status.podIP"]]]],
            "ports": [["name": .string(PodLayout.portName), "containerPort": .integer(PodLayout.port)]],
            // It answers once the journal is open: the agent's container waits for that, however slow the volume is.
            "startupProbe": ["exec": health(), "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 300],
            // Ready for turns: the host is connected, the disk can be written, and it does not drain. The host's container comes
            // after this one: asked at once, the kubelet would warn of every pod that starts.
            "readinessProbe": [
                "exec": health(["--ready"]), "initialDelaySeconds": 5, "periodSeconds": 5, "timeoutSeconds": 5,
                "failureThreshold": 2,
            ],
            // Only a process that does not answer at all is helped by another one: a minute of that.
            "livenessProbe": ["exec": health(), "periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 3],
            "volumeMounts": .array(sidecarMounts),
            "resources": resources(of: "sidecar", requests: ["cpu": "20m", "memory": "64Mi"], limits: ["memory": "512Mi"]),
            "securityContext": Self.restricted(user: PodLayout.sidecarUser, readOnlyRoot: true),
        ]
    }

    private var sidecarArguments: [String] {
        let limits = lifetime.limits
        var arguments = [
            "serve", "--state-dir", PodLayout.state, "--socket", PodLayout.run + "/sidecar.sock",
            "--runtime-dir", PodLayout.link, "--host-user", "\(PodLayout.agentUser)",
            // The brackets are for addresses of IPv6, and do no harm to others.
            "--listen", "[$(POD_IP)]:\(PodLayout.port)", "--token-file", PodLayout.epoch + "/token",
            "--tls-certificate", PodLayout.epoch + "/tls.crt", "--tls-key", PodLayout.epoch + "/tls.key",
            "--epoch", "\(epoch)", "--session", session.spec.key.description,
            "--agent", PodLayout.epoch + "/agent.json", "--workspace", PodLayout.epoch + "/workspace.json",
            "--workspace-dir", PodLayout.workspace, "--grace", lifetime.drainTimeout.description,
            "--turn-timeout", limits.turnTimeout.description, "--input-timeout", limits.inputTimeout.description,
            "--agent-idle", limits.agentIdle.description, "--max-queued-turns", "\(limits.maxQueuedTurns)",
            "--dedupe-window", limits.dedupeWindow.description,
        ]
        if let maxTurns = limits.maxTurns { arguments += ["--max-turns", "\(maxTurns)"] }
        if let maxTokens = limits.maxTokens { arguments += ["--max-tokens", "\(maxTokens)"] }
        if let hold = limits.resultHold { arguments += ["--result-hold", hold.description] }
        if limits.countBackground { arguments.append("--count-background") }
        return arguments
    }

    /// The agent's container: the user's image, with the host as its first process.
    private func agent(image: String) -> JSONValue {
        [
            "name": "agent", "image": .string(image),
            "command": [.string(PodLayout.tools + "/holdfast-sidecar")],
            "args": [
                "host", "--socket", .string(PodLayout.link + "/host.sock"), "--secret-file",
                .string(PodLayout.link + "/host.secret"),
                "--marker", .string("HOLDFAST_STATE=" + PodLayout.state), "--patience", "5m",
                // The sidecar ends what runs before: this is for one that does not.
                "--termination-grace", .string("\(drainSeconds + Self.margin - 20)s"),
            ],
            "volumeMounts": .array(agentMounts),
            "resources": resources(of: "agent", requests: ["cpu": "250m", "memory": "512Mi"], limits: ["memory": "4Gi"]),
            "securityContext": Self.restricted(user: PodLayout.agentUser, readOnlyRoot: false),
        ]
    }

    /// What Pod Security “restricted” asks for.
    static func restricted(user: Int64, readOnlyRoot: Bool) -> JSONValue {
        var context: [String: JSONValue] = [
            "runAsUser": .integer(user), "runAsGroup": .integer(PodLayout.agentUser), "runAsNonRoot": true,
            "allowPrivilegeEscalation": false, "capabilities": ["drop": ["ALL"]],
        ]
        if readOnlyRoot { context["readOnlyRootFilesystem"] = true }
        return .object(context)
    }

    // MARK: Volumes

    private var volumes: [JSONValue] {
        let storage: JSONValue =
            claimName.map { ["name": .string(PodVolume.session), "persistentVolumeClaim": ["claimName": .string($0)]] }
            ?? ["name": .string(PodVolume.session), "emptyDir": [:]]
        var volumes: [JSONValue] = [
            storage,
            // It belongs to the pod, so it is made after it: until then the kubelet waits.
            ["name": .string(PodVolume.epoch), "secret": ["secretName": .string(name), "defaultMode": 0o440]],
            ["name": .string(PodVolume.run), "emptyDir": ["sizeLimit": "16Mi"]],
            ["name": .string(PodVolume.host), "emptyDir": ["sizeLimit": "16Mi"]],
            ["name": .string(PodVolume.tools), "emptyDir": ["sizeLimit": "128Mi"]],
        ]
        if let secret = session.spec.worker.credentials?.secretRef?.name {
            volumes.append(
                ["name": .string(PodVolume.credentials), "secret": ["secretName": .string(secret), "defaultMode": 0o440]])
        }
        if usesGateway {
            let items = SessionPod.gatewayFiles.map { ["key": .string($0.key), "path": .string($0.path)] as JSONValue }
            volumes.append([
                "name": .string(PodVolume.git),
                "secret": ["secretName": .string(name), "defaultMode": 0o440, "items": .array(items)],
            ])
        }
        return volumes
    }

    private var sidecarMounts: [JSONValue] {
        var mounts: [JSONValue] = [
            Self.mount(PodVolume.session, PodLayout.state, part: "state"), Self.mount(PodVolume.run, PodLayout.run),
            Self.mount(PodVolume.host, PodLayout.host), Self.mount(PodVolume.epoch, PodLayout.epoch, readOnly: true),
        ]
        if session.spec.worker.credentials?.secretRef != nil {
            mounts.append(Self.mount(PodVolume.credentials, PodLayout.credentials, readOnly: true))
        }
        return mounts + gitMounts
    }

    /// Git runs in the agent's container; the sidecar reads there what it has to redact.
    private var gitMounts: [JSONValue] { usesGateway ? [Self.mount(PodVolume.git, PodLayout.git, readOnly: true)] : [] }

    private var agentMounts: [JSONValue] {
        gitMounts + [
            Self.mount(PodVolume.tools, PodLayout.tools, readOnly: true), Self.mount(PodVolume.host, PodLayout.host),
            Self.mount(PodVolume.session, PodLayout.workspaceVolume, part: "workspace"),
            // What the agent itself remembers of the conversation; the sidecar does not look into it.
            Self.mount(PodVolume.session, PodLayout.state + "/agent", part: "agent"),
            // For `cat`, `jq` and `tail -f`; the sidecar has made them before this container starts.
            Self.mount(PodVolume.session, PodLayout.state + "/transcript", part: "state/transcript", readOnly: true),
            Self.mount(PodVolume.session, PodLayout.state + "/blobs", part: "state/blobs", readOnly: true),
        ]
    }

    static func mount(_ volume: String, _ path: String, part: String? = nil, readOnly: Bool = false) -> JSONValue {
        var mount: [String: JSONValue] = ["name": .string(volume), "mountPath": .string(path)]
        mount["subPath"] = part.map { .string($0) }
        if readOnly { mount["readOnly"] = true }
        return .object(mount)
    }
}
