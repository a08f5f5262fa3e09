public import ArgumentParser

/// `holdfast-supervisor`
public struct SupervisorCommand: AsyncParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "holdfast-supervisor",
        abstract: "Keeps one coding-agent session per pull request or issue, and feeds it Tasks.",
        version: SupervisorVersion.current,
        subcommands: [ServeCommand.self])

    public init() {}
}

/// The version of this build.
enum SupervisorVersion {
    static let current = "0.1.0"
}
