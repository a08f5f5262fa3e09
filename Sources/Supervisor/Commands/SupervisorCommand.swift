import ArgumentParser

/// `holdfast-supervisor`, from its arguments to its exit.
public func main() async { await SupervisorCommand.main() }

struct SupervisorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holdfast-supervisor",
        abstract: "Keeps one coding-agent session per pull request or issue, and feeds it Tasks.",
        version: SupervisorVersion.current,
        subcommands: [ServeCommand.self, GitGatewayCommand.self, DefinitionsCommand.self])
}

/// The version of this build.
enum SupervisorVersion {
    static let current = "0.1.0"
}
