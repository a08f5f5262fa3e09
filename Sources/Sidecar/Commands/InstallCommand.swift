import ArgumentParser
import Glibc
import SessionModel

struct InstallCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "install", abstract: "Copy this program into a directory; for containers whose image does not have it.")

    @Argument(help: "The directory; the file is named holdfast-sidecar there.")
    var directory: String

    func run() throws {
        do { try copy() } catch { Exit.fail(error) }
    }

    /// Whole or not at all: a container that starts again may find a copy that was cut off.
    private func copy() throws(Problem) {
        let source = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
        guard source >= 0 else { throw failure("read this program") }
        defer { close(source) }
        let temporary = "\(directory)/.holdfast-sidecar.new"
        unlink(temporary)
        let target = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o755)
        guard target >= 0 else { throw failure("write to \(directory)") }
        defer { close(target) }
        while true {
            let count = sendfile(target, source, nil, 1 << 20)
            if count == 0 { break }
            if count < 0, errno != EINTR { throw failure("write to \(directory)") }
        }
        guard fchmod(target, 0o755) == 0, rename(temporary, "\(directory)/holdfast-sidecar") == 0 else {
            throw failure("write to \(directory)")
        }
    }

    private func failure(_ action: String) -> Problem {
        Problem(.invalidRequest, "Cannot \(action): \(String(cString: strerror(errno))).")
    }
}
