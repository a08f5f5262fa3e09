import AgentHost
import SessionModel

/// Files of the agent's own state. The sidecar may run as another user and in another container than the agent, so it is the
/// agent host that writes them.
enum HostFile {
    /// Writes a file that only its owner can read, and makes the directories on the way to it.
    /// - Throws: ``TurnStop`` when the host cannot.
    static func write(_ bytes: [UInt8], to path: String, on host: any ProcessHost) async throws(TurnStop) {
        try await run(#"umask 077; mkdir -p "${1%/*}" && cat >"$1.new" && mv -f "$1.new" "$1""#, path, bytes, on: host)
    }

    /// Makes a directory that only its owner can read, where there is none.
    /// - Parameter pattern: the files in it that are of no use at another path than the one where they were made.
    /// - Throws: ``TurnStop`` when the host cannot.
    static func makeDirectory(
        _ path: String, removingWhenMoved pattern: String? = nil, on host: any ProcessHost
    ) async throws(TurnStop) {
        var script = #"umask 077; mkdir -p "$1""#
        if let pattern {
            script += #" && { [ "$(cat "$1/.path" 2>/dev/null)" = "$1" ] || { rm -f "$1"/"#
            script += pattern + #" && printf %s "$1" >"$1/.path"; }; }"#
        }
        try await run(script, path, [], on: host)
    }

    private static func run(
        _ script: String, _ path: String, _ input: [UInt8], on host: any ProcessHost
    ) async throws(TurnStop) {
        let spec = ProcessSpec(
            arguments: ["/bin/sh", "-c", script, "sh", path], environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"],
            directory: "/")
        let status: ExitStatus
        do throws(HostError) {
            let process = try await host.start(spec)
            if !input.isEmpty { try await process.write(input) }
            await process.closeInput()
            status = await process.exit()
        } catch {
            throw failure(path, error.message)
        }
        guard status.isSuccess else { throw failure(path, "\(status)") }
    }

    private static func failure(_ path: String, _ reason: String) -> TurnStop {
        TurnStop(.failed, .agentStart, "\(path) cannot be made for the agent: \(reason)", clean: false)
    }
}
