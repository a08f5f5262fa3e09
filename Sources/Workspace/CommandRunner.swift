import AgentHost
import SessionModel

/// Runs one command to its end through the agent host: with a deadline, bounded output, and no input.
struct CommandRunner: Sendable {
    let host: any ProcessHost
    let timeout: TimeSpan

    /// How long a command may take to end after SIGTERM before it gets SIGKILL.
    static let grace = Duration.seconds(5)
    /// How long output is waited for after the command has exited. A process that it left behind may hold the pipes for ever.
    static let drain = Duration.seconds(2)

    struct Result: Sendable {
        var exit: ExitStatus
        var stdout: BoundedOutput
        var stderr: BoundedOutput
        /// The deadline passed and the command was stopped.
        var timedOut: Bool
        /// The standard output came to its end, and all of it was seen.
        var complete: Bool
    }

    /// - Parameter consume: gets all of the standard output as it arrives.
    /// - Throws: ``HostError`` when the host cannot start it, and `CancellationError` after the command was stopped because the
    ///   calling task was cancelled.
    func run(_ spec: ProcessSpec, consume: (@Sendable ([UInt8]) async -> Void)? = nil) async throws -> Result {
        try Task.checkCancellation()
        let process = try await host.start(spec)
        await process.closeInput()

        let stdout = Collector(process.stdout, consume: consume)
        let stderr = Collector(process.stderr)
        let late = Promise<Bool>()
        let deadline = Alarm(in: timeout.duration) {
            late.fulfil(true)
            await stop(process)
        }
        let exit = await withTaskCancellationHandler {
            await process.exit()
        } onCancel: {
            Task { await stop(process) }
        }
        deadline.cancel()
        let timedOut = late.value ?? false
        try Task.checkCancellation()
        // Not the command's failure: whoever waits for it is told that the host is gone.
        if exit == .lost { throw HostError(.lost, "The agent host ended while \(spec.arguments.first ?? "a command") ran.") }
        let complete = await stdout.ends(within: Self.drain)
        _ = await stderr.ends(within: Self.drain)
        return Result(
            exit: exit, stdout: await stdout.collected, stderr: await stderr.collected, timedOut: timedOut, complete: complete)
    }

    /// Ends the process's group: SIGTERM, and SIGKILL when that was not enough.
    private func stop(_ process: any HostedProcess) async {
        await process.signal(15)
        let ended = Task {
            _ = await process.exit()
        }
        let kill = Task {
            await Alarm.wait(Self.grace)
            if !Task.isCancelled { await process.signal(9) }
        }
        await ended.value
        kill.cancel()
    }
}

/// Reads one stream to its end, and goes on reading when nobody waits any more, so that what a command leaves behind never blocks
/// on a full pipe.
private actor Collector {
    private(set) var collected = BoundedOutput()
    private let ended = Promise<Bool>()

    init(_ output: ProcessOutput, consume: (@Sendable ([UInt8]) async -> Void)? = nil) {
        Task {
            for await chunk in output {
                await self.append(chunk)
                await consume?(chunk)
            }
            ended.fulfil(true)
        }
    }

    private func append(_ chunk: [UInt8]) { collected.append(chunk) }

    /// Whether the stream came to its end in time.
    nonisolated func ends(within limit: Duration) async -> Bool { await ended.wait(atMost: limit) ?? false }
}
