import AgentHost
import ArgumentParser
import Glibc
import SessionModel

struct HostCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "host", abstract: "Run processes for a sidecar; the first process of the agent's container.",
        discussion: """
            Proves itself to the sidecar with the secret, whose file it removes first. When the sidecar is lost, ends every process \
            that it ever started before it does anything else. Exits with 0 when the sidecar has released it.
            """)

    @Option(help: "The sidecar's Unix socket for its host.")
    var socket: String
    @Option(help: "The file with the one-time secret.")
    var secretFile: String
    @Option(help: "NAME=VALUE, unique to the session, that every process gets in its environment: it finds survivors of a crash.")
    var marker: String
    @Option(help: "How long processes go on after SIGTERM, while the sidecar lets a turn end.")
    var terminationGrace: TimeSpan = .seconds(25)
    @Option(help: "How long to wait for the sidecar to be there.")
    var patience: TimeSpan = .seconds(60)

    func run() throws {
        Glibc.exit(
            HostProcess.run(
                socket: socket, secretFile: secretFile, marker: marker, terminationGrace: terminationGrace, patience: patience))
    }
}
