import ArgumentParser

/// The `holdfast` command.
public enum Holdfast {
    /// Runs one command line, without the program's name, and returns its exit status. What goes wrong is one sentence on stderr.
    public static func run(_ arguments: [String]) async -> Int32 {
        let status = await perform(arguments)
        await Context.current.cluster.close()
        return status
    }

    private static func perform(_ arguments: [String]) async -> Int32 {
        let console = Context.current.console
        do {
            var command = try Root.parseAsRoot(arguments)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            return ExitStatus.success.rawValue
        } catch let failure as Failure {
            console.note(failure.status == .detached ? failure.message : "holdfast: \(failure.message)")
            return failure.status.rawValue
        } catch let code as ExitCode where code != .validationFailure {
            return code.rawValue
        } catch {
            let text = Root.fullMessage(for: error)
            guard Root.exitCode(for: error) != .success else {
                console.print(text + "\n")
                return ExitStatus.success.rawValue
            }
            console.note(text)
            return (Root.exitCode(for: error) == .validationFailure ? ExitStatus.usage : .failed).rawValue
        }
    }
}

struct Root: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holdfast",
        abstract: "One coding-agent session per pull request or issue, kept alive.",
        discussion: """
            Exit statuses: 0 success, 1 failed, 2 wrong command line, 3 the Task was cancelled, 4 it was interrupted, 5 the \
            server does not answer, 6 the server refused, 130 detached with Ctrl-C while the work goes on.
            """,
        version: Version.current,
        subcommands: [
            Run.self, Tasks.self, Sessions.self, Transcript.self, Attach.self, Cancel.self, Answer.self, Keep.self,
            SetLifetime.self, Apply.self, Spawners.self,
            Suspend.self, Resume.self, Close.self, End.self, Version.self,
        ])
}
