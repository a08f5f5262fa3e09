public import ArgumentParser

/// `holdfast-sidecar`: the session's process, its agent host, and the inspector.
public struct SidecarCommand: AsyncParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "holdfast-sidecar",
        abstract: "Keeps one coding agent's session: its queue of turns, its transcript and its working directory.",
        version: Version.current,
        subcommands: [
            ServeCommand.self, HostCommand.self, StatusCommand.self, TurnsCommand.self, TranscriptCommand.self,
            EnqueueCommand.self,
            CancelCommand.self, AnswerCommand.self, HealthCommand.self,
        ])

    public init() {}

    /// The program. The agent host is started here, on the main thread, before anything has made a second one: it takes its
    /// signals through a descriptor, and a thread that does not block them would steal them.
    public static func launch() async {
        let arguments = CommandLine.arguments.dropFirst()
        if arguments.first == "host" {
            HostCommand.main(Array(arguments.dropFirst()))
        } else {
            await main()
        }
    }
}
