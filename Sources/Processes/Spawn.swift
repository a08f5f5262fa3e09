import CLinux
import Glibc

/// A program to start.
///
/// ```swift
/// var spawn = Spawn(["git", "status"], environment: ["PATH": "/usr/bin"], directory: "/work/tree")
/// spawn.grouping = .session
/// spawn.descriptors = [nil, log, log]
/// let pid = try spawn.start()
/// ```
///
/// The child has default signal dispositions, no blocked signals, and exactly the descriptors it is given: nothing leaks into it.
public struct Spawn: Sendable {
    /// The program, looked for in `environment`'s PATH unless it has a slash, and its arguments.
    public var arguments: [String]
    /// The whole environment of the child.
    public var environment: [String: String]
    /// Its working directory; this process's own if nil.
    public var directory: String?
    public var grouping = Grouping.inherited
    /// The child's descriptor `i` is this process's `descriptors[i]`; nil is /dev/null. At most 16.
    public var descriptors: [Int32?] = [nil, nil, nil]

    public enum Grouping: Sendable {
        /// The session and process group of this process: Ctrl-C at its terminal reaches the child.
        case inherited
        /// A process group of its own.
        case group
        /// A session of its own, so that no terminal and no job control reaches it.
        case session
    }

    public init(_ arguments: [String], environment: [String: String], directory: String? = nil) {
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
    }

    /// Starts the program and returns its process id, once it runs. Whoever starts it has to wait for it: see ``Child``.
    public func start() throws(SpawnError) -> Int32 {
        guard let program = arguments.first, !program.isEmpty else { throw SpawnError(.invalid, "No program was given to start") }
        let texts = arguments + environment.map { "\($0)=\($1)" } + [directory ?? ""]
        guard !texts.contains(where: { $0.utf8.contains(0) }) else {
            throw SpawnError(.invalid, "Cannot start \(program): an argument, a variable or the directory contains a NUL byte")
        }
        try checkDirectory(for: program)
        let path = try find(program)

        let argv = arguments.map { strdup($0) } + [nil]
        let envp = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        let kind =
            switch grouping {
            case .inherited: CLINUX_SAME_GROUP
            case .group: CLINUX_NEW_GROUP
            case .session: CLINUX_NEW_SESSION
            }
        precondition(descriptors.count <= Int(CLINUX_MOST_DESCRIPTORS), "a child is given at most 16 descriptors")

        var pid: pid_t = 0
        let error = Child.starting {
            let error = clinux_spawn(
                &pid, path, argv, envp, directory, descriptors.map { $0 ?? -1 }, Int32(descriptors.count), kind)
            return (error == 0 ? pid : nil, error)
        }
        guard error == 0 else { throw SpawnError(starting: program, errno: error) }
        return pid
    }

    /// posix_spawn gives one errno for a missing program and a missing directory; so the directory is looked at first.
    private func checkDirectory(for program: String) throws(SpawnError) {
        guard let directory else { return }
        var status = stat()
        guard stat(directory, &status) == 0 else {
            throw SpawnError(.directory, "Cannot start \(program): its working directory \(directory): \(words(errno))")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw SpawnError(.directory, "Cannot start \(program): its working directory \(directory) is not a directory")
        }
        guard access(directory, X_OK) == 0 else {
            throw SpawnError(.directory, "Cannot start \(program): its working directory \(directory) may not be entered")
        }
    }

    private func find(_ program: String) throws(SpawnError) -> String {
        if program.utf8.contains(UInt8(ascii: "/")) { return program }
        let search = environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        var forbidden: String?
        for folder in search.split(separator: ":") {
            let candidate = "\(folder)/\(program)"
            // The child looks from its own directory, so that is where a relative entry of PATH is to be looked for.
            let seenFromHere = folder.hasPrefix("/") ? candidate : "\(directory ?? ".")/\(candidate)"
            var status = stat()
            guard stat(seenFromHere, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            if access(seenFromHere, X_OK) == 0 { return candidate }
            forbidden = forbidden ?? candidate
        }
        if let forbidden { throw SpawnError(.program, "Cannot start \(program): \(forbidden) may not be executed") }
        throw SpawnError(.program, "Cannot start \(program): there is no such program in PATH (\(search))")
    }
}

/// Why a program could not be started.
public struct SpawnError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Reason: Sendable, Hashable {
        /// An argument that no program could be given.
        case invalid
        /// The program is missing or may not be executed.
        case program
        /// The working directory is missing or may not be entered.
        case directory
        /// The system is short of processes, memory or descriptors.
        case system
    }
    public var reason: Reason
    /// Names the program and says what is wrong.
    public var description: String

    init(_ reason: Reason, _ description: String) {
        self.reason = reason
        self.description = description
    }

    /// The error for an errno that a system call left while `program` was being started.
    public init(starting program: String, errno error: Int32) {
        switch error {
        case ENOENT:
            self.init(.program, "Cannot start \(program): it, or the interpreter that its first line names, does not exist")
        case EACCES, EPERM: self.init(.program, "Cannot start \(program): it may not be executed (\(words(error)))")
        case ENOEXEC:
            self.init(.program, "Cannot start \(program): it is neither a binary of this machine nor a script with a #! line")
        case E2BIG:
            self.init(
                .invalid, "Cannot start \(program): its arguments and environment are too long (one at most 128 KiB, all 2 MiB)")
        default: self.init(.system, "Cannot start \(program): \(words(error))")
        }
    }
}

/// The system's words for an errno: `No such file or directory`.
func words(_ error: Int32) -> String { String(cString: strerror(error)) }
