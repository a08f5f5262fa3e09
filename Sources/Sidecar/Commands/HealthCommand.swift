import ArgumentParser
import SessionModel

struct HealthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health", abstract: "Exit with 0 when the sidecar is alive (or ready), with 1 when it is not.")

    @OptionGroup var inspector: InspectorOptions
    @Flag(help: "Ask whether it is ready for turns, too.") var ready = false

    func run() throws {
        do {
            let answer = try inspector.client.request("GET", ready ? "/readyz" : "/livez")
            guard answer.status == 200 else { throw InspectorClient.problem(answer) }
            Terminal.write("ok\n")
        } catch {
            Terminal.write("\(error)\n")
            throw ExitCode(1)
        }
    }
}
