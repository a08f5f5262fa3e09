import Glibc
import Processes

func fileSize(_ path: String) -> Int {
    var status = stat()
    return stat(path, &status) == 0 ? Int(status.st_size) : 0
}

/// Runs a program to its end, its output thrown away.
func runToEnd(_ arguments: [String]) throws {
    let pid = try Spawn(arguments, environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"]).start()
    guard Child.wait(pid) == .code(0) else { throw Failure("\(arguments.joined(separator: " ")) failed") }
}
