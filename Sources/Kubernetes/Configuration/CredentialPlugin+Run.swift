import Foundation
import Glibc
import Processes

extension CredentialPlugin {
    /// How long it may take.
    static let timeout = Duration.seconds(60)
    /// How much it may print.
    private static let mostOutput = 1 << 20

    /// Runs the program and returns what it prints.
    func run(within limit: Duration = timeout) async throws(KubernetesError) -> Credential {
        let result: Result<[UInt8], KubernetesError> = await withCheckedContinuation { done in
            // It blocks: on a thread of its own.
            Thread.detachNewThread { done.resume(returning: collect(within: limit)) }
        }
        return try parse(try result.get())
    }

    private func collect(within limit: Duration) -> Result<[UInt8], KubernetesError> {
        func failed(_ why: String) -> Result<[UInt8], KubernetesError> {
            .failure(KubernetesError(.configuration, "\(who): its exec plugin “\(command[0])” \(why)"))
        }
        var output: [Int32] = [-1, -1]
        var errors: [Int32] = [-1, -1]
        guard pipe(&output) == 0, pipe(&errors) == 0 else {
            for descriptor in output + errors where descriptor >= 0 { close(descriptor) }
            return failed("cannot be run: \(String(cString: strerror(errno)))")
        }
        for descriptor in output + errors { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        var spawn = Spawn(command, environment: environment)
        spawn.grouping = .session
        spawn.descriptors = [nil, output[1], errors[1]]
        let started = Result { () throws(SpawnError) -> Int32 in try spawn.start() }
        close(output[1])
        close(errors[1])
        defer {
            close(output[0])
            close(errors[0])
        }
        let pid: Int32
        switch started {
        case .success(let child): pid = child
        case .failure(let error):
            return failed("cannot be run: \(error)" + (installHint.map { "\n\($0)" } ?? ""))
        }
        let deadline = ContinuousClock.now + limit
        guard let (text, complaint) = read(output[0], errors[0], until: deadline),
            let end = Child.wait(pid, atMost: max(.zero, deadline - .now))
        else {
            kill(-pid, SIGKILL)
            kill(pid, SIGKILL)
            _ = Child.wait(pid)
            return failed("did not end within \(limit), or printed more than \(Self.mostOutput) bytes")
        }
        guard end == .code(0) else {
            let words = String(decoding: complaint.suffix(1000), as: UTF8.self)
            return failed("ended with \(end): \(words)" + (installHint.map { "\n\($0)" } ?? ""))
        }
        return .success(text)
    }

    /// Reads both to their ends; nil when that takes too long or is too much.
    private func read(_ output: Int32, _ errors: Int32, until deadline: ContinuousClock.Instant) -> ([UInt8], [UInt8])? {
        var texts: [Int32: [UInt8]] = [output: [], errors: []]
        var open: Set<Int32> = [output, errors]
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while !open.isEmpty {
            let left = (deadline - .now) / .milliseconds(1)
            guard left > 0 else { return nil }
            var polls = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            guard poll(&polls, nfds_t(polls.count), Int32(clamping: Int64(left) + 1)) >= 0 || errno == EINTR else { return nil }
            for entry in polls where entry.revents != 0 {
                let count = Glibc.read(entry.fd, &chunk, chunk.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else {
                    open.remove(entry.fd)
                    continue
                }
                texts[entry.fd]! += chunk[..<count]
                guard texts[entry.fd]!.count <= Self.mostOutput else { return nil }
            }
        }
        return (texts[output]!, texts[errors]!)
    }
}
