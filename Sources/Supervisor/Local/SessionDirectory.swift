import Foundation
import GitGateway
import Glibc
import SessionModel

/// The files of one session on this machine.
struct SessionDirectory: Sendable {
    let path: String

    /// The sidecar's state: transcript and all.
    var state: String { "\(path)/state" }
    var workspace: String { "\(path)/workspace" }
    var agentFile: String { "\(path)/agent.json" }
    var workspaceFile: String { "\(path)/workspace.json" }
    /// What git includes, to reach the git gateway.
    var gitConfigFile: String { "\(path)/git.config" }
    /// What the git gateway lets the session do.
    var grantFile: String { "\(path)/git-grant.json" }
    var log: String { "\(path)/sidecar.log" }
    private var recordFile: String { "\(path)/runtime.json" }
    private var ownerFile: String { "\(path)/session.json" }

    static let maxLogBytes = 4 << 20

    /// Which process is, or may be, the session's sidecar.
    struct Record: Codable, Hashable {
        var epoch: UInt32
        var socket: String
        /// Nil from the decision to start it until it is known.
        var pid: Int32?
        /// In clock ticks since boot; with `boot` and `pid` it names a process for good.
        var startTime: UInt64?
        var boot: String
    }

    private struct Owner: Codable {
        var uid: String
        var key: SessionKey
        /// When an archived directory goes.
        var until: Timestamp?
    }

    /// Makes the directory ready for a start. What an ended session of the same name has left is moved to `archive`.
    /// - Parameter gateway: the git gateway's URL, for a session whose repository has a token.
    func prepare(for session: SessionResource, archive: String, gateway: String?) throws(LocalError) {
        if let owner = Files.read(json: Owner.self, from: ownerFile), owner.uid != session.metadata.uid {
            _ = try moveAside(to: archive, until: .now + (session.spec.lifetime ?? Lifetime()).resolved.archiveTTL)
        }
        try Files.makeDirectory(state)
        try Files.makeDirectory(workspace)
        try Files.write(json: Owner(uid: session.metadata.uid, key: session.spec.key), to: ownerFile)
        try Files.write(json: session.spec.worker, to: agentFile)
        var workspace = session.spec.workspaceDescription
        if let gateway, let tokenFile = session.spec.workspace?.credentials?.tokenFile, let repository = workspace.repository {
            // Every start has a credential of its own: that of an earlier one is void from now on.
            let credential = Identity.uid() + Identity.uid()
            let grant = GitGrant(
                session: session.spec.key, repository: repository, credential: credential, tokenFile: tokenFile,
                push: session.spec.pushRules)
            try Files.write(json: grant, to: grantFile)
            let configuration = GitGrant.configuration(
                repository: repository, gateway: gateway, name: session.metadata.name, credential: credential)
            try Files.write(Array(configuration.utf8), to: gitConfigFile)
            workspace.gitConfig = gitConfigFile
        }
        try Files.write(json: workspace, to: workspaceFile)
    }

    /// Nil when the session's git does not go through the gateway.
    var grant: GitGrant? { Files.read(json: GitGrant.self, from: grantFile) }

    /// Makes room for another session of the same name.
    /// - Returns: where the directory is now.
    func moveAside(to archive: String, until: Timestamp) throws(LocalError) -> String {
        try Files.makeDirectory(archive)
        var owner = Files.read(json: Owner.self, from: ownerFile)
        owner?.until = until
        if let owner { try Files.write(json: owner, to: ownerFile) }
        let uid = owner?.uid ?? Identity.uid()
        let name = path.split(separator: "/").last.map(String.init) ?? path
        let aside = "\(archive)/\(name)-\(uid.prefix(8))"
        guard rename(path, aside) == 0 else { throw LocalError("cannot move \(path) to \(aside)", errno: errno) }
        return aside
    }

    /// Until when an archived directory is kept.
    var keptUntil: Timestamp? { Files.read(json: Owner.self, from: ownerFile)?.until }

    /// Whether this directory is that session's, not an earlier one's of the same name.
    func belongs(to session: SessionResource) -> Bool {
        Files.read(json: Owner.self, from: ownerFile)?.uid == session.metadata.uid
    }

    var record: Record? { Files.read(json: Record.self, from: recordFile) }

    func write(_ record: Record) throws(LocalError) { try Files.write(json: record, to: recordFile) }

    /// Opens the log for appending; a long one is put aside first.
    func openLog() throws(LocalError) -> Int32 {
        var status = stat()
        if stat(log, &status) == 0, status.st_size > Self.maxLogBytes { rename(log, log + ".1") }
        let descriptor = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw LocalError("cannot open \(log)", errno: errno) }
        return descriptor
    }
}

/// A directory with a path short enough for Unix sockets, which may have 107 bytes.
struct SocketDirectory: Sendable {
    let path: String

    /// Makes it, in `$XDG_RUNTIME_DIR` or else in /tmp, for one data directory.
    /// - Throws: ``LocalError`` when another user owns it.
    init(dataDirectory: String, environment: [String: String]) throws(LocalError) {
        let hash = Identity.digest(Data(dataDirectory.utf8)).prefix(8)
        var path = "/tmp/holdfast-\(getuid())-\(hash)"
        if let runtime = environment["XDG_RUNTIME_DIR"], runtime.hasPrefix("/"), runtime.utf8.count <= 60,
            access(runtime, W_OK) == 0
        {
            path = "\(runtime)/holdfast-\(hash)"
        }
        self.path = path
        try Self.makePrivate(path)
    }

    /// The directory of one session's sockets.
    func directory(of session: SessionResource) throws(LocalError) -> String {
        let path = "\(path)/\(Identity.digest(Data(session.metadata.uid.utf8)).prefix(12))"
        try Self.makePrivate(path)
        return path
    }

    private static func makePrivate(_ path: String) throws(LocalError) {
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw LocalError("cannot make the directory \(path)", errno: errno) }
        var status = stat()
        guard lstat(path, &status) == 0 else { throw LocalError("cannot look at \(path)", errno: errno) }
        guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid() else {
            throw LocalError(
                "\(path) is not a directory of this user, so no socket is put there; remove it or set XDG_RUNTIME_DIR")
        }
        if status.st_mode & 0o077 != 0, chmod(path, 0o700) != 0 { throw LocalError("cannot make \(path) private", errno: errno) }
    }
}
