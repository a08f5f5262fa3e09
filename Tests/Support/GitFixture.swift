import Foundation

/// A real bare repository, and a person who works on it, in a directory of their own.
public final class GitFixture: Sendable {
    /// The temporary directory that holds everything.
    public let root: String
    public var remote: String { root + "/remote.git" }
    /// The person's clone.
    public var author: String { root + "/author" }
    /// For a session's checkout; nothing is made there.
    public var checkout: String { root + "/session/workspace" }
    /// An environment in which no configuration of this machine counts and nobody has a name.
    public let environment: [String: String]

    /// - Parameter empty: leaves the remote without a commit; otherwise its branch `main` has `README.md`.
    public init(empty: Bool = false) throws {
        root = NSTemporaryDirectory() + "hf-git-" + UUID().uuidString.prefix(8)
        environment = [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": root, "GIT_CONFIG_NOSYSTEM": "1",
        ]
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        try git("init", "--quiet", "--bare", "--initial-branch=main", remote, in: root)
        try git("config", "uploadpack.allowFilter", "true", in: remote)
        try git("clone", "--quiet", remote, author, in: root)
        guard !empty else { return }
        try commit("README.md", "hello\n")
        try git("push", "--quiet", "origin", "HEAD:main", in: author)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    /// Runs git as the person.
    /// - Returns: what it printed, without the last newline.
    @discardableResult
    public func git(_ arguments: String..., in directory: String) throws -> String { try run(arguments, in: directory) }

    @discardableResult
    public func run(_ arguments: [String], in directory: String) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        let person = ["user.name=Ada", "user.email=ada@example.org", "commit.gpgSign=false"].flatMap { ["-c", $0] }
        process.arguments = ["git"] + person + arguments
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        process.environment = environment
        let output = Pipe()
        let errors = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        let words = output.fileHandleForReading.readDataToEndOfFile()
        let complaint = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw GitFixtureError(command: arguments, output: String(decoding: complaint, as: UTF8.self))
        }
        return String(decoding: words, as: UTF8.self).trimmingCharacters(in: .newlines)
    }

    /// Writes a file in the person's clone, or in `directory`, and commits it.
    /// - Returns: the new commit.
    @discardableResult
    public func commit(_ file: String, _ content: String, in directory: String? = nil) throws -> String {
        let place = directory ?? author
        try write(file, content, in: place)
        try git("add", "--force", "--", file, in: place)
        try git("commit", "--quiet", "--message", "Change \(file)", in: place)
        return try git("rev-parse", "HEAD", in: place)
    }

    public func write(_ file: String, _ content: String, in directory: String) throws {
        try Data(content.utf8).write(to: URL(fileURLWithPath: directory + "/" + file))
    }

    public func read(_ file: String, in directory: String) -> String? {
        FileManager.default.contents(atPath: directory + "/" + file).map { String(decoding: $0, as: UTF8.self) }
    }

    /// A number that a process left in a file.
    public func number(_ file: String, in directory: String) -> Int32? {
        read(file, in: directory).flatMap { Int32($0.trimmingCharacters(in: .newlines)) }
    }

    public func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    /// Puts a commit of the person's clone where a forge keeps the head of a pull request, force-pushes included.
    public func setPullRequest(_ number: Int, to commit: String = "HEAD") throws {
        try git("push", "--quiet", "--force", "origin", "\(commit):refs/pull/\(number)/head", in: author)
    }
}

public struct GitFixtureError: Error, CustomStringConvertible {
    public let command: [String]
    public let output: String
    public var description: String { "git \(command.joined(separator: " ")): \(output)" }
}
