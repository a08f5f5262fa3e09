/// Where things are in a session's pod.
enum PodLayout {
    /// The agent's user and group, those of Kelos' images. The volumes belong to the group.
    static let agentUser: Int64 = 61100
    /// The sidecar's user: another one, so that the agent cannot signal it, trace it or write its files.
    static let sidecarUser: Int64 = 65532

    static let port: Int64 = 7443
    static let portName = "sidecar"

    static let state = "/var/lib/holdfast/state"
    static let workspaceVolume = "/workspace"
    /// As in Kelos: images may rely on it.
    static let workspace = "/workspace/repo"
    /// Only the sidecar's: its own API for probes and `kubectl exec`.
    static let run = "/run/holdfast"
    /// Shared with the agent's container. The sidecar makes a directory of its own in it.
    static let host = "/run/holdfast-host"
    static let link = "/run/holdfast-host/link"
    /// The files of the epoch's Secret.
    static let epoch = "/etc/holdfast/epoch"
    static let credentials = "/etc/holdfast/credentials"
    /// What git includes, to reach the git gateway.
    static let git = "/etc/holdfast/git"
    static let tools = "/holdfast"
    /// In the sidecar's image.
    static let program = "/holdfast-sidecar"
}

/// The names of a session pod's volumes.
enum PodVolume {
    static let session = "session"
    static let epoch = "epoch"
    static let credentials = "credentials"
    static let git = "git"
    static let run = "run"
    static let host = "host"
    static let tools = "tools"
    static let all = [session, epoch, credentials, git, run, host, tools]
}

/// The labels and annotations of what is made for sessions.
public enum PodLabels {
    /// The Session's name.
    public static let session = "holdfast.dev/session"
    public static let epoch = "holdfast.dev/epoch"
    /// On a pod that only serves a transcript.
    public static let reader = "holdfast.dev/reader"
    /// `session` on the pods of sessions; network policies select by it.
    public static let component = "holdfast.dev/component"
    /// An annotation: the session's key as people write it.
    public static let key = "holdfast.dev/key"
    /// An annotation of a volume claim: how long it is kept after another session has taken its session's name.
    public static let archiveTTL = "holdfast.dev/archive-ttl"
    /// An annotation of a volume claim: when it was first seen without its session.
    public static let archivedAt = "holdfast.dev/archived-at"
    /// An annotation of a pod: ``SessionPod/gitCredentialDigest``.
    public static let gitCredential = "holdfast.dev/git-credential"
    /// The claims of sessions.
    public static let claims = "app.kubernetes.io/managed-by=holdfast,\(component)=session"
    /// An annotation: `false` keeps the cluster's autoscaler from taking a node away under a session that is at work.
    public static let safeToEvict = "cluster-autoscaler.kubernetes.io/safe-to-evict"
}
