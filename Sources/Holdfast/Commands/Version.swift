import ArgumentParser
import SessionModel

struct Version: AsyncParsableCommand {
    static let current = "0.1.0"
    static let configuration = CommandConfiguration(abstract: "Show this program's version, and the server's.")

    @OptionGroup var server: ServerOptions

    func run() async throws {
        let console = Context.current.console
        console.print("holdfast \(Self.current)\n")
        let answer: JSONValue = try await API(server).get("/v1/version")
        console.print("server   \(answer["version"]?.string ?? "of an unknown version")\n")
    }
}
