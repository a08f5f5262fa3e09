import AgentHost
import Glibc
import SessionModel

@main struct Main {
    static func main() {
        let arguments = CommandLine.arguments
        func option(_ name: String) -> String? {
            guard let index = arguments.firstIndex(of: name), index + 1 < arguments.count else { return nil }
            return arguments[index + 1]
        }
        guard arguments.dropFirst().first == "host", let socket = option("--socket"), let secret = option("--secret-file"),
            let marker = option("--marker"), let grace = try? TimeSpan(parsing: option("--termination-grace") ?? "25s")
        else { exit(64) }
        exit(HostProcess.run(socket: socket, secretFile: secret, marker: marker, terminationGrace: grace))
    }
}
