import Foundation
import Support

/// What agents do in a crash test, and the traces they leave in files outside of the session.
///
/// Every turn holds one file lock while it works and adds its key to a file. The kernel releases the lock when the last process
/// that holds it has died, so a process that survived from an earlier dispatch is caught by the next turn.
struct Evidence: Sendable {
    let directory: String

    init(in home: SidecarHome) throws {
        directory = home.path + "/evidence"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
    }

    private var lock: String { directory + "/lock" }
    private var startedFile: String { directory + "/started" }
    private var overlapsFile: String { directory + "/overlaps" }

    /// A prompt that begins with its key. While the turn has the lock it adds the key to ``started`` and runs `work` with sh.
    func prompt(_ key: String, work: String = "sleep 0.004") -> String {
        """
        turn \(key)
        run: flock -n -E 99 \(lock) sh -c 'echo \(key) >> \(startedFile); \(work)'; [ $? != 99 ] || echo \(key) >> \(overlapsFile)
        """
    }

    /// The keys of turns that began to work, in that order.
    var started: [String] { lines(startedFile) }
    /// The keys of turns that found another one's process still at work.
    var overlaps: [String] { lines(overlapsFile) }

    private func lines(_ path: String) -> [String] {
        ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n").map(String.init)
    }
}
