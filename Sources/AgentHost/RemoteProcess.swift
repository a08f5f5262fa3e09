import Glibc
import SessionModel

/// What the sidecar knows of one process of its host.
final class RemoteProcess: Sendable {
    let id: UInt32
    let started = Promise<Result<Int32, HostError>>()
    let exit = Promise<ExitStatus>()
    let input: OutgoingBytes
    let output: IncomingBytes
    let errors: IncomingBytes

    init(id: UInt32, send: @escaping @Sendable (HostFrame) -> Void) {
        self.id = id
        input = OutgoingBytes(id: id, send: send)
        output = IncomingBytes { send(.credit(id, .output, $0)) }
        errors = IncomingBytes { send(.credit(id, .errors, $0)) }
    }

    /// The host will say nothing more of it.
    var isFinished: Bool { exit.value != nil && output.hasEnded && errors.hasEnded }

    func exited(_ status: ExitStatus) {
        exit.fulfil(status)
        input.fail(HostError(.brokenPipe, "Cannot write to the process: it has ended (\(status))"))
    }

    /// The host is gone.
    func lose(_ error: HostError) {
        started.fulfil(.failure(error))
        exit.fulfil(.lost)
        input.fail(error)
        output.finish()
        errors.finish()
    }
}

/// The handle that the caller holds. When the last one is let go the host forgets the process's output.
final class ProcessHandle: HostedProcess {
    let pid: Int32
    private let process: RemoteProcess
    private let link: HostLink

    init(pid: Int32, process: RemoteProcess, link: HostLink) {
        self.pid = pid
        self.process = process
        self.link = link
    }

    deinit { link.forget(process) }

    // The closures hold the handle, so that a stream can be read without it.
    var stdout: ProcessOutput { ProcessOutput { await self.process.output.next() } }
    var stderr: ProcessOutput { ProcessOutput { await self.process.errors.next() } }

    func write(_ bytes: [UInt8]) async throws(HostError) { try await process.input.write(bytes) }
    func closeInput() async { process.input.close() }
    func signal(_ number: Int32) async { link.send(.signal(process.id, number)) }
    func exit() async -> ExitStatus { await process.exit.wait() ?? .lost }
}
