public import ArgumentParser
import NIOCore

/// `holdfast-sidecar`: the session's process, its agent host, and the inspector.
public struct SidecarCommand: AsyncParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "holdfast-sidecar",
        abstract: "Keeps one coding agent's session: its queue of turns, its transcript and its working directory.",
        version: Version.current,
        subcommands: [
            ServeCommand.self, HostCommand.self, StatusCommand.self, TurnsCommand.self, TranscriptCommand.self,
            EnqueueCommand.self,
            CancelCommand.self, AnswerCommand.self, HealthCommand.self, InstallCommand.self, ReadCommand.self,
        ])

    public init() {}

    /// One thread is enough for every connection and every time limit of a session. NIO would make one for each processor.
    static func useOneEventLoop() { NIOSingletons.groupLoopCountSuggestion = 1 }
}
